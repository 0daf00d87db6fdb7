"""Compare backends: the same network, the same data, spike for spike.

Where two differ, the first divergence is diagnosed; where none does, nothing is run again. Backends
that are missing here, and those that refuse the network, are named and left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from snndeploy.backend import Backend, require_backend
from snndeploy.errors import (
    BackendMissingError,
    DoesNotFitError,
    InputError,
    UnsupportedModelError,
)
from snndeploy.nodes import Neuron
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.simulate import Progress, simulate
from snndeploy.trace import Divergence, Trace
from snndeploy.verify.diagnosis import Diagnosis, Run, diagnose
from snndeploy.verify.own_process import Footprint, run_in_own_process

Observer = Callable[[str, Trace], None]
"""Told a backend's name and its trace, which is dropped afterwards."""

REFUSALS = (DoesNotFitError, UnsupportedModelError)
"""What a backend raises that can run, but not this network."""


@dataclass(frozen=True)
class BackendResult:
    """One backend's row of a comparison.

    Attributes:
        samples: how many it ran; 0 if it could not run.
        accuracy: on those, or None without labels.
        divergence: where its spikes first differ from the first backend's, or None.
        seconds: wall-clock time of its simulation.
        note: why it did not run, or empty.
        diagnosis: of the divergence: both sides' membranes and currents, and the cause.
        refused: whether it can run here, but refuses this network.
        agreement: the share of its samples for which it answers as the first one does.
        mean_steps: that a sample ran.
        layer_spikes: mean spikes a sample, of either sign, per spiking layer.
        footprint: start-up and memory, if they were measured.
    """

    name: str
    versions: dict[str, str]
    samples: int
    accuracy: float | None
    divergence: Divergence | None
    seconds: float
    note: str = ""
    diagnosis: Diagnosis | None = None
    refused: bool = False
    agreement: float | None = None
    mean_steps: float = 0.0
    layer_spikes: Mapping[str, float] = field(default_factory=dict)
    footprint: Footprint | None = None

    @property
    def ran(self) -> bool:
        """Whether there is anything to compare."""
        return self.samples > 0

    @property
    def spikes_equal(self) -> bool | None:
        """Whether every spike agrees; None if it did not run."""
        return self.divergence is None if self.ran else None

    @property
    def spikes_per_sample(self) -> float:
        """Mean spikes of either sign of all layers."""
        return sum(self.layer_spikes.values())

    @property
    def startup_seconds(self) -> float | None:
        """From loading the backend to the first step; None if it was not measured."""
        return None if self.footprint is None else self.footprint.startup_seconds

    @property
    def peak_bytes(self) -> int | None:
        """The most memory of its processes; None if it was not measured."""
        return None if self.footprint is None else self.footprint.peak_bytes

    @property
    def seconds_per_sample(self) -> float:
        """Wall-clock time of the simulation over its samples."""
        return self.seconds / max(self.samples, 1)


@dataclass(frozen=True)
class Planted:
    """A threshold changed on purpose in one backend, to show that a comparison can fail."""

    backend: str
    layer: str
    channel: int
    delta: int

    @staticmethod
    def parse(text: str) -> Planted:
        """From `BACKEND:LAYER:CHANNEL:DELTA`, e.g. `norse:conv1:3:+1`."""
        match = re.fullmatch(r"(\w+):(\w+):(\d+):([+-]?\d+)", text)
        if match is None:
            raise InputError(
                f"{text!r} is not BACKEND:LAYER:CHANNEL:DELTA", where="planted threshold"
            )
        channel, delta = int(match[3]), int(match[4])
        if max(channel, abs(delta)) > 1 << 31:
            raise InputError(f"{text!r} is beyond 2**31", where="planted threshold")
        return Planted(match[1], match[2], channel, delta)

    def apply(self, program: Program) -> Program:
        """The program with the one threshold changed."""
        network = program.network
        node = network.by_name.get(self.layer)
        if not isinstance(node, Neuron) or self.channel >= len(node.threshold):
            known = [x.name for x in program.layers if x.kind == "neurons"]
            raise InputError(
                f"no channel {self.channel} of a layer of neurons '{self.layer}'",
                where="planted threshold",
                remedy=f"layers of neurons: {', '.join(known)}",
            )
        threshold = node.threshold.copy()
        threshold[self.channel] += self.delta
        nodes = [replace(n, threshold=threshold) if n is node else n for n in network.nodes]
        return program.with_network(network.rewrite(nodes))


def compare(
    program: Program,
    inputs: Int64Array,
    backends: Sequence[str],
    *,
    labels: Int64Array | None = None,
    limits: dict[str, int] | None = None,
    steps: int | None = None,
    planted: Planted | None = None,
    progress: Progress | None = None,
    reference: Trace | None = None,
    measure: bool = False,
    observe: Observer | None = None,
) -> list[BackendResult]:
    """Run every backend and hold it to the first one.

    Args:
        program: what to run.
        inputs: grid integers (N, *input shape).
        backends: names; the first is the reference and must run.
        labels: (N,), for accuracies.
        limits: the most samples for a backend (Lava is slow).
        steps: as in `simulate`; later backends run as many steps as the first one needed.
        planted: an error to find.
        progress: told (samples done, samples in all) by each backend.
        reference: the first backend's run of these inputs with spikes, if there is one already.
        measure: run each in a process of its own, and tell its start-up and peak memory.
        observe: told each backend's trace.

    Raises:
        BackendMissingError: the first backend is missing.
    """
    results: list[BackendResult] = []
    first: Run | None = None
    for name in backends:
        try:
            backend = require_backend(name)
        except BackendMissingError as error:
            if first is None:
                raise
            results.append(BackendResult(name, {}, 0, None, None, 0.0, error.problem))
            continue
        empty = BackendResult(name, dict(backend.status().versions), 0, None, None, 0.0)
        rows = np.ascontiguousarray(inputs[: (limits or {}).get(name)])
        target = program if planted is None or planted.backend != name else planted.apply(program)
        footprint = None
        try:
            if first is None and reference is not None and target is program:
                trace = reference
            else:
                trace, footprint = _run(backend, target, rows, steps, progress, measure)
        except REFUSALS as error:
            if first is None:
                raise
            results.append(replace(empty, note=str(error), refused=True))
            continue
        run = Run(backend, target, trace)
        if first is None:
            first, steps = run, trace.steps
        if observe is not None:
            observe(name, trace)
        found, diagnosis = _held_to(program, inputs, first, run)
        same = min(len(first.trace), len(trace))
        results.append(
            replace(
                empty,
                samples=len(trace),
                accuracy=None if labels is None else trace.accuracy(labels[: len(trace)]),
                divergence=found,
                seconds=trace.seconds,
                diagnosis=diagnosis,
                agreement=trace[:same].accuracy(first.trace[:same].predictions),
                mean_steps=float(trace.stop_steps.mean()),
                layer_spikes={k: float(e.sum()) / len(trace) for k, e in trace.events.items()},
                footprint=footprint,
            )
        )
    return results


def _run(
    backend: Backend,
    program: Program,
    inputs: Int64Array,
    steps: int | None,
    progress: Progress | None,
    measure: bool,
) -> tuple[Trace, Footprint | None]:
    """Run a backend here, or in a process of its own."""
    if measure:
        return run_in_own_process(backend.name, program, inputs, steps, progress)
    return simulate(backend, program, inputs, steps=steps, progress=progress), None


def _held_to(
    program: Program, inputs: Int64Array, first: Run, other: Run
) -> tuple[Divergence | None, Diagnosis | None]:
    """Where and why two runs first differ, on the samples that both ran."""
    count = min(len(first.trace), len(other.trace))
    ours, theirs = (replace(run, trace=run.trace[:count]) for run in (first, other))
    found = ours.trace.first_divergence(theirs.trace)
    if found is None:
        return None, None
    return found, diagnose(program, inputs[:count], ours, theirs, found)
