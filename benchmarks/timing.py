"""Median seconds of a few calls, repeats interleaved."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter


def medians(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Each call once to warm up, then all in turn."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    gc.collect()
    for _ in range(repeats):
        for name, call in calls.items():
            started = perf_counter()
            call()
            times[name].append(perf_counter() - started)
    return {name: median(found) for name, found in times.items()}
