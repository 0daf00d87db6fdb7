"""The state of one layer for one sample: what each Lava process advances by a logical step.

Plain NumPy on top of `snndeploy.numerics`; knows neither Lava nor the pipeline.
Arrays carry a leading axis of 1, the batch that `numerics` and `linear_ops` expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from snndeploy import linear_ops
from snndeploy.layers import Kind, Layer
from snndeploy.network import Network
from snndeploy.nodes import MaxPool2d, Neuron, Output
from snndeploy.numerics import Int64Array, check_word, fire, window_share
from snndeploy_backends.lava.worker.job import Job
from snndeploy_backends.lava.worker.projections import CompiledProjection, total_current

Message: TypeAlias = NDArray[Any]
"""What one process sends another in a step; int8 spikes, int32 input values."""


class Population(Protocol):
    """One layer's neurons, pooled counts or input values."""

    def begin(self, sample: int) -> None:
        """Reset for a new sample."""
        ...

    def step(self, t: int, messages: Sequence[Message]) -> Message:
        """Advance by logical step t; one flat message a projection. Returns (*shape)."""
        ...


class Source:
    """The input layer: grid integers, constant or step by step."""

    def __init__(self, job: Job) -> None:
        self.network, self.inputs = job.network, job.inputs.astype(np.int32)
        self.current = self.inputs[:1]

    def begin(self, sample: int) -> None:
        """Take up the next sample."""
        self.current = self.inputs[sample : sample + 1]

    def step(self, t: int, messages: Sequence[Message]) -> Message:
        """What the input emits."""
        emitted: Message = self.network.stimulus(self.current, t)[0]
        return emitted


class _Membranes:
    """Membranes that integrate currents and the layer's share of the bias."""

    def __init__(self, layer: Layer, job: Job) -> None:
        node = layer.node
        assert isinstance(node, Neuron | Output) and node.bias is not None
        self.where = f"layer '{layer.name}'"
        self.projections = _compiled(layer, job.network)
        self.bias = node.bias.astype(np.int64)
        self.window, self.duration = job.network.window, _injection_steps(job)
        self.bits = job.state_bits
        self.start: Int64Array = np.zeros((1, *layer.shape), np.int64)
        self.membrane = self.current = self.start

    def integrate(self, t: int, messages: Sequence[Message]) -> Int64Array:
        """The membranes after the input of step t, held to the state word."""
        current = total_current(self.projections, messages)
        if t < self.duration:
            share = window_share(self.bias, t, self.window)
            current = current + linear_ops.per_channel(share, current.ndim)
        v, self.current = self.membrane + current, current
        check_word(
            *(int(v.min()), int(v.max())),
            bits=self.bits,
            where=f"{self.where}, step {t + 1}",
            remedy="rescale the layer to smaller weights, or use fewer levels",
        )
        return v


class Neurons(_Membranes):
    """Integrate-and-fire neurons."""

    def __init__(self, layer: Layer, job: Job) -> None:
        super().__init__(layer, job)
        node = layer.node
        assert isinstance(node, Neuron)
        self.signed, self.levels = job.network.mode == "exact", node.levels
        self.hard = job.network.reset == "hard"
        self.theta = linear_ops.per_channel(node.threshold.astype(np.int64), self.start.ndim)
        v0 = linear_ops.per_channel(node.v0.astype(np.int64), self.start.ndim)
        self.start = self.start + v0
        self.count = np.zeros_like(self.start)

    def begin(self, sample: int) -> None:
        """Back to v0 and a count of 0."""
        self.membrane, self.count = self.start, np.zeros_like(self.start)

    def step(self, t: int, messages: Sequence[Message]) -> Message:
        """The spikes of step t."""
        v = self.integrate(t, messages)
        self.membrane, self.count, spikes = fire(
            v, self.count, self.theta, self.levels, signed=self.signed, hard=self.hard
        )
        emitted: Message = spikes[0]
        return emitted


class WatchedNeurons(Neurons):
    """Neurons whose currents (N, steps, *shape) and membranes (N, steps + 1, *shape) are kept."""

    def __init__(self, layer: Layer, job: Job, currents: Message, membranes: Message) -> None:
        super().__init__(layer, job)
        self.currents, self.membranes, self.sample = currents, membranes, 0

    def begin(self, sample: int) -> None:
        """Back to v0 and a count of 0."""
        super().begin(sample)
        self.sample = sample
        self.membranes[sample, 0] = self.membrane[0]

    def step(self, t: int, messages: Sequence[Message]) -> Message:
        """The spikes of step t."""
        spikes = super().step(t, messages)
        self.currents[self.sample, t] = self.current[0]
        self.membranes[self.sample, t + 1] = self.membrane[0]
        return spikes


class Readout(_Membranes):
    """The neurons that never fire: their membranes are the logits."""

    def begin(self, sample: int) -> None:
        """Back to 0."""
        self.membrane = self.start

    def step(self, t: int, messages: Sequence[Message]) -> Message:
        """The membranes after step t."""
        self.membrane = self.integrate(t, messages)
        logits: Message = self.membrane[0]
        return logits


class CountPool:
    """A max-pool on running counts: emits by how much the maximum changed."""

    def __init__(self, layer: Layer, job: Job) -> None:
        assert isinstance(layer.node, MaxPool2d)
        self.node = layer.node
        self.projections = _compiled(layer, job.network)
        source = job.network.shapes[layer.projections[0].source]
        self.counts: Int64Array = np.zeros((1, *source), np.int64)
        self.pooled: Int64Array = np.zeros((1, *layer.shape), np.int64)

    def begin(self, sample: int) -> None:
        """Back to counts of 0."""
        self.counts, self.pooled = np.zeros_like(self.counts), np.zeros_like(self.pooled)

    def step(self, t: int, messages: Sequence[Message]) -> Message:
        """The change of the maxima at step t: -1, 0 or +1."""
        self.counts = self.counts + total_current(self.projections, messages)
        node = self.node
        pooled = linear_ops.max_pool(self.counts, node.kernel, node.stride, node.padding)
        change: Message = (pooled - self.pooled).astype(np.int8)[0]
        self.pooled = pooled
        return change


def _injection_steps(job: Job) -> int:
    """How many steps of each sample receive input and bias."""
    return job.network.window if job.network.mode == "exact" else job.steps


def _compiled(layer: Layer, network: Network) -> list[CompiledProjection]:
    return [CompiledProjection(p, network.shapes[p.source]) for p in layer.projections]


def populations(job: Job, layers: Sequence[Layer]) -> list[Population]:
    """One population a layer, in the order of the layer view."""
    kinds: Mapping[Kind, Callable[[Layer, Job], Population]] = {
        "neurons": Neurons,
        "max_pool": CountPool,
        "readout": Readout,
    }
    return [
        Source(job) if layer.kind == "input" else kinds[layer.kind](layer, job) for layer in layers
    ]
