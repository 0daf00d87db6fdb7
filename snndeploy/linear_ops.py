"""Linear nodes applied to integer arrays in NumPy: plain and exact. The engines' judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from snndeploy.layers import Projection
from snndeploy.nodes import (
    Array,
    Conv2d,
    Flatten,
    Linear,
    Node,
    Padding,
    Pair,
    Scale,
    SumPool2d,
    sides,
)
from snndeploy.numerics import Int64Array


def project(projections: Sequence[Projection], values: Mapping[str, Int64Array]) -> Int64Array:
    """The sum over all projections into a layer, given the values (N, *shape) of its sources."""
    first, *rest = (apply_all(p.ops, values[p.source]) for p in projections)
    for term in rest:
        first = first + term
    return first


def apply_all(ops: Sequence[Node], x: Int64Array) -> Int64Array:
    """Apply a projection's linear nodes, first to last, to int64 values (N, *shape)."""
    for op in ops:
        x = apply(op, x)
    return x


def apply(op: Node, x: Int64Array) -> Int64Array:
    """Apply one linear node to int64 values (N, *shape)."""
    if isinstance(op, Flatten):
        return x.reshape(len(x), prod(x.shape[1:]))
    if isinstance(op, Linear):
        return _dot(x, op.weight.astype(np.int64).T)
    if isinstance(op, Scale):
        return x * per_channel(op.weight.astype(np.int64), x.ndim)
    if isinstance(op, SumPool2d):
        pooled: Int64Array = windows(x, op.kernel, op.stride, op.padding).sum(axis=(-2, -1))
        return pooled
    if isinstance(op, Conv2d):
        kernel = (op.weight.shape[2], op.weight.shape[3])
        view = windows(x, kernel, op.stride, op.padding, op.dilation)
        n, _, height, width, *_ = view.shape
        channels, group, each = *op.weight.shape[:2], op.weight[0].size
        weight = op.weight.astype(np.int64).reshape(op.groups, -1, each)
        view = view.reshape(n, op.groups, group, height, width, *kernel)
        patches = view.transpose(1, 0, 3, 4, 2, 5, 6).reshape(op.groups, n * height * width, each)
        out = _dot(patches, weight.transpose(0, 2, 1))
        out = out.reshape(op.groups, n, height, width, channels // op.groups)
        return out.transpose(1, 0, 4, 2, 3).reshape(n, channels, height, width)
    raise TypeError(f"{type(op).__name__} is not a linear node of an integer network")


def _dot(a: Int64Array, b: Int64Array) -> Int64Array:
    """`a @ b` of integers. By way of float64, which is fast, where no partial sum can round."""
    largest = int(np.abs(a).max(initial=0)) * int(np.abs(b).sum(axis=-2).max(initial=0))
    if largest < 1 << 53:
        exact: Int64Array = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
        return exact
    product: Int64Array = a @ b
    return product


def max_pool(counts: Int64Array, kernel: Pair, stride: Pair, padding: Padding) -> Int64Array:
    """Maximum of counts over windows. Counts are never negative, so padding with 0 is neutral."""
    pooled: Int64Array = windows(counts, kernel, stride, padding).max(axis=(-2, -1))
    return pooled


def windows(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1)
) -> Array:
    """All windows of (N, C, H, W) as a view (N, C, H_out, W_out, K_h, K_w), zero padded."""
    top, left, bottom, right = sides(padding)
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(x, span, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def per_channel(values: Int64Array, ndim: int) -> Int64Array:
    """A (C,) array shaped to broadcast over (N, C, ...) with `ndim` dimensions."""
    return values.reshape(1, -1, *(1,) * (ndim - 2))
