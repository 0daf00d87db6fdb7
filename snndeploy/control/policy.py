"""What all policies share: a sample stops as soon as its score passes the step's limit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from snndeploy.numerics import BoolArray, FloatArray, Int64Array


class Policy(BaseModel, ABC):
    """When to stop a sample, from its logits and its step alone; a controller of runs.

    Policies are values: frozen, equal if their fields are, and written as JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @abstractmethod
    def score(self, logits: Int64Array, step: Int64Array) -> FloatArray:
        """How sure each row (n,) is, from logits (n, classes) after 1-based steps (n,)."""

    @abstractmethod
    def limit(self, step: Int64Array) -> FloatArray:
        """The score (n,) that a row must exceed to stop after 1-based steps (n,)."""

    @abstractmethod
    def __str__(self) -> str:
        """The rule in words: `softmax confidence above 0.93`."""

    def stop(self, logits: Int64Array, step: Int64Array) -> BoolArray:
        """Rows (n,) that may stop, from logits (n, classes) after 1-based steps (n,)."""
        return self.score(logits, step) > self.limit(step)


def per_step(limits: Sequence[float | None], step: Int64Array) -> FloatArray:
    """The limit of each step, the last one's from there on; None: no row stops at that step."""
    found = np.array([np.inf if limit is None else limit for limit in limits])
    chosen: FloatArray = found[np.minimum(step, len(found)) - 1]
    return chosen
