"""Convolutions and dense layers, with the normalisation of the model's input folded into them.

W (g x + h) + b = (W g) x + (W h + b)
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from snndeploy.frontends.onnx.builder import Builder, zeros
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.parts import channels, whole
from snndeploy.frontends.onnx.pending import affine, settled, unpadded
from snndeploy.frontends.onnx.signal import Affine, Signal, along, places
from snndeploy.frontends.onnx.windows import PIXEL, Window
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import BatchNorm, Conv2d, Linear
from snndeploy.numerics import FloatArray, Int64Array


def conv(b: Builder, op: Op) -> Signal:
    """Conv on signals or images."""
    return convolve(b, op, b.signal(op), b.real(op, 1), b.real(op, 2))


def convolve(
    b: Builder, op: Op, x: Signal, weight: FloatArray | None, bias: FloatArray | None
) -> Signal:
    """A convolution of a real signal, its window and groups as the operator states them."""
    if weight is None:
        raise Unsupported("its weight is missing")
    if weight.ndim not in (3, 4) or x.index.ndim != weight.ndim - 1:
        raise Unsupported(f"weight {weight.shape} on {('N', *x.shape)}: use 1-d or 2-d")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise Unsupported(f"{bias.shape} biases for {weight.shape[0]} channels")
    groups = op.integer("group", 1)
    if groups < 1 or x.shape[0] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise Unsupported(f"weight {weight.shape} in {groups} groups on {('N', *x.shape)}")
    window = Window.of(op, x, weight.shape[2:])
    weight = weight.reshape(*weight.shape[:2], *window.kernel)
    return _convolution(b, op, x, weight, bias, window, groups)


def _convolution(
    b: Builder,
    op: Op,
    x: Signal,
    weight: FloatArray,
    bias: FloatArray | None,
    window: Window,
    groups: int = 1,
) -> Signal:
    """A convolution node, weight (C_out, C_in / groups, K_h, K_w); what x carries goes into it."""
    x = replace(x, pads=())
    if x.affine is None or x.is_clipped:
        x = settled(b, op, x)
    picked, rank = _picked(b, x), x.index.ndim
    swapped = None
    if picked is not None and groups == 1:
        weight, x = _on_channels(weight, picked, b.shapes[x.node][0]), b.all_of(x)
    elif picked is not None and groups == len(picked) == b.shapes[x.node][0]:
        weight, bias, swapped = _in_order(weight, bias, picked)
        x = b.all_of(x)
    elif picked is not None:
        x = whole(b, op, x)
    source = b.image(x)
    if x.affine is not None:
        weight, bias = _normalised(b, x, x.affine, weight, bias, groups, any(window.padding))
    made = b.add(
        op,
        lambda n: Conv2d(n, weight, bias, window.stride, window.sides, window.dilation, groups),
        source,
    )
    index = made.index if swapped is None else made.index[swapped]
    return replace(made, index=index if rank == 3 else index[:, 0])


def _picked(b: Builder, x: Signal) -> Int64Array | None:
    """The channels that a signal reads of an image, unless they are all, in order."""
    if x.node == b.input and b.order is None and x.index.size == prod(b.inside):
        return None
    shape, where = b.shapes[x.node], b.places(x)
    found = channels(where[:, None] if where.ndim == 2 else where, shape)
    if found is None or np.array_equal(found, np.arange(shape[0])):
        return None
    return found


def _on_channels(weight: FloatArray, picked: Int64Array, count: int) -> FloatArray:
    """A weight on `count` channels that reads the picked ones."""
    found = zeros(count, weight.shape[0], *weight.shape[2:])
    np.add.at(found, picked, weight.swapaxes(0, 1))
    return np.ascontiguousarray(found.swapaxes(0, 1))


def _in_order(
    weight: FloatArray, bias: FloatArray | None, picked: Int64Array
) -> tuple[FloatArray, FloatArray | None, Int64Array]:
    """A depthwise weight for the channels in their own order, and where its results are then."""
    many = len(weight) // len(picked)
    back = np.argsort(picked)

    def rows(order: Int64Array) -> Int64Array:
        found: Int64Array = (order[:, None] * many + np.arange(many)).ravel()
        return found

    order = rows(back)
    return weight[order], None if bias is None else bias[order], rows(picked)


def _normalised(
    b: Builder,
    x: Signal,
    affine: Affine,
    weight: FloatArray,
    bias: FloatArray | None,
    groups: int,
    padded: bool,
) -> tuple[FloatArray, FloatArray | None]:
    gain = b.per_channel(x, affine.gain[x.index], 1)
    shift = b.per_channel(x, affine.shift[x.index], 0)
    if shift.any() and padded:
        raise Unsupported(
            "pads the input with zeros behind a normalisation that moves zero: export the model "
            "without it and normalise the samples, or give this layer no padding"
        )
    if groups > 1:
        parts = np.repeat(np.arange(groups), len(weight) // groups)
        gain, shift = (v.reshape(groups, -1)[parts][:, :, None, None] for v in (gain, shift))
    else:
        gain, shift = gain[None, :, None, None], shift[None, :, None, None]
    if shift.any():
        moved = (weight * shift).sum(axis=(1, 2, 3))
        bias = moved if bias is None else bias + moved
    return weight * gain, bias


def gemm(b: Builder, op: Op) -> Signal:
    """`alpha * A B + beta * C`, of a signal A (N, F) and stored B and C."""
    x, weight, bias = b.signal(op), b.real(op, 1), b.real(op, 2)
    if weight is None or weight.ndim != 2:
        raise Unsupported("its weight is not a matrix")
    if op.integer("transA", 0) or x.index.ndim != 1:
        raise Unsupported(f"works on (N, features), not on {('N', *x.shape)} or its transpose")
    weight, alpha = (weight if op.integer("transB", 0) else weight.T), op.number("alpha", 1.0)
    made = dense(b, op, x, weight if alpha == 1 else weight * alpha)
    if bias is None:
        return made
    return affine(b, op, made, np.ones(()), bias * op.number("beta", 1.0))


def matmul(b: Builder, op: Op) -> Signal:
    """A signal (N, F), or (N, .., C) with its channels last, times a stored matrix."""
    if not isinstance(b.operand(op, 0), Signal):
        raise Unsupported("its left operand is stored: write it as x @ W")
    x, right = b.signal(op), b.operand(op, 1)
    weight = None if isinstance(right, Signal) else b.real(op, 1)
    if weight is None or weight.ndim != 2:
        raise Unsupported("its right operand is not a stored matrix")
    return times(b, op, x, weight)


def times(b: Builder, op: Op, x: Signal, weight: FloatArray) -> Signal:
    """A signal times a matrix (F_in, F_out), along its last axis."""
    if x.shape[-1:] != weight.shape[:1]:
        raise Unsupported(f"a matrix {weight.shape} on {('N', *x.shape)}")
    if prod(x.shape[:-1]) == 1:
        made = dense(b, op, x, weight.T)
        return replace(made, index=made.index.reshape(*x.shape[:-1], -1))
    return _pointwise(b, op, x, weight.T)


def _pointwise(b: Builder, op: Op, x: Signal, weight: FloatArray) -> Signal:
    """A dense layer at each pixel, channels last: a convolution with kernels of one pixel."""
    x = unpadded(x)
    channels_first = replace(x, index=np.moveaxis(x.index, -1, 0))
    if x.index.ndim not in (2, 3):
        raise Unsupported(f"a matrix on {('N', *x.shape)}: use (N, features) or images")
    made = _convolution(b, op, channels_first, weight[:, :, None, None], None, PIXEL)
    return replace(made, index=np.moveaxis(made.index, 0, -1))


def dense(b: Builder, op: Op, x: Signal, weight: FloatArray) -> Signal:
    """A dense layer, weight (F_out, F_in), on all elements of a signal in their order."""
    x = unpadded(x)
    if x.affine is None or x.is_clipped:
        x = settled(b, op, x)
    count = x.index.size
    if weight.shape[1] != count:
        raise Unsupported(f"weight {weight.shape} on {('N', *x.shape)}")
    bias = None
    if x.affine is not None:
        where = x.index.ravel()
        shift = weight @ x.affine.shift[where]
        weight, bias = weight * x.affine.gain[where], shift if shift.any() else None
    source, order = b.flat(x), b.places(x).ravel()
    size, placed = prod(b.shapes[source]), weight
    if not np.array_equal(order, places((size,))):
        placed = _on_channels(weight, order, size)
    return b.add(op, lambda n: Linear(n, placed, bias), source)


def batch_norm(b: Builder, op: Op) -> Signal:
    """BatchNormalization in inference."""
    x = b.signal(op)
    gamma, beta, mean, variance = (b.real(op, i) for i in range(1, 5))
    epsilon = op.number("epsilon", 1e-5)
    if gamma is None or beta is None or mean is None or variance is None:
        raise Unsupported("its statistics are missing")
    shapes = {gamma.shape, beta.shape, mean.shape, variance.shape}
    if shapes != {x.shape[:1]}:
        raise Unsupported(f"statistics {sorted(shapes)} on {('N', *x.shape)}")
    if op.integer("training_mode", 0) or op.integer("spatial", 1) != 1:
        raise Unsupported("needs frozen statistics: export the model for inference")
    if (variance + epsilon <= 0).any():
        raise Unsupported("a variance is not above 0")
    if x.node == b.input and not x.is_clipped:
        rank = (-1, *(1,) * (x.index.ndim - 1))
        gain = gamma / np.sqrt(variance + epsilon)
        return affine(b, op, x, gain.reshape(rank), (beta - mean * gain).reshape(rank))
    x = whole(b, op, unpadded(settled(b, op, x)))
    where, shape = b.places(x), b.shapes[x.node]
    if x.shape[0] != shape[0] or along(where, shape)[0] not in (0, None):
        raise Unsupported("normalises along another axis than the channels of the layer before")
    make = lambda n: BatchNorm(n, mean, variance, gamma, beta, epsilon)  # noqa: E731
    return b.same_place(x, b.add(op, make, x.node))
