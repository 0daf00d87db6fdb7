"""Weights, thresholds and biases to integers: from a float network to a spiking one.

Each layer of neurons adds up, in one accumulator a channel c,

    a[c] = sum over branches p of W_p[c] q_p,    q_p worth s_p,    and fires at theta[c].

An accumulator unit is worth `s_out / theta[c]`, so the threshold is exact for every integer
theta; the larger it is, the finer the weight grid. A theta that makes all weights integers is
found again (`units.py`); else it is the largest that keeps them in `bits` bits:

    theta[c] = floor(q_max * s_out / max over p, i of |W_p[c, i]| s_p)
    w_p[c]   = round(W_p[c] * s_p * theta[c] / s_out),    errors balanced (`rounding.py`)
    B[c]     = floor(b[c] * theta[c] / s_out + theta[c] / 2) - v0[c]

That bias is exact where the sums of w q are, since they are integers.

An identity branch is W = 1. An average pool over k values makes its output worth `s / k`. The
input is injected `window` times, so one of its counts is worth `scale / window`. The readout has
no threshold: all its channels share the unit that uses the weight range in full.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from snndeploy.errors import UnsupportedModelError
from snndeploy.layers import Layer, Projection, constant, layers
from snndeploy.network import Mode, Network
from snndeploy.nodes import (
    Activation,
    Add,
    AvgPool2d,
    Conv2d,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool2d,
)
from snndeploy.numerics import (
    FloatArray,
    Int64Array,
    initial_membrane,
    round_to_integer,
    window_share,
)
from snndeploy.passes.base import Pass
from snndeploy.passes.rounding import balanced
from snndeploy.passes.units import SLACK, channel_unit, largest_thresholds, readout_unit


@dataclass(frozen=True)
class Quantize(Pass):
    """Turn a float network (folded, pools behind activations, input grid set) to integers.

    Attributes:
        weight_bits: of the signed integer weights; symmetric, so 8 bits are -127 .. 127.
        threshold_bits: the largest threshold is `2**threshold_bits - 1`; keeps the state of
            channels with tiny weights small.
        identity_synapses: how many parallel synapses may carry an identity branch, which would
            else set the grid of its whole layer.
        mode: `exact` or `rate`.
        window: steps during which bias and input are injected; 0: as many as the most levels.
        per_step: the input comes step by step, and the model's input is the sum.
    """

    weight_bits: int = 8
    threshold_bits: int = 16
    identity_synapses: int = 4
    mode: Mode = "exact"
    window: int = 0
    per_step: bool = False
    name: ClassVar[str] = "quantize"

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
        window = self.window or max(levels)
        worth = {network.input.name: grid.scale / (1 if self.per_step else window)}
        view = layers(network)
        entry = replace(network.input, per_step=self.per_step)
        built = _Builder(entry, {layer.name for layer in view})
        for layer in view[1:]:
            node = layer.node
            if isinstance(node, MaxPool2d):
                source = layer.projections[0].source
                worth[layer.name] = worth[source]
                built.add_layer(node, [(source, ())])
                continue
            if isinstance(node, Activation):
                worth[layer.name] = node.ceiling / node.levels
            built.add_layer(*self._layer(layer, worth, constant(network, layer.name)))
        return network.rewrite(built.nodes, built.edges, mode=self.mode, window=window)

    def _layer(
        self, layer: Layer, worth: dict[str, float], bias: FloatArray
    ) -> tuple[Node, list[tuple[str, tuple[Node, ...]]]]:
        """The integer form of one layer's node, and of each projection into it."""
        rows = [_rows(p, layer) * _source_worth(p, worth) for p in layer.projections]
        node = layer.node
        if not isinstance(node, Activation):
            unit = np.full(layer.shape[0], readout_unit(rows, self._most))
            total = round_to_integer(bias / unit)
            return Output(node.name, total, float(unit[0])), self._integer(layer, rows, unit)
        scale = worth[node.name]
        theta, unit = self._units(layer, [row / scale for row in rows])
        exact = 1 / unit  # theta, but where the weights set the unit
        middle = (1 + node.levels) / 4  # the count at which the two agree
        v0 = initial_membrane(theta)
        total = _floor(bias / scale / unit + exact / 2 + middle * (theta - exact)) - v0
        neuron = Neuron(node.name, theta, v0, total, node.levels, scale)
        return neuron, self._integer(layer, rows, unit * scale)

    @property
    def _most(self) -> int:
        """The largest magnitude of a weight."""
        return (1 << (self.weight_bits - 1)) - 1

    def _units(self, layer: Layer, rows: list[FloatArray]) -> tuple[Int64Array, FloatArray]:
        """Thresholds, and what a unit is worth in counts of the layer, per channel.

        Args:
            rows: what one count of each input adds to the channels' counts, (C, K) a projection.
        """
        pairs = zip(layer.projections, rows, strict=True)
        reach = np.max([self._reach(p, row) for p, row in pairs], axis=0)
        limits = largest_thresholds(reach, self._most, (1 << self.threshold_bits) - 1)
        if limits.min() < 1:
            channel = int(limits.argmin())
            raise UnsupportedModelError(
                f"channel {channel}: a single input moves it by {reach[channel]:.4g} "
                f"thresholds, the limit with {self.weight_bits}-bit weights is {self._most}",
                where=f"layer '{layer.name}'",
                remedy="use more weight bits, or retrain with a larger ceiling",
            )
        found = [
            channel_unit([row[c] for row in rows], reach[c], int(limit), self._most)
            for c, limit in enumerate(limits)
        ]
        theta, unit = (np.array(column) for column in zip(*found, strict=True))
        return theta, unit

    def _reach(self, projection: Projection, rows: FloatArray) -> FloatArray:
        """The largest magnitude that a single synapse of each channel must hold, (C,)."""
        synapses = self.identity_synapses if projection.weighted is None else 1
        reach: FloatArray = np.abs(rows).max(axis=1) / synapses
        return reach

    def _integer(
        self, layer: Layer, rows: list[FloatArray], unit: FloatArray
    ) -> list[tuple[str, tuple[Node, ...]]]:
        """Source and nodes of each projection with integer weights."""
        found: list[tuple[str, tuple[Node, ...]]] = []
        for projection, row in zip(layer.projections, rows, strict=True):
            found += self._synapses(projection, row / unit[:, None], layer.name)
        return found

    def _synapses(
        self, projection: Projection, goals: FloatArray, layer: str
    ) -> list[tuple[str, tuple[Node, ...]]]:
        """One projection; an identity branch becomes a `Scale`, or several beside each other."""
        ops: list[Node] = []
        for op in projection.ops:
            if isinstance(op, AvgPool2d):
                ops.append(SumPool2d(op.name, op.kernel, op.stride, op.padding))
            elif isinstance(op, Conv2d | Linear):
                taps = op.weight[0, 0].size
                weight = balanced(goals.reshape(len(goals), -1, taps), self._most)
                ops.append(replace(op, weight=weight.reshape(op.weight.shape), bias=None))
            else:
                ops.append(op)
        if projection.weighted is not None:
            return [(projection.source, tuple(ops))]
        weight = round_to_integer(goals[:, 0])
        synapses = max(1, -(-int(np.abs(weight).max()) // self._most))
        name = f"{layer}_from_{projection.source}"
        return [
            (projection.source, (*ops, Scale(name, window_share(weight, part, synapses))))
            for part in range(synapses)
        ]


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


def _floor(x: FloatArray) -> Int64Array:
    """The integer at or below x; what is an integer but for float64's rounding stays one."""
    return round_to_integer(x - 0.5 + SLACK)
