"""What policies would have done to a run that was recorded without stopping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from snndeploy.control.families import AnyPolicy
from snndeploy.control.policy import Policy
from snndeploy.errors import DataError
from snndeploy.measure import steps_within
from snndeploy.numerics import BoolArray, FloatArray, Int64Array
from snndeploy.trace import Trace


@dataclass(frozen=True)
class ExitPoint:
    """One policy on the samples of one run.

    Attributes:
        policy: the policy.
        samples: of the run.
        accuracy: with the policy.
        losses: samples that are right if they settle, and wrong with the policy.
        gains: samples that are wrong if they settle, and right with the policy.
        mean_steps: logical steps a sample.
        settled_steps: those of the same samples without stopping.
        p95_steps, p99_steps: the least number of steps within which 95 and 99 % of the samples
            stop.
    """

    policy: AnyPolicy
    samples: int
    accuracy: float
    losses: int
    gains: int
    mean_steps: float
    settled_steps: float
    p95_steps: int
    p99_steps: int

    @property
    def settled_accuracy(self) -> float:
        """That of the same samples without stopping."""
        right = round(self.accuracy * self.samples) + self.losses - self.gains
        return right / self.samples

    @property
    def saves(self) -> bool:
        """Whether any sample is stopped before its end."""
        return self.mean_steps < self.settled_steps

    @property
    def accuracy_drop(self) -> float:
        """How far accuracy fell below the settled network's; negative if it rose."""
        return (self.losses - self.gains) / self.samples


def stop_steps(policy: Policy, trace: Trace) -> Int64Array:
    """The step (N,) at which a policy stops each sample of a run without stopping."""
    return _stops(_scores(policy, trace), policy, trace)


def exit_points(
    path: Sequence[AnyPolicy], trace: Trace, labels: Int64Array
) -> tuple[ExitPoint, ...]:
    """Each policy of a path on one run.

    Args:
        path: policies of one family, which differ in their limits only.
        trace: a run without stopping.
        labels: (N,).

    Raises:
        DataError: no sample, or not as many labels.
    """
    if not len(trace) or len(labels) != len(trace):
        raise DataError(f"{len(labels)} labels of {len(trace)} samples", where="exit")
    right = trace.logits.argmax(axis=-1) == labels[:, None]
    scores, before = _scores(path[0], trace), np.empty(0, np.int64)
    points: list[ExitPoint] = []
    for policy in path:
        stops = _stops(scores, policy, trace)
        alike = points and np.array_equal(stops, before)
        points.append(
            replace(points[-1], policy=policy) if alike else _point(policy, stops, right, trace)
        )
        before = stops
    return tuple(points)


def _point(policy: AnyPolicy, stops: Int64Array, right: BoolArray, trace: Trace) -> ExitPoint:
    answered = right[np.arange(len(stops)), stops - 1]
    p95, p99 = tail(stops)
    return ExitPoint(
        policy=policy,
        samples=len(stops),
        accuracy=float(answered.mean()),
        losses=int((right[:, -1] & ~answered).sum()),
        gains=int((~right[:, -1] & answered).sum()),
        mean_steps=float(stops.mean()),
        settled_steps=float(trace.stop_steps.mean()),
        p95_steps=p95,
        p99_steps=p99,
    )


def tail(steps: Int64Array) -> tuple[int, int]:
    """The numbers of steps within which 95 and 99 % of the samples stop."""
    return steps_within(steps, 0.95), steps_within(steps, 0.99)


def _scores(policy: Policy, trace: Trace) -> FloatArray:
    """A policy's score after every step, (N, T)."""
    ages = np.broadcast_to(np.arange(1, trace.steps + 1)[:, None], (trace.steps, len(trace)))
    columns = [policy.score(trace.logits[:, t], age) for t, age in enumerate(ages)]
    return np.stack(columns, axis=1)


def _stops(scores: FloatArray, policy: Policy, trace: Trace) -> Int64Array:
    passed = scores > policy.limit(np.arange(1, trace.steps + 1))
    first = np.where(passed.any(axis=1), passed.argmax(axis=1) + 1, trace.stop_steps)
    return np.minimum(first, trace.stop_steps)
