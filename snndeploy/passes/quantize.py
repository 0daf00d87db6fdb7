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
        """An integer network with the same nodes, and a `Scale` on each identity branch."""
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
        new: dict[str, Node] = {}
        scales: dict[tuple[str, str], Scale] = {}
        for layer in layers(network):
            node = layer.node
            if isinstance(node, MaxPool2d):
                worth[layer.name] = worth[layer.projections[0].source]
            elif isinstance(node, Activation | Output):
                if isinstance(node, Activation):
                    worth[layer.name] = node.ceiling / node.levels
                self._layer(layer, worth, new, scales, network)
        nodes = [new.get(n.name, _integer_form(n)) for n in network.nodes]
        edges: list[tuple[str, str]] = []
        for edge in network.edges:
            scale = scales.get(edge)
            edges += [edge] if scale is None else [(edge[0], scale.name), (scale.name, edge[1])]
        return network.rewrite([*nodes, *scales.values()], edges, mode=self.mode, window=window)

    def _layer(
        self,
        layer: Layer,
        worth: dict[str, float],
        new: dict[str, Node],
        scales: dict[tuple[str, str], Scale],
        network: Network,
    ) -> None:
        """Quantize what leads into one layer; put the integer nodes into `new` and `scales`."""
        units = [_source_worth(p, worth) for p in layer.projections]
        reach = np.max(
            [_largest(p, layer) * u for p, u in zip(layer.projections, units, strict=True)], axis=0
        )
        theta, unit = self._unit(layer, reach, worth)
        for projection, source_worth in zip(layer.projections, units, strict=True):
            factor = source_worth / unit
            op = projection.weighted
            if op is None:
                edge = _entry(network, projection, layer)
                weight = round_to_integer(factor)
                scales[edge] = Scale(f"{edge[1]}_from_{edge[0]}", weight)
            else:
                shaped = factor.reshape(-1, *(1,) * (op.weight.ndim - 1))
                integer = replace(op, weight=round_to_integer(op.weight * shaped))
                if isinstance(integer, Conv2d | Linear):
                    integer = replace(integer, bias=None)
                if op.name in new:
                    raise UnsupportedModelError(
                        "reaches two layers of neurons, or one on two ways",
                        where=f"{type(op).__name__} '{op.name}'",
                        remedy="give each its own copy of the weights",
                    )
                new[op.name] = integer
        bias = round_to_integer(_bias(layer) / unit)
        node = layer.node
        if isinstance(node, Activation):
            new[node.name] = Neuron(
                node.name, theta, initial_membrane(theta), bias, node.levels, worth[node.name]
            )
        else:
            new[node.name] = Output(node.name, bias, float(unit[0]))

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


def _integer_form(node: Node) -> Node:
    if isinstance(node, AvgPool2d):
        return SumPool2d(node.name, node.kernel, node.stride, node.padding)
    return node


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


def _bias(layer: Layer) -> FloatArray:
    """The layer's total bias in the model's units, (C,)."""
    total = np.zeros(layer.shape[0])
    for projection in layer.projections:
        op = projection.weighted
        if isinstance(op, Conv2d | Linear) and op.bias is not None:
            behind = projection.ops[projection.ops.index(op) + 1 :]
            if any(isinstance(o, AvgPool2d) and o.padding != (0, 0) for o in behind):
                raise UnsupportedModelError(
                    "a bias in front of a padded average pool is not the same everywhere",
                    where=f"layer '{layer.name}'",
                    remedy="pool without padding",
                )
            total += op.bias
    return total


def _entry(network: Network, projection: Projection, layer: Layer) -> tuple[str, str]:
    """The last edge of a branch without weights: where its integer weight goes."""
    last = projection.ops[-1].name if projection.ops else projection.source
    targets = [t for t in network.targets[last] if layer.name in _reached(network, t)]
    return last, targets[0]


def _reached(network: Network, name: str) -> set[str]:
    """The node itself, and what additions behind it lead to."""
    found = {name}
    if isinstance(network.by_name[name], Add):
        for target in network.targets[name]:
            found |= _reached(network, target)
    return found
