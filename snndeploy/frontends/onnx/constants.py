"""Operators on stored tensors, computed while the model is read: arithmetic on shapes and weights.

A short list of our own, with bounded results, since a file may ask for any size.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import Array

MAX_ELEMENTS = 1 << 27


def folded(op: Op, operands: list[Array | None]) -> Array:
    """The result of an operator on stored tensors.

    Raises:
        Unsupported: it is not on the list, too large, or its operands do not fit.
    """
    function = FOLDS.get(op.kind)
    if function is None:
        raise Unsupported("its operands are all stored, and it is not computed in advance")
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(function(op, *operands))
    except AttributeError as error:  # None, where an operand should be
        raise Unsupported("an operand is missing") from error
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError) as error:
        first = (str(error).strip().splitlines() or ["no such operands"])[0]
        raise Unsupported(f"its stored operands do not fit: {first[:200]}") from error
    if found.size > MAX_ELEMENTS:
        raise Unsupported(f"computes {found.size} stored values, the limit is {MAX_ELEMENTS}")
    return found


def _limited(shape: Any) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in np.asarray(shape).ravel())
    if min(sizes, default=0) < 0 or prod(sizes) > MAX_ELEMENTS or len(sizes) > 16:
        raise Unsupported(f"computes a stored tensor of shape {sizes[:16]}")
    return sizes


def _elementwise(function: Callable[..., Any]) -> Callable[..., Array]:
    def apply(op: Op, *operands: Array) -> Array:
        _limited(np.broadcast_shapes(*(x.shape for x in operands)))
        return np.asarray(function(*operands))

    return apply


def _divide(x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu" and y.dtype.kind in "iu":
        if (y == 0).any():
            raise ValueError("division by zero")
        return np.asarray(np.sign(x) * np.sign(y) * (abs(x) // abs(y)), x.dtype)
    return np.asarray(x / y)


def _constant(op: Op) -> Array:
    for name, kind in (("value_float", np.float32), ("value_int", np.int64)):
        if op.has(name):
            read = op.number if kind is np.float32 else op.integer
            return np.asarray(read(name), kind)
    if op.has("value_ints"):
        return np.asarray(op.integers("value_ints"), np.int64)
    if op.has("value_floats"):
        return np.asarray(op.numbers("value_floats"), np.float32)
    return op.tensor("value")


def _constant_of_shape(op: Op, shape: Array) -> Array:
    value = op.tensor("value") if op.has("value") else np.zeros(1, np.float32)
    return np.full(_limited(shape), value.ravel()[0])


def _cast(op: Op, x: Array) -> Array:
    if op.integer("to") not in _DTYPES:
        raise Unsupported("casts to a type that is not read")
    return x.astype(_DTYPES[op.integer("to")])


_DTYPES: dict[int, Any] = {
    kind.value: kind.numpy()
    for kind in (
        ir.DataType.FLOAT, ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.UINT16,
        ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL,
        ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.UINT32, ir.DataType.UINT64,
    )
}  # fmt: skip


def _gather(op: Op, x: Array, indices: Array) -> Array:
    axis = op.integer("axis", 0)
    _limited((*indices.shape, *x.shape[:axis], *x.shape[axis + 1 :]))
    return np.take(x, indices.astype(np.int64), axis)


def _axes(op: Op, given: Array | None) -> tuple[int, ...] | None:
    if given is not None:
        return tuple(int(n) for n in given.ravel())
    return op.integers("axes") if op.has("axes") else None


def _unsqueeze(op: Op, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, _axes(op, axes) or ())


def _squeeze(op: Op, x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, _axes(op, axes))


def _reshape(op: Op, x: Array, shape: Array) -> Array:
    wanted = [int(n) for n in shape.ravel()]
    if not op.integer("allowzero", 0):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(op: Op, x: Array) -> Array:
    return x.reshape(prod(x.shape[: op.integer("axis", 1)]), -1)


def _transpose(op: Op, x: Array) -> Array:
    return x.transpose(op.integers("perm") if op.has("perm") else None)


def _concat(op: Op, *parts: Array) -> Array:
    return np.concatenate(parts, op.integer("axis"))


def _slice(op: Op, x: Array, *bounds: Array | None) -> Array:
    if bounds:
        starts, ends, axes, steps = (*bounds, None, None)[:4]
    else:
        starts, ends = np.array(op.integers("starts")), np.array(op.integers("ends"))
        axes, steps = np.array(op.integers("axes", tuple(range(len(starts))))), None
    if starts is None or ends is None:
        raise ValueError("its bounds are missing")
    places = range(len(starts)) if axes is None else [int(n) for n in axes]
    strides = [1] * len(starts) if steps is None else [int(n) for n in steps]
    index: list[slice] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(places, starts, ends, strides, strict=True):
        last = int(end)
        index[axis] = slice(int(start), None if step < 0 and last < -x.shape[axis] else last, step)
    return x[tuple(index)]


def _expand(op: Op, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, _limited(np.broadcast_shapes(x.shape, _limited(shape)))).copy()


def _range(op: Op, start: Array, stop: Array, step: Array) -> Array:
    _limited([max(0, int(np.ceil((stop.item() - start.item()) / step.item())))])
    return np.arange(start.item(), stop.item(), step.item(), dtype=start.dtype)


def _reduce(function: Callable[..., Any]) -> Callable[..., Array]:
    def apply(op: Op, x: Array, axes: Array | None = None) -> Array:
        over = _axes(op, axes) or None
        if over is None and op.integer("noop_with_empty_axes", 0):
            return x
        found = function(x, axis=over, keepdims=bool(op.integer("keepdims", 1)))
        return np.asarray(found, x.dtype)

    return apply


def _shape(op: Op, x: Array) -> Array:
    found = np.array(x.shape, np.int64)
    return found[op.integer("start", 0) : op.integer("end", x.ndim)]


def _clip(op: Op, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    least = op.number("min", -np.inf) if low is None else low
    most = op.number("max", np.inf) if high is None else high
    return np.clip(x, least, most).astype(x.dtype)


def _where(condition: Array, x: Array, y: Array) -> Array:
    return np.where(condition, x, y)


FOLDS: dict[str, Callable[..., Array]] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Identity": lambda op, x: x,
    "Cast": _cast,
    "Shape": _shape,
    "Size": lambda op, x: np.array(x.size, np.int64),
    "Gather": _gather,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Expand": _expand,
    "Range": _range,
    "Clip": _clip,
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Div": _elementwise(_divide),
    "Pow": _elementwise(np.power),
    "Mod": lambda op, x, y: _elementwise(np.fmod if op.integer("fmod", 0) else np.mod)(op, x, y),
    "Max": _elementwise(lambda *xs: np.maximum.reduce(np.broadcast_arrays(*xs))),
    "Min": _elementwise(lambda *xs: np.minimum.reduce(np.broadcast_arrays(*xs))),
    "Equal": _elementwise(np.equal),
    "Greater": _elementwise(np.greater),
    "Less": _elementwise(np.less),
    "And": _elementwise(np.logical_and),
    "Or": _elementwise(np.logical_or),
    "Not": _elementwise(np.logical_not),
    "Where": _elementwise(_where),
    "Neg": _elementwise(np.negative),
    "Abs": _elementwise(np.abs),
    "Sign": _elementwise(np.sign),
    "Sqrt": _elementwise(np.sqrt),
    "Exp": _elementwise(np.exp),
    "Reciprocal": _elementwise(np.reciprocal),
    "Floor": _elementwise(np.floor),
    "Ceil": _elementwise(np.ceil),
    "Round": _elementwise(np.round),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceMean": _reduce(np.mean),
}
"""By operator; quantizers on weights are in `quantizers`."""
