"""True connectivity of a projection: how many synapses each presynaptic neuron drives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snndeploy.layers import Projection
from snndeploy.nodes import Conv2d, Linear, MaxPool2d, Node, Pair, Shape, SumPool2d
from snndeploy.numerics import Int64Array


def dense_operations(projection: Projection, source_shape: Shape) -> int:
    """Connections of a projection: the MACs of one dense evaluation, padding left out."""
    return int(fan_out(projection, source_shape).sum())


def fan_out(projection: Projection, source_shape: Shape) -> Int64Array:
    """How many synapses each neuron of the source drives through a projection, (*source_shape).

    Counts true connections: borders, strides and groups included. A chain of a sum pool and a
    weighted node counts as the one set of synapses into which it would be merged on a chip; where
    the pool's windows overlap, a neuron counts once for each path.
    """
    shape = source_shape
    for op in projection.ops:
        shape = op.output_shape([shape])
    return transpose(projection.ops, source_shape, np.ones(shape, np.int64))


def transpose(ops: Sequence[Node], source_shape: Shape, targets: Int64Array) -> Int64Array:
    """Walk back through nodes with all weights one: (*source_shape) from `targets` (*shape).

    For each position of the source, the sum of `targets` over all paths from it. A max-pool
    counts as the sum over its windows.
    """
    shapes = [source_shape]
    for op in ops:
        shapes.append(op.output_shape([shapes[-1]]))
    back = targets
    for op, shape in zip(reversed(ops), reversed(shapes[:-1]), strict=True):
        if isinstance(op, Linear):
            back = np.full(shape, back.sum(), np.int64)
        elif isinstance(op, Conv2d):
            summed = back.reshape(op.groups, -1, *back.shape[1:]).sum(axis=1)
            kernel = (op.weight.shape[2], op.weight.shape[3])
            shared = _spread(summed, shape, kernel, op.stride, op.padding, op.dilation)
            back = np.repeat(shared, shape[0] // op.groups, axis=0)
        elif isinstance(op, SumPool2d | MaxPool2d):
            back = _spread(back, shape, op.kernel, op.stride, op.padding, (1, 1))
        else:
            back = back.reshape(shape)
    return back


def _spread(
    back: Int64Array, shape: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Int64Array:
    """Add each output (C, H_out, W_out) to all positions (C, H, W) under its window."""
    (channels, rows, columns), (_, height, width) = back.shape, shape
    padded = np.zeros((channels, height + 2 * padding[0], width + 2 * padding[1]), np.int64)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            down = slice(top, top + rows * stride[0], stride[0])
            right = slice(left, left + columns * stride[1], stride[1])
            padded[:, down, right] += back
    return padded[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
