"""What a layer's neurons did on one backend, beside what the definition says they received.

Spikes and logits are recorded by every run, so the input currents of any neuron follow from the
spikes of its sources, and its membrane from

    v[t] + theta * n[t] = v0 + sum of the currents up to t.

With hard reset it is the sum of the currents since its own last spike.

A backend that is `Probing` shows the currents and membranes that it has itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from snndeploy import linear_ops
from snndeploy.backend import Probe
from snndeploy.layers import Projection
from snndeploy.nodes import Array, Neuron, Output
from snndeploy.numerics import BoolArray, Int64Array
from snndeploy.program import Program
from snndeploy.trace import Trace
from snndeploy.verify.diagnosis.place import Place, Run
from snndeploy.verify.diagnosis.synapses import Synapses

CHUNK = 32
"""Steps whose currents are computed together; bounds the memory."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Values (N, T, P) that a backend showed itself, at the samples and steps `where` (N, T)."""

    values: Int64Array
    where: BoolArray

    def only(self, rows: slice, neurons: slice) -> Seen:
        """The same for some of the samples and neurons."""
        return Seen(self.values[rows, :, neurons], self.where[rows])


@dataclass(frozen=True, eq=False)
class Evidence:
    """P neurons, N samples, T steps; the sample that differs comes first.

    Attributes:
        index: of the neuron that differs, in [0, P).
        step: 1-based, at which it does.
        fires: False for a readout.
        threshold, v0, bias: int64 (P,); the threshold of a readout is 0.
        cap: the largest net count; None without one.
        rate: whether bias goes on after the window and spikes are unsigned.
        hard: whether a spike sets the membrane to 0.
        window: of the network.
        sources: the layer that each projection comes from.
        terms: int64 (N, T, P) for each projection: the current that its source's spikes cause.
        spikes: int64 (N, T, P); none from a readout.
        running: bool (N, T), steps at which the sample had not stopped.
        currents, membranes: as the backend itself has them; the membranes after the reset.
        start: int64 (P,), the membranes before the first step, as the backend has them.
    """

    index: int
    step: int
    fires: bool
    threshold: Int64Array
    v0: Int64Array
    bias: Int64Array
    cap: int | None
    rate: bool
    hard: bool
    window: int
    sources: tuple[str, ...]
    terms: tuple[Int64Array, ...]
    spikes: Int64Array
    running: BoolArray
    currents: Seen | None = None
    membranes: Seen | None = None
    start: Int64Array | None = None

    @cached_property
    def bias_share(self) -> Int64Array:
        """What the bias adds at each step, (T, P)."""
        steps = np.arange(self.spikes.shape[1])[:, None]
        share = (self.bias * (steps + 1)) // self.window - (self.bias * steps) // self.window
        injected: Int64Array = share * (self.rate | (steps < self.window))
        return injected

    @cached_property
    def input(self) -> Int64Array:
        """The input current of each step by the definition, (N, T, P)."""
        total: Int64Array = sum(self.terms) + self.bias_share
        return total

    @cached_property
    def count(self) -> Int64Array:
        """Net spikes after each step, (N, T, P)."""
        return np.cumsum(self.spikes, axis=1)

    @cached_property
    def membrane(self) -> Int64Array:
        """The membrane after each step, from the backend's own spikes: see above."""
        if self.hard:
            return self.kept(self._added)[1]
        membrane: Int64Array = np.cumsum(self._added, axis=1)
        return membrane - self.threshold * self.count

    @cached_property
    def arrived(self) -> Int64Array:
        """The membrane of each step before its reset, (N, T, P)."""
        if self.hard:
            return self.kept(self._added)[0]
        return self.membrane + self.threshold * self.spikes

    @property
    def _added(self) -> Int64Array:
        """What a membrane receives at each step, v0 at the first."""
        added = self.input.copy()
        added[:, 0] += self.v0
        return added

    def kept(self, added: Int64Array) -> tuple[Int64Array, Int64Array]:
        """What a membrane holds of amounts (N, T, P), before the reset of each step and after."""
        total: Int64Array = np.cumsum(added, axis=1)
        if not self.hard:
            return total, total
        total = np.broadcast_to(total, self.spikes.shape)
        steps = np.arange(total.shape[1])[:, None]
        last = np.maximum.accumulate(np.where(self.spikes > 0, steps, -1), axis=1)
        gone = np.where(last >= 0, np.take_along_axis(total, np.maximum(last, 0), axis=1), 0)
        before = total.copy()
        before[:, 1:] -= gone[:, :-1]
        return before, total - gone

    def only(self, rows: slice, neurons: slice) -> Evidence:
        """The same for some of the samples and neurons."""
        return replace(
            self,
            index=self.index - (neurons.start or 0),
            threshold=self.threshold[neurons],
            v0=self.v0[neurons],
            bias=self.bias[neurons],
            terms=tuple(term[rows, :, neurons] for term in self.terms),
            spikes=self.spikes[rows, :, neurons],
            running=self.running[rows],
            currents=self.currents and self.currents.only(rows, neurons),
            membranes=self.membranes and self.membranes.only(rows, neurons),
            start=None if self.start is None else self.start[neurons],
        )

    def emitted(self) -> Evidence:
        """What was emitted up to the step at which the runs differ, and nothing watched."""
        steps = np.arange(self.spikes.shape[1])
        running = np.broadcast_to(steps < self.step, self.running.shape)
        shown = None if self.fires or self.membranes is None else self.membranes.values
        membranes = None if shown is None else Seen(shown, running)
        return replace(self, running=running, currents=None, membranes=membranes, start=None)


def neuron_evidence(
    program: Program, inputs: Int64Array, run: Run, place: Place, probe: Probe | None
) -> tuple[Evidence, tuple[Synapses, ...]]:
    """What a run shows of a layer of neurons or of the readout, and the channel's synapses.

    Args:
        program: the definition that the run is held to.
        inputs: grid integers (N, *input shape).
        probe: of the sample that differs, up to the step at which it does.
    """
    node, network, trace = place.layer.node, program.network, run.trace
    assert isinstance(node, Neuron | Output) and node.bias is not None
    samples = list(place.samples)
    terms, synapses = [], []
    for projection in place.layer.projections:
        values = source_values(program, inputs, trace, projection.source, samples)
        terms.append(np.stack([_current(projection, rows, place) for rows in values]))
        synapses.append(Synapses.of(projection, values, place.channel))
    running = np.arange(trace.steps) < trace.stop_steps[samples][:, None]
    spikes, currents, membranes, start = np.zeros_like(terms[0]), None, None, None
    if isinstance(node, Neuron):
        spikes = place.neurons(trace.spikes[place.layer.name][samples])
    else:
        membranes = Seen(place.neurons(trace.logits[samples]), running)
    if probe is not None:
        shown = place.neurons(probe.membranes)
        start, membranes = shown[0, 0], _seen(shown[:, 1:], terms[0].shape)
        currents = _seen(place.neurons(probe.currents), terms[0].shape)
    none = np.zeros_like(node.bias)
    evidence = Evidence(
        index=place.index,
        step=place.step,
        fires=isinstance(node, Neuron),
        threshold=place.channels(node.threshold if isinstance(node, Neuron) else none),
        v0=place.channels(node.v0 if isinstance(node, Neuron) else none),
        bias=place.channels(node.bias),
        cap=node.levels if isinstance(node, Neuron) and network.mode == "exact" else None,
        rate=network.mode == "rate",
        hard=network.reset == "hard",
        window=network.window,
        sources=tuple(projection.source for projection in place.layer.projections),
        terms=tuple(terms),
        spikes=spikes,
        running=running,
        currents=currents,
        membranes=membranes,
        start=start,
    )
    return evidence, tuple(found for found in synapses if found is not None)


def source_values(
    program: Program, inputs: Int64Array, trace: Trace, source: str, samples: list[int]
) -> Array:
    """What a layer emitted on some samples, (N, T, *shape)."""
    if source in trace.spikes:
        return trace.spikes[source][samples]
    steps = range(trace.steps)
    return np.stack([program.network.stimulus(inputs[samples], t) for t in steps], axis=1)


def _current(projection: Projection, rows: Array, place: Place) -> Int64Array:
    """The current (T, P) that a source's values (T, *shape) cause."""
    parts = [
        linear_ops.apply_all(projection.ops, rows[first : first + CHUNK].astype(np.int64))
        for first in range(0, len(rows), CHUNK)
    ]
    return np.concatenate([place.neurons(part[None])[0] for part in parts])


def _seen(values: Int64Array, shape: tuple[int, ...]) -> Seen:
    """A record of the first sample's first steps, filled up to (N, T, P)."""
    full, where = np.zeros(shape, np.int64), np.zeros(shape[:2], np.bool_)
    steps = values.shape[1]
    full[0, :steps], where[0, :steps] = values[0], True
    return Seen(full, where)
