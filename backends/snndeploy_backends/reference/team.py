"""Threads that take samples, or shares of one layer's work, beside PyTorch's own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

import torch

S = TypeVar("S")
T = TypeVar("T")

_WORTH_SHARING_NS = 1_000_000
"""What a piece of work must take for another thread to be woken. That takes some 60,000 at best,
and ten times as much where cores are virtual and the other one sleeps."""

_SOON_S = 200e-6


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch's kernels run on the thread that calls them.

    PyTorch's own threads (OpenMP) would spin for a while after each call, on our cores. Threads
    that meet PyTorch for the first time meanwhile start with one thread, too.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Team(ThreadPoolExecutor):
    """Helpers of the calling thread, started as they are needed; see `team_of`.

    Args:
        size: the threads that work at a time.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, "snndeploy", initializer=torch.set_num_threads, initargs=(1,))
        self.size = size

    def each(self, work: Callable[[S], T], parts: Sequence[S]) -> list[T]:
        """The work of each part, one helper a part, which runs PyTorch's kernels by itself."""
        with one_thread():
            return list(self.map(work, parts))

    def together(self, work: Callable[[S], T], parts: Sequence[S]) -> list[T]:
        """The work of each part; the caller does the first, and those that no helper began with."""
        helpers = [self.submit(work, part) for part in parts[1:]]
        found = [work(parts[0])]
        for part, helper in zip(parts[1:], helpers, strict=True):
            found.append(work(part) if helper.cancel() else _awaited(helper))
        return found


@cache
def team_of(size: int) -> Team:
    """The process's team of so many, kept: a new thread costs as much as a sample may."""
    return Team(size)


if hasattr(os, "register_at_fork"):  # threads do not follow into another process
    os.register_at_fork(after_in_child=team_of.cache_clear)


def _awaited(helper: Future[T]) -> T:
    """The result of what is done soon, as a rule sooner than a thread that sleeps wakes up."""
    late = time.perf_counter() + _SOON_S
    while not helper.done() and time.perf_counter() < late:
        time.sleep(0)
    return helper.result()


def is_worth_sharing(nanoseconds: float) -> bool:
    """Whether work that takes one thread so long is done sooner by two."""
    return nanoseconds >= _WORTH_SHARING_NS


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
    if team is None or len(units) < 2 or not is_worth_sharing(nanoseconds):
        kernel(*arguments, units.start, units.stop)
        return
    parts = min(team.size, len(units))
    ends = [units.start + len(units) * part // parts for part in range(parts + 1)]
    team.together(lambda part: kernel(*arguments, *part), list(pairwise(ends)))
