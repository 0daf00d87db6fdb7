"""The state of one layer for a batch of samples: what each Lava process advances by a step.

Plain NumPy on top of `snndeploy.numerics`; knows neither Lava nor the pipeline. A layer goes
through its samples in blocks that stay in the cache. Its state is held in the narrowest integers
that no sum can leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from snndeploy import linear_ops
from snndeploy.layers import Kind, Layer
from snndeploy.network import Network
from snndeploy.nodes import MaxPool2d, Neuron, Output
from snndeploy.numerics import (
    BoolArray,
    Int64Array,
    check_word,
    fire,
    window_share,
    word_limits,
)
from snndeploy_backends.lava.worker.board import Board
from snndeploy_backends.lava.worker.job import Job
from snndeploy_backends.lava.worker.projections import compiled, total_current

Message: TypeAlias = NDArray[Any]
"""What one process sends another in a step: int8 spikes, int32 input values."""
Messages: TypeAlias = Mapping[str, Message]
"""What a layer hears in a step, by the layer that it comes from."""

BLOCK = 1 << 18
"""Numbers that a block of samples may gather for one projection: 1 MB in float32."""


class Population(Protocol):
    """One layer's neurons, pooled counts or input values, for the samples that run."""

    def begin(self, slots: Int64Array, first: int) -> None:
        """Start the samples in these slots anew; sample number `first` is in slot 0."""
        ...

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of them."""
        ...

    def step(self, t: int, messages: Messages) -> Message:
        """Advance by logical step t; one message (n, neurons) a source. Returns (n, *shape)."""
        ...


class Source:
    """The input layer: grid integers, constant or step by step."""

    def __init__(self, network: Network, board: Board) -> None:
        self.network, self.board = network, board
        self.inputs = board.inputs[:0]

    def begin(self, slots: Int64Array, first: int) -> None:
        """Take up the samples."""
        self.inputs = self.board.inputs[slots]

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of them."""
        self.inputs = self.inputs[rows]

    def step(self, t: int, messages: Messages) -> Message:
        """What the input emits."""
        emitted: Message = self.network.stimulus(self.inputs, t)
        return emitted


class _Membranes:
    """Membranes that integrate currents and the layer's share of the bias."""

    emits: type[Any] = np.int8

    def __init__(self, layer: Layer, job: Job) -> None:
        node, network = layer.node, job.network
        assert isinstance(node, Neuron | Output) and node.bias is not None
        self.where, self.bits = f"layer '{layer.name}'", job.state_bits
        self.projections = compiled(layer, network)
        self.bias = node.bias.astype(np.int64)
        self.window = network.window
        self.duration = network.window if network.mode == "exact" else None
        v0, theta = np.zeros((1, *layer.shape), np.int64), np.zeros(1, np.int64)
        if isinstance(node, Neuron):
            v0 = v0 + linear_ops.per_channel(node.v0.astype(np.int64), v0.ndim)
            theta = linear_ops.per_channel(node.threshold.astype(np.int64), v0.ndim)
        self.integer = self._narrowest(v0, theta)
        self.start, self.theta = v0.astype(self.integer), theta.astype(self.integer)
        self.rows = max(1, BLOCK // max(p.columns for p in self.projections))
        self.membrane = self.start[:0]
        self.slots, self.first = np.arange(0), 0

    def begin(self, slots: Int64Array, first: int) -> None:
        """Back to the initial membranes."""
        self.slots, self.first = slots, first
        self.membrane = np.repeat(self.start, len(slots), axis=0)

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of the samples."""
        self.slots, self.membrane = self.slots[rows], self.membrane[rows]

    def step(self, t: int, messages: Messages) -> Message:
        """What the layer emits at step t."""
        emitted = np.empty(self.membrane.shape, self.emits)
        for rows in _blocks(len(emitted), self.rows):
            emitted[rows] = self.advance(rows, t, {k: m[rows] for k, m in messages.items()})
        return emitted

    def advance(self, rows: slice, t: int, messages: Messages) -> Message:
        """What some of the samples emit."""
        raise TypeError(f"{type(self).__name__} emits nothing")

    def integrate(self, rows: slice, t: int, messages: Messages) -> Message:
        """Their membranes after the input of step t, held to the state word."""
        current = self.current(t, messages)
        v: Message = self.membrane[rows] + current
        low, high = word_limits(self.bits)
        if int(v.min()) < low or int(v.max()) > high:
            self._refuse(v, rows.start, t)
        return v

    def current(self, t: int, messages: Messages) -> Message:
        """The input of step t, bias included."""
        current = total_current(self.projections, messages, self.integer)
        if self.duration is None or t < self.duration:
            share = window_share(self.bias, t, self.window).astype(self.integer)
            current = current + linear_ops.per_channel(share, current.ndim)
        return current

    def _refuse(self, v: Message, start: int, t: int) -> None:
        """Name the first sample whose membranes leave the state word."""
        for slot, membrane in zip(self.slots[start:], v, strict=False):
            check_word(
                *(int(membrane.min()), int(membrane.max())),
                bits=self.bits,
                where=f"{self.where}, step {t + 1}, sample {self.first + slot}",
                remedy="rescale the layer to smaller weights, or use fewer levels",
            )

    def _narrowest(self, v0: Int64Array, theta: Int64Array) -> type[Any]:
        """int32 where it holds every sum on the way to the check of the state word."""
        largest = sum(p.bound for p in self.projections) + (1 << self.bits)
        largest += int(np.abs(v0).max() + np.abs(self.bias).max() + theta.max())
        return np.int32 if largest < 1 << 31 else np.int64


class Neurons(_Membranes):
    """Integrate-and-fire neurons."""

    def __init__(self, layer: Layer, job: Job) -> None:
        super().__init__(layer, job)
        assert isinstance(layer.node, Neuron)
        self.signed, self.levels = job.network.mode == "exact", layer.node.levels
        self.hard = job.network.reset == "hard"
        self.count = self.membrane

    def begin(self, slots: Int64Array, first: int) -> None:
        """Back to v0 and counts of 0."""
        super().begin(slots, first)
        self.count = np.zeros_like(self.membrane)

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of the samples."""
        super().keep(rows)
        self.count = self.count[rows]

    def advance(self, rows: slice, t: int, messages: Messages) -> Message:
        """The spikes of step t."""
        v: Any = self.integrate(rows, t, messages)
        self.membrane[rows], self.count[rows], spikes = fire(
            v, self.count[rows], self.theta, self.levels, signed=self.signed, hard=self.hard
        )
        return spikes


class ProbedNeurons(Neurons):
    """Neurons of which the board records the currents, and the membranes before and after."""

    def __init__(self, layer: Layer, job: Job, board: Board) -> None:
        super().__init__(layer, job)
        self.board = board

    def integrate(self, rows: slice, t: int, messages: Messages) -> Message:
        """As for all membranes."""
        v = super().integrate(rows, t, messages)
        self._note("before", rows, t, self.membrane[rows])
        self._note("current", rows, t, v - self.membrane[rows])
        return v

    def advance(self, rows: slice, t: int, messages: Messages) -> Message:
        """The spikes of step t."""
        spikes = super().advance(rows, t, messages)
        self._note("after", rows, t, self.membrane[rows])
        return spikes

    def _note(self, name: str, rows: slice, t: int, values: Message) -> None:
        ring = self.board.probed[name]
        ring[t % len(ring), self.slots[rows]] = values.reshape(len(values), -1)


class Readout(_Membranes):
    """The neurons that never fire: their membranes are the logits."""

    emits = np.int64

    def advance(self, rows: slice, t: int, messages: Messages) -> Message:
        """The membranes after step t."""
        self.membrane[rows] = self.integrate(rows, t, messages)
        return self.membrane[rows]


class CountPool:
    """A max-pool on running counts: emits by how much the maximum changed."""

    def __init__(self, layer: Layer, job: Job) -> None:
        assert isinstance(layer.node, MaxPool2d)
        self.node, self.shape = layer.node, layer.shape
        self.heard = layer.projections[0].source
        self.source = job.network.shapes[self.heard]
        self.begin(np.arange(0), 0)

    def begin(self, slots: Int64Array, first: int) -> None:
        """Back to counts of 0."""
        self.counts = np.zeros((len(slots), *self.source), np.int32)
        self.pooled = np.zeros((len(slots), *self.shape), np.int32)

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of the samples."""
        self.counts, self.pooled = self.counts[rows], self.pooled[rows]

    def step(self, t: int, messages: Messages) -> Message:
        """The change of the maxima at step t: -1, 0 or +1."""
        changes = np.zeros(self.pooled.shape, np.int8)
        node = self.node
        for row, spikes in enumerate(messages[self.heard]):
            if spikes.any():
                self.counts[row] += spikes.reshape(self.source)
                counts: Any = self.counts[row : row + 1]
                pooled = linear_ops.max_pool(counts, node.kernel, node.stride, node.padding)[0]
                changes[row] = pooled - self.pooled[row]
                self.pooled[row] = pooled
        return changes


def populations(job: Job, layers: Sequence[Layer], board: Board) -> list[Population]:
    """One population a layer, in the order of the layer view."""
    kinds: Mapping[Kind, Callable[[Layer, Job], Population]] = {
        "neurons": Neurons,
        "max_pool": CountPool,
        "readout": Readout,
    }

    def population(layer: Layer) -> Population:
        if layer.kind == "input":
            return Source(job.network, board)
        if layer.name == job.probe:
            return ProbedNeurons(layer, job, board)
        return kinds[layer.kind](layer, job)

    return [population(layer) for layer in layers]


def _blocks(rows: int, size: int) -> Iterator[slice]:
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
