"""Cut one layer into tiles that each fit on a core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod

import numpy as np

from snndeploy.hardware import HardwareProfile
from snndeploy.layers import Layer
from snndeploy.measure.synapses import arrivals, presynaptic, source_shapes, synapse_words
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Linear, Shape
from snndeploy.numerics import BoolArray
from snndeploy.passes.limits import Misfit
from snndeploy.passes.remedies import axon_remedy, fan_in_remedy, synapse_remedy

DEFAULT_WEIGHT_BITS = 8


def image(shape: Shape) -> tuple[int, int, int]:
    """Channels, rows and columns. In a signal (C, 1, W) each value is a row of its own."""
    channels, height, width = (*shape, 1, 1)[:3]
    return (channels, width, 1) if height == 1 else (channels, height, width)


@dataclass(frozen=True)
class Tile:
    """Channels, rows and columns of a layer, see `image`; a flat layer (F,) has `channels`."""

    channels: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]

    def mask(self, shape: Shape) -> BoolArray:
        """The tile as a mask (*shape)."""
        mask = np.zeros(image(shape), np.bool_)
        mask[slice(*self.channels), slice(*self.rows), slice(*self.columns)] = True
        return mask.reshape(shape)

    def runs(self, shape: Shape) -> list[tuple[int, int]]:
        """The tile as ranges of the flat layer, joined where they touch."""
        _, height, width = image(shape)
        found: list[tuple[int, int]] = []
        for channel in range(*self.channels):
            for row in range(*self.rows):
                start = (channel * height + row) * width
                first, last = start + self.columns[0], start + self.columns[1]
                if found and found[-1][1] == first:
                    first = found.pop()[0]
                found.append((first, last))
        return found


@dataclass(frozen=True)
class Sizes:
    """Of the tiles of one layer; the last ones of a side may be smaller."""

    channels: int
    rows: int
    columns: int


class Cutter:
    """Cuts one layer. `cap`: the most neurons a core, wished for on account of other limits."""

    def __init__(
        self, network: Network, profile: HardwareProfile, layer: Layer, cap: int | None = None
    ) -> None:
        self.layer, self.limits, self.cap = layer, profile.limits, cap
        self.shapes = source_shapes(network, layer)
        self.input = network.input.name
        self.compartments = 1
        if layer.kind == "neurons":
            self.compartments = profile.compartments(network.mode, network.reset)
        self.axons = profile.axons(network.mode)
        self.channels, self.rows, self.columns = image(layer.shape)

    @cached_property
    def tiles(self) -> list[Tile]:
        """Tiles that fit; empty if not even a neuron does, which `shares` may still help.

        Bands of rows over all channels first. Where one row is too much: the row over fewer
        channels, or pieces of it over all, which have fewer inputs; whatever makes fewer tiles.
        """
        sizes = self._bands()
        if sizes is None or sizes.channels < self.channels:
            pieces = self._pieces()
            found = [s for s in (sizes, pieces) if s is not None]
            sizes = min(found, key=self._count, default=None)
        if sizes is None:
            smallest = Sizes(1, 1, 1)
            return self._tiles(smallest) if self._fit(smallest, capped=False) else []
        return self._tiles(self._even(sizes))

    def _bands(self) -> Sizes | None:
        """Whole rows, over all channels, then over half of the channels, and so on."""
        channels = self.channels
        while True:
            fits = partial(self._fits_rows, channels)
            rows = _largest(self.rows, fits)
            if rows:
                break
            if channels == 1:
                return None
            channels = -(-channels // 2)
        if channels < self.channels:
            base = channels - 1
            channels = base + _largest(
                channels, lambda n: self._fit(Sizes(base + n, rows, self.columns))
            )
        return Sizes(channels, rows, self.columns)

    def _fits_rows(self, channels: int, rows: int) -> bool:
        return self._fit(Sizes(channels, rows, self.columns))

    def _pieces(self) -> Sizes | None:
        """Pieces of one row, over as many channels as one neuron's place can have."""
        channels = self.channels
        while not self._fit(Sizes(channels, 1, 1)):
            if channels == 1:
                return None
            channels = -(-channels // 2)
        wide = channels
        return Sizes(channels, 1, _largest(self.columns, lambda n: self._fit(Sizes(wide, 1, n))))

    def _even(self, sizes: Sizes) -> Sizes:
        """Even pieces, and no more of them: the busiest core sets the pace."""
        sides = (self.channels, sizes.channels), (self.rows, sizes.rows)
        channels, rows = (-(-whole // -(-whole // part)) for whole, part in sides)
        columns = -(-self.columns // -(-self.columns // sizes.columns))
        return Sizes(channels, rows, columns)

    def _count(self, sizes: Sizes) -> int:
        return (
            -(-self.channels // sizes.channels)
            * -(-self.rows // sizes.rows)
            * -(-self.columns // sizes.columns)
        )

    def needs(self, tile: Tile) -> dict[str, int]:
        """What a core must have to hold the tile, by the name of the limit."""
        mask = tile.mask(self.layer.shape)
        neurons = int(mask.sum())
        sources, axons = 0, 0
        for name, shape in self.shapes.items():
            reached = int(presynaptic(self.layer, shape, name, mask).sum())
            sources += reached
            axons += reached * (1 if name == self.input else self.axons)
        held = neurons * self.compartments
        if self.layer.kind == "max_pool":
            held += sources  # a counter for each pooled neuron
        return {
            "neurons_per_core": held,
            "synapse_bits_per_core": self.synapse_bits(mask),
            "axons_in_per_core": axons,
        }

    def synapse_bits(self, mask: BoolArray) -> int:
        """Memory for the weights of the masked neurons; a pool has none."""
        if self.layer.kind == "max_pool":
            return 0
        bits = self.limits.weight_bits or DEFAULT_WEIGHT_BITS
        return sum(
            synapse_words(p, self.shapes[p.source], mask)
            * bits
            * (1 if p.source == self.input else self.axons)
            for p in self.layer.projections
        )

    @cached_property
    def shares(self) -> list[tuple[int, int]]:
        """Ranges of source neurons, so that each core holds all of a readout but their synapses.

        A readout only integrates: what its parts on several cores hold adds up to its membrane.
        Empty if the layer is none, is fed by more than one projection, or would not fit so.
        """
        layer, limits = self.layer, self.limits
        if layer.kind != "readout" or len(layer.projections) != 1 or not self._small_readout():
            return []
        projection = layer.projections[0]
        if not isinstance(projection.weighted, Linear):
            return []
        copies = 1 if projection.source == self.input else self.axons
        size = prod(self.shapes[projection.source])
        most = size
        if limits.axons_in_per_core is not None:
            most = min(most, limits.axons_in_per_core // copies)
        if limits.synapse_bits_per_core is not None:
            bits = (limits.weight_bits or DEFAULT_WEIGHT_BITS) * layer.neurons * copies
            most = min(most, limits.synapse_bits_per_core // bits)
        if most == 0 or (limits.fan_in is not None and self._fan_in() > limits.fan_in):
            return []
        even = -(-size // -(-size // most))
        return [(first, min(first + even, size)) for first in range(0, size, even)]

    def _small_readout(self) -> bool:
        most = self.limits.neurons_per_core
        return most is None or self.layer.neurons * self.compartments <= most

    def misfits(self) -> list[Misfit]:
        """Why the smallest tile does not fit, and fan-in, which no cut can lower."""
        found: list[Misfit] = []
        smallest: list[dict[str, int]] = []
        if not self.tiles and not self.shares:
            smallest = [self.needs(tile) for tile in self._worst(Sizes(1, 1, 1))]
        for name in ("neurons_per_core", "synapse_bits_per_core", "axons_in_per_core"):
            limit = getattr(self.limits, name)
            most = max((need[name] for need in smallest), default=0)
            if limit is not None and most > limit:
                what = name.removesuffix("_per_core").replace("_", " ")
                text = f"one neuron takes {most} {what} on its core"
                remedy = self._remedy(name, most, limit)
                found.append(Misfit(self.layer.name, text, str(limit), remedy))
        return [*found, *self.fan_in_misfits()]

    def fan_in_misfits(self) -> list[Misfit]:
        """A fan-in that is too large, if it is."""
        most, limit = self._fan_in(), self.limits.fan_in
        if limit is None or most <= limit:
            return []
        text = f"a neuron has {most} synapses"
        return [Misfit(self.layer.name, text, str(limit), fan_in_remedy(most, limit))]

    def _remedy(self, name: str, most: int, limit: int) -> str:
        if name == "axons_in_per_core":
            return axon_remedy(self.layer, self.shapes, most, limit)
        if name == "synapse_bits_per_core":
            return synapse_remedy(self.limits.weight_bits or DEFAULT_WEIGHT_BITS, most, limit)
        return f"a neuron must take at most {limit} compartments: use rate mode, or another chip"

    def _fan_in(self) -> int:
        if self.layer.kind == "max_pool":
            return 0
        total = np.zeros((1, *self.layer.shape), np.int64)
        for p in self.layer.projections:
            total += arrivals(p, np.ones((1, *self.shapes[p.source]), np.int64))
        return int(total.max())

    def _tiles(self, sizes: Sizes) -> list[Tile]:
        return [
            self._tile(sizes, c, r, x)
            for c in range(-(-self.channels // sizes.channels))
            for r in range(-(-self.rows // sizes.rows))
            for x in range(-(-self.columns // sizes.columns))
        ]

    def _tile(self, sizes: Sizes, channel: int, row: int, column: int) -> Tile:
        """The tile of a place in the grid of tiles."""
        c, r, x = channel * sizes.channels, row * sizes.rows, column * sizes.columns
        return Tile(
            (c, min(c + sizes.channels, self.channels)),
            (r, min(r + sizes.rows, self.rows)),
            (x, min(x + sizes.columns, self.columns)),
        )

    def _worst(self, sizes: Sizes) -> list[Tile]:
        """Tiles that need the most: all others need as much as one of them, or less.

        Windows are regular along rows and columns, so what borders cut off least lies in the
        middle; channels are alike, but groups of them may start anywhere.
        """
        channels = range(-(-self.channels // sizes.channels)) if self._grouped else range(1)
        rows = _telling(-(-self.rows // sizes.rows))
        columns = _telling(-(-self.columns // sizes.columns))
        return [self._tile(sizes, c, r, x) for c in channels for r in rows for x in columns]

    @cached_property
    def _grouped(self) -> bool:
        ops = (op for p in self.layer.projections for op in p.ops)
        return any(isinstance(op, Conv2d) and op.groups > 1 for op in ops)

    def _fit(self, sizes: Sizes, capped: bool = True) -> bool:
        neurons = sizes.channels * sizes.rows * sizes.columns
        limits = self.limits
        if capped and self.cap is not None and neurons > self.cap:
            return False
        most = limits.neurons_per_core
        if most is not None and neurons * self.compartments > most:
            return False
        return all(
            getattr(limits, name) is None or need <= getattr(limits, name)
            for tile in self._worst(sizes)
            for name, need in self.needs(tile).items()
        )


def _telling(count: int) -> list[int]:
    """Of so many pieces the two in the middle, the first and the last."""
    middle = count // 2
    return list(dict.fromkeys((middle, max(middle - 1, 0), 0, count - 1)))


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest of 1 .. most that fits, by bisection; 0 if 1 does not."""
    if fits(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
