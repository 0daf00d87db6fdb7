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

from snndeploy.process_memory import proportional_bytes

PROC = Path("/proc")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies, not a draft
TERM_SECONDS = 5.0
KILL_SECONDS = 5.0
_POLL_SECONDS = 0.02
_MAPPED = re.compile(rf"{SHARED_MEMORY}/psm_\w+")


class Session:
    """The session that `leader` leads."""

    def __init__(self, leader: subprocess.Popen[bytes]) -> None:
        self.leader = leader
        self.id = leader.pid
        self._known, self._noted = [leader.pid], False
        self._shared: set[str] = set()

    def members(self) -> list[int]:
        """The processes of the session that are not zombies, as far as /proc tells."""
        with contextlib.suppress(OSError):
            names = (entry.name for entry in PROC.iterdir())
            return [int(name) for name in names if name.isdecimal() and self._holds(name)]
        return []

    def note(self, processes: Sequence[int]) -> None:
        """Remember its processes, and its shared memory, all of which the leader holds now."""
        self._known, self._noted = [self.id, *processes], True
        self._note_shared_memory([self.id])

    def memory_bytes(self) -> int:
        """What the noted processes hold; a page that n of them share counts 1/n for each."""
        return sum(map(_memory_bytes, self._known))

    def terminate(self) -> None:
        """Ask all of them to end."""
        if not self._noted:
            self._note_shared_memory(self.members())
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
            Path(path).unlink(missing_ok=True)
        self._shared.clear()

    def _holds(self, pid: int | str) -> bool:
        """Whether a process belongs to the session and is not a zombie."""
        with contextlib.suppress(OSError, ValueError):
            text = Path(f"{PROC}/{pid}/stat").read_text()
            # The command, in parentheses, may hold spaces.
            state, _, _, session, *_ = text.rpartition(")")[2].split()
            return int(session) == self.id and state not in "ZX"
        return False

    def _note_shared_memory(self, processes: Sequence[int]) -> None:
        for pid in processes:
            with contextlib.suppress(OSError):
                self._shared.update(_MAPPED.findall(Path(f"{PROC}/{pid}/maps").read_text()))
            with contextlib.suppress(OSError):
                for handle in Path(f"{PROC}/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        self._shared.update(_MAPPED.findall(str(handle.readlink())))

    def _alive(self) -> bool:
        """Asks those first who are known to have been there."""
        return (
            self.leader.poll() is None
            or any(self._holds(pid) for pid in self._known)
            or bool(self.members())
        )

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
    shared = proportional_bytes(pid)
    if shared is not None:
        return shared
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
