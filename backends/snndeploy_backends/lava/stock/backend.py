"""The backend `lava_stock`: a network on Lava's own processes, for networks that fit them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from snndeploy.backend import BackendStatus
from snndeploy.errors import BackendMissingError, WorkerError
from snndeploy.inputs import on_grid
from snndeploy.netx import save_netx
from snndeploy.numerics import Int8Array, Int64Array
from snndeploy.program import Program
from snndeploy.stock import StockLayer, stock_layers
from snndeploy_backends.lava import environment
from snndeploy_backends.lava.backend import Lava
from snndeploy_backends.lava.recorded import RecordedSession
from snndeploy_backends.lava.sessions import Session
from snndeploy_backends.lava.settings import TIMEOUT_VARIABLE, Settings

Builder: TypeAlias = Literal["lava-nc", "lava-dl"]

MEMBRANE_UNIT = 64
"""Lava counts membranes in parts of our units."""

START_SECONDS = 120.0
SECONDS_PER_LAYER_STEP = 0.05
FAREWELL_SECONDS = 15.0
"""What a worker that has finished may take to shut Lava down."""
_POLL_SECONDS = 0.02
_SHOWN_LINES = 8


class LavaStock:
    """Lava's own Conv, Dense and LIF, with hard reset, in a worker with its own environment.

    Args:
        builder: who puts the processes together: `lava-nc`, our worker from its parts, or
            `lava-dl`, whose netx reads the file that `export` writes.
    """

    name = "lava_stock"
    summary = "Lava's own Conv, Dense and LIF: hard reset, chains of layers"
    streams = False

    def __init__(self, builder: Builder = "lava-nc") -> None:
        self.builder = builder

    def status(self) -> BackendStatus:
        """As that of `lava`, which shares the environment."""
        return Lava().status()

    def install(self, say: Callable[[str], None]) -> None:
        """Make or mend the Lava environment."""
        environment.install(say)

    def open(self, program: Program, inputs: Int64Array, steps: int) -> RecordedSession:
        """Run all samples for `steps` logical steps; the session then replays them.

        Raises:
            UnsupportedModelError: stock processes cannot hold the network; lists every layer.
            DataError: inputs of another shape, or off the input grid.
            BackendMissingError: there is no Lava environment.
            WorkerError: the worker failed or ran out of time.
        """
        missing = environment.missing()
        if missing:
            raise BackendMissingError(missing, where=f"backend '{self.name}'")
        held = stock_layers(program.network, steps)
        folder = Path(tempfile.mkdtemp(prefix="snndeploy-stock-")).absolute()
        try:
            if len(inputs):
                inputs = on_grid(program.network, inputs, "inputs")
                self._write(program, inputs, steps, held[0].kind == "conv", folder)
                _work(folder, _timeout(len(held), len(inputs) * steps))
            return RecordedSession(*_records(folder, held, len(inputs), steps))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _write(
        self, program: Program, inputs: Int64Array, steps: int, images: bool, folder: Path
    ) -> None:
        per_step = program.network.input.per_step
        save_netx(program.network, folder / "network.net", steps)
        lead = 1 + per_step
        if images:  # (.., C, H, W) as (.., W, H, C)
            samples = np.swapaxes(inputs, lead, lead + 2)
        else:
            samples = inputs.reshape(*inputs.shape[:lead], -1)
        np.save(folder / "samples.npy", samples.astype(np.int32), allow_pickle=False)
        job = {"builder": self.builder, "steps": steps, "per_step": per_step}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")


def _work(folder: Path, seconds: float) -> None:
    """Have a worker run the job, in a session that ends with all that it has started."""
    worker = Path(__file__).parent / "worker.py"
    command = [str(environment.environment_python()), "-I", "-B", str(worker), str(folder)]
    errors = folder / "stderr.txt"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - the user's own environment
            command,
            stdin=subprocess.PIPE,
            stdout=stderr,
            stderr=stderr,
            cwd=folder,
            start_new_session=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
    session = Session(process)
    try:
        problem = _followed(process, folder, seconds)
    finally:
        session.end()  # before the pipe closes, at which a worker that lives empties the folder
        assert process.stdin is not None
        process.stdin.close()
    if problem:
        said = errors.read_text(encoding="utf-8", errors="replace").splitlines()
        raise WorkerError(
            "\n  ".join([problem, *said[-_SHOWN_LINES:]]),
            where="lava worker",
            remedy="try again; if it persists, run: snndeploy backends install lava",
        )


def _followed(process: subprocess.Popen[bytes], folder: Path, seconds: float) -> str:
    """Wait until the records are complete; what went wrong, or nothing."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        code = process.poll()
        if (folder / "done").exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(FAREWELL_SECONDS)
            return ""
        if code is not None:
            return f"killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        time.sleep(_POLL_SECONDS)
    return f"ran out of time after {seconds:.4g} s; {TIMEOUT_VARIABLE}=<seconds> gives it longer"


def _timeout(layers: int, steps: int) -> float:
    """Seconds for a run: what the user says, or several times what it should take."""
    named = Settings.of(None, None, None).timeout_s
    return named or START_SECONDS + layers * steps * SECONDS_PER_LAYER_STEP


def _records(
    folder: Path, held: tuple[StockLayer, ...], samples: int, steps: int
) -> tuple[Int64Array, dict[str, Int8Array]]:
    """Logits (N, steps, classes), and each layer's spikes (N, steps, *shape)."""
    *spiking, readout = held
    spikes: dict[str, Int8Array] = {}
    for index, layer in enumerate(spiking):
        found = np.zeros((samples * steps, *layer.shape[::-1]), np.int8)
        if samples:
            found = np.load(folder / f"spikes_{index}.npy", allow_pickle=False)
        if len(layer.shape) == 3:
            found = np.swapaxes(found, 1, 3)
        spikes[layer.name] = found.reshape(samples, steps, *layer.shape)
    membranes = np.zeros((samples * steps, *readout.shape), np.int64)
    if samples:
        membranes = np.load(folder / "membranes.npy", allow_pickle=False).astype(np.int64)
    return membranes.reshape(samples, steps, *readout.shape) // MEMBRANE_UNIT, spikes
