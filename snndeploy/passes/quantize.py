"""Weights, thresholds and biases to integers: from a float network to a spiking one.

Each layer of neurons adds up, in one accumulator a channel c,

    a[c] = sum over branches p of W_p[c] q_p,    q_p worth s_p,    and fires at theta[c].

An accumulator unit is worth `s_out / theta[c]`, so the threshold is exact for every integer
theta; the larger it is, the finer the weight grid. The largest that keeps all weights in `bits`
bits is taken:

    theta[c] = floor(q_max * s_out / max over p, i of |W_p[c, i]| s_p)
    w_p[c]   = round(W_p[c] * s_p * theta[c] / s_out),   B[c] = round(b[c] * theta[c] / s_out)

An identity branch is W = 1. An average pool over k values makes its output worth `s / k`. The
input is injected `window` times, so one of its counts is worth `scale / window`. The readout has
no threshold: all its channels share the unit that uses the weight range in full.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from snndeploy.errors import UnsupportedModelError
from snndeploy.layers import Layer, Projection, layers
from snndeploy.network import Mode, Network
from snndeploy.nodes import (
    Activation,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool2d,
)
from snndeploy.numerics import FloatArray, initial_membrane, round_to_integer
from snndeploy.passes.base import Pass


@dataclass(frozen=True)
class Quantize(Pass):
    """Turn a float network (folded, pools behind activations, input grid set) to integers.

    Attributes:
        weight_bits: of the signed integer weights; symmetric, so 8 bits are -127 .. 127.
        threshold_bits: the largest threshold is `2**threshold_bits - 1`; keeps the state of
            channels with tiny weights small.
        mode: `exact` or `rate`.
    """

    weight_bits: int = 8
    threshold_bits: int = 16
    mode: Mode = "exact"
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
        window = max(levels)
        worth = {network.input.name: grid.scale / window}
        view = layers(network)
        built = _Builder(network.input, {layer.name for layer in view})
        for layer in view[1:]:
            node = layer.node
            if isinstance(node, MaxPool2d):
                source = layer.projections[0].source
                worth[layer.name] = worth[source]
                built.add_layer(node, [(source, ())])
                continue
            if isinstance(node, Activation):
                worth[layer.name] = node.ceiling / node.levels
            built.add_layer(*self._layer(layer, worth, _constant(network, layer.name)))
        return network.rewrite(built.nodes, built.edges, mode=self.mode, window=window)

    def _layer(
        self, layer: Layer, worth: dict[str, float], bias: FloatArray
    ) -> tuple[Node, list[tuple[str, tuple[Node, ...]]]]:
        """The integer form of one layer's node, and of each projection into it."""
        units = [_source_worth(p, worth) for p in layer.projections]
        reach = np.max(
            [_largest(p, layer) * u for p, u in zip(layer.projections, units, strict=True)], axis=0
        )
        theta, unit = self._unit(layer, reach, worth)
        projections = [
            (p.source, _integer_ops(p, u / unit, layer.name))
            for p, u in zip(layer.projections, units, strict=True)
        ]
        total = round_to_integer(bias / unit)
        node = layer.node
        if isinstance(node, Activation):
            v0 = initial_membrane(theta)
            scale = worth[node.name]
            return Neuron(node.name, theta, v0, total, node.levels, scale), projections
        return Output(node.name, total, float(unit[0])), projections

    def _unit(
        self, layer: Layer, reach: FloatArray, worth: dict[str, float]
    ) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], FloatArray]:
        """Thresholds and the worth of an accumulator unit, per channel."""
        most = (1 << (self.weight_bits - 1)) - 1
        if layer.kind == "readout":
            unit = np.full_like(reach, reach.max() / most if reach.max() > 0 else 1.0)
            return np.ones(len(reach), np.int64), unit
        out = worth[layer.name]
        highest = (1 << self.threshold_bits) - 1
        with np.errstate(divide="ignore"):
            theta = np.minimum(np.floor(most * out / reach), highest).astype(np.int64)
        if theta.min() < 1:
            channel = int(theta.argmin())
            raise UnsupportedModelError(
                f"channel {channel}: a single input moves it by {reach[channel] / out:.4g} "
                f"thresholds, the limit with {self.weight_bits}-bit weights is {most}",
                where=f"layer '{layer.name}'",
                remedy="use more weight bits, or retrain with a larger ceiling",
            )
        return theta, out / theta


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


def _integer_ops(projection: Projection, factor: FloatArray, layer: str) -> tuple[Node, ...]:
    """A projection's nodes with integer weights `W * factor` (per channel); identity is W = 1."""
    ops: list[Node] = []
    for op in projection.ops:
        if isinstance(op, AvgPool2d):
            ops.append(SumPool2d(op.name, op.kernel, op.stride, op.padding))
        elif isinstance(op, Conv2d | Linear):
            shaped = factor.reshape(-1, *(1,) * (op.weight.ndim - 1))
            ops.append(replace(op, weight=round_to_integer(op.weight * shaped), bias=None))
        else:
            ops.append(op)
    if projection.weighted is None:
        ops.append(Scale(f"{layer}_from_{projection.source}", round_to_integer(factor)))
    return tuple(ops)


def _source_worth(projection: Projection, worth: dict[str, float]) -> float:
    """What one count of the source is worth after the average pools on the way."""
    value = worth[projection.source]
    for op in projection.ops:
        if isinstance(op, AvgPool2d):
            value /= op.kernel[0] * op.kernel[1]
    return value


def _largest(projection: Projection, layer: Layer) -> FloatArray:
    """The largest weight magnitude of each channel of the layer, (C,)."""
    op = projection.weighted
    channels = layer.shape[0]
    if op is None:
        return np.ones(channels)
    if op.weight.shape[0] != channels:
        raise UnsupportedModelError(
            f"'{op.name}' has {op.weight.shape[0]} output channels, the layer {channels}",
            where=f"layer '{layer.name}'",
            remedy="put the flatten behind the activation",
        )
    largest: FloatArray = np.abs(op.weight).reshape(channels, -1).max(axis=1)
    return largest


def _constant(network: Network, name: str) -> FloatArray:
    """What biases alone add to a node's value, in the model's units, one number a channel.

    Follows the graph itself: a bias in front of a sum that is used twice counts twice.
    """
    channels = network.shapes[name][0]
    total = np.zeros(channels)
    for source in network.sources[name]:
        node = network.by_name[source]
        if isinstance(node, Add | AvgPool2d | Flatten):
            value = _constant(network, source)
            if value.any() and not isinstance(node, Add):
                _check_constant(node)
        elif isinstance(node, Conv2d | Linear) and node.bias is not None:
            value = node.bias
        else:
            continue
        total = total + (np.repeat(value, channels // len(value)))
    return total


def _check_constant(node: Node) -> None:
    if isinstance(node, AvgPool2d) and node.padding != (0, 0):
        raise UnsupportedModelError(
            "a bias in front of a padded average pool is not the same everywhere",
            where=f"AvgPool2d '{node.name}'",
            remedy="pool without padding",
        )
