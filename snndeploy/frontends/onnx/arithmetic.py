"""Sums, and factors and summands that are stored."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from snndeploy.frontends.onnx.builder import Builder, Result, real
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.parts import whole
from snndeploy.frontends.onnx.pending import affine, settled, unpadded
from snndeploy.frontends.onnx.signal import Signal
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import Add, Concat
from snndeploy.numerics import FloatArray

ONE, ZERO = np.ones(()), np.zeros(())


def add(b: Builder, op: Op) -> Signal:
    """Add, Sum: of several signals, and of what is stored."""
    return total(b, op, [b.operand(op, i) for i in range(len(op.node.inputs))])


def total(b: Builder, op: Op, terms: list[Result | None]) -> Signal:
    """The sum of real signals and constants."""
    branches = [term for term in terms if isinstance(term, Signal)]
    constants = [real(term) for term in terms if not isinstance(term, Signal | None)]
    _refuse_stored(branches)
    made = branches[0] if len(branches) == 1 else _sum(b, op, branches)
    for constant in constants:
        made = affine(b, op, made, ONE, constant)
    return made


def _sum(b: Builder, op: Op, branches: list[Signal]) -> Signal:
    ready = [whole(b, op, unpadded(settled(b, op, branch))) for branch in branches]
    if len({branch.shape for branch in ready}) != 1:
        raise Unsupported(f"adds values of unlike shapes {[x.shape for x in ready]}")
    where = [b.places(branch) for branch in ready]
    if any(not np.array_equal(index, where[0]) for index in where):
        raise Unsupported("adds values whose pixels are in unlike orders")
    if len({branch.node for branch in ready}) != len(ready):
        if len(ready) > 2:
            raise Unsupported("adds a value to itself: scale the weights instead")
        return affine(b, op, ready[0], np.asarray(2.0), ZERO)
    if len({b.shapes[branch.node] for branch in ready}) != 1:
        flat = [b.flat(branch) for branch in ready]
        made = b.add(op, Add, *flat)
    else:
        made = b.add(op, Add, *(branch.node for branch in ready))
    return Signal(made.node, where[0])


def subtract(b: Builder, op: Op) -> Signal:
    """Sub: of a signal and what is stored, or of two signals."""
    x, y = b.operand(op, 0), b.operand(op, 1)
    if isinstance(x, Signal) and y is not None and not isinstance(y, Signal):
        return total(b, op, [x, -real(y)])
    if not isinstance(y, Signal):
        raise Unsupported("its right operand is missing")
    _refuse_stored([y])
    return total(b, op, [x, affine(b, op, y, -ONE, ZERO)])


def multiply(b: Builder, op: Op) -> Signal:
    """Mul by what is stored."""
    x, y = b.operand(op, 0), b.operand(op, 1)
    signals = [term for term in (x, y) if isinstance(term, Signal)]
    constants = [term for term in (x, y) if not isinstance(term, Signal | None)]
    if len(signals) != 1 or len(constants) != 1:
        raise Unsupported("multiplies two values: only stored factors have a spiking form")
    return _scaled(b, op, signals[0], real(constants[0]))


def divide(b: Builder, op: Op) -> Signal:
    """Div by what is stored."""
    divisor = b.real(op, 1) if isinstance(b.operand(op, 0), Signal) else None
    if divisor is None:
        raise Unsupported("divides by a value: only stored divisors have a spiking form")
    if (divisor == 0).any():
        raise Unsupported("divides by 0")
    return _scaled(b, op, b.signal(op), 1 / divisor)


def negate(b: Builder, op: Op) -> Signal:
    """Neg."""
    return _scaled(b, op, b.signal(op), -ONE)


def _scaled(b: Builder, op: Op, x: Signal, gain: FloatArray) -> Signal:
    _refuse_stored([x])
    if x.is_clipped and gain.size == 1 and gain.item() > 0:
        low, high = x.clip
        moved = affine(b, op, replace(x, clip=(-inf, inf)), gain, ZERO)
        return replace(moved, clip=(low * gain.item(), high * gain.item()))
    return affine(b, op, x, gain, ZERO)


def concat(b: Builder, op: Op) -> Signal:
    """Concat along channels or features."""
    branches = [b.signal(op, i, stored=True) for i in range(len(op.node.inputs))]
    if len({branch.stored for branch in branches}) != 1 or any(x.raw for x in branches):
        raise Unsupported("joins integers on unlike grids: put a DequantizeLinear before each")
    stored = branches[0].stored
    made = joined(b, op, [replace(x, stored=None) for x in branches], op.integer("axis"))
    return replace(made, stored=stored)


def joined(b: Builder, op: Op, branches: list[Signal], axis: int) -> Signal:
    """Real signals, one behind the other along an axis of the tensor (the batch is 0)."""
    ready = [whole(b, op, unpadded(settled(b, op, branch))) for branch in branches]
    rank = ready[0].index.ndim + 1
    axis = axis + rank if axis < 0 else axis
    shapes = {(*x.shape[: axis - 1], *x.shape[axis:]) for x in ready}
    if not 1 <= axis < rank or {x.index.ndim for x in ready} != {rank - 1} or len(shapes) != 1:
        raise Unsupported(f"joins {[x.shape for x in ready]} along axis {axis}")
    if len(ready) == 1:
        return ready[0]
    where = [b.places(x) for x in ready]
    names = [x.node for x in ready]
    inside = {b.shapes[name][1:] for name in names}
    if len(inside) != 1:
        names = [b.flat(x) for x in ready]
    sizes = [int(np.prod(b.shapes[name])) for name in names]
    starts = np.cumsum([0, *sizes[:-1]])
    index = np.concatenate([w + s for w, s in zip(where, starts, strict=True)], axis - 1)
    if index.size != sum(sizes):
        raise Unsupported("joins parts of values")
    made = b.add(op, Concat, *names)
    grids = {x.grid for x in ready}
    return Signal(made.node, index, grids.pop() if len(grids) == 1 else None)


def _refuse_stored(signals: list[Signal]) -> None:
    if any(x.stored is not None or x.raw is not None for x in signals):
        raise Unsupported("computes with integers: put a DequantizeLinear before it")
