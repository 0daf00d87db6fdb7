"""Values that come a constant number of steps late or early."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snndeploy.numerics import Int64Array

MAX_DELAY = 4


def late_by(steps: int) -> Iterator[tuple[int, str]]:
    """Numbers of steps, and words for them, in a run of `steps` steps."""
    for size in range(1, min(MAX_DELAY, steps - 1) + 1):
        yield size, _words(size, "late")


def early_by(steps: int, step: int) -> Iterator[tuple[int, str]]:
    """Negative numbers of steps, and words for them.

    Nothing is known of the last steps then. A shift must speak of more steps than it leaves out,
    and of the 1-based `step` at which two runs differ.
    """
    for size in range(1, MAX_DELAY + 1):
        if 2 * size < steps and step <= steps - size:
            yield -size, _words(size, "early")


def _words(size: int, which: str) -> str:
    return f"{size} step{'s' * (size > 1)} {which}"


def shifted(values: Int64Array, late: int, rest: Int64Array | int = 0) -> Int64Array:
    """(N, T, ...) `late` steps later, or earlier; `rest` where nothing is known."""
    moved = np.empty_like(values)
    if late > 0:
        moved[:, :late], moved[:, late:] = rest, values[:, :-late]
    else:
        moved[:, late:], moved[:, :late] = rest, values[:, -late:]
    return moved
