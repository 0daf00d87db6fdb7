"""How many steps to compute at once for samples that a controller may stop at any of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from snndeploy.numerics import Int64Array

FEW = 4
"""Steps computed at once where nothing is known."""

_REMEMBERED = 256
"""Samples that the stops are learned from."""


_FRESH = 8
"""The plan is made anew once this share of the stops, one in so many, is new."""


class Lookahead:
    """Learns when samples stop, and plans stretches of steps that cost least in all.

    Each stretch has costs of its own, which speaks for few; what it computes beyond a sample's
    stop is lost, which speaks for many. With the stops of the last samples known, the best ends
    b_1 < b_2 < .. minimise the sum of `(b_k - b_(k-1) + overhead) * (samples running after
    b_(k-1))`: a shortest path from stop to stop.

    Args:
        overhead: what a stretch costs beside its steps, in steps, by the samples that run.
    """

    def __init__(self, overhead: Callable[[int], float]) -> None:
        self.overhead = overhead
        self._stops: deque[int] = deque(maxlen=_REMEMBERED)
        self._ends = np.zeros(0, np.int64)
        self._planned_for, self._news = 0, 0

    def learn(self, stops: Int64Array) -> None:
        """The steps (n,) that samples ran."""
        self._stops.extend(stops.tolist())
        self._news += len(stops)

    def begin(self, samples: int) -> None:
        """Plan for so many new samples, if more than a few stops are new."""
        if samples == self._planned_for and self._news * _FRESH < len(self._stops):
            return
        self._planned_for, self._news = samples, 0
        ages, counts = np.unique(np.array(self._stops, np.int64), return_counts=True)
        ages = np.concatenate([[0], ages])
        running = counts.sum() - np.cumsum(np.concatenate([[0], counts]))
        share = running / max(counts.sum(), 1)
        fixed = [self.overhead(max(round(samples * x), 1)) for x in share]
        cost, best = np.zeros(len(ages)), np.zeros(len(ages), np.int64)
        for a in reversed(range(len(ages) - 1)):
            ways = (ages[a + 1 :] - ages[a] + fixed[a]) * running[a] + cost[a + 1 :]
            best[a] = a + 1 + int(ways.argmin())
            cost[a] = ways[best[a] - a - 1]
        ends, a = [], 0
        while a < len(ages) - 1:
            a = int(best[a])
            ends.append(int(ages[a]))
        self._ends = np.array(ends, np.int64)

    def steps(self, age: int) -> int:
        """How many steps to compute next for samples that have run `age` of them."""
        later = self._ends[self._ends > age]
        return int(later[0]) - age if len(later) else FEW
