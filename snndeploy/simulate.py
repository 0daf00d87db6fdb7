"""Drive a backend's session to the end: record, drop what has settled or is sure, repeat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from snndeploy.backend import Backend, Bounded, Driving, Folded, Folding, Session, Step
from snndeploy.driving import drive
from snndeploy.errors import InputError
from snndeploy.lookahead import Lookahead
from snndeploy.numerics import BoolArray, Int8Array, Int64Array
from snndeploy.program import Program
from snndeploy.stopping import Controller, ends_of
from snndeploy.trace import Trace, padded

MAX_STEPS = 1_000_000

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""


@dataclass(frozen=True, eq=False)
class Advance:
    """One logical step of the n samples that were still running.

    Attributes:
        number: of the step, from 1.
        rows: int64 (n,), which samples of the batch they are.
        step: what the backend answered.
        events: int64 (n,) per spiking layer, spikes of either sign.
        stopped: bool (n,), which of them this step was the last for.
        settled: bool (n,), which of these stopped because nothing would change any more.
    """

    number: int
    rows: Int64Array
    step: Step
    events: Mapping[str, Int64Array]
    stopped: BoolArray
    settled: BoolArray


def advance(
    session: Session,
    program: Program,
    samples: int,
    limit: int,
    controller: Controller | None,
) -> Iterator[Advance]:
    """Step a session of so many samples until all have stopped, dropping each one that has.

    The session stays open.
    """
    running = np.arange(samples)
    for number in range(1, limit + 1):
        step = session.step()
        events = _events(step)
        counts = {name: count[:, None] for name, count in events.items()}
        ends = ends_of(step.logits[:, None], counts, program, number - 1, limit, controller)
        yield Advance(number, running, step, events, ends.stopped, ends.settled)
        running = running[~ends.stopped]
        if not len(running):
            return
        if ends.stopped.any():
            session.keep(~ends.stopped)


def default_steps(program: Program) -> int:
    """Exact mode: the bound after which every sample has settled. Rate mode: the window."""
    exact = program.network.mode == "exact"
    return program.settle_bound if exact else program.network.window


def most_steps(
    backend: Backend, program: Program, steps: int | None, controller: Controller | None
) -> int:
    """The limit on the steps that is meant by `steps`.

    Raises:
        InputError: steps out of range, or a controller on a backend that does not stream.
    """
    limit = default_steps(program) if steps is None else steps
    if not 1 <= limit <= MAX_STEPS:
        raise InputError(f"{limit} steps", where="steps", remedy=f"ask for 1 to {MAX_STEPS:,}")
    if controller is not None and not backend.streams:
        raise InputError(
            "does not stream, so nothing can stop it early",
            where=f"backend '{backend.name}'",
            remedy="run the exit policy on the reference backend",
        )
    return limit


def simulate(
    backend: Backend,
    program: Program,
    inputs: Int64Array,
    *,
    steps: int | None = None,
    controller: Controller | None = None,
    batch: int = 256,
    record: bool = True,
    progress: Progress | None = None,
) -> Trace:
    """Run grid integers (N, *input shape) and return the trace.

    A sample leaves the batch when the controller stops it, when it has settled (exact mode: the
    window is over and a step passed without a spike), or after `steps` steps. Without a
    controller a `Folding` backend runs layer by layer, which gives the same trace.

    Args:
        backend: who runs it.
        program: what to run.
        inputs: int64 samples on the input grid.
        steps: the most steps; default `default_steps(program)`.
        controller: stops samples early; only on backends that stream.
        batch: samples simulated together; fewer if the backend cannot hold as many.
        record: keep every spike (N * T * neurons bytes); event counts are kept always.
        progress: told after each batch.

    Raises:
        InputError: steps below 1, or a controller on a backend that does not stream.
    """
    limit = most_steps(backend, program, steps, controller)
    if isinstance(backend, Bounded):
        batch = min(batch, backend.most_samples(program))
    started = time.perf_counter()
    parts: list[_Part] = []
    batch_steps = 0
    with _runner(backend, program, limit, controller, record) as run:
        for first in range(0, len(inputs), batch):
            rows = inputs[first : first + batch]
            found = run(rows)
            parts += found
            batch_steps += max(part.logits.shape[1] for part in found)
            if progress is not None:
                progress(first + len(rows), len(inputs))
    trace = _joined(backend.name, parts, time.perf_counter() - started, batch_steps)
    return replace(
        trace,
        input_events=inputs != 0 if program.network.input.per_step else None,
        controlled=controller is not None,
    )


@dataclass(frozen=True)
class _Part:
    """A trace of some samples, its T that of the one that ran longest."""

    logits: Int64Array
    spikes: Mapping[str, Int8Array]
    events: Mapping[str, Int64Array]
    stop_steps: Int64Array
    settled: BoolArray
    start_seconds: float = 0.0


def _cut_at_stop(folded: Folded, program: Program, limit: int) -> _Part:
    """Find where each sample stops, and drop the steps after the last one's."""
    ends = ends_of(folded.logits, folded.events, program, 0, limit, None)
    last = int(ends.ran.max())
    return _Part(
        folded.logits[:, :last],
        {name: spikes[:, :last] for name, spikes in folded.spikes.items()},
        {name: events[:, :last] for name, events in folded.events.items()},
        ends.ran,
        ends.settled,
    )


class _Recorder:
    """What one batch did; rows that stopped keep their last logits and no spikes."""

    def __init__(self, rows: int, record: bool) -> None:
        self.record, self.rows = record, rows
        self.logits: list[Int64Array] = []
        self.spikes: dict[str, list[Int8Array]] = {}
        self.events: dict[str, list[Int64Array]] = {}
        self.stop_steps = np.zeros(rows, np.int64)
        self.settled = np.zeros(rows, np.bool_)

    def add(self, now: Advance) -> None:
        """Record a step of the running samples, and which of them it ended for."""
        classes = now.step.logits.shape[1:]
        logits = (
            self.logits[-1].copy() if self.logits else np.zeros((self.rows, *classes), np.int64)
        )
        logits[now.rows] = now.step.logits
        self.logits.append(logits)
        for name, count in now.events.items():
            events = np.zeros(self.rows, np.int64)
            events[now.rows] = count
            self.events.setdefault(name, []).append(events)
        for name, spikes in now.step.spikes.items() if self.record else ():
            full = np.zeros((self.rows, *spikes.shape[1:]), np.int8)
            full[now.rows] = spikes
            self.spikes.setdefault(name, []).append(full)
        self.stop_steps[now.rows[now.stopped]] = now.number
        self.settled[now.rows[now.settled]] = True

    def finished(self) -> _Part:
        """What was recorded, the steps stacked along the second axis."""
        return _Part(
            np.stack(self.logits, axis=1),
            {name: np.stack(columns, axis=1) for name, columns in self.spikes.items()},
            {name: np.stack(columns, axis=1) for name, columns in self.events.items()},
            self.stop_steps,
            self.settled,
        )


def _events(step: Step) -> Mapping[str, Int64Array]:
    """Spikes of either sign per layer, (n,)."""
    if step.events is not None:
        return step.events
    return {
        name: np.count_nonzero(spikes.reshape(len(spikes), -1), axis=1)
        for name, spikes in step.spikes.items()
    }


@contextmanager
def _runner(
    backend: Backend, program: Program, limit: int, controller: Controller | None, record: bool
) -> Iterator[Callable[[Int64Array], list[_Part]]]:
    """What runs one batch after the other, in the fastest way that the backend has."""
    if controller is None and isinstance(backend, Folding):
        folding = backend
        yield lambda rows: [
            _cut_at_stop(part, program, limit)
            for part in folding.fold(program, rows, limit, record)
        ]
    elif isinstance(backend, Driving):
        session = backend.drive(program, limit, record)
        lookahead = Lookahead(session.overhead)

        def driven(rows: Int64Array) -> list[_Part]:
            found = drive(session, program, rows, limit, controller, record, lookahead)
            return [_Part(**vars(found.record), stop_steps=found.stop_steps, settled=found.settled)]

        try:
            yield driven
        finally:
            session.close()
    else:
        yield lambda rows: [_run_batch(backend, program, rows, limit, controller, record)]


def _run_batch(
    backend: Backend,
    program: Program,
    inputs: Int64Array,
    limit: int,
    controller: Controller | None,
    record: bool,
) -> _Part:
    recorder = _Recorder(len(inputs), record)
    started = time.perf_counter()
    session = backend.open(program, inputs, limit)
    start_seconds = time.perf_counter() - started
    try:
        for now in advance(session, program, len(inputs), limit, controller):
            recorder.add(now)
    finally:
        started = time.perf_counter()
        session.close()
    start_seconds += time.perf_counter() - started
    return replace(recorder.finished(), start_seconds=start_seconds)


def _joined(name: str, parts: list[_Part], seconds: float, batch_steps: int) -> Trace:
    steps = max(part.logits.shape[1] for part in parts)
    layers = list(parts[0].events)
    recorded = list(parts[0].spikes)

    return Trace(
        backend=name,
        logits=np.concatenate([padded(p.logits, steps, "edge") for p in parts]),
        spikes={k: np.concatenate([padded(p.spikes[k], steps) for p in parts]) for k in recorded},
        events={k: np.concatenate([padded(p.events[k], steps) for p in parts]) for k in layers},
        stop_steps=np.concatenate([p.stop_steps for p in parts]),
        settled=np.concatenate([p.settled for p in parts]),
        seconds=seconds,
        start_seconds=sum(p.start_seconds for p in parts),
        batch_steps=batch_steps,
    )
