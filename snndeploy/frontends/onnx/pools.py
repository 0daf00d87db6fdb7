"""Max and average pools, and means over whole images."""

from __future__ import annotations

from dataclasses import replace
from math import inf, prod

import numpy as np

from snndeploy.frontends.onnx.builder import Builder
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.parts import whole
from snndeploy.frontends.onnx.pending import affine, settled, unpadded
from snndeploy.frontends.onnx.signal import Signal, along, places
from snndeploy.frontends.onnx.windows import Window
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import Activation, AvgPool2d, MaxPool2d, Pair, Shape


def max_pool(b: Builder, op: Op) -> Signal:
    """MaxPool; its padding is never the maximum."""
    x = b.signal(op, stored=True)
    window = Window.of(op, x, op.integers("kernel_shape"))
    if window.dilation != (1, 1):
        raise Unsupported("a pool with dilation is not supported")
    if any(x.pads) and window.padding != window.given and not _positive(b, x):
        raise Unsupported("a Pad with zeros before it could be the maximum: use its own padding")
    top, left, bottom, right = window.padding
    window = replace(window, padding=(top, left, bottom + window.over[0], right + window.over[1]))
    return _pooled(b, op, x, window)


def global_max_pool(b: Builder, op: Op) -> Signal:
    """GlobalMaxPool."""
    x = unpadded(b.signal(op))
    whole = _whole(x)
    return _pooled(b, op, x, Window(whole, whole, (1, 1), (0, 0, 0, 0), (0, 0, 0, 0)))


def _pooled(b: Builder, op: Op, x: Signal, window: Window) -> Signal:
    """A max-pool; bounds of its operand become bounds of its result, where nobody else has them.

    max(clip(x)) = clip(max(x))
    """
    bounds = x.clip if x.alone and x.grid is None and x.affine is None else (-inf, inf)
    x = replace(x, pads=())
    x = replace(x, clip=(-inf, inf)) if bounds != (-inf, inf) else settled(b, op, x)
    x, dims = whole(b, op, x), x.index.ndim - 1
    made = b.add(
        op,
        lambda n: MaxPool2d(n, window.kernel, window.stride, window.sides),
        b.image(x),
    )
    index = made.index if dims == 2 else made.index[:, 0]
    return replace(made, index=index, clip=bounds, grid=x.grid, stored=x.stored)


def _positive(b: Builder, x: Signal) -> bool:
    node = b.nodes[x.node]
    at_least = x.grid.low if x.grid else node.offset if isinstance(node, Activation) else -inf
    return max(at_least, x.clip[0]) >= 0


def average_pool(b: Builder, op: Op) -> Signal:
    """AveragePool with one divisor everywhere."""
    return average(b, op, b.signal(op))


def average(b: Builder, op: Op, x: Signal) -> Signal:
    """An average pool of a real signal."""
    window = Window.of(op, x, op.integers("kernel_shape"))
    if window.dilation != (1, 1):
        raise Unsupported("a pool with dilation is not supported")
    if window.over != (0, 0):
        raise Unsupported("with ceil_mode its last windows are cut short and divide by less")
    if any(window.given) and not op.integer("count_include_pad", 0):
        raise Unsupported(
            "its windows at the border divide by less: set count_include_pad, or pool unpadded"
        )
    dims = x.index.ndim - 1
    x = whole(b, op, settled(b, op, replace(x, pads=())))
    made = b.add(
        op,
        lambda n: AvgPool2d(n, window.kernel, window.stride, window.sides),
        b.image(x),
    )
    index = made.index if dims == 2 else made.index[:, 0]
    return replace(made, index=index, unit=_unit(x, window.kernel))


def global_average_pool(b: Builder, op: Op) -> Signal:
    """GlobalAveragePool."""
    x = b.signal(op)
    return mean(b, op, x, tuple(range(1, len(x.shape))), keep=True)


def reduce_mean(b: Builder, op: Op) -> Signal:
    """ReduceMean over height, width or both."""
    x, axes = b.signal(op), _axes(b, op)
    return mean(b, op, x, axes, keep=bool(op.integer("keepdims", 1)))


def reduce_sum(b: Builder, op: Op) -> Signal:
    """ReduceSum over height, width or both: a mean times the number of its values."""
    x, axes = b.signal(op), _axes(b, op)
    count = prod(x.shape[axis] for axis in axes)
    made = mean(b, op, x, axes, keep=bool(op.integer("keepdims", 1)))
    return affine(b, op, made, np.asarray(float(count)), np.zeros(()))


def reduce_max(b: Builder, op: Op) -> Signal:
    """ReduceMax over height and width."""
    x, axes = unpadded(b.signal(op)), _axes(b, op)
    if x.index.ndim < 2 or axes != tuple(range(1, x.index.ndim)):
        raise Unsupported("only the maximum over height and width is supported")
    whole = _whole(x)
    made = _pooled(b, op, x, Window(whole, whole, (1, 1), (0, 0, 0, 0), (0, 0, 0, 0)))
    return made if op.integer("keepdims", 1) else replace(made, index=made.index.reshape(-1))


def mean(b: Builder, op: Op, x: Signal, axes: tuple[int, ...], keep: bool) -> Signal:
    """The mean over axes of the tensor (its first is 0, the batch left out)."""
    x = whole(b, op, unpadded(settled(b, op, x)))
    if all(x.shape[axis] == 1 for axis in axes):
        return x if keep else replace(x, index=x.index.squeeze(axes))
    if x.node == b.input and b.order is None:
        b.image(x)
    shape, where = b.shapes[x.node], b.places(x)
    over = {to for axis, to in enumerate(along(where, shape)) if axis in axes}
    if len(shape) != 3 or 0 in over:
        raise Unsupported("only the mean over height, width or both is supported")
    kernel: Pair = (shape[1] if 1 in over else 1, shape[2] if 2 in over else 1)
    made = b.add(op, lambda n: AvgPool2d(n, kernel, kernel), x.node)
    index = _reduced(where, axes, b.shapes[made.node], shape)
    index = index if keep else index.squeeze(axes)
    return replace(made, index=index, unit=_unit(x, kernel))


def _unit(x: Signal, kernel: Pair) -> float | None:
    """What the means of values on a grid are multiples of."""
    return None if x.grid is None else x.grid.scale / prod(kernel)


def _reduced(where: np.ndarray, axes: tuple[int, ...], after: Shape, before: Shape) -> np.ndarray:
    """Flat places in the pooled value, in the order of the tensor."""
    first = where[tuple(slice(0, 1) if a in axes else slice(None) for a in range(where.ndim))]
    channel, row, column = np.unravel_index(first, before)
    row, column = np.minimum(row, after[1] - 1), np.minimum(column, after[2] - 1)
    found = places(after).reshape(after)[channel, row, column]
    return np.asarray(found)


def _axes(b: Builder, op: Op) -> tuple[int, ...]:
    """The axes of a reduction, the first behind the batch being 0."""
    rank = len(b.signal(op).shape) + 1
    axes = b.integers(op, 1)
    if axes is None:
        axes = op.integers("axes", ())
    axes = tuple(axis + rank if axis < 0 else axis for axis in axes)
    if not axes or min(axes) < 1 or max(axes) >= rank or len(set(axes)) != len(axes):
        raise Unsupported("reduces the batch, or axes that there are not")
    return tuple(sorted(axis - 1 for axis in axes))


def _whole(x: Signal) -> Pair:
    if x.index.ndim not in (2, 3):
        raise Unsupported(f"works on images or signals, not on {('N', *x.shape)}")
    return (1 if x.index.ndim == 2 else x.shape[1]), x.shape[-1]
