"""Start the worker, follow its events, and end it, whatever happens, leaving nothing behind."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snndeploy import errors as core
from snndeploy.errors import DoesNotFitError, SnnDeployError, WorkerError
from snndeploy_backends.lava.sessions import Session
from snndeploy_backends.lava.worker.job import read_failure

WHERE = "lava worker"
TIMEOUT_VARIABLE = "SNNDEPLOY_LAVA_TIMEOUT"
SILENCE_SECONDS = 60.0
"""The worker beats five times a second; so long without a beat means that it hangs."""
FAREWELL_SECONDS = 15.0
"""What a worker that has reported its results may take to shut Lava down."""
_STDERR_LINES = 8


def worker_command(python: Path, *arguments: Path) -> list[str]:
    """How to start `worker/main.py`, free of the parent's Python settings."""
    main = Path(__file__).parent / "worker" / "main.py"
    package = Path(core.__file__).parent
    return [str(python), "-I", "-B", str(main), str(package), *map(str, arguments)]


def supervise(python: Path, folder: Path, timeout: float) -> None:
    """Have the worker run the job in `folder`, and return when its records are complete.

    Args:
        python: the interpreter of the Lava environment.
        folder: the run folder; it stays.
        timeout: seconds for all of it.

    Raises:
        DoesNotFitError: a membrane left its word.
        WorkerError: the worker died, hung, ran out of time or reported an error.
    """
    errors = folder / "stderr.txt"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - the user's own environment
            worker_command(python, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=folder,
            start_new_session=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
    session = Session(process)
    try:
        _follow(process, session, folder, timeout)
        _take_leave(process)
    finally:
        _close(process)
        session.end()


def _follow(
    process: subprocess.Popen[bytes], session: Session, folder: Path, timeout: float
) -> None:
    """Read events until the run is done; raise if it is not going to be."""
    deadline = time.monotonic() + timeout
    progress = "while starting"
    for event in _events(process, deadline):
        kind = event["event"]
        if kind == "done":
            return
        if kind == "started":
            session.note_shared_memory()
            progress = "at the first step"
        elif kind == "alive" and event["steps"]:
            progress = f"at step {event['step']} of {event['steps']}"
        elif kind == "died":
            who = f"the process of layer '{event['layer']}'" if event["layer"] else "a process"
            raise _failure(f"{who} died {progress}: {_status(event['status'])}", folder)
        elif kind == "failed":
            raise _failure(event["problem"], folder)
        elif kind == "silent":
            raise _failure(f"not a beat for {SILENCE_SECONDS:.0f} s {progress}", folder)
        elif kind == "timeout":
            raise _failure(
                f"ran out of time after {timeout:.4g} s {progress}",
                folder,
                f"give it longer with {TIMEOUT_VARIABLE}=<seconds>, or fewer samples at a time",
            )
        elif kind in ("error", "ended"):
            recorded = read_failure(folder)
            if recorded is not None:
                raise _reported(recorded)
            raise _failure(f"ended {progress}: {_status(process.returncode)}", folder)


def _events(process: subprocess.Popen[bytes], deadline: float) -> Iterator[dict[str, Any]]:
    """The worker's events, and our own: `ended`, `silent`, `timeout`."""
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    last_beat, rest = time.monotonic(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None  # before reading, so that nothing is lost
            if selector.select(0 if ended else 0.1):
                data = os.read(pipe, 1 << 16)
                *lines, rest = (rest + data).split(b"\n")
                if lines:
                    last_beat = time.monotonic()
                yield from (json.loads(line) for line in lines)
                if data:
                    continue
                ended = ended or process.wait() is not None
            now = time.monotonic()
            if ended:
                yield {"event": "ended"}
            elif now > deadline:
                yield {"event": "timeout"}
            elif now > last_beat + SILENCE_SECONDS:
                yield {"event": "silent"}


def _take_leave(process: subprocess.Popen[bytes]) -> None:
    """Let the worker shut Lava down; if that hangs, `Session.end` does it."""
    try:
        process.wait(FAREWELL_SECONDS)
    except subprocess.TimeoutExpired:
        return


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _reported(failure: dict[str, Any]) -> SnnDeployError:
    kind = DoesNotFitError if failure["kind"] == "does_not_fit" else WorkerError
    return kind(failure["problem"], where=failure["where"], remedy=failure["remedy"])


def _failure(problem: str, folder: Path, remedy: str = "") -> WorkerError:
    lines = (folder / "stderr.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    if lines:
        problem += "; it said last:\n  " + "\n  ".join(lines[-_STDERR_LINES:]) + "\n"
    remedy = remedy or "try again; if it persists, run: snndeploy backends install lava"
    return WorkerError(problem, where=WHERE, remedy=remedy)


def _status(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"
