"""Projections for one sample at a time, faster than `linear_ops` and just as exact.

Weighted sums run in float64 BLAS. Range analysis has bounded every partial sum by the state
word (24 bits on Loihi), far below the 2**53 up to which float64 counts exactly. A convolution
is a matrix product over columns gathered by an index, which `linear_ops.windows` supplies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from snndeploy import linear_ops
from snndeploy.layers import Projection
from snndeploy.nodes import Conv2d, Linear, Node, Shape
from snndeploy.numerics import Int64Array

Operation: TypeAlias = Callable[[Int64Array], Int64Array]


class CompiledProjection:
    """One projection, ready to be applied to flat messages of its source."""

    def __init__(self, projection: Projection, source: Shape) -> None:
        self.source = source
        self.operations: list[Operation] = []
        shape = source
        for op in projection.ops:
            self.operations.append(_compiled(op, shape))
            shape = op.output_shape([shape])
        self.silence = np.zeros((1, *shape), np.int64)

    def __call__(self, message: NDArray[Any]) -> Int64Array:
        """The current (1, *shape) that a flat message of spikes or input values causes."""
        if not message.any():
            return self.silence
        x = message.astype(np.int64).reshape(1, *self.source)
        for operation in self.operations:
            x = operation(x)
        return x


def total_current(
    projections: Sequence[CompiledProjection], messages: Sequence[NDArray[Any]]
) -> Int64Array:
    """The sum over all projections into a layer, (1, *shape)."""
    first, *rest = (p(m) for p, m in zip(projections, messages, strict=True))
    for term in rest:
        first = first + term
    return first


def _compiled(op: Node, shape: Shape) -> Operation:
    if isinstance(op, Conv2d):
        return _convolution(op, shape)
    if isinstance(op, Linear):
        weight = op.weight.astype(np.float64)
        return lambda x: (weight @ x[0].astype(np.float64)).astype(np.int64)[None]
    return lambda x: linear_ops.apply(op, x)


def _convolution(op: Conv2d, shape: Shape) -> Operation:
    # Position 0 of the padded vector is the zero that all padding reads.
    positions = np.arange(1, 1 + int(np.prod(shape)), dtype=np.int64).reshape(1, *shape)
    kernel = (op.weight.shape[2], op.weight.shape[3])
    view = linear_ops.windows(positions, kernel, op.stride, op.padding, op.dilation)
    _, _, height, width, *_ = view.shape
    index = view[0].transpose(0, 3, 4, 1, 2).reshape(op.groups, -1, height * width).copy()
    weight = op.weight.astype(np.float64).reshape(op.groups, op.weight.shape[0] // op.groups, -1)

    def apply(x: Int64Array) -> Int64Array:
        padded = np.concatenate(([0.0], x.ravel()))
        out: Int64Array = (weight @ padded.take(index)).astype(np.int64)
        return out.reshape(1, -1, height, width)

    return apply
