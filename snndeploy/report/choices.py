"""The settings that the slider offers, and what families of policies reach, on a recorded run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from snndeploy.control import (
    FAMILIES,
    ExitPolicy,
    FixedStep,
    Policy,
    exit_curve,
    oracle,
    stop_steps,
)
from snndeploy.control.temperature import likeliest_temperature
from snndeploy.network import Network
from snndeploy.numerics import Int64Array
from snndeploy.stopping import Controller
from snndeploy.trace import Trace

T = TypeVar("T")

MOST = 20
"""Settings on the slider."""

FEWEST = 4
"""Samples without which no family is drawn: some are fitted to half of them."""

ORACLE = "oracle"
"""How the names of bounds begin that need the labels."""


class CurvePoint(NamedTuple):
    """What one setting of an exit policy would have meant on the report's samples."""

    mean_steps: float
    p95_steps: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class ExitChoice:
    """One setting of an exit policy.

    Attributes:
        setting: in words, such as `softmax confidence above 0.97`.
        stop_steps: int64 (N,), when it stops each sample of a recorded run.
        chosen: whether it is the calibrated one.
        decides: whether a controller looks at the logits, and has to be paid for.
    """

    setting: str
    stop_steps: Int64Array
    chosen: bool = False
    decides: bool = True


def choices_of(policy: ExitPolicy | Controller | None, trace: Trace) -> tuple[ExitChoice, ...]:
    """Settings from eager to patient.

    Of a calibrated policy: those on the front that calibration found on held-out data. A policy
    without a front, such as a user's own, is offered as it is with a cap on its steps; without
    any policy all samples stop at one step.

    Args:
        policy: or a controller, or None.
        trace: a run without stopping.
    """
    if isinstance(policy, ExitPolicy) and policy.policy is not None:
        front = [point.policy for point in policy.front if point.policy != policy.policy]
        found = [_choice(each, trace, chosen=False) for each in thinned(front, MOST - 2)]
        found.append(_choice(policy.policy, trace, chosen=True))
        found.append(ExitChoice("run to the end", trace.stop_steps, decides=False))
        return tuple(sorted(found, key=lambda choice: float(choice.stop_steps.mean())))
    caps = thinned(range(1, trace.steps + 1), MOST)
    if policy is None or isinstance(policy, ExitPolicy):
        return tuple(_choice(FixedStep(steps=cap), trace, chosen=False) for cap in caps)
    own = stops_of(policy, trace)
    return tuple(
        ExitChoice(f"the policy, at most {cap} steps", np.minimum(own, cap), cap == trace.steps)
        for cap in caps
    )


def stops_of(controller: Controller, trace: Trace) -> Int64Array:
    """When any controller would have stopped each sample of a run without one, (N,)."""
    if isinstance(controller, Policy):
        return stop_steps(controller, trace)
    found, undecided = trace.stop_steps.copy(), np.ones(len(trace), np.bool_)
    for step in range(1, trace.steps + 1):
        rows = np.flatnonzero(undecided & (trace.stop_steps >= step))
        sure = rows[controller.stop(trace.logits[rows, step - 1], np.full(len(rows), step))]
        found[sure], undecided[sure] = step, False
    return found


def curves_of(
    network: Network, trace: Trace, labels: Int64Array
) -> dict[str, tuple[CurvePoint, ...]]:
    """What each family of policies reaches on labelled samples, and the oracles."""
    if len(trace) < FEWEST:
        return {}
    found, temperature = {}, likeliest_temperature(network, trace, labels)
    for family in FAMILIES:
        points = exit_curve(network, trace, labels, family, temperature=temperature)
        path = {
            (point.mean_steps, point.accuracy): CurvePoint(
                point.mean_steps, point.p95_steps, point.accuracy
            )
            for point in points
        }
        found[family.replace("-", " ")] = tuple(thinned(list(path.values()), 4 * MOST))
    bound = oracle(trace, labels)
    found[f"{ORACLE} (OCT)"] = (CurvePoint(bound.mean_steps, bound.p95_steps, bound.accuracy),)
    return found


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly spaced, the first and the last among them."""
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[place] for place in np.unique(places)]


def _choice(policy: Policy, trace: Trace, chosen: bool) -> ExitChoice:
    return ExitChoice(
        str(policy), stop_steps(policy, trace), chosen, not isinstance(policy, FixedStep)
    )
