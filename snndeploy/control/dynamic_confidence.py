"""Dynamic Confidence: stop a sample as soon as its softmax confidence passes a threshold.

    z_t = logits_t * (window / min(t, window)) / temperature
    confidence_t = max softmax(z_t),    stop at the first t with confidence_t > threshold

The logits are membranes, hence already running sums, which is the smoothing of the published
form `z_t = sum_k logits_k / c`; the factor makes steps inside the window comparable with later
ones. Source: Li et al., "Unleashing the Potential of Spiking Neural Networks with Dynamic
Confidence", ICCV 2023, section 3.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from snndeploy.control.policy import Policy
from snndeploy.control.softmax import MIN_TEMPERATURE, log_softmax
from snndeploy.network import Network
from snndeploy.numerics import FloatArray, Int64Array

SUREST, OCTAVES, POINTS = 40.0, 12, 24
"""The path's largest log-odds above chance, and the octaves below it, of so many points each."""


class DynamicConfidence(Policy):
    """One threshold for all steps.

    Attributes:
        threshold: softmax confidence above which a sample stops; 1.0 never stops one.
        temperature: divides the logits, in the model's units.
        scale: turns the network's membranes into the model's units.
        window: steps in which the network's input is injected.
    """

    policy: Literal["dynamic-confidence"] = "dynamic-confidence"
    threshold: float = Field(ge=0, le=1)
    temperature: float = Field(default=1.0, ge=MIN_TEMPERATURE, allow_inf_nan=False)
    scale: float = Field(gt=0, allow_inf_nan=False)
    window: int = Field(ge=1)

    def confidence(self, logits: Int64Array, step: Int64Array) -> FloatArray:
        """Softmax confidence (n,) of logits (n, classes) after 1-based steps (n,)."""
        chances = log_softmax(logits, step, self.scale, self.temperature, self.window)
        found: FloatArray = np.exp(chances.max(axis=-1))
        return found

    def score(self, logits: Int64Array, step: Int64Array) -> FloatArray:
        """The confidence."""
        return self.confidence(logits, step)

    def limit(self, step: Int64Array) -> FloatArray:
        """The threshold."""
        return np.full(len(step), self.threshold)

    def __str__(self) -> str:
        softmax = "softmax confidence"
        if self.temperature != 1.0:
            softmax += f" at temperature {self.temperature:.4g}"
        return f"{softmax} above {self.threshold:.6g}"


def dynamic_confidence_path(
    network: Network, temperature: float = 1.0
) -> tuple[DynamicConfidence, ...]:
    """Policies from the most careful to the most eager, the same whatever the data.

    The log-odds of the thresholds are those of chance, 1 in C classes, plus 40 * 2**(-k / 24),
    k = 0, 1, .. 288: from what a float cannot tell from 1 to just above chance.
    """
    others = network.shapes[network.output.name][0] - 1
    above_chance = SUREST * 2.0 ** (-np.arange(OCTAVES * POINTS + 1) / POINTS)
    thresholds = 1 / (1 + others * np.exp(-above_chance))
    return tuple(
        DynamicConfidence(
            threshold=float(threshold),
            temperature=temperature,
            scale=network.output.scale,
            window=network.window,
        )
        for threshold in thresholds
    )
