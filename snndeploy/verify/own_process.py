"""Run a backend in a fresh process, to tell what it costs this machine to start and to hold.

In a process that has run others before, libraries are loaded and memory is taken already.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snndeploy import errors
from snndeploy.errors import BackendError, SnnDeployError
from snndeploy.nirfile import save
from snndeploy.numerics import Int64Array
from snndeploy.process_memory import Watch
from snndeploy.program import Program
from snndeploy.simulate import Progress
from snndeploy.trace import Trace

MAIN = "snndeploy.verify.own_process_main"
FAREWELL_SECONDS = 20.0
_STDERR_LINES = 8


@dataclass(frozen=True)
class Footprint:
    """What a backend takes, in a process of its own.

    Attributes:
        startup_seconds: from loading the backend to the first step of one sample.
        peak_bytes: the most memory of that process, interpreter, samples and recorded spikes
            included, plus the most of the processes that it started, together, sampled ten times
            a second; None where the system does not tell (it does on Linux).
    """

    startup_seconds: float
    peak_bytes: int | None


def run_in_own_process(
    name: str,
    program: Program,
    inputs: Int64Array,
    steps: int | None = None,
    progress: Progress | None = None,
) -> tuple[Trace, Footprint]:
    """Start a backend on one sample, then run all; the trace is as from `simulate`.

    Args:
        name: of the backend.
        program: its placement is not handed on.
        inputs: grid integers (N, *input shape).
        steps: as in `simulate`.
        progress: told (samples done, samples in all).

    Raises:
        SnnDeployError: what the backend raised, or `BackendError` if the process died.
    """
    with tempfile.TemporaryDirectory(prefix="snndeploy-run-") as where:
        folder = Path(where)
        _write_task(folder, name, program, inputs, steps)
        with _started(folder) as process:
            others = _follow(process, progress)
        if process.returncode:
            raise _failure(folder, name, process.returncode)
        about = _about(folder)
        own = about["peak_bytes"]
        peak = None if own is None or others is None else own + others
        return _trace(folder, about), Footprint(about["startup_seconds"], peak)


def _write_task(
    folder: Path, name: str, program: Program, inputs: Int64Array, steps: int | None
) -> None:
    save(program.network, folder / "network.nir")
    np.save(folder / "inputs.npy", inputs, allow_pickle=False)
    profile = None if program.profile is None else program.profile.model_dump_json()
    task = {"backend": name, "steps": steps, "profile": profile}
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")


@contextmanager
def _started(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which does not outlive the block. It finds modules where we do."""
    found = os.pathsep.join(path for path in sys.path if path)
    with (folder / "stderr.txt").open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", MAIN, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "PYTHONPATH": found},
        )
    try:
        yield process
    finally:
        assert process.stdout is not None
        process.stdout.close()
        process.terminate()
        try:
            process.wait(FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _follow(process: subprocess.Popen[bytes], progress: Progress | None) -> int | None:
    """Wait for the end; returns the most memory that its descendants held together."""
    assert process.stdout is not None
    with Watch(process.pid) as watch:
        for line in process.stdout:
            if progress is not None:
                progress(*json.loads(line))
        process.wait()
    return watch.peak_bytes


def _failure(folder: Path, name: str, status: int) -> SnnDeployError:
    recorded = folder / "error.json"
    if recorded.exists():
        found = json.loads(recorded.read_text(encoding="utf-8"))
        kind: type[SnnDeployError] = getattr(errors, found["kind"], BackendError)
        return kind(found["problem"], where=found["where"], remedy=found["remedy"])
    lines = (folder / "stderr.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    said = "; it said last:\n  " + "\n  ".join(lines[-_STDERR_LINES:]) if lines else ""
    return BackendError(f"its process ended: {how}{said}", where=f"backend '{name}'")


def _about(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    return found


def _trace(folder: Path, about: dict[str, Any]) -> Trace:
    def read(name: str) -> Any:
        return np.load(folder / f"{name}.npy", allow_pickle=False)

    return Trace(
        backend=about["backend"],
        logits=read("logits"),
        spikes={layer: read(f"spikes_{i}") for i, layer in enumerate(about["spikes"])},
        events={layer: read(f"events_{i}") for i, layer in enumerate(about["events"])},
        stop_steps=read("stop_steps"),
        settled=read("settled"),
        seconds=about["seconds"],
        input_events=read("input_events") if about["input_events"] else None,
    )
