"""A run that is over, replayed as a session."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snndeploy.backend import Step
from snndeploy.errors import InputError
from snndeploy.numerics import BoolArray, Int8Array, Int64Array


class RecordedSession:
    """Replays a finished run, one logical step at a time: for what cannot be stopped half-way.

    Args:
        logits: int64 (N, steps, classes).
        spikes: int8 (N, steps, *shape) per layer.
    """

    def __init__(self, logits: Int64Array, spikes: Mapping[str, Int8Array]) -> None:
        self.logits, self.spikes = logits, dict(spikes)
        self.rows = np.arange(len(logits))
        self.time = 0

    def step(self) -> Step:
        """The next logical step of the rows that are still kept."""
        if self.time >= self.logits.shape[1]:
            raise InputError(f"only {self.logits.shape[1]} steps were asked for", where="steps")
        t, self.time = self.time, self.time + 1
        spikes = {name: record[self.rows, t] for name, record in self.spikes.items()}
        return Step(self.logits[self.rows, t], spikes)

    def keep(self, rows: BoolArray) -> None:
        """Go on with these rows only."""
        self.rows = self.rows[rows]

    def close(self) -> None:
        """Drop the records."""
        self.logits, self.spikes, self.rows = self.logits[:0], {}, self.rows[:0]
