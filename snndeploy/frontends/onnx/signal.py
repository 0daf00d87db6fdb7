"""What a tensor of an ONNX graph is in terms of the network's nodes.

A tensor is the value of one node of the network, its elements in some order: `index` has the
tensor's shape (no batch) and holds, for each element, its flat place in the node's value. So a
transpose, a reshape or a flatten is the same NumPy operation on `index`, and nothing of it is
left in the network. What a later operator may absorb is noted beside it and not built yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import numpy as np

from snndeploy.frontends.reading import MAX_LEVELS, Unsupported
from snndeploy.nodes import Grid, Shape
from snndeploy.numerics import FloatArray, Int64Array


class OtherOrder(Unsupported):
    """An operator reads a value's elements in an order that it cannot read them in."""


@dataclass(frozen=True)
class Quantizer:
    """Stored integers q, `low .. high`, worth `scale * (q - zero_point)`.

    Attributes:
        floor: rounds down rather than to the nearest.
    """

    scale: float
    zero_point: int
    low: int
    high: int
    floor: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.scale < inf:
            raise Unsupported(f"its scale is {self.scale}, expected a number above 0")
        if not self.low <= self.zero_point <= self.high:
            raise Unsupported(f"its zero point {self.zero_point} is not {self.low} .. {self.high}")
        if not 1 <= self.high - self.low <= MAX_LEVELS:
            raise Unsupported(f"{self.low} to {self.high} is not a grid of 2 to {MAX_LEVELS + 1}")

    @property
    def grid(self) -> Grid:
        """The values that it gives, as multiples of the scale."""
        return Grid(self.scale, self.low - self.zero_point, self.high - self.zero_point)


@dataclass(frozen=True, eq=False)
class Affine:
    """`gain * x + shift`, one number of each for every element of the model's input, flat."""

    gain: FloatArray
    shift: FloatArray


@dataclass(frozen=True, eq=False)
class Signal:
    """A tensor whose values depend on the model's input.

    Its real value is `pad(clip(affine(node)))`, in the order of `index`.

    Attributes:
        node: the node of the network that it comes from.
        index: int64 (*shape), flat places in the node's value; in that of the model's own input
            if the node is the input, whose layout is not settled until someone needs it.
        grid: what its values are known to be multiples of.
        unit: its values are multiples of this, behind an average pool of values on a grid.
        stored: the tensor holds integers rather than the real value.
        raw: the model's input, of integers `low .. high`, before anyone said what they are worth.
        affine: of the model's input only.
        clip: bounds of its values that no node imposes yet.
        clip_names: candidates for the name of the node that will impose them.
        pads: (before, behind) for each axis, zeros that are not built yet; or empty.
        alone: nobody else reads the node, or any tensor between it and this one.
        answered: it stands for class numbers at the model's very end.
        unsure: it stands for the result of an operator that could not be read.
        quantized: it is the model's input behind the quantizer that gave the input its grid.
    """

    node: str
    index: Int64Array
    grid: Grid | None = None
    unit: float | None = None
    stored: Quantizer | None = None
    raw: tuple[int, int] | None = None
    affine: Affine | None = None
    clip: tuple[float, float] = (-inf, inf)
    clip_names: tuple[str, ...] = ()
    pads: tuple[tuple[int, int], ...] = ()
    alone: bool = field(default=True)
    answered: bool = False
    quantized: bool = False
    unsure: bool = False

    @property
    def shape(self) -> Shape:
        """The tensor's shape without its batch."""
        if not self.pads:
            return self.index.shape
        return tuple(n + a + b for n, (a, b) in zip(self.index.shape, self.pads, strict=True))

    @property
    def is_clipped(self) -> bool:
        """Whether bounds wait to be imposed."""
        return self.clip != (-inf, inf)

    def spread(self, constant: FloatArray, batch: int) -> FloatArray:
        """A constant broadcast to the tensor's elements (*shape), the same for all samples.

        Raises:
            Unsupported: it would make the tensor larger, or differs between samples.
        """
        shape = (batch, *self.index.shape)
        try:
            fits = np.broadcast_shapes(constant.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise Unsupported(f"a constant {constant.shape} does not fit a value {shape}")
        if constant.ndim == len(shape) and len(constant) > 1:
            if (constant != constant[:1]).any():
                raise Unsupported("a constant that differs from sample to sample")
            constant = constant[:1]
        spread: FloatArray = np.broadcast_to(constant, (1, *shape[1:]))[0]
        return spread


def along(index: Int64Array, shape: Shape) -> tuple[int | None, ...]:
    """For each axis of a tensor the axis of its node's value that it runs along.

    None for an axis of size 1, which may be any.

    Raises:
        Unsupported: the tensor is not the node's value with its axes in another order.
    """
    steps = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    found: list[int | None] = []
    for axis, size in enumerate(index.shape):
        if size == 1:
            found.append(None)
            continue
        step = int(index.take(1, axis).flat[0] - index.flat[0])
        match = [i for i, n in enumerate(shape) if n == size and steps[i] == step]
        if len(match) != 1:
            raise OtherOrder("reads values in an order that no layer of images has")
        found.append(match[0])
    order = [axis for axis, to in enumerate(found) if to is not None]
    order.sort(key=lambda axis: found[axis] or 0)
    if not np.array_equal(index.transpose(_first(order, index.ndim)).ravel(), places(shape)):
        raise OtherOrder("reads values in an order that no layer of images has")
    return tuple(found)


def places(shape: Shape) -> Int64Array:
    """The flat places 0, 1, 2, .. of a value."""
    return np.arange(int(np.prod(shape)), dtype=np.int64)


def _first(order: list[int], count: int) -> list[int]:
    return order + [axis for axis in range(count) if axis not in order]
