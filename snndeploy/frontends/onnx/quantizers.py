"""Quantizers: QuantizeLinear and its inverse, QONNX's Quant, Deeploy's RequantShift.

One on weights is computed here and now. One on values becomes a grid: of the model's input, or of
an activation; none where the values are on that grid already.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from snndeploy.frontends.onnx.builder import Builder, Result, real
from snndeploy.frontends.onnx.grids import on_grid
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.pending import affine, settled, unpadded
from snndeploy.frontends.onnx.signal import Quantizer, Signal
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import Activation, Array, Grid, Input
from snndeploy.numerics import FloatArray

MAX_BITS = 16

RANGES = {
    ir.DataType.INT2: (-2, 1),
    ir.DataType.UINT2: (0, 3),
    ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT4: (0, 15),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT16: (-(1 << 15), (1 << 15) - 1),
    ir.DataType.UINT16: (0, (1 << 16) - 1),
}


def quantize_linear(b: Builder, op: Op) -> Result:
    """`saturate(round(x / scale) + zero_point)`."""
    x, scale, zero = b.operand(op, 0), b.constant(op, 1), b.optional(op, 2)
    kind = _stored_type(op)
    if kind not in RANGES:
        raise Unsupported(f"quantizes to {kind.name}: use int8, uint8, int16 or uint16")
    if isinstance(x, Signal):
        return quantize(b, op, x, quantizer(scale, zero, RANGES[kind]))
    if x is None:
        raise Unsupported("its operand 0 is missing")
    low, high = RANGES[kind]
    spread, zeros = _blocks(op, x, scale, zero)
    found: Array = np.clip(np.round(_divided(x, spread)) + zeros, low, high)
    return found.astype(np.int32)


def dequantize_linear(b: Builder, op: Op) -> Result:
    """`(q - zero_point) * scale`."""
    x, scale, zero = b.operand(op, 0), b.constant(op, 1), b.optional(op, 2)
    if x is None:
        raise Unsupported("its operand 0 is missing")
    if isinstance(x, Signal):
        return dequantize(b, op, x, scale, zero)
    return worth(x, *_blocks(op, x, scale, zero))


def worth(q: Array, scale: FloatArray, zero: FloatArray) -> FloatArray:
    """`(q - zero) * scale` in float64, with one array of that size: weights are large."""
    found: FloatArray = np.subtract(q, zero, dtype=np.float64)
    found *= scale
    return found


def quantize(b: Builder, op: Op, x: Signal, by: Quantizer) -> Signal:
    """A real signal as stored integers."""
    if x.stored is not None or x.raw is not None:
        raise Unsupported("quantizes integers")
    return replace(on_grid(b, op, x, by.grid, by.floor), stored=by)


def dequantize(b: Builder, op: Op, x: Signal, scale: Array, zero: Array | None) -> Signal:
    """Stored integers as real values."""
    s, z = uniform(scale, "scale"), _integer(0 if zero is None else uniform(zero, "zero point"))
    if not 0 < s < np.inf:
        raise Unsupported(f"its scale is {s}, expected a number above 0")
    if x.raw is not None:
        return _input_on(b, x, s, z)
    if x.stored is None and x.unsure:
        return x
    if x.stored is None:
        raise Unsupported("dequantizes values that no quantizer gave")
    before, plain = x.stored, replace(x, stored=None)
    if (before.scale, before.zero_point) == (s, z):
        return plain
    if before.zero_point == z and x.pads:
        raise Unsupported("dequantizes a padded value with another scale than it has")
    gain = np.float64(s / before.scale)
    return affine(b, op, plain, np.asarray(gain), np.asarray(s * (before.zero_point - z)))


def _input_on(b: Builder, x: Signal, scale: float, zero: int) -> Signal:
    """The model's integer input, now that someone says what its integers are worth."""
    assert x.raw is not None
    grid, node = Grid(scale, x.raw[0] - zero, x.raw[1] - zero), b.nodes[b.input]
    assert isinstance(node, Input)
    if node.grid is not None and node.grid != grid:
        raise Unsupported("dequantizes the input with another grid than was used before")
    b.nodes[b.input] = replace(node, grid=grid)
    return replace(x, raw=None, grid=grid, quantized=True)


def as_numbers(b: Builder, op: Op, x: Signal) -> Signal:
    """Stored integers taken for what they are, as by a Cast to float."""
    if x.raw is not None:
        return _input_on(b, x, 1.0, 0)
    if x.stored is None:
        return x
    gain, shift = np.asarray(1 / x.stored.scale), np.asarray(float(x.stored.zero_point))
    return affine(b, op, replace(x, stored=None), gain, shift)


def quantizer(scale: Array, zero: Array | None, limits: tuple[int, int]) -> Quantizer:
    """The quantizer of a value, one scale for all of it."""
    z = 0 if zero is None else _integer(uniform(zero, "zero point"))
    return Quantizer(uniform(scale, "scale"), z, *limits)


def uniform(array: Array, what: str) -> float:
    """The one number that an array holds, once or many times."""
    found = real(array).ravel()
    if not found.size or (found != found[0]).any():
        raise Unsupported(f"its {what} differs from channel to channel: use one for all values")
    return float(found[0])


def quant(b: Builder, op: Op) -> Result:
    """QONNX: `(round(clip(x / scale + zero, low, high)) - zero) * scale`.

    Source: github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops/quant_op.md
    """
    x, scale = _real_operand(b, op), b.constant(op, 1)
    zero, bits = b.constant(op, 2), uniform(b.constant(op, 3), "bit width")
    mode = op.text("rounding_mode", "ROUND").upper()
    if mode not in ("ROUND", "HALF_EVEN", "FLOOR"):
        raise Unsupported(f"rounds by {mode}: use ROUND or FLOOR")
    signed, narrow = op.integer("signed", 1), op.integer("narrow", 0)
    limits = _limits(_integer(bits), bool(signed), bool(narrow))
    if isinstance(x, Signal):
        by = replace(quantizer(scale, zero, limits), floor=mode == "FLOOR")
        return on_grid(b, op, x, by.grid, by.floor)
    s, z = _positive(scale), real(zero)
    rounding = np.floor if mode == "FLOOR" else np.round
    return (rounding(np.clip(_divided(x, s) + z, *limits)) - z) * s


def bipolar_quant(b: Builder, op: Op) -> Result:
    """QONNX: `scale` where x is 0 or above, else `-scale`."""
    x, scale = _real_operand(b, op), b.constant(op, 1)
    if not isinstance(x, Signal):
        return np.where(real(x) >= 0, 1.0, -1.0) * _positive(scale)
    s = uniform(_positive(scale), "scale")
    if op.ends:
        b.drop(op)
        return x
    x = unpadded(settled(b, op, x))
    where = b.places(x)
    made = b.add(op, lambda n: Activation(n, 2 * s, 1, 1.0, -s), x.node)
    return Signal(made.node, where)


def _real_operand(b: Builder, op: Op) -> Result:
    """What a quantizer reads: stored, or a real signal."""
    x = b.operand(op, 0)
    if x is None:
        raise Unsupported("its operand 0 is missing")
    return b.signal(op) if isinstance(x, Signal) else x


def requant_shift(b: Builder, op: Op) -> Result:
    """Deeploy: `clip(floor((x * mul + add + div / 2) / div))` to `n_levels_out` integers.

    Source: github.com/pulp-platform/Deeploy, `RequantShift`; its published models' outputs.
    """
    x, mul, add = b.signal(op), b.real(op, 1), b.real(op, 2)
    if mul is None or add is None:
        raise Unsupported("its factor or its summand is missing")
    div = uniform(op.tensor("div"), "divisor")
    levels = _integer(uniform(op.tensor("n_levels_out"), "number of levels"))
    signed = uniform(op.tensor("signed"), "sign")
    if div <= 0 or (mul < 0).any() or not 2 <= levels <= 1 << MAX_BITS:
        raise Unsupported(f"divides by {div:g} to {levels} levels")
    scaled = affine(b, op, x, _behind_channels(mul, x) / div, _behind_channels(add, x) / div)
    low = -(levels // 2) if signed else 0
    return on_grid(b, op, scaled, Grid(1.0, low, low + levels - 1))


def _behind_channels(values: FloatArray, x: Signal) -> FloatArray:
    """One value a channel, in a shape that broadcasts to the tensor."""
    if values.size == 1:
        return values.reshape(())
    return values.reshape(-1, *(1,) * (x.index.ndim - 1))


def _divided(x: Array, scale: FloatArray) -> FloatArray:
    """Stored values in units of a scale, in their own precision: it decides what is a tie."""
    real(x)
    with np.errstate(all="ignore"):
        if x.dtype == np.float32:
            return (x / scale.astype(np.float32)).astype(np.float64)
        return real(x) / scale


def _limits(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    if not 1 <= bits <= MAX_BITS:
        raise Unsupported(f"has {bits} bits, expected 1 to {MAX_BITS}")
    if signed:
        return -(1 << (bits - 1)) + narrow, (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1 - narrow


def _stored_type(op: Op) -> ir.DataType:
    """The type of a QuantizeLinear's result: its zero point's, else its attribute's, else uint8."""
    inputs = op.node.inputs
    if len(inputs) > 2 and inputs[2] is not None:
        tensor = inputs[2].const_value
        if tensor is not None:
            return tensor.dtype
        if inputs[2].dtype is not None:
            return inputs[2].dtype
    stated = op.integer("output_dtype", 0)
    try:
        return ir.DataType(stated) if stated else ir.DataType.UINT8
    except ValueError as error:
        raise Unsupported(f"quantizes to the unknown type {stated}") from error


def _blocks(op: Op, x: Array, scale: Array, zero: Array | None) -> tuple[FloatArray, FloatArray]:
    """Scales and zero points that broadcast to x: one, one a channel, or one a block."""
    s = _positive(scale)
    z = np.zeros_like(s) if zero is None else real(zero)
    if s.size == z.size == 1:
        return s.reshape(()), z.reshape(())
    if z.shape != s.shape:
        raise Unsupported(f"{s.shape} scales and {z.shape} zero points")
    axis, block = op.integer("axis", 1), op.integer("block_size", 0)
    if not -x.ndim <= axis < x.ndim:
        raise Unsupported(f"axis {axis} of a tensor {x.shape}")
    if s.ndim == x.ndim and block > 0:
        size = x.shape[axis]
        if s.shape[axis] != -(-size // block):
            raise Unsupported(f"scales {s.shape} in blocks of {block} for a tensor {x.shape}")
        rows = np.arange(size) // block
        return s.take(rows, axis), z.take(rows, axis)
    if s.shape != (x.shape[axis],):
        raise Unsupported(f"{s.shape} scales along axis {axis} of a tensor {x.shape}")
    shape = [1] * x.ndim
    shape[axis] = -1
    return s.reshape(shape), z.reshape(shape)


def _positive(scale: Array) -> FloatArray:
    found = real(scale)
    if not found.size or (found <= 0).any():
        raise Unsupported("a scale is not above 0")
    return found


def _integer(value: float) -> int:
    if value != int(value):
        raise Unsupported(f"{value} is not an integer")
    return int(value)
