"""Worker processes, one a simulator, each in the environment that holds its packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
ENVIRONMENT = Path(os.environ.get("SNNDEPLOY_BENCH_ENV", HERE.parent / ".bench"))
"""Where `make bench` installs `requirements.txt`."""

OURS = "snndeploy"
FLOOR = "onnxruntime"
PEERS = ("spikingjelly", "sinabs", "snntorch", "norse")
IN_MAIN = (OURS, "norse")
"""Those that run in the environment of snndeploy: its dependencies."""


class WorkerError(Exception):
    """What a worker could not do."""


class Worker:
    """A running simulator. Use as a context manager.

    Raises:
        WorkerError: its packages are not installed, or a request failed.
    """

    def __init__(self, name: str, threads: int, logs: Path) -> None:
        self.name = name
        python = Path(sys.executable) if name in IN_MAIN else ENVIRONMENT / "bin" / "python"
        if not python.exists():
            raise WorkerError(f"{ENVIRONMENT.name} is not there; `make bench` makes it")
        self.log = (logs / f"{name}.log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(  # noqa: S603
            [str(python), str(HERE / "worker.py"), name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        about = self.ask("about")
        self.settings: list[str] = about["settings"]
        self.versions: dict[str, str] = about["versions"]

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """One request, one answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self.process.wait(timeout=60)
            raise WorkerError(f"{self.name} ended with status {status}\n{self._said()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(f"{self.name} cannot {do}: {reply['error']}\n{self._said()}")
        return reply

    def _said(self) -> str:
        """The last lines of its stderr."""
        self.log.seek(0)
        return "".join(self.log.readlines()[-15:])

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
