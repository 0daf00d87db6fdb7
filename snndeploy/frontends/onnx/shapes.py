"""Operators that only move elements: nothing of them is left in the network."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from snndeploy.frontends.onnx.builder import Builder, Result
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.parts import padded_channels
from snndeploy.frontends.onnx.pending import settled, unpadded
from snndeploy.frontends.onnx.quantizers import as_numbers, uniform
from snndeploy.frontends.onnx.signal import Signal
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import Shape


def identity(b: Builder, op: Op) -> Result:
    """Identity, and Dropout in inference."""
    if op.kind == "Dropout" and (training := b.optional(op, 2)) is not None and training.any():
        raise Unsupported("drops values at random: export the model for inference")
    return b.signal(op, stored=True)


def cast(b: Builder, op: Op) -> Result:
    """Cast to a real type; stored integers are taken for numbers."""
    x = b.signal(op, stored=True)
    if op.integer("to") not in (1, 10, 11, 16):
        raise Unsupported("casts to a type that is not real")
    return as_numbers(b, op, x)


def shape(b: Builder, op: Op) -> Result:
    """Shape: of one sample, or of as many as the model declares."""
    x = b.signal(op, stored=True)
    found = np.array((b.batch, *x.shape), np.int64)
    return found[op.integer("start", 0) : op.integer("end", len(found))]


def transpose(b: Builder, op: Op) -> Result:
    """Transpose that keeps the batch in front."""
    x = b.signal(op, stored=True)
    rank = len(x.shape) + 1
    perm = op.integers("perm", tuple(reversed(range(rank))))
    if sorted(perm) != list(range(rank)):
        raise Unsupported(f"perm {perm} of {rank} axes")
    if perm[0] != 0:
        raise Unsupported("moves the batch from the first axis")
    order = [axis - 1 for axis in perm[1:]]
    pads = tuple(x.pads[axis] for axis in order) if x.pads else ()
    return replace(x, index=x.index.transpose(order), pads=pads)


def reshape(b: Builder, op: Op) -> Result:
    """Reshape that leaves each sample's elements together."""
    x = b.signal(op, stored=True)
    wanted = list(b.integers(op, 1) or ())
    if not op.integer("allowzero", 0):
        before = (b.batch, *x.shape)
        wanted = [before[i] if n == 0 and i < len(before) else n for i, n in enumerate(wanted)]
    size = b.batch * x.index.size
    known = prod(n for n in wanted if n != -1)
    if wanted.count(-1) == 1 and known > 0 and size % known == 0:
        wanted[wanted.index(-1)] = size // known
    if len(wanted) < 2 or min(wanted) < 1 or prod(wanted) != size or wanted[0] != b.batch:
        raise Unsupported(
            f"reshapes {(b.batch, *x.shape)} to {tuple(wanted)}: the batch must stay in front"
        )
    return reshaped(x, tuple(wanted[1:]))


def reshaped(x: Signal, after: Shape) -> Signal:
    """A signal in another shape."""
    if x.shape == after:
        return x
    return replace(x, index=unpadded(x).index.reshape(after))


def flatten(b: Builder, op: Op) -> Result:
    """Flatten from the first axis behind the batch."""
    x, axis = b.signal(op, stored=True), op.integer("axis", 1)
    if axis not in (1, -len(x.shape)):
        raise Unsupported(f"flattens from axis {axis}, expected 1")
    return reshaped(x, (prod(x.shape),))


def squeeze(b: Builder, op: Op) -> Result:
    """Squeeze."""
    x = b.signal(op, stored=True)
    axes = _axes(b, op, len(x.shape) + 1)
    if axes is None:
        axes = tuple(i for i, n in enumerate(x.shape, 1) if n == 1)
    if 0 in axes or any(x.shape[axis - 1] != 1 for axis in axes):
        raise Unsupported(f"squeezes the axes {axes} of {('N', *x.shape)}")
    return reshaped(x, tuple(n for i, n in enumerate(x.shape, 1) if i not in axes))


def unsqueeze(b: Builder, op: Op) -> Result:
    """Unsqueeze."""
    x = b.signal(op, stored=True)
    stored = b.integers(op, 1)
    added = len(op.integers("axes", ()) if stored is None else stored)
    axes = _axes(b, op, len(x.shape) + 1 + added)
    if axes is None or 0 in axes:
        raise Unsupported("puts an axis before the batch")
    after = list(x.shape)
    for axis in sorted(axes):
        after.insert(axis - 1, 1)
    return reshaped(x, tuple(after))


def pad(b: Builder, op: Op) -> Result:
    """Pad with zeros around images; a convolution or a pool behind it takes them in."""
    x = b.signal(op, stored=True)
    if op.text("mode", "constant") != "constant":
        raise Unsupported(f"pads by '{op.text('mode')}': pad with zeros")
    pads, value = _pads(b, op, len(x.shape) + 1)
    zero = x.stored.zero_point if x.stored else 0
    if not any(a or c for a, c in pads):
        return x
    if x.raw is not None:
        raise Unsupported("pads integers before anyone says what they are worth")
    if value != zero:
        raise Unsupported(f"pads with {value:g}: pad with zeros")
    if pads[0] != (0, 0) or min(min(p) for p in pads) < 0 or max(max(p) for p in pads) > 1 << 20:
        raise Unsupported(f"pads {pads}: only zeros around height and width are supported")
    if pads[1] != (0, 0) and not any(a or c for a, c in pads[2:]) and x.stored is None:
        return padded_channels(b, op, unpadded(x), pads[1])
    if not x.clip[0] <= 0 <= x.clip[1] or (x.affine is not None and x.affine.shift.any()):
        x = settled(b, op, x)
    before = x.pads or ((0, 0),) * len(x.shape)
    both = tuple((a + c, e + f) for (a, e), (c, f) in zip(before, pads[1:], strict=True))
    return replace(x, pads=both)


def _pads(b: Builder, op: Op, rank: int) -> tuple[list[tuple[int, int]], float]:
    """(before, behind) for each axis, and with what."""
    stored = b.integers(op, 1)
    if stored is None:
        amounts, value = op.integers("pads"), op.number("value", 0.0)
    else:
        amounts = stored
        fill = b.optional(op, 2)
        value = 0.0 if fill is None or not fill.size else uniform(fill, "value")
    axes = b.integers(op, 3)
    where = list(range(rank)) if axes is None else [n % rank for n in axes]
    if len(amounts) != 2 * len(where) or len(set(where)) != len(where):
        raise Unsupported(f"{len(amounts)} amounts of padding for {len(where)} axes")
    found = [(0, 0)] * rank
    for axis, before, behind in zip(where, amounts, amounts[len(where) :], strict=False):
        found[axis] = (before, behind)
    return found, value


def _axes(b: Builder, op: Op, rank: int) -> tuple[int, ...] | None:
    """Axes from an attribute or an operand, counted from the batch; None if none are given."""
    stored = b.integers(op, 1)
    given = op.integers("axes", ()) if stored is None else stored
    if stored is None and not op.has("axes"):
        return None
    if any(not -rank <= axis < rank for axis in given) or len(set(given)) != len(given):
        raise Unsupported(f"axes {given} of {rank}")
    return tuple(axis % rank for axis in given)
