"""Operators on stored integers: dequantize, compute, quantize, as their definitions say."""

from __future__ import annotations

import numpy as np

from snndeploy.frontends.onnx import arithmetic, pools, weights
from snndeploy.frontends.onnx.builder import Builder, Result, real
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.pending import affine
from snndeploy.frontends.onnx.quantizers import dequantize, quantize, quantizer, worth
from snndeploy.frontends.onnx.signal import Signal
from snndeploy.frontends.reading import Unsupported
from snndeploy.numerics import FloatArray

_LIMITS = {np.dtype(np.int8): (-128, 127), np.dtype(np.uint8): (0, 255)}


def qlinear_conv(b: Builder, op: Op) -> Signal:
    """QLinearConv: x, its scale and zero, w, its scale and zero, those of y, bias."""
    x, weight = _signal(b, op, 0), _weight(b, op, 3, axis=0)
    bias = _bias(b, op, 8, 1, 4)
    return _quantized(b, op, weights.convolve(b, op, x, weight, bias), 6)


def qlinear_matmul(b: Builder, op: Op) -> Signal:
    """QLinearMatMul: a, its scale and zero, b, its scale and zero, those of y."""
    x, weight = _signal(b, op, 0), _weight(b, op, 3, axis=-1)
    if weight.ndim != 2:
        raise Unsupported("its right operand is not a stored matrix")
    return _quantized(b, op, weights.times(b, op, x, weight), 6)


def qgemm(b: Builder, op: Op) -> Signal:
    """com.microsoft QGemm: a, scale, zero, b, scale, zero, c, and those of y if it is quantized."""
    x, transposed = _signal(b, op, 0), bool(op.integer("transB", 0))
    weight = _weight(b, op, 3, axis=0 if transposed else -1)
    if weight.ndim != 2 or op.integer("transA", 0) or x.index.ndim != 1:
        raise Unsupported(f"a matrix {weight.shape} on {('N', *x.shape)}")
    alpha = op.number("alpha", 1.0)
    made = weights.dense(b, op, x, alpha * (weight if transposed else weight.T))
    bias = _bias(b, op, 6, 1, 4)
    if bias is not None:
        made = affine(b, op, made, np.ones(()), alpha * bias)
    return _quantized(b, op, made, 7) if b.operand(op, 7) is not None else made


def qlinear_add(b: Builder, op: Op) -> Signal:
    """com.microsoft QLinearAdd: a, scale, zero, b, scale, zero, those of y."""
    made = arithmetic.total(b, op, [_real(b, op, 0), _real(b, op, 3)])
    return _quantized(b, op, made, 6)


def qlinear_mul(b: Builder, op: Op) -> Signal:
    """com.microsoft QLinearMul by what is stored."""
    x, y = _real(b, op, 0), _real(b, op, 3)
    if isinstance(y, Signal):
        x, y = y, x
    if not isinstance(x, Signal) or isinstance(y, Signal):
        raise Unsupported("multiplies two values: only stored factors have a spiking form")
    return _quantized(b, op, affine(b, op, x, real(y), np.zeros(())), 6)


def qlinear_average_pool(b: Builder, op: Op) -> Signal:
    """com.microsoft QLinearAveragePool: x, its scale and zero, those of y."""
    _channels_first(op)
    return _quantized(b, op, pools.average(b, op, _signal(b, op, 0)), 3)


def qlinear_global_average_pool(b: Builder, op: Op) -> Signal:
    """com.microsoft QLinearGlobalAveragePool: x, its scale and zero, those of y."""
    _channels_first(op)
    x = _signal(b, op, 0)
    made = pools.mean(b, op, x, tuple(range(1, len(x.shape))), keep=True)
    return _quantized(b, op, made, 3)


def qlinear_concat(b: Builder, op: Op) -> Signal:
    """com.microsoft QLinearConcat: scale and zero of y, then each operand with its own."""
    branches = [_signal(b, op, i) for i in range(2, len(op.node.inputs), 3)]
    if not branches:
        raise Unsupported("joins nothing")
    return _quantized(b, op, arithmetic.joined(b, op, branches, op.integer("axis")), 0)


def _signal(b: Builder, op: Op, first: int) -> Signal:
    found = _real(b, op, first)
    if not isinstance(found, Signal):
        raise Unsupported(f"its operand {first} is not computed from the model's input")
    return found


def _real(b: Builder, op: Op, first: int) -> Result:
    """An operand followed by its scale and zero point, as real values."""
    x, scale, zero = b.operand(op, first), b.constant(op, first + 1), b.optional(op, first + 2)
    if isinstance(x, Signal):
        return dequantize(b, op, x, scale, zero)
    if x is None:
        raise Unsupported(f"its operand {first} is missing")
    s, z = real(scale), np.zeros(()) if zero is None else real(zero)
    if not s.size == z.size == 1:
        raise Unsupported(f"{s.size} scales and {z.size} zero points for operand {first}")
    return worth(x, s.reshape(()), z.reshape(()))


def _weight(b: Builder, op: Op, first: int, axis: int) -> FloatArray:
    """A stored weight with one scale, or one a channel along `axis`."""
    q, s, zero = (b.constant(op, first + i) for i in range(3))
    scales, zeros = real(s), real(zero)
    if not scales.size == zeros.size == 1:
        shape = [1] * q.ndim
        shape[axis] = -1
        if any(v.size not in (1, q.shape[axis]) for v in (scales, zeros)):
            raise Unsupported(f"{scales.size} scales for weights {q.shape}")
        scales, zeros = scales.reshape(shape), zeros.reshape(shape)
    else:
        scales, zeros = scales.reshape(()), zeros.reshape(())
    if (scales <= 0).any():
        raise Unsupported("a scale is not above 0")
    return worth(q, scales, zeros)


def _bias(b: Builder, op: Op, at: int, x_scale: int, w_scale: int) -> FloatArray | None:
    """An int32 bias, in units of the product of both scales."""
    bias = b.real(op, at)
    if bias is None:
        return None
    unit = real(b.constant(op, x_scale)).ravel() * real(b.constant(op, w_scale)).ravel()
    if bias.ndim != 1 or unit.size not in (1, bias.size):
        raise Unsupported(f"{bias.shape} biases with {unit.size} scales")
    return bias * unit


def _quantized(b: Builder, op: Op, x: Signal, at: int) -> Signal:
    """The result on the grid of the operands `at` and behind it."""
    scale, zero = b.constant(op, at), b.optional(op, at + 1)
    kind = np.dtype(np.uint8) if zero is None else zero.dtype
    if kind not in _LIMITS:
        raise Unsupported(f"quantizes to {kind}")
    return quantize(b, op, x, quantizer(scale, zero, _LIMITS[kind]))


def _channels_first(op: Op) -> None:
    if op.integer("channels_last", 0):
        raise Unsupported("has its channels last: export the model with channels first")
