"""Talks to the parent: tells that the worker lives, and ends the worker if the parent does not."""

from __future__ import annotations

import multiprocessing.process
import os
import select
import shutil
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from snndeploy_backends.lava.worker.board import PID, STEPS, Board
from snndeploy_backends.lava.worker.frames import Frame

BEAT_SECONDS = 0.2


class Heart:
    """Sends the worker's frames, a beat among them now and then, from a thread of its own.

    It uses bare file descriptors, because Lava forks while the thread runs, and a child must not
    inherit a stream's lock that nobody will release.

    Args:
        folder: the run folder; removed if the parent is gone and cannot do it.
        requests: the pipe from the parent, only watched here.
        replies: the pipe to the parent.
    """

    def __init__(self, folder: Path, requests: int, replies: int) -> None:
        self.folder, self.requests, self.replies = folder, requests, replies
        self.parent, self.lock = os.getppid(), threading.Lock()
        self.board: Board | None = None
        self.names: Sequence[str] = ()
        self.actors: Sequence[multiprocessing.process.BaseProcess] = ()

    def start(self) -> None:
        """Begin to beat."""
        threading.Thread(target=self._beat, daemon=True).start()

    def watch(
        self,
        board: Board,
        names: Sequence[str],
        actors: Sequence[multiprocessing.process.BaseProcess],
    ) -> None:
        """From now on report progress, and any of these processes that dies."""
        self.board, self.names, self.actors = board, names, actors

    def rest(self) -> None:
        """The run is over: processes may end."""
        self.actors = ()

    def tell(
        self, kind: str, arrays: Mapping[str, NDArray[Any]] | None = None, **details: Any
    ) -> None:
        """Send one frame."""
        pieces = Frame(kind, details, arrays or {}).encoded()
        with self.lock:
            try:
                while pieces:
                    pieces[0] = pieces[0][os.write(self.replies, pieces[0]) :]
                    if not pieces[0]:
                        del pieces[0]
            except BrokenPipeError:
                self.die()

    def die(self) -> None:
        """End the whole group. Its resource tracker outlives SIGTERM and frees shared memory."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.killpg(0, signal.SIGTERM)

    def _beat(self) -> None:
        pause, poll = threading.Event(), select.poll()
        poll.register(self.requests, 0)  # tells of a pipe that was hung up, and of nothing else
        while not pause.wait(BEAT_SECONDS):
            if poll.poll(0) or os.getppid() != self.parent:
                self.die()
            for actor in self.actors:
                if actor.exitcode is not None:
                    self.tell("died", layer=self._layer_of(actor.pid), status=actor.exitcode)
                    return
            steps = 0 if self.board is None else int(self.board.progress[:, STEPS].min())
            self.tell("alive", steps=steps)

    def _layer_of(self, pid: int | None) -> str:
        pids = [] if self.board is None else self.board.progress[:, PID].tolist()
        return self.names[pids.index(pid)] if pid in pids else ""
