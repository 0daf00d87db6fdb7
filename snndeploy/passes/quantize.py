"""Weights, thresholds and biases to integers: from a float network to a spiking one.

Each layer of neurons adds up, in one accumulator a channel c,

    a[c] = sum over branches p of W_p[c] q_p,    q_p worth s_p,    and fires at theta[c].

An accumulator unit is worth `s_out / theta[c]`, so the threshold is exact for every integer
theta; the larger it is, the finer the weight grid. A theta that makes all weights integers is
found again (`units.py`); else it is the largest that keeps them in `bits` bits:

    theta[c] = floor(q_max * s_out / max over p, i of |W_p[c, i]| s_p)
    w_p[c]   = round(W_p[c] * s_p * theta[c] / s_out),    errors balanced (`rounding.py`)
    B[c]     = floor(b[c] * theta[c] / s_out + theta[c] / 2) - v0[c]

That bias is exact where the sums of w q are, since they are integers. Its share of a step is made
whole, and `v0` takes what is left over. With hard reset v0 is 0, and no half of a threshold is
there to round with.

A weight is a mantissa of `bits` bits times a power of two, one for each projection. So each branch
uses all its bits, and the unit of a layer can be made `2**k` times as fine as the grid of its
weights: thresholds, biases and identity branches are then as exact as the word of state allows.

An identity branch is W = 1. An average pool over k values makes its output worth `s / k`. The
input is injected `window` times, so one of its counts is worth `scale / window`. The readout has
no threshold: all its channels share the unit that uses the weight range in full.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from snndeploy.errors import InputError, UnsupportedModelError
from snndeploy.layers import Layer, Projection, constant, layers
from snndeploy.network import Mode, Network, Reset
from snndeploy.nodes import (
    Activation,
    Add,
    Array,
    AvgPool2d,
    Conv2d,
    Grid,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool2d,
)
from snndeploy.numerics import (
    BoolArray,
    FloatArray,
    Int64Array,
    initial_membrane,
    round_to_integer,
)
from snndeploy.passes.base import Pass
from snndeploy.passes.boundaries import boundaries
from snndeploy.passes.rounding import TOLERANCE, balanced
from snndeploy.passes.units import SLACK, channel_unit, largest_thresholds, readout_unit
from snndeploy.passes.whole_shares import whole_shares
from snndeploy.ranges import LayerRange, RangeAnalysis
from snndeploy.simulate import Progress

SAFE = 0.99
"""Of the word of state, since thresholds and biases are rounded anew in finer units."""

OUTLIER = 8
"""A channel whose integers are so many times as large as is usual in its layer makes do with
coarser weights, so that all others have finer units."""

ENOUGH = 6
"""Bits by which a unit is finer than the weights' grid, for which channels are made do so."""


MANY_LEVELS = 63
"""A layer of more levels counts too far for a word of 24 bits to tell all counts apart."""

MOST_WINDOW = 32
"""Steps of input and bias in exact mode, by default; the settled counts do not depend on it, but
the first layer's sums grow with it."""


def default_window(levels: int, mode: Mode) -> int:
    """Steps during which bias and input are injected, unless they are asked for.

    Args:
        levels: the most of any activation.
    """
    return levels if mode == "rate" else min(levels, MOST_WINDOW)


@dataclass(frozen=True)
class Quantize(Pass):
    """Turn a float network (folded, pools behind activations, input grid set) to integers.

    Attributes:
        weight_bits: of the signed integer weights; symmetric, so 8 bits are -127 .. 127.
        threshold_bits: the largest threshold is `2**threshold_bits - 1`; keeps the state of
            channels with tiny weights small.
        identity_synapses: how many parallel synapses may carry an identity branch, which would else
            set the grid of its whole layer. One more carries what their mantissas leave; so it
            does for other branches, if the weights of the widest lie on a grid.
        weight_exponent: the largest power of two, as its exponent, that is a factor of weights.
        state_bits: the word of the membranes, which finer units must leave in place; 16 bits more
            for layers of many levels.
        bias_bits: the word of a bias's share of one step; like a weight, it may have an exponent.
        mode: `exact` or `rate`.
        window: steps during which bias and input are injected; 0: as many as the most levels, in
            exact mode at most 32.
        per_step: the input comes step by step, and the model's input is the sum.
        reset: `hard`: neurons such as those of Lava, whose membranes start at 0 and return there
            at a spike; all channels of a layer share one threshold.
        progress: told (layers done, layers in all).
    """

    weight_bits: int = 8
    threshold_bits: int = 20
    identity_synapses: int = 4
    weight_exponent: int = 13
    state_bits: int = 24
    bias_bits: int = 13
    mode: Mode = "exact"
    window: int = 0
    per_step: bool = False
    reset: Reset = "soft"
    progress: Progress | None = field(default=None, repr=False)
    name: ClassVar[str] = "quantize"

    def __post_init__(self) -> None:
        if not 2 <= self.weight_bits <= 16:
            raise InputError(f"{self.weight_bits}, expected 2 to 16", where="weight bits")
        if not 0 <= self.weight_exponent <= 16:
            raise InputError(f"{self.weight_exponent}, expected 0 to 16", where="weight exponent")
        if not 8 <= self.state_bits <= 32:
            raise InputError(f"{self.state_bits}, expected 8 to 32", where="state bits")

    def rewrite(self, network: Network) -> Network:
        """An integer network of the same layers, with a `Scale` on each identity branch."""
        levels = [n.levels for n in network.nodes if isinstance(n, Activation)]
        if not levels:
            raise UnsupportedModelError(
                "has no quantized activation",
                where=f"network '{network.name}'",
                remedy="train with snndeploy.training.QCFS activations",
            )
        grid = network.input.grid
        if grid is None:
            raise UnsupportedModelError(
                "has no grid",
                where=f"Input '{network.input.name}'",
                remedy="give calibration data, or start the model with a QuantizedInput",
            )
        return self._integers(network, grid, self.window or default_window(max(levels), self.mode))

    def _integers(self, network: Network, grid: Grid, window: int) -> Network:
        """Layer by layer: first as coarse as the weights' grids, to see by how much it can grow."""
        repeats = {network.input.name: 1 if self.per_step else window}
        worth = {network.input.name: grid.scale / repeats[network.input.name]}
        sources = _Sources(worth, repeats, window)
        view = layers(network)
        entry = replace(network.input, per_step=self.per_step)
        built = _Builder(entry, {layer.name for layer in view})
        analysis = RangeAnalysis(entry, self.mode, window, reset=self.reset)
        for done, layer in enumerate(view[1:], 1):
            node = layer.node
            if isinstance(node, MaxPool2d):
                source = layer.projections[0].source
                worth[layer.name] = worth[source]
                analysis.add_pool(layer)
                built.add_layer(node, [(source, ())])
            else:
                if isinstance(node, Activation):
                    worth[layer.name] = node.ceiling / node.levels
                bias = constant(network, layer.name)
                coarse = _as_layer(layer, *self._layer(layer, sources, bias, None))
                room = self._room(coarse, analysis.add(coarse))
                built.add_layer(*self._layer(layer, sources, bias, room))
            if self.progress is not None:
                self.progress(done, len(view) - 1)
        return network.rewrite(
            built.nodes, built.edges, mode=self.mode, window=window, reset=self.reset
        )

    def _room(self, coarse: Layer, bounds: LayerRange) -> FloatArray:
        """By what factor the integers of each channel of a layer can grow, (C,)."""
        many = isinstance(coarse.node, Neuron) and coarse.node.levels > MANY_LEVELS
        word = 1 << (self.state_bits - 1 + 16 * many)
        room = [SAFE * word / bounds.magnitudes]
        identities: dict[str, Int64Array] = defaultdict(lambda: np.zeros(1, np.int64))
        for projection in coarse.projections:
            assert projection.weighted is not None
            size = np.abs(projection.weighted.weight).reshape(coarse.shape[0], -1).max(axis=1)
            if isinstance(projection.weighted, Scale):
                size = identities[projection.source] = identities[projection.source] + size
            room.append(self._most * self._growth(projection) / np.maximum(size, 1))
        found: FloatArray = np.maximum(np.min(room, axis=0), 1)
        return found

    def _layer(
        self, layer: Layer, sources: _Sources, bias: FloatArray, room: FloatArray | None
    ) -> tuple[Node, list[tuple[str, tuple[Node, ...]]]]:
        """The integer form of one layer's node, and of each projection into it."""
        rows = [_rows(p, layer) * _source_worth(p, sources.worth) for p in layer.projections]
        node = layer.node
        if not isinstance(node, Activation):
            finer = 1 if room is None or len(rows) == 1 else 1 << _bits(room.min())
            unit = self._readout_unit(layer, rows) / finer
            weights = self._weights(layer, [row / unit[:, None] for row in rows])
            total = round_to_integer(bias / unit)
            if self.reset == "hard":
                total = self._shares(total, sources.window)
            return Output(node.name, total, float(unit[0])), _chains(layer, weights)
        scale = sources.worth[node.name]
        rows = [row / scale for row in rows]
        if room is None:
            unit = self._units(layer, rows, np.ones(layer.shape[0]))
        else:
            usual = room[room * OUTLIER >= np.median(room)]
            finer = 1 << max(_bits(room.min()), min(_bits(usual.min()), ENOUGH))
            unit = self._units(layer, rows, np.minimum(room / finer, 1)) / finer
            self._check_thresholds(layer, unit)
        if self.reset == "hard":
            unit = np.full(len(unit), 1 / max(np.floor(1 / unit.max() + SLACK), 1))
        goals = [row / unit[:, None] for row in rows]
        weights = self._weights(layer, goals)
        repeats = [sources.repeats.get(p.source, 1) for p in layer.projections]
        offset = bias / scale / unit + node.shift / unit
        if self.reset == "hard":
            theta = round_to_integer(1 / unit)
            total = round_to_integer(offset - 0.5 / unit)
            shares = self._shares(total, sources.window)
            neuron = Neuron(node.name, theta, 0 * theta, shares, node.levels, scale)
            return neuron, _chains(layer, weights)
        found = boundaries(1 / unit, offset, self._lattice(goals, weights, repeats), node.levels)
        theta, v0 = found.theta, initial_membrane(found.theta)
        total = found.offset - v0
        shares = self._shares(total, sources.window)
        rest = np.where(np.abs(total - shares) <= theta // 4, total - shares, 0)
        neuron = Neuron(node.name, theta, v0 + rest, total - rest, node.levels, scale)
        return neuron, _chains(layer, weights)

    def _shares(self, total: Int64Array, window: int) -> Int64Array:
        """The nearest totals (C,) whose share of a step is whole."""
        return whole_shares(total, window, self.bias_bits, self.weight_exponent)

    @property
    def _most(self) -> int:
        """The largest magnitude of a weight."""
        return (1 << (self.weight_bits - 1)) - 1

    def _units(self, layer: Layer, rows: list[FloatArray], part: FloatArray) -> FloatArray:
        """What a unit of the weights' grid is worth in counts of the layer, per channel (C,).

        Args:
            rows: what one count of each input adds to the channels' counts, (C, K) a projection.
            part: of the largest possible threshold that each channel may have, (C,).
        """
        widest = _widest(rows)
        pairs = zip(layer.projections, rows, strict=True)
        reach = np.max(
            [
                np.abs(row).max(axis=1) / (1 if row is rows[widest] else self._growth(p))
                for p, row in pairs
            ],
            axis=0,
        )
        limits = part * largest_thresholds(reach, self._most, (1 << self.threshold_bits) - 1)
        return np.array(
            [
                channel_unit([row[c] for row in rows], reach[c], limit, self._most)
                for c, limit in enumerate(limits)
            ]
        )

    def _check_thresholds(self, layer: Layer, unit: FloatArray) -> None:
        """Refuse a threshold below 1, which no integer can stand for."""
        if unit.max() > 1:
            channel = int(unit.argmax())
            raise UnsupportedModelError(
                f"channel {channel}: the threshold is {1 / unit[channel]:.3g} of the smallest unit "
                f"of its {self.weight_bits}-bit weights",
                where=f"layer '{layer.name}'",
                remedy="use more weight bits or a larger exponent, or retrain with a larger "
                "ceiling",
            )

    def _growth(self, projection: Projection) -> int:
        """What multiple of the largest mantissa the synapses of a projection can carry."""
        is_identity = isinstance(projection.weighted, Scale | None)
        return max(self.identity_synapses if is_identity else 1, 1 << self.weight_exponent)

    def _readout_unit(self, layer: Layer, rows: list[FloatArray]) -> FloatArray:
        """What a unit of all logits is worth in the model's units, (C,)."""
        widest = rows[_widest(rows)]
        pairs = zip(layer.projections, rows, strict=True)
        others = [float(np.abs(row).max()) / self._growth(p) for p, row in pairs]
        unit = max(readout_unit(widest, self._most), *(other / self._most for other in others))
        return np.full(layer.shape[0], unit)

    def _weights(self, layer: Layer, goals: list[FloatArray]) -> list[list[Int64Array]]:
        """The integer weights (C, K) of each projection, one array for each parallel synapse."""
        widest = _widest(goals)
        if layer.projections[widest].weighted is None:  # nothing but identity branches
            pairs = zip(layer.projections, goals, strict=True)
            return [list(self._parts(projection, goal, 2)) for projection, goal in pairs]
        largest = self._mantissas(layer.projections[widest], goals[widest])
        fine = 1 + bool(self._is_near(largest, goals[widest]).any())
        return [
            [largest] if index == widest else list(self._parts(projection, goal, fine))
            for index, (projection, goal) in enumerate(zip(layer.projections, goals, strict=True))
        ]

    def _lattice(
        self, goals: list[FloatArray], weights: list[list[Int64Array]], repeats: list[int]
    ) -> Int64Array:
        """What divides every sum of inputs, (C,); 1 for channels whose weights are rounded.

        Args:
            goals, weights: of each projection, as in `_weights`.
            repeats: how many times each of its inputs arrives.
        """
        near = np.ones(len(goals[0]), np.bool_)
        divisor = np.zeros(len(goals[0]), np.int64)
        for goal, parts, times in zip(goals, weights, repeats, strict=True):
            near &= self._is_near(np.sum(parts, axis=0), goal)
            for part in parts:
                divisor = np.gcd(divisor, np.gcd.reduce(part * times, axis=1))
        return np.where(near & (divisor > 0), divisor, 1)

    def _is_near(self, weights: Int64Array, goals: FloatArray) -> BoolArray:
        """Which channels' weights (C, K) are what they are to be, but for float32's rounding."""
        unit = 1 << self._exponent(goals)
        near: BoolArray = np.abs(weights - goals).max(axis=1) < TOLERANCE * unit
        return near

    def _parts(self, projection: Projection, goals: FloatArray, fine: int) -> Iterator[Int64Array]:
        """Weights (C, K) that add up to the goals, each of as many bits as a synapse has."""
        rest = round_to_integer(goals)
        for _ in range(self.identity_synapses + 1 if projection.weighted is None else fine):
            unit = 1 << self._exponent(rest)
            weight = np.clip(round_to_integer(rest / unit), -self._most, self._most) * unit
            yield weight
            rest = rest - weight
            if not rest.any():
                return

    def _mantissas(self, projection: Projection, goals: FloatArray) -> Int64Array:
        """The weights (C, K) of a projection, errors balanced."""
        op, unit = projection.weighted, 1 << self._exponent(goals)
        taps = 1 if op is None else op.weight[0, 0].size
        near = balanced(goals.reshape(len(goals), -1, taps) / unit, self._most) * unit
        return near.reshape(goals.shape)

    def _exponent(self, goals: Array) -> int:
        """The least exponent that leaves every mantissa in its word."""
        largest = float(np.abs(goals).max(initial=0)) / self._most / (1 + SLACK)
        return min(int(np.ceil(np.log2(max(largest, 1.0)))), self.weight_exponent)


@dataclass(frozen=True)
class _Sources:
    """What counts are worth in the model's units, how often they arrive, and for how long."""

    worth: dict[str, float]
    repeats: dict[str, int]
    window: int


class _Builder:
    """The integer network under construction: each projection a chain of nodes of its own.

    Branches that share nodes in the float network each get copies, since their grids differ.
    """

    def __init__(self, first: Node, reserved: set[str]) -> None:
        self.nodes: list[Node] = [first]
        self.edges: list[tuple[str, str]] = []
        self.taken = set(reserved)

    def add_layer(self, node: Node, projections: list[tuple[str, tuple[Node, ...]]]) -> None:
        """Append the projections' chains, their sum if there are several, and the layer."""
        ends: list[str] = []
        for source, ops in projections:
            last = source
            for op in ops:
                last = self._append(replace(op, name=self._fresh(op.name)), [last])
            ends.append(last)
        if len(ends) > 1:
            ends = [self._append(Add(self._fresh(f"{node.name}_sum")), ends)]
        self._append(node, ends)

    def _append(self, node: Node, sources: list[str]) -> str:
        self.nodes.append(node)
        self.edges.extend((source, node.name) for source in sources)
        return node.name

    def _fresh(self, name: str) -> str:
        candidate, number = name, 1
        while candidate in self.taken:
            number += 1
            candidate = f"{name}_{number}"
        self.taken.add(candidate)
        return candidate


def _widest(rows: Sequence[FloatArray]) -> int:
    """Which branch has the most weights a channel: the layer's unit is that of its grid."""
    return max(range(len(rows)), key=lambda index: rows[index].shape[1])


def _chains(layer: Layer, weights: list[list[Int64Array]]) -> list[tuple[str, tuple[Node, ...]]]:
    """Source and nodes of each projection, once for each array of its weights (C, K)."""
    found: list[tuple[str, tuple[Node, ...]]] = []
    for projection, parts in zip(layer.projections, weights, strict=True):
        for weight in parts:
            ops = [_integer_op(op, weight) for op in projection.ops]
            if projection.weighted is None:
                ops.append(Scale(f"{layer.name}_from_{projection.source}", weight[:, 0]))
            found.append((projection.source, tuple(ops)))
    return found


def _bits(factor: float) -> int:
    """The exponent of the largest power of two up to a factor; 0 below one."""
    return max(int(np.floor(np.log2(max(factor, 1.0)))), 0)


def _as_layer(layer: Layer, node: Node, chains: list[tuple[str, tuple[Node, ...]]]) -> Layer:
    """A layer in its integer form."""
    projections = tuple(Projection(source, ops) for source, ops in chains)
    return replace(layer, node=node, projections=projections)


def _integer_op(op: Node, weight: Int64Array) -> Node:
    """A linear node of a float network with these weights, if it has any."""
    if isinstance(op, AvgPool2d):
        return SumPool2d(op.name, op.kernel, op.stride, op.padding)
    if isinstance(op, Conv2d | Linear):
        return replace(op, weight=weight.reshape(op.weight.shape), bias=None)
    return op


def _source_worth(projection: Projection, worth: dict[str, float]) -> float:
    """What one count of the source is worth after the average pools on the way."""
    value = worth[projection.source]
    for op in projection.ops:
        if isinstance(op, AvgPool2d):
            value /= op.kernel[0] * op.kernel[1]
    return value


def _rows(projection: Projection, layer: Layer) -> FloatArray:
    """The weights of each channel of the layer, (C, K); of an identity branch, ones (C, 1)."""
    op = projection.weighted
    channels = layer.shape[0]
    if op is None:
        return np.ones((channels, 1))
    if op.weight.shape[0] != channels:
        raise UnsupportedModelError(
            f"'{op.name}' has {op.weight.shape[0]} output channels, the layer {channels}",
            where=f"layer '{layer.name}'",
            remedy="put the flatten behind the activation",
        )
    rows: FloatArray = op.weight.reshape(channels, -1)
    return rows
