"""How far the integers of a layer are from the weights and biases that they stand for."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from snndeploy.layers import Layer, Projection, constant, count_worths, pooled
from snndeploy.network import Network
from snndeploy.nodes import Activation, Neuron, Node, Output, Scale
from snndeploy.numerics import FloatArray, Int64Array, initial_membrane, round_to_integer


def rounding(
    float_network: Network, before: Layer, network: Network, after: Layer
) -> tuple[float, float]:
    """Relative root mean square of the rounding of a layer's weights, and of its biases.

    Args:
        float_network: that `before` is a layer of.
        network: its integer form, that `after` is the same layer of.
    """
    node = after.node
    if not isinstance(node, Neuron | Output):
        return 0.0, 0.0
    unit = np.full(after.shape[0], node.scale)
    if isinstance(node, Neuron):
        unit = unit / node.threshold
    worths = count_worths(network)
    exact = np.concatenate([m for _, m in _weights(before)], axis=1)
    rounded = np.concatenate([m / worths[name] for name, m in _weights(after)], axis=1)
    bias = constant(float_network, before.name)
    return _relative(rounded * unit[:, None] - exact, exact), _relative(
        _bias(before.node, node) * unit - bias, bias
    )


def _bias(before: Node, after: Neuron | Output) -> Int64Array:
    """The integer that stands for a bias: of a neuron, without the shift of its activation."""
    assert after.bias is not None
    if isinstance(after, Output):
        return after.bias
    assert isinstance(before, Activation)
    found: Int64Array = after.bias + after.v0 - initial_membrane(after.threshold)
    return found - round_to_integer((before.shift - 0.5) * after.threshold)


def _weights(layer: Layer) -> list[tuple[str, FloatArray]]:
    """Source and weights (C, K) of each branch, in an order that conversion and files keep.

    Branches of one source that reach alike are added up: conversion may split one into several.
    """
    found: dict[tuple[str, str], FloatArray] = defaultdict(lambda: np.zeros(1))
    for projection in layer.projections:
        key = (projection.source, _geometry(projection))
        found[key] = found[key] + _matrix(projection, layer.shape[0])
    return [(source, found[source, geometry]) for source, geometry in sorted(found)]


def _geometry(projection: Projection) -> str:
    """Which neurons the synapses of a projection join; the same for like ones."""
    op = projection.weighted
    if op is None or isinstance(op, Scale):
        return ""
    sizes = [getattr(op, name, None) for name in ("stride", "padding", "dilation", "groups")]
    return f"{op.weight.shape} {sizes}"


def _matrix(projection: Projection, channels: int) -> FloatArray:
    """The weights of a projection, (C, K), as they act on the mean over its sum pools."""
    op = projection.weighted
    weights = np.ones(channels) if op is None else op.weight.astype(np.float64)
    rows: FloatArray = weights.reshape(channels, -1) * pooled(projection)
    return rows


def _relative(error: FloatArray, exact: FloatArray) -> float:
    """Root mean square of `error` relative to that of `exact`; 0 where there is no error."""
    size = float(np.sqrt((exact**2).mean()))
    found = float(np.sqrt((error**2).mean()))
    return found / size if size else found
