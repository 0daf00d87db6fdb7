"""Top-K gap: stop a sample as soon as its best logit leads the next by enough for that step.

    gap_t = largest logit - second largest,        stop at the first t with gap_t > beta_t
    stable_t: the answer at t and at all later steps is the settled one
    C_t(beta) = P(stable_t | gap_t > beta),        beta_t = least beta with C_t >= 1 - epsilon

Logits are integers, so the search is over the gaps that occur. C_t is made monotone: beta_t is
such that no larger beta has less than 1 - epsilon. At least `SUPPORT` samples stand behind each
beta, else no sample stops at that step. Beta is at least 0, so a tie is no answer. Source:
SNNCutoff, Wu et al., "Optimising Event-Driven Spiking Neural Network with Regularisation and
Cutoff", 2023. There `stable` asks for the right label; here for the settled network's answer,
because that is what the promise is measured against, and what no step can be wrong about.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from snndeploy.control.policy import Policy, per_step
from snndeploy.numerics import BoolArray, FloatArray, Int64Array
from snndeploy.trace import Trace

SUPPORT = 30
"""Samples of a larger gap that a threshold must have."""

EPSILONS = (0.0, *(2.0 ** (-k / 4) for k in range(52, -1, -1)))
"""Of the path, from the most careful to the most eager."""

MARGINS = tuple(2.0 ** (k / 4) for k in range(16, 0, -1))
"""Before these the path has the gaps of epsilon 0 times a margin, for promises that need more."""


class TopKGap(Policy):
    """A threshold for each step.

    Attributes:
        epsilon: the share of stopped samples that might have changed their answer, as fitted.
        margin: what the fitted gaps are multiplied by.
        gaps: the lead that a sample must exceed after steps 1, 2, ..; None: none stops there.
            The last holds for all later steps.
    """

    policy: Literal["top-k-gap"] = "top-k-gap"
    epsilon: float = Field(ge=0, le=1)
    margin: float = Field(default=1.0, ge=1, allow_inf_nan=False)
    gaps: tuple[Annotated[int, Field(ge=0)] | None, ...] = Field(min_length=1, strict=False)

    def score(self, logits: Int64Array, step: Int64Array) -> FloatArray:
        """The lead of the best logit over the next; 0 if there is one class only."""
        return top_gap(logits).astype(np.float64)

    def limit(self, step: Int64Array) -> FloatArray:
        """The gap of the step."""
        return per_step(self.gaps, step)

    def __str__(self) -> str:
        margin = "" if self.margin == 1 else f", margin {self.margin:.3g}"
        return f"lead of the best logit, epsilon {self.epsilon:.3g}{margin}"


def top_gap(logits: Int64Array) -> Int64Array:
    """Largest less second largest of logits (.., classes); 0 if there is one class only."""
    if logits.shape[-1] < 2:
        return np.zeros(logits.shape[:-1], np.int64)
    best = np.partition(logits, -2, axis=-1)
    gap: Int64Array = best[..., -1] - best[..., -2]
    return gap


def top_k_gap_path(trace: Trace) -> tuple[TopKGap, ...]:
    """Policies fitted to a run without stopping, from the most careful to the most eager."""
    stable, gaps = _stable(trace), top_gap(trace.logits)
    table: list[list[int | None]] = []
    for t in range(trace.steps):
        goes_on = trace.stop_steps > t + 1
        table.append(_thresholds(gaps[goes_on, t], stable[goes_on, t]))
    columns = [tuple(column) for column in zip(*table, strict=True)]
    safest = columns[0]
    return (
        *(TopKGap(epsilon=0.0, margin=m, gaps=_times(safest, m)) for m in MARGINS),
        *(TopKGap(epsilon=e, gaps=gaps) for e, gaps in zip(EPSILONS, columns, strict=True)),
    )


def _times(gaps: Sequence[int | None], margin: float) -> tuple[int | None, ...]:
    return tuple(None if gap is None else ceil(gap * margin) for gap in gaps)


def _stable(trace: Trace) -> BoolArray:
    """Whether nothing changes in the answer from a step on, (N, T)."""
    answers = trace.logits.argmax(axis=-1)
    same = answers == answers[:, -1:]
    found: BoolArray = np.logical_and.accumulate(same[:, ::-1], axis=1)[:, ::-1]
    return found


def _thresholds(gaps: Int64Array, stable: BoolArray) -> list[int | None]:
    """For each epsilon the least gap that is safe at one step, None if there is none."""
    order = np.argsort(gaps)
    betas = np.unique(np.append(gaps, 0))
    first = np.searchsorted(gaps[order], betas, side="right")
    support = len(gaps) - first
    betas, first, support = (found[support >= SUPPORT] for found in (betas, first, support))
    if not len(betas):
        return [None] * len(EPSILONS)
    stable_up_to = np.append(0, np.cumsum(stable[order]))
    share = (stable_up_to[-1] - stable_up_to[first]) / support
    monotone = np.minimum.accumulate(share[::-1])[::-1]
    found = np.searchsorted(monotone, 1 - np.array(EPSILONS) - 1e-12)
    return [int(betas[k]) if k < len(betas) else None for k in found]
