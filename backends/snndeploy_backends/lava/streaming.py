"""A batch on Lava, one logical step at a time, shared out among workers."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snndeploy.backend import Probe, Step
from snndeploy.errors import InputError
from snndeploy.numerics import BoolArray, Int8Array, Int64Array
from snndeploy.program import Program
from snndeploy_backends.lava import supervisor
from snndeploy_backends.lava.limits import (
    channel_bytes,
    free_shared_memory_bytes,
    pairs_signs,
    state_bits,
)
from snndeploy_backends.lava.sessions import SHARED_MEMORY
from snndeploy_backends.lava.settings import Settings
from snndeploy_backends.lava.supervisor import Limits, Worker
from snndeploy_backends.lava.worker.frames import Frame
from snndeploy_backends.lava.worker.job import Job
from snndeploy_backends.lava.worker.pipeline import PROBE, SPIKES

START_SECONDS = 120.0
STEP_SECONDS = 60.0
SECONDS_PER_LAYER_STEP = 0.005
SYNAPSES_PER_SECOND = 1e7
"""Many times what a step should take, before it counts as hanging."""


@dataclass(eq=False)
class _Lane:
    """One worker with the samples that it runs.

    Attributes:
        running: how many.
        keep: which of them the next step goes on with; None: all.
    """

    worker: Worker
    running: int
    keep: BoolArray | None = field(default=None)


class LavaSession:
    """Samples on Lava that a controller may stop after any step.

    The readout runs `depth` physical steps behind the input, so the layers in front of it have
    begun up to `depth` more steps of a sample when it stops; no other step of it is simulated.
    `close` ends the workers. So do any error, the end of this object and the end of this process.

    Args:
        program: what to run; checked before.
        inputs: int64 (N, *sample), on the input grid.
        steps: the most logical steps.
        settings: how many workers, and their limits.
        python: the interpreter of the Lava environment.
        probe: the layer of neurons whose currents and membranes are wanted, or none.

    Attributes:
        start_seconds: what it took until all workers were ready.
        channels: Lava channels that carry messages between layers, of all workers.
        peak_bytes: the most memory of all workers together that was seen.
    """

    def __init__(
        self,
        program: Program,
        inputs: Int64Array,
        steps: int,
        settings: Settings,
        python: Path,
        probe: str = "",
    ) -> None:
        self.program, self.steps, self.time = program, steps, 0
        self.limits = Limits(settings.timeout_s, settings.memory_bytes)
        self.spiking = [layer.name for layer in program.spiking]
        self.asked = bool(probe)  # then spikes come with every step
        self._no_logits = np.zeros((0, *program.layers[-1].shape), np.int64)
        self._no_events = np.zeros((len(self.spiking), 0), np.int64)
        self.lanes: list[_Lane] = []
        self.workers: list[Worker] = []
        self._finalizer = weakref.finalize(self, _end_ours, os.getpid(), self.workers)
        count = min(settings.workers, -(-len(inputs) // settings.samples_per_worker))
        cuts = np.linspace(0, len(inputs), count + 1).astype(int)
        parts = [inputs[a:b].astype(np.int32) for a, b in pairwise(cuts)]
        _check_shared_memory(program, len(inputs))
        started = time.perf_counter()
        try:
            self.lanes = [self._opened(part, python, probe) for part in parts]
            self.limits.allow(START_SECONDS)
            ready = supervisor.gather(self.workers, self.limits)
            for lane, part, first in zip(self.lanes, parts, cuts, strict=False):
                lane.worker.post(Frame("begin", {"first": int(first)}, {"inputs": part}))
        except BaseException:
            self._abandon()
            raise
        self.start_seconds = time.perf_counter() - started
        self.channels = sum(frame.details["channels"] for frame in ready)

    @property
    def peak_bytes(self) -> int:
        """The most memory of all workers together that was seen."""
        return self.limits.peak_bytes

    def step(self) -> Step:
        """The next logical step of the rows that are still kept.

        Raises:
            DoesNotFitError: a membrane left its word.
            WorkerError: a worker died, hung, reported an error or went beyond a limit.
            InputError: more steps than were asked for.
        """
        lanes, arrays = self._advance()
        logits = np.concatenate([self._no_logits, *(a["logits"] for a in arrays)])
        events = np.concatenate([self._no_events, *(a["events"] for a in arrays)], axis=1)
        return Step(
            logits, _Spikes(self, lanes, arrays), dict(zip(self.spiking, events, strict=True))
        )

    def probe(self, layer: str) -> Probe:
        """Run all steps, and keep what the probed layer receives and holds."""
        taken = [self._advance()[1] for _ in range(self.steps)]

        def over_time(name: str) -> Any:
            steps = [np.concatenate([a[name] for a in arrays]) for arrays in taken]
            return np.stack(steps, axis=1)

        before, after = over_time(PROBE + "before"), over_time(PROBE + "after")
        membranes = np.concatenate([before[:, :1], after], axis=1)
        return Probe(over_time(PROBE + "current"), membranes, over_time(SPIKES + layer))

    def keep(self, rows: BoolArray) -> None:
        """Go on with these rows only."""
        first = 0
        for lane in self.lanes:
            mask = rows[first : first + lane.running]
            first += lane.running
            if lane.keep is None:
                lane.keep = mask
            else:
                lane.keep = lane.keep.copy()
                lane.keep[lane.keep] = mask
            lane.running = int(mask.sum())

    def close(self) -> None:
        """End the workers in an orderly way. Safe to call twice."""
        self.limits.measure(self.workers)
        supervisor.end(self.workers, orderly=True)
        self.lanes = []

    def spikes(self, workers: Sequence[Worker]) -> list[Mapping[str, NDArray[Any]]]:
        """Of the last step; from now on they come with every step."""
        self.asked = True
        self.limits.allow(STEP_SECONDS)
        return self._asked(workers, [Frame("spikes")] * len(workers))

    def _advance(self) -> tuple[list[_Lane], list[Mapping[str, NDArray[Any]]]]:
        if self.time >= self.steps:
            raise InputError(f"only {self.steps} steps were asked for", where="steps")
        self.time += 1
        active = [lane for lane in self.lanes if lane.running]
        requests = []
        for lane in active:
            arrays = {} if lane.keep is None else {"keep": lane.keep}
            requests.append(Frame("step", {"spikes": self.asked}, arrays))
            lane.keep = None
        self.limits.allow(STEP_SECONDS + self._step_seconds())
        return active, self._asked([lane.worker for lane in active], requests)

    def _asked(
        self, workers: Sequence[Worker], requests: Sequence[Frame]
    ) -> list[Mapping[str, NDArray[Any]]]:
        """The arrays of their answers, one request each."""
        try:
            for worker, request in zip(workers, requests, strict=True):
                worker.post(request)
            return [frame.arrays for frame in supervisor.gather(workers, self.limits)]
        except BaseException:
            self._abandon()
            raise

    def _opened(self, part: NDArray[np.int32], python: Path, probe: str) -> _Lane:
        self.workers.append(Worker(python))
        job = Job(
            self.program.network,
            len(part),
            part.shape[1:],
            state_bits(self.program),
            pairs_signs(self.program),
            probe,
        )
        self.workers[-1].post(job.frame())
        return _Lane(self.workers[-1], len(part))

    def _abandon(self) -> None:
        self.lanes = []
        supervisor.end(self.workers, orderly=False)

    def _step_seconds(self) -> float:
        """A generous estimate for one logical step, or for the many physical ones of the first."""
        layers = self.program.layers
        synapses = 0
        for layer in layers:
            weights = [p.weighted.weight for p in layer.projections if p.weighted is not None]
            synapses += sum(w.size * prod(layer.shape[1:]) for w in weights)
        rows = sum(lane.running for lane in self.lanes)
        seconds = len(layers) * SECONDS_PER_LAYER_STEP + rows * synapses / SYNAPSES_PER_SECOND
        return seconds * (self.program.depth + 1 if self.time == 1 else 1)


class _Spikes(Mapping[str, Int8Array]):
    """The spikes of one step, fetched from the workers when they are first asked for."""

    def __init__(
        self,
        session: LavaSession,
        lanes: Sequence[_Lane],
        arrays: Sequence[Mapping[str, NDArray[Any]]],
    ) -> None:
        self.session, self.lanes, self.arrays = session, lanes, arrays
        self.time = session.time
        self.shapes = {layer.name: layer.shape for layer in session.program.spiking}

    def __getitem__(self, name: str) -> Int8Array:
        none = np.zeros((0, *self.shapes[name]), np.int8)
        if any(SPIKES + name not in part for part in self.arrays):
            if self.time != self.session.time or not self.session.lanes:
                raise InputError(
                    "are gone: ask for them before the next step, and before the end",
                    where="spikes",
                )
            self.arrays = self.session.spikes([lane.worker for lane in self.lanes])
        return np.concatenate([none, *(part[SPIKES + name] for part in self.arrays)])

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def _check_shared_memory(program: Program, samples: int) -> None:
    """Raise `InputError` if the channels would not fit: writing to them would be a bus error."""
    needed, free = samples * channel_bytes(program), free_shared_memory_bytes()
    if needed > free:
        raise InputError(
            f"the channels take {needed / 1e6:,.0f} MB of shared memory for {samples} samples, "
            f"{SHARED_MEMORY} has {free / 1e6:,.0f} MB left",
            where="Lava's channels",
            remedy="run fewer at a time (batch=..), or make it larger (docker run --shm-size)",
        )


def _end_ours(process: int, workers: list[Worker]) -> None:
    """End the workers, unless this is a fork of the process that started them."""
    if os.getpid() == process:
        supervisor.end(workers, orderly=False)
