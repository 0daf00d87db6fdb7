"""What a user may set: how many workers, how much memory, how long; by argument or environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from snndeploy.errors import InputError

WORKERS_VARIABLE = "SNNDEPLOY_LAVA_WORKERS"
MEMORY_VARIABLE = "SNNDEPLOY_LAVA_MEMORY_BYTES"
TIMEOUT_VARIABLE = "SNNDEPLOY_LAVA_TIMEOUT"

MEMORY_SHARE = 0.75
"""Of the machine's memory, for all workers together."""
SAMPLES_PER_WORKER = 32
"""One worker keeps several cores busy, and Lava's own work is the same for any batch: fewer samples
are not worth another worker, unless the user names a number."""


@dataclass(frozen=True)
class Settings:
    """The limits of a run.

    Attributes:
        workers: the most workers side by side; each has a process a layer.
        memory_bytes: what all of them may hold together.
        timeout_s: seconds that a session may spend computing; None: as many as its steps need,
            with a wide margin.
        samples_per_worker: the fewest that are worth one more worker.
    """

    workers: int
    memory_bytes: int
    timeout_s: float | None
    samples_per_worker: int = 1

    @staticmethod
    def of(workers: int | None, memory_bytes: int | None, timeout_s: float | None) -> Settings:
        """What is given, else what the environment names, else the machine's cores and memory.

        Raises:
            InputError: a number below 1, or none at all.
        """
        workers = _whole(WORKERS_VARIABLE) if workers is None else workers
        memory = _whole(MEMORY_VARIABLE) if memory_bytes is None else memory_bytes
        seconds = _number(TIMEOUT_VARIABLE, "seconds") if timeout_s is None else timeout_s
        for name, value in (("workers", workers), ("memory_bytes", memory)):
            if value is not None and value < 1:
                raise InputError(f"{value}, expected at least 1", where=name)
        if seconds is not None and not seconds > 0:
            raise InputError(f"{seconds} seconds, expected more than 0", where="timeout_s")
        return Settings(
            workers or usable_cores(),
            memory or int(MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
            seconds,
            SAMPLES_PER_WORKER if workers is None else 1,
        )


def usable_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _number(variable: str, unit: str) -> float | None:
    """A positive number from the environment, or None if it is not set."""
    text = os.environ.get(variable)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError(f"{text!r} is not a number of {unit}", where=variable)
    return value


def _whole(variable: str) -> int | None:
    value = _number(variable, "units, 1 or more")
    if value is not None and (value < 1 or value % 1):
        raise InputError(f"{os.environ[variable]!r} is not a whole number", where=variable)
    return None if value is None else int(value)
