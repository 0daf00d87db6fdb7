"""True connectivity of a projection: which presynaptic neuron drives which targets.

A chain of pools and a weighted node counts as the one set of synapses into which it would be merged
on a chip: a neuron that reaches a target on several ways, through overlapping windows, has one
synapse to it. Borders, strides and groups are counted as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from snndeploy.layers import Projection
from snndeploy.nodes import Conv2d, Flatten, Linear, MaxPool2d, Node, Pair, Shape, SumPool2d
from snndeploy.numerics import FloatArray, Int64Array


def dense_operations(projection: Projection, source_shape: Shape) -> int:
    """Connections of a projection: the MACs of one dense evaluation, padding left out."""
    return int(fan_out(projection, source_shape).sum())


def fan_out(projection: Projection, source_shape: Shape) -> Int64Array:
    """How many synapses each neuron of the source drives through a projection, (*source_shape)."""
    found = reach(projection.ops, source_shape)
    return found.back(np.ones(found.target, np.int64))


@dataclass(frozen=True, eq=False)
class Reach:
    """The connections of a chain of nodes.

    Windows are rectangular, so a connection exists where it does along height, along width and
    between the channels.

    Attributes:
        source, target: shapes.
        image: the target as (C_out, H_out, W_out); a dense layer's is (F_out, 1, 1).
        rows: float64 (H, H_out), 1 where a row drives a row; columns: (W, W_out). Products with
            them are exact, and BLAS is far faster than NumPy is with integers.
        groups: of channels that are connected among each other; 0 if each only to itself.
    """

    source: Shape
    target: Shape
    image: Shape
    rows: FloatArray
    columns: FloatArray
    groups: int

    def back(self, targets: Int64Array) -> Int64Array:
        """For each source neuron the sum over its targets: (*target) to (*source)."""
        x = (self.rows @ targets.reshape(self.image) @ self.columns.T).astype(np.int64)
        back: Int64Array = self._channels(x[None], self.source[0])[0].reshape(self.source)
        return back

    def forward(self, events: Int64Array) -> Int64Array:
        """For each target the sum over its sources: (T, *source) to (T, *target)."""
        x = events.reshape(len(events), -1, len(self.rows), len(self.columns))
        x = (self.rows.T @ x @ self.columns).astype(np.int64)
        return self._channels(x, self.image[0]).reshape(len(events), *self.target)

    def _channels(self, x: Int64Array, wanted: int) -> Int64Array:
        """Sums (T, C, h, w) over each group, at each of the `wanted` channels of that group."""
        if not self.groups:
            return x
        summed = x.reshape(len(x), self.groups, -1, *x.shape[2:]).sum(axis=2)
        return np.repeat(summed, wanted // self.groups, axis=1)


@lru_cache(maxsize=64)
def reach(ops: tuple[Node, ...], source: Shape) -> Reach:
    """The connections of a projection's nodes, or of a max-pool, from a source of that shape."""
    shape, groups = source, 0
    image: Shape = source if len(source) == 3 else (source[0], 1, 1)
    rows, columns = np.eye(image[1]), np.eye(image[2])
    for op in ops:
        shape = op.output_shape([shape])
        if isinstance(op, Linear):
            image, groups = (len(op.weight), 1, 1), 1
            rows, columns = rows.max(axis=1, keepdims=True), columns.max(axis=1, keepdims=True)
        elif isinstance(op, Conv2d | SumPool2d | MaxPool2d):
            image = shape
            down, right = zip(image[1:], *_windows(op), strict=True)
            rows, columns = _step(rows, *down), _step(columns, *right)
            groups = op.groups if isinstance(op, Conv2d) else groups
        elif not isinstance(op, Flatten):
            image = image if len(shape) == 1 else shape
    assert prod(image) == prod(shape)
    return Reach(source, shape, image, rows, columns, groups)


def _windows(op: Conv2d | SumPool2d | MaxPool2d) -> tuple[Pair, Pair, Pair, Pair]:
    """Kernel, stride, padding at the top and at the left, dilation."""
    if isinstance(op, Conv2d):
        kernel = (op.weight.shape[2], op.weight.shape[3])
        return kernel, op.stride, op.pads[:2], op.dilation
    return op.kernel, op.stride, op.pads[:2], (1, 1)


def _step(
    before: FloatArray, out: int, kernel: int, stride: int, padding: int, dilation: int
) -> FloatArray:
    """Connections along one side with one more window behind them."""
    size = before.shape[1]
    windows = np.zeros((size, out))
    for place in range(out):
        taps = place * stride - padding + dilation * np.arange(kernel)
        windows[taps[(taps >= 0) & (taps < size)], place] = 1
    after: FloatArray = (before @ windows > 0).astype(np.float64)
    return after
