"""What processes hold in memory, from the operating system's own account."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import TracebackType

PROC = Path("/proc")
SAMPLING_SECONDS = 0.1


class Watch:
    """Samples, in a thread, what all processes that `pid` started hold together.

    Attributes:
        peak_bytes: the most that was seen; None where it cannot be.
    """

    def __init__(self, pid: int) -> None:
        self.pid, self.peak_bytes = pid, descendants_bytes(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while self.peak_bytes is not None and not self._over.wait(SAMPLING_SECONDS):
            self.peak_bytes = max(self.peak_bytes, descendants_bytes(self.pid) or 0)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()


def own_peak_bytes() -> int | None:
    """The most that this process has held; None where the system does not tell.

    On Linux not `ru_maxrss`: that starts from what the parent held when it started this process.
    """
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", (PROC / "self/status").read_text(encoding="utf-8"))
        return None if found is None else int(found[1]) * 1024
    if sys.platform == "darwin":
        import resource  # noqa: PLC0415 - not there on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def descendants_bytes(pid: int) -> int | None:
    """What all processes that `pid` has started, and they, hold together now.

    A page that several share counts once, in parts (the proportional set size). None without
    Linux's `/proc`.
    """
    if not (PROC / "self/smaps_rollup").exists():
        return None
    children: defaultdict[int, list[int]] = defaultdict(list)
    for stat in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            children[parent].append(int(stat.parent.name))
    total, waiting = 0, list(children[pid])
    while waiting:
        process = waiting.pop()
        total += proportional_bytes(process) or 0
        waiting += children[process]
    return total


def proportional_bytes(pid: int) -> int | None:
    """The proportional set size of one process; None where it is not told, or if it has ended."""
    with contextlib.suppress(OSError):
        text = (PROC / f"{pid}/smaps_rollup").read_text(encoding="utf-8")
        found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        return None if found is None else int(found[1]) * 1024
    return None
