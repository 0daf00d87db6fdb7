"""Start workers, talk to them, and end them, whatever happens, leaving nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import selectors
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snndeploy import errors as core
from snndeploy.errors import DoesNotFitError, SnnDeployError, WorkerError
from snndeploy_backends.lava.sessions import Session
from snndeploy_backends.lava.settings import MEMORY_VARIABLE, TIMEOUT_VARIABLE
from snndeploy_backends.lava.worker.frames import Decoder, Frame

WHERE = "lava worker"
SILENCE_SECONDS = 60.0
"""The worker beats five times a second; so long without a beat means that it hangs."""
FAREWELL_SECONDS = 15.0
"""What a worker may take to shut Lava down when it is asked to."""
MEMORY_SECONDS = 1.0
"""How often the workers' memory is looked at."""
_POLL_SECONDS = 0.1
_MOST_AT_ONCE = 1.0
"""Time beyond this between two looks was not the workers': this process was stopped."""
_PIPE_BYTES = 1 << 20
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # the layers' processes share the cores
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),  # keep the memory of one step for the next
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
}
_STDERR_LINES = 8


def worker_command(python: Path, *arguments: Path) -> list[str]:
    """How to start `worker/main.py`, free of the parent's Python settings."""
    main = Path(__file__).parent / "worker" / "main.py"
    package = Path(core.__file__).parent
    return [str(python), "-I", "-B", str(main), str(package), *map(str, arguments)]


class Worker:
    """One worker: a process that leads a session, a folder, and a pipe either way.

    Args:
        python: the interpreter of the Lava environment.
    """

    def __init__(self, python: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="snndeploy-lava-")).absolute()
        self.progress = "while starting"
        self.decoder, self.waiting = Decoder(), deque[memoryview]()
        try:
            with (self.folder / "stderr.txt").open("wb") as stderr:
                self.process = subprocess.Popen(  # noqa: S603 - the user's own environment
                    worker_command(python, self.folder),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    cwd=self.folder,
                    start_new_session=True,
                    env={**os.environ, **_ENVIRONMENT},
                )
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise WorkerError(f"cannot be started: {error}", where=WHERE) from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.replies = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.requests, False)
        _widen(self.replies)
        self.session = Session(self.process)
        self.silent_s, self.hung_up = 0.0, False

    def post(self, frame: Frame) -> None:
        """Hand over a request; what does not fit into the pipe goes when `gather` is called."""
        self.waiting.extend(frame.encoded())
        self.silent_s = 0.0
        self.write()

    def write(self) -> None:
        """Send as much as the pipe takes."""
        try:
            while self.waiting:
                sent = os.write(self.requests, self.waiting[0])
                self.waiting[0] = self.waiting[0][sent:]
                if not self.waiting[0]:
                    self.waiting.popleft()
        except BlockingIOError:
            return
        except BrokenPipeError:  # it has ended; `check` tells why
            self.waiting.clear()

    def read(self) -> list[Frame]:
        """What has come; beats and the news of a failure are dealt with here.

        Raises:
            DoesNotFitError: a membrane left its word.
            WorkerError: the worker reported another failure.
        """
        data = os.read(self.replies, _PIPE_BYTES)
        self.hung_up = not data
        replies = []
        for frame in self.decoder.feed(data):
            self.silent_s = 0.0
            if frame.kind == "alive":
                self._note_steps(frame.details["steps"])
            elif frame.kind == "failed":
                raise _reported(frame.details["failure"])
            elif frame.kind == "died":
                layer, status = frame.details["layer"], frame.details["status"]
                who = f"the process of layer '{layer}'" if layer else "a process"
                raise self.failure(f"{who} died {self.progress}: {_status(status)}")
            else:
                if frame.kind == "ready":
                    self._note_steps(0)
                    self.session.note(frame.details["processes"])
                replies.append(frame)
        return replies

    def check(self, ended: bool, seconds: float) -> None:
        """Raise `WorkerError` if the worker has ended, or has been silent for too long.

        Args:
            ended: whether it has.
            seconds: since the last look.
        """
        if ended:
            status = _status(self.process.wait())
            raise self.failure(f"ended {self.progress}: {status}")
        self.silent_s += seconds
        if self.silent_s > SILENCE_SECONDS:
            raise self.failure(f"not a beat for {SILENCE_SECONDS:.0f} s {self.progress}")

    def failure(self, problem: str, remedy: str = "") -> WorkerError:
        """An error with the last lines that the worker printed."""
        text = (self.folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")
        if text:
            lines = text.splitlines()[-_STDERR_LINES:]
            problem += "; it said last:\n  " + "\n  ".join(lines) + "\n"
        remedy = remedy or "try again; if it persists, run: snndeploy backends install lava"
        return WorkerError(problem, where=WHERE, remedy=remedy)

    def _note_steps(self, steps: int) -> None:
        self.progress = f"at step {steps}" if steps else "at the first step"


class Limits:
    """What a session may still spend.

    Attributes:
        seconds: left for this exchange, or for the session if the user named a number.
        peak_bytes: the most memory that was seen.
    """

    def __init__(self, timeout_s: float | None, memory_bytes: int) -> None:
        self.named, self.memory_bytes = timeout_s, memory_bytes
        self.allowed = self.seconds = timeout_s or 0.0
        self.peak_bytes = 0
        self._looked = time.monotonic() - MEMORY_SECONDS

    def allow(self, seconds: float) -> None:
        """Begin an exchange that should take far less than this."""
        if self.named is None:
            self.allowed = self.seconds = seconds

    def spend(self, seconds: float, workers: Sequence[Worker]) -> None:
        """Take account of these seconds, and of memory.

        Raises:
            WorkerError: a limit is exceeded.
        """
        self.seconds -= seconds
        if self.seconds < 0:
            raise workers[0].failure(
                f"ran out of time after {self.allowed:.4g} s {workers[0].progress}",
                f"give it longer with {TIMEOUT_VARIABLE}=<seconds>, or fewer samples at a time",
            )
        if time.monotonic() >= self._looked + MEMORY_SECONDS:
            self._look(workers)

    def measure(self, workers: Sequence[Worker]) -> int:
        """The memory of all workers together, in bytes."""
        self._looked = time.monotonic()
        held = sum(worker.session.memory_bytes() for worker in workers)
        self.peak_bytes = max(self.peak_bytes, held)
        return held

    def _look(self, workers: Sequence[Worker]) -> None:
        held = self.measure(workers)
        if held > self.memory_bytes:
            raise workers[0].failure(
                f"{held / 1e6:,.0f} MB of memory {workers[0].progress}, the limit is "
                f"{self.memory_bytes / 1e6:,.0f} MB for {len(workers)} workers",
                f"raise it with {MEMORY_VARIABLE}=<bytes>, or run fewer samples or workers at a "
                "time",
            )


def gather(workers: Sequence[Worker], limits: Limits) -> list[Frame]:
    """One reply of each worker, in their order, as soon as all have come.

    Raises:
        DoesNotFitError: a membrane left its word.
        WorkerError: a worker died, hung or reported an error, or a limit was exceeded.
    """
    replies: dict[Worker, Frame] = {}
    before = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.replies, selectors.EVENT_READ, worker)
            if worker.waiting:
                selector.register(worker.requests, selectors.EVENT_WRITE, worker)
        while len(replies) < len(workers):
            waited = [worker for worker in workers if worker not in replies]
            ended = {worker for worker in waited if worker.process.poll() is not None}
            for key, _ in selector.select(0 if ended else _POLL_SECONDS):
                frames = _attend(key.data, key.fd, selector)
                if frames is not None:
                    ended.discard(key.data)  # what it said last may not all have come
                    replies.update((key.data, frame) for frame in frames)
            now, last = time.monotonic(), before
            before, seconds = now, min(now - last, _MOST_AT_ONCE)
            for worker in waited:
                if worker not in replies:
                    worker.check(worker in ended, seconds)
            limits.spend(seconds, workers)
    return [replies[worker] for worker in workers]


def _attend(worker: Worker, pipe: int, selector: selectors.BaseSelector) -> list[Frame] | None:
    """Write to a worker, or read: returns what has come, or None if nothing more will."""
    if pipe == worker.requests:
        worker.write()
        if not worker.waiting:
            selector.unregister(pipe)
        return None
    frames = worker.read()
    if worker.hung_up:
        selector.unregister(pipe)
        return None
    return frames


def end(workers: list[Worker], orderly: bool) -> None:
    """End all of them and free what they held. Idempotent: ended workers leave the list.

    Args:
        orderly: whether to ask first, and let them shut Lava down.
    """
    try:
        if orderly:
            for worker in workers:
                worker.post(Frame("close"))
            _take_leave(workers)
    finally:
        for worker in workers:
            worker.session.terminate()
        while workers:
            worker = workers[-1]
            worker.session.end()
            for pipe in (worker.process.stdin, worker.process.stdout):
                assert pipe is not None
                pipe.close()
            shutil.rmtree(worker.folder, ignore_errors=True)
            workers.pop()


def _take_leave(workers: Sequence[Worker]) -> None:
    """Wait for all to end; those that hang are left to `Session.end`."""
    deadline = time.monotonic() + FAREWELL_SECONDS
    for worker in workers:
        while worker.process.poll() is None and time.monotonic() < deadline:
            worker.write()  # what the pipe had no room for
            if select.select([worker.replies], [], [], 0)[0]:
                os.read(worker.replies, _PIPE_BYTES)  # beats, lest it waits for room
            time.sleep(0.01)


def _widen(pipe: int) -> None:
    """Let a pipe hold more at a time, where the system can and allows it."""
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _reported(failure: Mapping[str, Any]) -> SnnDeployError:
    kind = DoesNotFitError if failure["kind"] == "does_not_fit" else WorkerError
    return kind(failure["problem"], where=failure["where"], remedy=failure["remedy"])


def _status(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"
