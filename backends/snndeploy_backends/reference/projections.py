"""The linear part of a layer: a chain of kernels for each projection, chosen by what is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from snndeploy.layers import Projection
from snndeploy.nodes import Conv2d, Flatten, Linear, Node, Shape, SumPool2d
from snndeploy_backends.reference.kernels import (
    MOST_BYTE,
    LinearKind,
    Map,
    float_stage,
    int8_conv,
    int8_linear,
    scatter,
    sum_pool,
)
from snndeploy_backends.reference.scan import ScanKind

_WORTHWHILE = 0.012 / 64
"""Visiting spikes beats the integer kernels below this rate for each output channel: measured."""


@dataclass(frozen=True)
class SpikeMap:
    """A projection as functions from bytes (rows, *shape) to sums (rows, *out).

    Attributes:
        dense: right for any spikes.
        sparse: faster where fewer than `below` of the neurons fire; None if there is none.
    """

    dense: Map
    sparse: Map | None = None
    below: float = 0.0


def spike_map(
    projection: Projection,
    shape: Shape,
    zero: int,
    dtype: torch.dtype,
    kinds: tuple[LinearKind, ScanKind],
) -> SpikeMap:
    """Choose kernels for a projection.

    Args:
        shape: of the source, channels first, as everywhere in a network.
        zero: what the bytes hold for no spike.
        dtype: of the sums; holds each of them exactly, by range analysis.
    """
    ops: list[Node] = list(projection.ops)
    stages: list[Map] = []
    most = 2 * zero or 1
    while ops and isinstance(ops[0], SumPool2d) and most * prod(ops[0].kernel) <= MOST_BYTE:
        pool = ops.pop(0)
        assert isinstance(pool, SumPool2d)
        stages.append(sum_pool(pool, zero))
        shape = pool.output_shape([shape])
        most, zero = most * prod(pool.kernel), zero * prod(pool.kernel)
    if ops and isinstance(ops[0], Conv2d) and _better_dense(ops[0], shape):
        ops[:1] = [_as_dense(ops[0], shape)]
        stages.append(lambda x: x.reshape(len(x), -1))
    elif ops and isinstance(ops[0], Flatten) and len(ops) > 1 and isinstance(ops[1], Linear):
        ops[:2] = [_channels_last(ops[1], shape)]
        stages.append(lambda x: x.reshape(len(x), -1))
    rest = [float_stage(op, dtype) for op in ops]
    to_numbers: Map = lambda x: x.to(dtype).sub_(zero)  # noqa: E731
    dense = [*stages, to_numbers, *rest]
    if not ops or not isinstance(ops[0], Conv2d | Linear) or not _has_bytes(ops[0]):
        return SpikeMap(_chain(dense))
    op = ops[0]
    if kinds[0] == "int8" and dtype == torch.float32 and _fits_float32(op, most):
        stage = int8_conv(op, zero) if isinstance(op, Conv2d) else int8_linear(op, zero)
        dense = [*stages, stage, *rest[1:]]
    if kinds[1] != "numba" or (isinstance(op, Conv2d) and op.groups > 1):
        return SpikeMap(_chain(dense))
    below = _WORTHWHILE * min(len(op.weight), 320)
    return SpikeMap(_chain(dense), _chain([*stages, scatter(op, zero, dtype), *rest[1:]]), below)


def value_map(projection: Projection, dtype: torch.dtype) -> Map:
    """The projection as a function on numbers (rows, *shape), channels last."""
    return _chain([float_stage(op, dtype) for op in projection.ops])


def _chain(stages: Sequence[Map]) -> Map:
    def apply(x: Tensor) -> Tensor:
        for stage in stages:
            x = stage(x)
        return x

    return apply


def _channels_last(op: Linear, shape: Shape) -> Linear:
    """The same synapses for a value that was flattened with its channels last."""
    if len(shape) != 3:
        return op
    weight = op.weight.reshape(-1, *shape).transpose(0, 2, 3, 1).reshape(op.weight.shape)
    return Linear(op.name, weight)


def _better_dense(op: Conv2d, shape: Shape) -> bool:
    """Whether a matrix for all places at once is less work, and not much more to read."""
    out = op.output_shape([shape])
    if op.groups > 1:
        return False
    dense, once = prod(shape) * prod(out), op.weight.size
    return dense <= min(2 * once, once * prod(out[1:]))


def _as_dense(op: Conv2d, shape: Shape) -> Linear:
    """The convolution as synapses between flat values, channels last on both sides."""
    channels, height, width = shape
    _, down, right = op.output_shape([shape])
    matrix = np.zeros((down, right, len(op.weight), height, width, channels), np.int64)
    for a, b in np.ndindex(down, right):
        for i, j in np.ndindex(op.weight.shape[2:]):
            y = a * op.stride[0] + i * op.dilation[0] - op.padding[0]
            x = b * op.stride[1] + j * op.dilation[1] - op.padding[1]
            if 0 <= y < height and 0 <= x < width:
                matrix[a, b, :, y, x] = op.weight[:, :, i, j]
    return Linear(op.name, matrix.reshape(-1, prod(shape)))


def _has_bytes(op: Conv2d | Linear) -> bool:
    return int(op.weight.min()) >= -128 and int(op.weight.max()) <= 127


def _fits_float32(op: Conv2d | Linear, most: int) -> bool:
    """Whether every sum of products with bytes up to `most` is an integer that float32 holds."""
    sums = abs(op.weight.astype(np.int64)).reshape(len(op.weight), -1).sum(axis=1)
    return int(sums.max()) * most < 1 << 24
