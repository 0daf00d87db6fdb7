"""Conformal: stop a sample as soon as its set of possible classes has one member.

    p_t = softmax(logits_t * (window / min(t, window)) / temperature)
    q_t = the ceil((n + 1) (1 - alpha))-th smallest of -log p_t[true class] over n samples
    set_t = {classes with -log p_t <= q_t} and the best one
    stop at the first t at which the set has one member: -log p_t[second best] > q_t

After any one step the true class is missing from the set with a probability of at most alpha,
on new samples exchangeable with the n (with alpha / T at each of T steps: of at most alpha after
the step at which a sample stops). Source: Chen, Park, Simeone, "SpikeCP: Delay-Adaptive Reliable
Spiking Neural Networks via Conformal Prediction", 2023, section IV.
"""

from __future__ import annotations

from math import ceil
from typing import Literal

import numpy as np
from pydantic import Field

from snndeploy.control.policy import Policy, per_step
from snndeploy.control.softmax import MIN_TEMPERATURE, log_softmax
from snndeploy.network import Network
from snndeploy.numerics import FloatArray, Int64Array
from snndeploy.trace import Trace

ALPHAS = tuple(2.0 ** (-k / 4) for k in range(52, 0, -1))
"""Of the path, from the most careful to the most eager."""


class Conformal(Policy):
    """A quantile for each step.

    Attributes:
        alpha: how often the true class may be missing from a step's set.
        quantiles: of -log p of the true class after steps 1, 2, ..; None: too few samples for
            one, so every class is possible. The last holds for all later steps.
        temperature: divides the logits, in the model's units.
        scale: turns the network's membranes into the model's units.
        window: steps in which the network's input is injected.
    """

    policy: Literal["conformal"] = "conformal"
    alpha: float = Field(gt=0, lt=1)
    quantiles: tuple[float | None, ...] = Field(min_length=1, strict=False)
    temperature: float = Field(default=1.0, ge=MIN_TEMPERATURE, allow_inf_nan=False)
    scale: float = Field(gt=0, allow_inf_nan=False)
    window: int = Field(ge=1)

    def score(self, logits: Int64Array, step: Int64Array) -> FloatArray:
        """How strange the second best class would be, -log p; infinite if there is one only."""
        if logits.shape[-1] < 2:
            return np.full(len(logits), np.inf)
        chances = log_softmax(logits, step, self.scale, self.temperature, self.window)
        found: FloatArray = -np.partition(chances, -2, axis=-1)[:, -2]
        return found

    def limit(self, step: Int64Array) -> FloatArray:
        """The quantile of the step."""
        return per_step(self.quantiles, step)

    def __str__(self) -> str:
        return f"one class left in the conformal set, alpha {self.alpha:.3g}"


def conformal_path(
    network: Network, trace: Trace, labels: Int64Array, temperature: float = 1.0
) -> tuple[Conformal, ...]:
    """Policies fitted to a run without stopping, from the most careful to the most eager."""
    scale, window, rows = network.output.scale, network.window, np.arange(len(trace))
    ranked = []
    for t in range(trace.steps):
        ages = np.full(len(trace), t + 1)
        chances = log_softmax(trace.logits[:, t], ages, scale, temperature, window)
        ranked.append(np.sort(-chances[rows, labels]))
    return tuple(
        Conformal(
            alpha=alpha,
            quantiles=tuple(_quantile(found, alpha) for found in ranked),
            temperature=temperature,
            scale=scale,
            window=window,
        )
        for alpha in ALPHAS
    )


def _quantile(ranked: FloatArray, alpha: float) -> float | None:
    rank = ceil((len(ranked) + 1) * (1 - alpha))
    return float(ranked[rank - 1]) if rank <= len(ranked) else None
