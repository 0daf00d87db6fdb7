"""Threads that take samples, or shares of one layer's work, beside PyTorch's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

import torch

S = TypeVar("S")
T = TypeVar("T")

_WORTH_SHARING_NS = 250_000
"""What a piece of work must take for another thread to be woken, which takes some 60,000."""


class Team(ThreadPoolExecutor):
    """Helpers of the calling thread, started as they are needed.

    Args:
        size: the threads that work at a time.
        shares: whether the calling one is among them; else it waits. Not a helper more than there
            is work for: their turns would cost more than they bring.
    """

    def __init__(self, size: int, shares: bool) -> None:
        super().__init__(max(size - shares, 1))
        self.size = size

    def each(self, work: Callable[[S], T], parts: Sequence[S]) -> list[T]:
        """The work of each part, one thread a part, which runs PyTorch's kernels by itself.

        PyTorch's own threads (OpenMP) would spin for a while after each call, on our cores. Until
        the work is done, threads that meet PyTorch for the first time start with one thread, too.
        """

        def alone(part: S) -> T:
            torch.set_num_threads(1)
            return work(part)

        threads = torch.get_num_threads()
        try:
            return list(self.map(alone, parts))
        finally:
            torch.set_num_threads(threads)


def share(
    kernel: Callable[..., None],
    arguments: tuple[Any, ...],
    units: range,
    team: Team | None,
    nanoseconds: float,
) -> None:
    """Call `kernel(*arguments, first, last)` for all units, with the team's help if it pays.

    Args:
        nanoseconds: what one thread needs, about.
    """
    first, *others = _parts(len(units), team, nanoseconds)
    begin = units.start
    helpers = [
        team.submit(kernel, *arguments, begin + part.start, begin + part.stop)
        for part in others
        if team is not None
    ]
    kernel(*arguments, begin + first.start, begin + first.stop)
    for helper in helpers:
        helper.result()


def _parts(count: int, team: Team | None, nanoseconds: float) -> list[range]:
    """Equal parts of the work, one a thread that is worth waking."""
    parts = 1
    if team is not None and nanoseconds >= _WORTH_SHARING_NS:
        parts = max(min(team.size, count), 1)
    ends = [count * part // parts for part in range(parts + 1)]
    return [range(a, b) for a, b in pairwise(ends)]
