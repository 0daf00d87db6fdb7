"""True connectivity of a projection: how many synapses each presynaptic neuron drives."""

from __future__ import annotations

import numpy as np

from snndeploy.layers import Projection
from snndeploy.nodes import Conv2d, Linear, Shape, SumPool2d
from snndeploy.numerics import Int64Array


def dense_operations(projection: Projection, source_shape: Shape) -> int:
    """Connections of a projection: the MACs of one dense evaluation, padding left out."""
    return int(fan_out(projection, source_shape).sum())


def fan_out(projection: Projection, source_shape: Shape) -> Int64Array:
    """How many synapses each neuron of the source drives through a projection, (*source_shape).

    Counts true connections: borders, strides and groups included. A chain of a sum pool and a
    weighted node counts as the one set of synapses into which it would be merged on a chip.
    """
    shapes = [source_shape]
    for op in projection.ops:
        shapes.append(op.output_shape([shapes[-1]]))
    back = np.ones((1, *shapes[-1]), np.int64)
    for op, shape in zip(reversed(projection.ops), reversed(shapes[:-1]), strict=True):
        back = _transpose(op, back, shape)
    counted: Int64Array = back[0]
    return counted


def _transpose(op: object, back: Int64Array, shape: Shape) -> Int64Array:
    """Sum `back` over the targets that each source position reaches through `op`."""
    if isinstance(op, Linear):
        return np.full((1, *shape), back.sum(), np.int64)
    if isinstance(op, Conv2d | SumPool2d):
        if isinstance(op, Conv2d):
            kernel = (op.weight.shape[2], op.weight.shape[3])
            groups, dilation = op.groups, op.dilation
            summed = back.reshape(1, groups, -1, *back.shape[2:]).sum(2)
            spread = np.repeat(summed, shape[0] // groups, axis=1)
        else:
            kernel, dilation, spread = op.kernel, (1, 1), back
        height, width = shape[1], shape[2]
        padded = (height + 2 * op.padding[0], width + 2 * op.padding[1])
        target = np.zeros((1, shape[0], *padded), np.int64)
        rows, columns = back.shape[2], back.shape[3]
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                top, left = i * dilation[0], j * dilation[1]
                target[
                    :,
                    :,
                    top : top + op.stride[0] * rows : op.stride[0],
                    left : left + op.stride[1] * columns : op.stride[1],
                ] += spread
        return target[
            :, :, op.padding[0] : op.padding[0] + height, op.padding[1] : op.padding[1] + width
        ]
    return back.reshape(1, *shape)
