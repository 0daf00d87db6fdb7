"""The network under construction, and what its operators' handlers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from snndeploy.errors import UnsupportedModelError
from snndeploy.frontends.onnx.op import Op, operands
from snndeploy.frontends.onnx.signal import OtherOrder, Signal, places
from snndeploy.frontends.reading import Unsupported, identifier, network_shape
from snndeploy.nodes import (
    Array,
    BatchNorm,
    Flatten,
    Input,
    Node,
    Shape,
)
from snndeploy.numerics import FloatArray, Int64Array

MAX_VALUE_ELEMENTS = 1 << 24
MAX_WORK = 64 * MAX_VALUE_ELEMENTS
"""Elements of all tensors on the way."""
MAX_NODES = 4_000
MAX_MADE_ELEMENTS = 1 << 27
"""Of a weight that the file does not store, but asks for."""
MAX_INTEGERS = 64
"""In a list of axes, sizes or pads."""

Result: TypeAlias = Signal | Array
"""A tensor: computed from the model's input, or constant."""


@dataclass
class Builder:
    """The network so far.

    Attributes:
        batch: the samples that the model declares to take together; 1 if it takes any number.
        inside: the shape of the model's own input, without the batch.
        nodes, sources, shapes: of the network, by name, each behind its sources.
        values: of the tensors read so far that someone still reads.
        readers: how many operators still read a tensor.
        dropped: what was left out at the model's end.
        order: the network's input as flat places in the model's; None until someone reads it.
        disordered: someone reads elements in an order that it cannot read them in.
        read_raw: someone reads the input without a quantizer.
        relus: the real-valued ReLUs, by what they read and their cap.
    """

    batch: int
    inside: Shape
    input: str = "input"
    nodes: dict[str, Node] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    values: dict[ir.Value, Result] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    readers: dict[ir.Value, int] = field(default_factory=dict)
    order: Int64Array | None = None
    read_raw: bool = False
    disordered: bool = False
    relus: dict[tuple[str, float], str] = field(default_factory=dict)
    _flat: dict[str, str] = field(default_factory=dict)
    _work: int = 0

    # -- operands ------------------------------------------------------------------------------

    def operand(self, op: Op, position: int) -> Result | None:
        """What an operator reads at a position, or None where there is nothing."""
        inputs = op.node.inputs
        value = inputs[position] if position < len(inputs) else None
        if value is None:
            return None
        found = self.values.get(value)
        if found is None and value.const_value is not None:
            found = self.values[value] = _array(value)
        if found is None:
            raise Unread
        if isinstance(found, Signal):
            readers = len(value.uses()) + value.is_graph_output()
            return replace(found, alone=found.alone and readers == 1)
        return found

    def signal(self, op: Op, position: int = 0, stored: bool = False) -> Signal:
        """An operand that is computed from the model's input; of stored integers if `stored`."""
        found = self.operand(op, position)
        if not isinstance(found, Signal):
            raise Unsupported(f"its operand {position} is not computed from the model's input")
        if not stored and (found.stored is not None or found.raw is not None):
            raise Unsupported("computes with integers: put a DequantizeLinear before it")
        return found

    def constant(self, op: Op, position: int) -> Array:
        """A constant operand."""
        found = self.optional(op, position)
        if found is None:
            raise Unsupported(f"its operand {position} is missing")
        return found

    def optional(self, op: Op, position: int) -> Array | None:
        """A constant operand, or None where there is none."""
        found = self.operand(op, position)
        if isinstance(found, Signal):
            raise Unsupported(f"its operand {position} is computed, not stored")
        return found

    def integers(self, op: Op, position: int) -> tuple[int, ...] | None:
        """A constant operand of integers, such as axes, or None."""
        found = self.optional(op, position)
        if found is None:
            return None
        if found.dtype.kind not in "iu" or found.ndim > 1 or found.size > MAX_INTEGERS:
            raise Unsupported(f"its operand {position} is no list of integers")
        return tuple(int(n) for n in found.ravel())

    def real(self, op: Op, position: int) -> FloatArray | None:
        """A constant operand in float64, or None; raises for NaN and infinity."""
        found = self.optional(op, position)
        return None if found is None else real(found)

    # -- nodes ---------------------------------------------------------------------------------

    def add(self, op: Op, make: Callable[[str], Node], *sources: str) -> Signal:
        """Add the node that an operator becomes, `make(name)`; its value as a signal."""
        if len(self.nodes) >= MAX_NODES:
            raise UnsupportedModelError(f"needs more than {MAX_NODES} nodes")
        names = (*op.names, *(f"{n}_{len(self.nodes)}" for n in op.names))
        return self.put(make(identifier(names, self.nodes)), *sources)

    def put(self, node: Node, *sources: str) -> Signal:
        """Add a node whose name is chosen, or put it in the place of the one with its name."""
        try:
            shape = node.output_shape([self.shapes[source] for source in sources])
        except UnsupportedModelError as error:
            raise Unsupported(error.problem) from error
        size = int(np.prod(shape, dtype=object))
        if size > MAX_VALUE_ELEMENTS:
            raise UnsupportedModelError(
                f"'{node.name}' has a value of {size} elements {shape}, "
                f"the limit is {MAX_VALUE_ELEMENTS}"
            )
        self.nodes[node.name], self.sources[node.name] = node, sources
        self.shapes[node.name] = shape
        return Signal(node.name, places(shape).reshape(shape))

    def places(self, signal: Signal) -> Int64Array:
        """Its elements' flat places in the node's value."""
        if signal.node != self.input:
            return signal.index
        self.read_raw |= not signal.quantized
        if self.order is None:
            self.lay(signal.index if signal.index.ndim > 1 else None)
        assert self.order is not None
        inverse = np.empty_like(self.order)
        inverse[self.order] = places(self.order.shape)
        return inverse[signal.index]

    def image(self, signal: Signal) -> str:
        """The node whose value is the signal as an image (C, H, W), or as a signal (C, 1, W)."""
        index = signal.index[:, None] if signal.index.ndim == 2 else signal.index
        if index.ndim != 3:
            raise Unsupported(f"works on images or signals, not on {('N', *signal.shape)}")
        if signal.node == self.input and self.order is None:
            self.lay(signal.index)
        shape = self.shapes[signal.node]
        if len(shape) != 3:
            raise Unsupported(f"makes an image {index.shape} of a flat value")
        if shape != index.shape or (self.places(signal).ravel() != places(shape)).any():
            raise OtherOrder("reads an image whose axes or pixels are in another order")
        return signal.node

    def all_of(self, signal: Signal) -> Signal:
        """All of the value of a signal's node, in its own order."""
        shape = self.shapes[signal.node]
        order = places(shape) if signal.node != self.input else self.order
        assert order is not None
        return replace(signal, index=order.reshape(shape), pads=())

    def flat(self, signal: Signal) -> str:
        """The node whose value is that of the signal's node, flat."""
        self.places(signal)
        name = signal.node
        if len(self.shapes[name]) == 1:
            return name
        if name not in self._flat:
            made = identifier((f"{name}_flat", f"{name}_flat_{len(self.nodes)}"), self.nodes)
            self._flat[name] = self.put(Flatten(made), name).node
        return self._flat[name]

    def lay(self, index: Int64Array | None) -> None:
        """Settle the order of the network's input: that in which it is read first."""
        if index is None or index.size != np.prod(self.inside):
            index = places(self.inside).reshape(self.inside)
        self.order = index.ravel()
        shape = network_shape((1, *index.shape))
        node = self.nodes[self.input]
        assert isinstance(node, Input)
        self.put(replace(node, shape=shape))

    def same_place(self, signal: Signal, made: Signal) -> Signal:
        """What an operator on single elements made of a signal: its elements stay in order."""
        return Signal(made.node, self.places(signal), pads=signal.pads)

    # -- values a channel ----------------------------------------------------------------------

    def per_channel(self, signal: Signal, values: FloatArray, rest: float) -> FloatArray:
        """Values of single elements (*index.shape) as one a channel of the node, (C,).

        Args:
            signal: all of a node's value, or a part of it.
            values: one for each of its elements.
            rest: for channels of which it holds nothing.

        Raises:
            Unsupported: they differ inside a channel.
        """
        where = self.places(signal)
        found = np.full(int(np.prod(self.shapes[signal.node])), np.nan)
        found[where.ravel()] = values.ravel()
        rows = found.reshape(self.shapes[signal.node][0], -1)
        least, most = np.fmin.reduce(rows, axis=1), np.fmax.reduce(rows, axis=1)
        if (least < most).any():
            raise Unsupported("its constant differs from pixel to pixel: use one a channel")
        return np.where(np.isnan(least), rest, least)

    def normed(self, op: Op, signal: Signal) -> Signal:
        """The signal with its affine map built, as a batch-norm on the model's input."""
        if signal.affine is None:
            return signal
        gains = self.per_channel(signal, signal.affine.gain[signal.index], 1)
        shifts = self.per_channel(signal, signal.affine.shift[signal.index], 0)
        made = self.same_place(signal, self.norm(op, signal, gains, shifts))
        return replace(made, clip=signal.clip, clip_names=signal.clip_names)

    def norm(self, op: Op, signal: Signal, gains: FloatArray, shifts: FloatArray) -> Signal:
        """A batch-norm node that computes `gain * x + shift` a channel."""
        zeros, ones = np.zeros(len(gains)), np.ones(len(gains))
        return self.add(op, lambda n: BatchNorm(n, zeros, ones, gains, shifts, 0.0), signal.node)

    # -- bookkeeping ---------------------------------------------------------------------------

    def drop(self, op: Op) -> None:
        """Note what is left out at the model's end."""
        self.dropped.append(f"{op.kind.lower()}:{op.names[0] or op.kind}")

    def used(self) -> list[str]:
        """The nodes that the last one depends on: a narrower one may have taken another's place."""
        needed = {next(reversed(self.nodes))}
        for name in reversed(self.nodes):
            if name in needed:
                needed.update(self.sources[name])
        return [name for name in self.nodes if name in needed]

    def count(self, result: Result) -> None:
        """Add to the work done; raises where a model asks for more than any real one does."""
        self._work += result.index.size if isinstance(result, Signal) else result.size
        if self._work > MAX_WORK:
            raise UnsupportedModelError(f"its tensors have more than {MAX_WORK} elements in all")

    def release(self, op: Op) -> None:
        """Forget the operands that nobody reads after an operator."""
        for value in set(operands(op)):
            if value in self.readers:
                self.readers[value] -= 1
                if not self.readers[value]:
                    self.values.pop(value, None)


class Unread(Exception):  # noqa: N818
    """An operand comes from an operator that could not be read."""


def real(array: Array) -> FloatArray:
    """An array in float64; raises `Unsupported` for NaN, infinity and what is no number."""
    if array.dtype.kind not in "biuf" and array.dtype.kind != "V":
        raise Unsupported(f"a constant of type {array.dtype}")
    with np.errstate(all="ignore"):
        found = np.asarray(array, np.float64)
    if not np.isfinite(found).all():
        raise Unsupported("a constant holds NaN or infinity")
    return found


def zeros(*shape: int) -> FloatArray:
    """A weight to be filled; raises `Unsupported` where it would be huge."""
    if prod(shape) > MAX_MADE_ELEMENTS:
        raise Unsupported(f"needs a weight {shape}, the limit is {MAX_MADE_ELEMENTS} elements")
    return np.zeros(shape)


def _array(value: ir.Value) -> Array:
    assert value.const_value is not None
    try:
        return np.asarray(value.const_value.numpy())
    except (ValueError, TypeError, OverflowError) as error:
        raise Unsupported(f"its stored tensor cannot be read: {error}") from error
