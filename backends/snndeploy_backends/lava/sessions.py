"""End a process session and what it leaves behind: processes and shared memory.

A session is all that a process started with `start_new_session=True` and its descendants, none
of whom leave it here. Where /proc is absent the group is signalled all the same, but nobody
checks what survives, and memory is not measured.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

PROC = Path("/proc")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies, not a draft
TERM_SECONDS = 5.0
KILL_SECONDS = 5.0
_POLL_SECONDS = 0.02
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


class Session:
    """The session that `leader` leads."""

    def __init__(self, leader: subprocess.Popen[bytes]) -> None:
        self.leader = leader
        self.id = leader.pid
        self._known = [leader.pid]
        self._shared: set[Path] = set()

    def members(self) -> list[int]:
        """The processes of the session that are not zombies, as far as /proc tells."""
        found = []
        for entry in PROC.glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # The command, in parentheses, may hold spaces.
                state, _, _, session, *_ = entry.read_text().rpartition(")")[2].split()
                if int(session) == self.id and state not in "ZX":
                    found.append(int(entry.parent.name))
        return found

    def note(self, processes: Sequence[int]) -> None:
        """Remember its processes, and the shared memory that they hold, to free it in the end."""
        self._known = [self.id, *processes]
        self._note_shared_memory()

    def memory_bytes(self) -> int:
        """What the noted processes hold; a page that n of them share counts 1/n for each."""
        return sum(map(_memory_bytes, self._known))

    def terminate(self) -> None:
        """Ask all of them to end."""
        self._note_shared_memory()
        if self._alive():
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)  # a stopped process takes its SIGTERM only now

    def end(self) -> None:
        """SIGTERM to all, SIGKILL to those who stay, then free what they held. Idempotent.

        SIGTERM comes first because Python's resource tracker survives it, frees the shared
        memory of the others and goes; SIGKILL would take the tracker along.
        """
        self.terminate()
        if not self._wait(TERM_SECONDS):
            self._signal(signal.SIGKILL)
            self._wait(KILL_SECONDS)
        for path in self._shared:
            path.unlink(missing_ok=True)
        self._shared.clear()

    def _note_shared_memory(self) -> None:
        for pid in self.members():
            with contextlib.suppress(OSError):
                for line in (PROC / str(pid) / "maps").read_text().splitlines():
                    self._note(line.split(maxsplit=5)[5:])
                for entry in (PROC / str(pid) / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        self._note([str(entry.readlink())])

    def _note(self, paths: list[str]) -> None:
        for path in paths:
            if Path(path).parent == SHARED_MEMORY and Path(path).name.startswith("psm_"):
                self._shared.add(Path(path))

    def _alive(self) -> bool:
        return self.leader.poll() is None or bool(self.members())

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.id, number)


def _memory_bytes(pid: int) -> int:
    """The proportional share (PSS) of one process; all that is resident where that is not told."""
    with contextlib.suppress(OSError, ValueError):
        found = _PSS.search((PROC / str(pid) / "smaps_rollup").read_text())
        if found:
            return int(found[1]) * 1024
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
