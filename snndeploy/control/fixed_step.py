"""Fixed step: stop every sample after the same number of steps; the plainest policy."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from snndeploy.control.policy import Policy
from snndeploy.numerics import FloatArray, Int64Array


class FixedStep(Policy):
    """The same step for all samples.

    Attributes:
        steps: after which a sample stops, 1 or more.
    """

    policy: Literal["fixed-step"] = "fixed-step"
    steps: int = Field(ge=1)

    def score(self, logits: Int64Array, step: Int64Array) -> FloatArray:
        """The step."""
        return step.astype(np.float64)

    def limit(self, step: Int64Array) -> FloatArray:
        """Half a step before the chosen one."""
        return np.full(len(step), self.steps - 0.5)

    def __str__(self) -> str:
        return f"step {self.steps} reached"


def fixed_step_path(most: int) -> tuple[FixedStep, ...]:
    """Policies from the most careful to the most eager: `most`, .. 2, 1 steps."""
    return tuple(FixedStep(steps=steps) for steps in range(most, 0, -1))
