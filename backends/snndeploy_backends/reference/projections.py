"""The linear part of a layer: a chain of kernels for each projection, chosen by what is exact."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from snndeploy.layers import Projection
from snndeploy.nodes import Conv2d, Flatten, Linear, Node, Shape, SumPool2d
from snndeploy.numerics import mantissas
from snndeploy_backends.reference.kernels import (
    MOST_BYTE,
    LinearKind,
    Map,
    float_stage,
    int8_conv,
    int8_linear,
    sum_pool,
)
from snndeploy_backends.reference.products import growth, is_product, product


def spike_map(
    projection: Projection,
    shape: Shape,
    zero: int,
    dtype: torch.dtype,
    kind: LinearKind,
    device: str = "cpu",
) -> Map:
    """A projection as a function from bytes (rows, *shape) to sums (rows, *out).

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
    rest = _numbers(ops, dtype, kind, most - zero, device)
    start = torch.int8 if kind == "matmul" and ops and is_product(ops[0]) else dtype
    to_numbers: Map = lambda x: x.to(start).sub_(zero)  # noqa: E731
    dense = [*stages, to_numbers, *rest]
    if kind == "int8" and dtype == torch.float32 and ops and _is_int8(ops[0], most):
        op = ops[0]
        assert isinstance(op, Conv2d | Linear)
        stage = int8_conv(op, zero, shape) if isinstance(op, Conv2d) else int8_linear(op, zero)
        dense = [*stages, stage, *rest[1:]]
    return _chain(dense)


def value_map(
    projection: Projection,
    dtype: torch.dtype,
    kind: LinearKind = "float",
    value: int = 0,
    device: str = "cpu",
) -> Map:
    """The projection as a function on numbers (rows, *shape) up to `value`, channels last."""
    return _chain(_numbers(projection.ops, dtype, kind, value, device))


def _numbers(
    ops: Sequence[Node], dtype: torch.dtype, kind: LinearKind, value: int, device: str
) -> list[Map]:
    """The nodes as functions on numbers, which are up to `value` in magnitude at first."""
    if kind != "matmul":
        return [float_stage(op, dtype, device) for op in ops]
    maps: list[Map] = []
    for op in ops:
        if is_product(op):
            maps.append(product(op, value, dtype, device))
        else:
            maps.append(float_stage(op, dtype, device))
        value *= growth(op)
    return maps


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
            y = a * op.stride[0] + i * op.dilation[0] - op.pads[0]
            x = b * op.stride[1] + j * op.dilation[1] - op.pads[1]
            if 0 <= y < height and 0 <= x < width:
                matrix[a, b, :, y, x] = op.weight[:, :, i, j]
    return Linear(op.name, matrix.reshape(-1, prod(shape)))


def _is_int8(op: Node, most: int) -> bool:
    """Whether int8 kernels are exact: float32 holds every sum of bytes up to `most`.

    oneDNN (3.12) crashes on some dilated convolutions of bytes and gets some wrong, and some of one
    channel a group with unequal strides.
    """
    if isinstance(op, Conv2d):
        lone = op.weight.shape[1] == 1 and op.stride[0] != op.stride[1]
        if lone or op.dilation != (1, 1):
            return False
    if not isinstance(op, Conv2d | Linear):
        return False
    held, _ = mantissas(op.weight)
    if held.min() < -128 or held.max() > 127:
        return False
    return growth(op) * most < 1 << 24


def only_weights(projection: Projection, shape: Shape) -> tuple[Conv2d | Linear, Shape] | None:
    """The one weighted node of a projection without pools, for channels last, and its input."""
    match projection.ops:
        case (Conv2d() as op,) | (Linear() as op,):
            return op, shape
        case (Flatten(), Linear() as op):
            return _channels_last(op, shape), (prod(shape),)
        case _:
            return None
