"""The Lava backend: real lava-nc processes with Loihi's fixed point and timing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from snndeploy.backend import BackendStatus, Probe, Step
from snndeploy.errors import BackendMissingError, InputError
from snndeploy.inputs import on_grid
from snndeploy.numerics import BoolArray, Int8Array, Int64Array
from snndeploy.program import Program
from snndeploy_backends.lava import environment
from snndeploy_backends.lava.limits import check_fits, state_bits
from snndeploy_backends.lava.supervisor import TIMEOUT_VARIABLE, supervise
from snndeploy_backends.lava.worker.job import Job, layer_file, probe_files, write_job

START_SECONDS = 120.0
SECONDS_PER_LAYER_STEP = 0.005
SYNAPSES_PER_SECOND = 1e7


class Lava:
    """Lava's simulator, one process a layer, in a worker with an environment of its own."""

    name = "lava"
    summary = "Intel's Lava: fixed point, Loihi timing, one process a layer, all samples in turn"
    streams = False

    def status(self) -> BackendStatus:
        """The versions in the Lava environment, or how to make it."""
        try:
            return BackendStatus(environment.versions(), environment.missing())
        except OSError as error:
            return BackendStatus(missing=f"the Lava environment cannot be read: {error}")

    def install(self, say: Callable[[str], None]) -> None:
        """Make or mend the Lava environment."""
        environment.install(say)

    def open(self, program: Program, inputs: Int64Array, steps: int) -> RecordedSession:
        """Run all samples for `steps` logical steps; the session then replays them.

        Raises:
            DataError: inputs of another shape, or off the input grid.
            DoesNotFitError: weights or membranes exceed the chip's words.
            BackendMissingError: there is no Lava environment.
            WorkerError: the worker died, hung, ran out of time or reported an error.
        """
        self._check(program, steps)
        if not len(inputs):
            return RecordedSession(*_nothing(program, steps))
        inputs = on_grid(program.network, inputs, "inputs")
        job = Job(program.network, inputs, steps, state_bits(program))
        return RecordedSession(*run_job(program, job))

    def probe(self, program: Program, inputs: Int64Array, steps: int, layer: str) -> Probe:
        """Run all samples, and keep what the neurons of one layer receive and hold.

        Raises:
            As `open` does.
        """
        self._check(program, steps)
        inputs = on_grid(program.network, inputs, "inputs")
        return probe_job(program, Job(program.network, inputs, steps, state_bits(program), layer))

    def _check(self, program: Program, steps: int) -> None:
        missing = environment.missing()
        if missing:
            raise BackendMissingError(missing, where=f"backend '{self.name}'")
        check_fits(program, steps)


class RecordedSession:
    """Replays a finished run, one logical step at a time.

    Args:
        logits: int64 (N, steps, classes).
        spikes: int8 (N, steps, *shape) per layer.
    """

    def __init__(self, logits: Int64Array, spikes: Mapping[str, Int8Array]) -> None:
        self.logits, self.spikes = logits, dict(spikes)
        self.rows = np.arange(len(logits))
        self.time = 0

    def step(self) -> Step:
        """The next logical step of the rows that are still kept."""
        if self.time >= self.logits.shape[1]:
            raise InputError(f"only {self.logits.shape[1]} steps were asked for", where="steps")
        t, self.time = self.time, self.time + 1
        spikes = {name: record[self.rows, t] for name, record in self.spikes.items()}
        return Step(self.logits[self.rows, t], spikes)

    def keep(self, rows: BoolArray) -> None:
        """Go on with these rows only."""
        self.rows = self.rows[rows]

    def close(self) -> None:
        """Drop the records."""
        self.logits, self.spikes = self.logits[:0], {}


def run_job(program: Program, job: Job) -> tuple[Int64Array, dict[str, Int8Array]]:
    """Have a worker run a job; returns the logits and the spikes of each spiking layer.

    The records stay on disk, mapped into memory; their names are gone when this returns.
    """
    with _finished(program, job) as folder:
        records = {
            layer.name: _record(layer_file(folder, index))
            for index, layer in enumerate(program.layers)
            if layer.kind != "input"
        }
    return records.pop(program.layers[-1].name), records


def probe_job(program: Program, job: Job) -> Probe:
    """Have a worker run a job; returns the record of the layer that it probes."""
    index = [layer.name for layer in program.layers].index(job.probe)
    with _finished(program, job) as folder:
        currents, membranes = map(_record, probe_files(folder))
        return Probe(currents, membranes, _record(layer_file(folder, index)))


@contextmanager
def _finished(program: Program, job: Job) -> Iterator[Path]:
    """The folder of a job that a worker has run, until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="snndeploy-lava-")).absolute()
    try:
        write_job(job, folder)
        supervise(environment.environment_python(), folder, _timeout(program, job))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _record(file: Path) -> Any:
    return np.load(file, mmap_mode="r", allow_pickle=False)


def _timeout(program: Program, job: Job) -> float:
    """Seconds for a run: what the user says, or several times what it should take."""
    named = os.environ.get(TIMEOUT_VARIABLE)
    if named is not None:
        try:
            seconds = float(named)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise InputError(f"{named!r} is not a number of seconds", where=TIMEOUT_VARIABLE)
        return seconds
    synapses = 0
    for layer in program.layers:
        weights = [p.weighted.weight for p in layer.projections if p.weighted is not None]
        positions = int(np.prod(layer.shape[1:]))
        synapses += sum(w.size * positions for w in weights)
    step = len(program.layers) * SECONDS_PER_LAYER_STEP + synapses / SYNAPSES_PER_SECOND
    return START_SECONDS + job.physical_steps(program.depth) * step


def _nothing(program: Program, steps: int) -> tuple[Int64Array, dict[str, Int8Array]]:
    spikes = {x.name: np.zeros((0, steps, *x.shape), np.int8) for x in program.spiking}
    return np.zeros((0, steps, *program.layers[-1].shape), np.int64), spikes
