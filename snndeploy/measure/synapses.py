"""Synapses seen from their targets: what arrives at each neuron, and from whom."""

from __future__ import annotations

import numpy as np

from snndeploy import linear_ops
from snndeploy.connectivity import reach
from snndeploy.layers import Layer, Projection
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Linear, MaxPool2d, Shape, SumPool2d
from snndeploy.numerics import BoolArray, Int64Array


def arrivals(projection: Projection, events: Int64Array) -> Int64Array:
    """Synaptic operations at each target neuron, for events (T, *source shape): (T, *shape)."""
    return reach(projection.ops, events.shape[1:]).forward(events)


def presynaptic(layer: Layer, source_shape: Shape, source: str, targets: BoolArray) -> BoolArray:
    """Which neurons of `source` drive any of the masked `targets` (*layer.shape).

    The union over all projections from that source; a max-pool is driven by what it pools.
    """
    found, counted = np.zeros(source_shape, np.bool_), targets.astype(np.int64)
    for projection in layer.projections:
        if projection.source == source:
            ops = projection.ops
            if isinstance(layer.node, MaxPool2d):
                ops = (layer.node,)
            found |= reach(ops, source_shape).back(counted) > 0
    return found


def pooled_values(layer: Layer, source_shape: Shape) -> int:
    """How many values a max-pool compares in one step, padding left out."""
    node = layer.node
    assert isinstance(node, MaxPool2d)
    ones = np.ones((1, *source_shape), np.int64)
    return int(linear_ops.windows(ones, node.kernel, node.stride, node.padding).sum())


def synapse_words(projection: Projection, source: Shape, targets: BoolArray) -> int:
    """Weights that a core must hold for the masked `targets` of one projection.

    A kernel is shared by the neurons of a channel and held once; dense weights are held in full.
    A sum pool is merged into the weights behind it.
    """
    channels = int(targets.reshape(len(targets), -1).any(axis=1).sum())
    weighted = projection.weighted
    if isinstance(weighted, Linear):
        return channels * int(np.prod(source))
    words = channels
    if isinstance(weighted, Conv2d):
        words *= int(np.prod(weighted.weight.shape[1:]))
    for op in projection.ops:
        if isinstance(op, SumPool2d):
            words *= op.kernel[0] * op.kernel[1]
    return words


def is_dense(layer: Layer) -> bool:
    """Whether any synapses of the layer are dense rather than shared kernels."""
    return any(isinstance(p.weighted, Linear) for p in layer.projections)


def source_shapes(network: Network, layer: Layer) -> dict[str, Shape]:
    """The shapes of the layers that feed a layer, by name."""
    return {p.source: network.shapes[p.source] for p in layer.projections}
