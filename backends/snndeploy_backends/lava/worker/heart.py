"""Tells the parent that the worker lives, and ends the worker if the parent does not.

Events are JSON lines, short enough for a pipe to keep them whole: `alive` with the steps done,
`started`, `done`, `error` if a failure is on record in the run folder, `died` with the layer
whose process is gone, `failed` if the worker itself raised.
"""

from __future__ import annotations

import json
import multiprocessing.process
import os
import shutil
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snndeploy_backends.lava.worker.job import read_failure
from snndeploy_backends.lava.worker.pipeline import PID, STEPS

BEAT_SECONDS = 0.2


class Heart:
    """The worker's two watching threads.

    They use bare file descriptors, because Lava forks while they run and a child must not
    inherit a stream's lock that nobody will release.
    """

    def __init__(self, folder: Path, events: int) -> None:
        self.folder, self.events = folder, events
        self.parent = os.getppid()
        self.board: NDArray[np.int64] = np.zeros((0, 2), np.int64)
        self.names: Sequence[str] = ()
        self.actors: Sequence[multiprocessing.process.BaseProcess] = ()
        self.steps = 0

    def start(self) -> None:
        """Begin to beat, and to listen for the parent's end."""
        for target in (self._beat, self._listen):
            threading.Thread(target=target, daemon=True).start()

    def watch(
        self,
        board: NDArray[np.int64],
        names: Sequence[str],
        actors: Sequence[multiprocessing.process.BaseProcess],
        steps: int,
    ) -> None:
        """From now on report progress, and any of these processes that dies."""
        self.board, self.names, self.steps = board, names, steps
        self.tell("started")
        self.actors = actors

    def rest(self) -> None:
        """The run is over: processes may end."""
        self.actors = ()

    def tell(self, event: str, **details: Any) -> None:
        """Send one event."""
        line = json.dumps({"event": event, **details}) + "\n"
        try:
            os.write(self.events, line.encode())
        except BrokenPipeError:
            self._die()

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(BEAT_SECONDS):
            if os.getppid() != self.parent:
                self._die()
            if self.actors and read_failure(self.folder) is not None:
                self.tell("error")
                return
            for actor in self.actors:
                if actor.exitcode is not None:
                    self.tell("died", layer=self._layer_of(actor.pid), status=actor.exitcode)
                    return
            done = int(self.board[:, STEPS].min()) if len(self.board) else 0
            self.tell("alive", step=done, steps=self.steps)

    def _layer_of(self, pid: int | None) -> str:
        rows = np.flatnonzero(self.board[:, PID] == pid)
        return self.names[int(rows[0])] if len(rows) else ""

    def _listen(self) -> None:
        while os.read(0, 4096):
            pass
        self._die()

    def _die(self) -> None:
        """End the whole group. Its resource tracker outlives SIGTERM and frees shared memory."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.killpg(0, signal.SIGTERM)
