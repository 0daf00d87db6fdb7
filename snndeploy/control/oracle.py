"""Oracles: what a controller that knew the labels could do. Bounds for plots, not policies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snndeploy.control.curve import tail
from snndeploy.numerics import Int64Array
from snndeploy.trace import Trace


@dataclass(frozen=True)
class Oracle:
    """Two bounds on the samples of one run without stopping.

    Attributes:
        accuracy: of the settled network, which OCT keeps.
        mean_steps, p95_steps, p99_steps: of OCT.
        best_accuracy: the share of samples that are right after any step at all: no rule that
            stops where it likes is right more often.
        best_mean_steps: of stopping at the first right step, or running on if there is none.
    """

    accuracy: float
    mean_steps: float
    p95_steps: int
    p99_steps: int
    best_accuracy: float
    best_mean_steps: float


def oct_steps(trace: Trace, labels: Int64Array) -> Int64Array:
    """Optimal cutoff time (N,): the least step from which the answer stays right.

    All steps of the sample if its last answer is wrong. Source: Wu et al., "Optimising
    Event-Driven Spiking Neural Network with Regularisation and Cutoff", 2023, definition of OCT.

    Args:
        trace: a run without stopping.
        labels: (N,).
    """
    right = trace.logits.argmax(axis=-1) == labels[:, None]
    stays = np.logical_and.accumulate(right[:, ::-1], axis=1)[:, ::-1]
    return _first(stays, trace)


def oracle(trace: Trace, labels: Int64Array) -> Oracle:
    """The bounds of a run without stopping, with labels (N,)."""
    right = trace.logits.argmax(axis=-1) == labels[:, None]
    steps = oct_steps(trace, labels)
    p95, p99 = tail(steps)
    return Oracle(
        accuracy=trace.accuracy(labels),
        mean_steps=float(steps.mean()),
        p95_steps=p95,
        p99_steps=p99,
        best_accuracy=float(right.any(axis=1).mean()),
        best_mean_steps=float(_first(right, trace).mean()),
    )


def _first(hits: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], trace: Trace) -> Int64Array:
    """The first 1-based step (N,) with a hit; that at which the sample ended if there is none."""
    found = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, trace.stop_steps)
    return np.minimum(found, trace.stop_steps)
