"""Threads that share the work of one layer, in place of PyTorch's own.

Those of PyTorch (OpenMP) spin for a while after each call, and would take the cores from ours. So
each thread here, and the calling one while it works, runs PyTorch's kernels by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from snndeploy_backends.reference.kernels import Map

_WORTH_SHARING_NS = 250_000
"""What a piece of work must take for another thread to be woken, which takes some 60,000."""

_BYTES_PER_NS = 0.5
"""Spikes that a dense kernel takes in, roughly."""


class Team(ThreadPoolExecutor):
    """Helpers of the calling thread, started as they are needed.

    Args:
        size: the threads that work at a time, the calling one among them unless it waits.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, initializer=torch.set_num_threads, initargs=(1,))
        self.size = size


@contextmanager
def by_itself() -> Iterator[None]:
    """The calling thread runs PyTorch's kernels by itself, for as long as the block lasts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
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


def share_rows(dense: Map, spikes: Tensor, team: Team | None) -> Tensor:
    """A dense kernel's sums of all rows."""
    first, *others = _parts(len(spikes), team, spikes.numel() / _BYTES_PER_NS)
    if team is None or not others:
        return dense(spikes)
    helpers = [team.submit(_inferred, dense, spikes[part.start : part.stop]) for part in others]
    sums = dense(spikes[first.start : first.stop])
    return torch.cat([sums, *(helper.result() for helper in helpers)])


@torch.inference_mode()
def _inferred(dense: Map, spikes: Tensor) -> Tensor:
    return dense(spikes)


def _parts(count: int, team: Team | None, nanoseconds: float) -> list[range]:
    """Equal parts of the work, one a thread that is worth waking."""
    parts = 1
    if team is not None and nanoseconds >= _WORTH_SHARING_NS:
        parts = max(min(team.size, count), 1)
    ends = [count * part // parts for part in range(parts + 1)]
    return [range(a, b) for a, b in pairwise(ends)]
