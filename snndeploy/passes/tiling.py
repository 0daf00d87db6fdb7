"""Cut one layer into tiles that each fit on a core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from snndeploy.hardware import HardwareProfile
from snndeploy.layers import Layer
from snndeploy.measure.synapses import arrivals, presynaptic, source_shapes, synapse_words
from snndeploy.network import Network
from snndeploy.nodes import Shape
from snndeploy.numerics import BoolArray
from snndeploy.passes.limits import Misfit

DEFAULT_WEIGHT_BITS = 8


def bands(shape: Shape) -> tuple[int, int, int]:
    """Channels, rows and values a row. In a signal (C, 1, W) each value is a row of its own."""
    channels, height, width = (*shape, 1, 1)[:3]
    return (channels, width, 1) if height == 1 else (channels, height, width)


@dataclass(frozen=True)
class Tile:
    """Channels and rows of a layer, see `bands`; of a flat layer (F,), a range of `channels`."""

    channels: tuple[int, int]
    rows: tuple[int, int]

    def mask(self, shape: Shape) -> BoolArray:
        """The tile as a mask (*shape)."""
        mask = np.zeros(bands(shape), np.bool_)
        mask[slice(*self.channels), slice(*self.rows)] = True
        return mask.reshape(shape)

    def runs(self, shape: Shape) -> list[tuple[int, int]]:
        """The tile as ranges of the flat layer, joined where they touch."""
        _, rows, row = bands(shape)
        size = rows * row
        first, last = self.rows[0] * row, min(self.rows[1] * row, size)
        if last - first == size:
            return [(self.channels[0] * size, self.channels[1] * size)]
        return [(c * size + first, c * size + last) for c in range(*self.channels)]


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
        _, self.rows, self.row = bands(layer.shape)

    @cached_property
    def tiles(self) -> list[Tile]:
        """Tiles that fit; empty if not even the smallest, a row of a channel, does.

        Bands of rows over all channels first, then over half of the channels, and so on.
        """
        channels = width = self.layer.shape[0]
        while True:
            rows = _largest(self.rows, partial(self._fit, width))
            if rows:
                break
            if width == 1:
                return self._tiles(1, 1) if self._fit(1, 1, capped=False) else []
            width = -(-width // 2)
        if width < channels:
            width = width - 1 + _largest(width, lambda n: self._fit(width - 1 + n, rows))
        # Even pieces: the busiest core sets the pace.
        rows = -(-self.rows // -(-self.rows // rows))
        width = -(-channels // -(-channels // width))
        return self._tiles(width, rows)

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

    def misfits(self) -> list[Misfit]:
        """Why the smallest tile does not fit, and fan-in, which no cut can lower."""
        found: list[Misfit] = []
        smallest = [] if self.tiles else [self.needs(tile) for tile in self._tiles(1, 1)]
        for name, remedy in _REMEDIES.items():
            limit = getattr(self.limits, name)
            most = max((need[name] for need in smallest), default=0)
            if limit is not None and most > limit:
                what = name.removesuffix("_per_core").replace("_", " ")
                piece = "one row of one channel" if self.row > 1 else "one neuron"
                text = f"{piece} takes {most} {what} on its core"
                found.append(Misfit(self.layer.name, text, str(limit), remedy))
        most, limit = self._fan_in(), self.limits.fan_in
        if limit is not None and most > limit:
            text = f"a neuron has {most} synapses"
            remedy = "use fewer input channels, smaller kernels or groups"
            found.append(Misfit(self.layer.name, text, str(limit), remedy))
        return found

    def _fan_in(self) -> int:
        if self.layer.kind == "max_pool":
            return 0
        total = np.zeros((1, *self.layer.shape), np.int64)
        for p in self.layer.projections:
            total += arrivals(p, np.ones((1, *self.shapes[p.source]), np.int64))
        return int(total.max())

    def _tiles(self, width: int, rows: int) -> list[Tile]:
        channels = self.layer.shape[0]
        return [
            Tile((c, min(c + width, channels)), (r, min(r + rows, self.rows)))
            for c in range(0, channels, width)
            for r in range(0, self.rows, rows)
        ]

    def _fit(self, width: int, rows: int, capped: bool = True) -> bool:
        neurons = width * rows * self.row
        limits = self.limits
        if capped and self.cap is not None and neurons > self.cap:
            return False
        most = limits.neurons_per_core
        if most is not None and neurons * self.compartments > most:
            return False
        return all(
            getattr(limits, name) is None or need <= getattr(limits, name)
            for tile in self._tiles(width, rows)
            for name, need in self.needs(tile).items()
        )


_REMEDIES = {
    "neurons_per_core": "use a smaller input or stride",
    "synapse_bits_per_core": "use fewer input features or narrower weights",
    "axons_in_per_core": "use fewer input channels or features (before a sum pool, all of them)",
}


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest of 1 .. most that fits, by bisection; 0 if 1 does not."""
    if fits(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
