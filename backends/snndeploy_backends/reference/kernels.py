"""Kernels for single operations on folded spikes: rows first, channels last, exact integers out.

A row is one sample at one step. Spikes are bytes that hold `spike + zero`. With 8-bit weights
oneDNN's integer kernels take the bytes as they are and give the integer sums as float32; where
they cannot run, or the sums could leave float32's integers, the same sums come from float32 or
float64 kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snndeploy.nodes import (
    Conv2d,
    Flatten,
    Linear,
    Node,
    Padding,
    Scale,
    Shape,
    SumPool2d,
    sides,
)
from snndeploy.numerics import mantissas

LinearKind: TypeAlias = Literal["int8", "float", "matmul"]
Map: TypeAlias = Callable[[Tensor], Tensor]

MOST_BYTE = 127
"""Bytes up to here are safe in kernels that add pairs of products in 16 bits (AVX2, no VNNI)."""


def available() -> LinearKind:
    """The fastest kernels that run here and are right on a small sample."""
    return "int8" if _int8_works() else "float"


def channels_last(x: Tensor) -> Tensor:
    """(rows, C, H, W) as (rows, H, W, C); (rows, F) as it is."""
    return x.permute(0, 2, 3, 1).contiguous() if x.ndim == 4 else x


def channels_first(x: Tensor) -> Tensor:
    """The inverse of `channels_last`, as a view.

    A single channel gets the strides of the plain order: with those of channels last, which mean
    the same, oneDNN (3.12) gives wrong float sums for some strided convolutions.
    """
    if x.ndim == 4 and x.shape[3] == 1:
        return x.view(len(x), 1, *x.shape[1:3])
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def last_shape(shape: Shape) -> Shape:
    """A network's shape with the channels moved to the end."""
    return (*shape[1:], shape[0])


def _bytes(op: Conv2d | Linear) -> tuple[Tensor, Tensor]:
    """The weights as int8, row-major (packing reads other layouts wrongly), and a unit's worth."""
    held, exponent = mantissas(op.weight)
    worth = torch.full((len(held),), float(1 << exponent))
    return torch.from_numpy(np.ascontiguousarray(held, dtype=np.int8)), worth


def int8_conv(op: Conv2d, zero: int, shape: Shape) -> Map:
    """Bytes (rows, H, W, C) to float32 sums, by oneDNN; padding holds no spikes. No dilation.

    Weights that were packed for another `shape` (C, H, W) than they meet are packed anew at each
    call, which takes far longer than the sums.

    oneDNN (3.12) is told of no zero point: it would add up the weights at each call, which takes
    longer than the sums of a few rows, and is wrong where a place of the output sees padding only.
    What silence alone would bring is subtracted instead. Padding that differs side by side, which
    oneDNN does not know, is written out.
    """
    ops, (weight, scale) = torch.ops.onednn, _bytes(op)
    no_zeros = torch.zeros(len(weight), dtype=torch.int32)
    written = len(op.padding) == 4
    padding = [0, 0] if written else list(op.padding)
    where = (list(op.stride), padding, list(op.dilation), op.groups)
    top, left, bottom, right = op.pads if written else (0, 0, 0, 0)
    met = [1, shape[0], shape[1] + top + bottom, shape[2] + left + right]
    packed = ops.qconv_prepack(weight, scale, 1.0, 0, *where, met)
    tail: tuple[Any, ...] = (1.0, 0, torch.float32, "none", [], "")

    def apply(x: Tensor) -> Tensor:
        images = channels_first(padded(x, op.padding, 0) if written else x)
        y = ops.qconv2d_pointwise(images, 1.0, 0, packed, scale, no_zeros, None, *where, *tail)
        return channels_last(y)

    if not zero:
        return apply
    silence = apply(torch.full((1, *last_shape(shape)), zero, dtype=torch.uint8))
    return lambda x: apply(x).sub_(silence)


def int8_linear(op: Linear, zero: int) -> Map:
    """Bytes (rows, F) to float32 sums, by oneDNN."""
    ops, (weight, scale) = torch.ops.onednn, _bytes(op)
    no_zeros = torch.zeros(len(weight), dtype=torch.int32)
    packed = ops.qlinear_prepack(weight, None)
    tail: tuple[Any, ...] = (1.0, 0, torch.float32, "none", [], "")

    def apply(x: Tensor) -> Tensor:
        y: Tensor = ops.qlinear_pointwise(x, 1.0, zero, packed, scale, no_zeros, None, *tail)
        return y

    return apply


def float_stage(op: Node, dtype: torch.dtype, device: str = "cpu") -> Map:
    """Numbers to numbers of `dtype`, channels last, for any linear node."""
    if isinstance(op, Flatten):
        return lambda x: channels_first(x).flatten(1)
    if isinstance(op, SumPool2d):
        return sum_pool(op, 0)
    assert isinstance(op, Conv2d | Linear | Scale)
    weight = torch.from_numpy(op.weight).to(device, dtype)
    if isinstance(op, Linear):
        return lambda x: F.linear(x, weight)
    if isinstance(op, Scale):
        return lambda x: x * weight
    filters = weight.contiguous(memory_format=torch.channels_last)
    rest = (op.dilation, op.groups)
    if len(op.padding) == 4:
        return lambda x: channels_last(
            F.conv2d(channels_first(padded(x, op.padding, 0)), filters, None, op.stride, 0, *rest)
        )
    where = (op.stride, op.padding, *rest)
    return lambda x: channels_last(F.conv2d(channels_first(x), filters, None, *where))


def sum_pool(op: SumPool2d, zero: int) -> Map:
    """Sums of windows (rows, H, W, C) in the type of the input; padding is worth `zero`."""

    def apply(x: Tensor) -> Tensor:
        if any(sides(op.padding)):
            x = padded(x, op.padding, zero)
        for axis, size, stride in zip((1, 2), op.kernel, op.stride, strict=True):
            first, *others = x.unfold(axis, size, stride).unbind(-1)
            x = first + others[0] if others else first
            for other in others[1:]:
                x += other
        return x.contiguous()

    return apply


def padded(x: Tensor, padding: Padding, fill: int) -> Tensor:
    """(rows, H, W, C) with `fill` around the pixels."""
    top, left, bottom, right = sides(padding)
    return F.pad(x, (0, 0, left, right, top, bottom), value=fill)


@cache
def _int8_works() -> bool:
    """Try the integer kernels against float ones: they are internal to PyTorch and may change."""
    probe = torch.Generator().manual_seed(0)
    weight = torch.randint(-128, 128, (8, 6, 3, 3), generator=probe)
    weight[0] = -128
    bytes_ = torch.randint(0, 3, (2, 5, 5, 6), generator=probe).to(torch.uint8)
    dense = weight.reshape(8, -1)
    flat = torch.randint(0, MOST_BYTE + 1, (4, dense.shape[1]), generator=probe).to(torch.uint8)
    conv = Conv2d("probe", weight.numpy(), padding=(1, 1))
    linear = Linear("probe", dense.numpy())
    try:
        same = torch.equal(
            int8_conv(conv, 1, (6, 5, 5))(bytes_),
            float_stage(conv, torch.float32)(bytes_.float() - 1),
        )
        return same and torch.equal(
            int8_linear(linear, 1)(flat), float_stage(linear, torch.float32)(flat.float() - 1)
        )
    except (AttributeError, ImportError, RuntimeError, TypeError, NotImplementedError):
        return False
