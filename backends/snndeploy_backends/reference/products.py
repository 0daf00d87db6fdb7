"""Convolutions and dense layers as matrix products in the narrowest exact type: for a GPU.

A product of matrices does nothing but add up products, so that a bound on its sums proves it exact.
The algorithms for convolutions that transform their operands have no such bound.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from snndeploy.nodes import Conv2d, Flatten, Linear, Node, Scale, SumPool2d
from snndeploy.numerics import mantissas
from snndeploy_backends.exact_floats import device_dtype, shortened
from snndeploy_backends.reference.kernels import Map, padded

_MOST_BYTES = 1 << 28
"""Of pixels laid out as rows of a matrix at a time."""


def is_product(op: Node) -> TypeGuard[Conv2d | Linear]:
    """Whether it can be one matrix product."""
    return isinstance(op, Linear) or (isinstance(op, Conv2d) and op.groups == 1)


def growth(op: Node) -> int:
    """How much larger in magnitude than the numbers that come in a sum of them can be."""
    if isinstance(op, SumPool2d):
        return prod(op.kernel)
    if isinstance(op, Flatten):
        return 1
    assert isinstance(op, Conv2d | Linear | Scale)
    return int(abs(op.weight.astype(np.int64)).reshape(len(op.weight), -1).sum(axis=1).max())


def product(op: Conv2d | Linear, value: int, dtype: torch.dtype, device: str) -> Map:
    """Numbers (rows, H, W, C) or (rows, F) up to `value` to their sums, of `dtype`."""
    filters = op.weight.transpose(0, 2, 3, 1) if isinstance(op, Conv2d) else op.weight
    held, exponent = mantissas(filters.reshape(len(filters), -1).T)
    rows, worth = np.ascontiguousarray(held), float(1 << exponent)
    aligned = all(size % 8 == 0 for size in rows.shape)  # cuBLAS wants int8 so
    narrow = [x for x in narrow_types(device) if aligned or x != torch.int8]
    largest, total = int(abs(rows).max()), (value * growth(op)) >> exponent
    operand = device_dtype(value, largest, total, op.name, narrow)
    matrix = torch.from_numpy(rows).to(device, operand)

    def dense(x: Tensor) -> Tensor:
        return multiply(x.to(operand), matrix).to(dtype).mul_(worth)

    def conv(x: Tensor) -> Tensor:
        assert isinstance(op, Conv2d)
        _, down, right = op.output_shape([(x.shape[3], *x.shape[1:3])])
        images = padded(x.to(operand), op.padding, 0)
        most = max(1, _MOST_BYTES // (down * right * len(rows) * operand.itemsize))
        some = torch.split(images, most)
        parts = [multiply(_patches(part, op, down, right), matrix) for part in some]
        sums = parts[0] if len(parts) == 1 else torch.cat(parts)
        return sums.to(dtype).mul_(worth).view(len(x), down, right, -1)

    return conv if isinstance(op, Conv2d) else dense


def multiply(x: Tensor, matrix: Tensor) -> Tensor:
    """The matrix product: int32 of int8, float32 of float16, else of their own type."""
    if matrix.dtype == torch.int8:
        few = max(17 - len(x), 0)  # cuBLAS takes no fewer rows
        return torch._int_mm(pad(x, (0, 0, 0, few)) if few else x, matrix)[: len(x)]
    if matrix.dtype == torch.float16:
        if x.is_cuda:
            return torch.mm(x, matrix, out_dtype=torch.float32)
        return x.float() @ matrix.float()
    return x @ matrix


def narrow_types(device: str) -> tuple[torch.dtype, ...]:
    """Those of int8 and float16 whose products may be used on the device."""
    allowed = (torch.int8,) if shortened()[1] else (torch.int8, torch.float16)
    return tuple(dtype for dtype in allowed if _is_right(dtype, device))


@cache
def _is_right(dtype: torch.dtype, device: str) -> bool:
    """Try a product with sums up to the limit: PyTorch's narrow ones are young and may change."""
    probe = torch.Generator().manual_seed(0)
    high, most = (127, 127) if dtype == torch.int8 else (1, 2047)
    x = torch.randint(0, high + 1, (40, 8184), generator=probe)
    matrix = torch.randint(-most, most + 1, (8184, 16), generator=probe)
    x[0], matrix[:, 0] = high, most
    try:
        found = multiply(x.to(device, dtype), matrix.to(device, dtype)).cpu()
    except (AttributeError, ImportError, NotImplementedError, RuntimeError, TypeError):
        return False
    return torch.equal(found.long(), x @ matrix)


def _patches(images: Tensor, op: Conv2d, down: int, right: int) -> Tensor:
    """What each place of the output sees of (rows, H, W, C): a row (K_h, K_w, C) of a matrix."""
    kernel, (row, line, pixel, one) = op.weight.shape[2:], images.stride()
    (a, b), (c, d) = op.stride, op.dilation
    shape = (len(images), down, right, *kernel, images.shape[3])
    seen = images.as_strided(shape, (row, a * line, b * pixel, c * line, d * pixel, one))
    return seen.reshape(len(images) * down * right, -1)
