"""The settings that the slider offers: when each sample would have stopped under each of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from snndeploy.control import DynamicConfidence
from snndeploy.network import Network
from snndeploy.numerics import Int64Array
from snndeploy.simulate import Controller
from snndeploy.trace import Trace

MOST = 20
"""Settings on the slider."""


class CurvePoint(NamedTuple):
    """What one setting of an exit policy would have meant on the report's samples."""

    mean_steps: float
    p95_steps: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class ExitChoice:
    """One setting of an exit policy.

    Attributes:
        setting: in words, such as `confidence above 0.97`.
        stop_steps: int64 (N,), when it stops each sample of a recorded run.
        chosen: whether it is the calibrated one.
    """

    setting: str
    stop_steps: Int64Array
    chosen: bool = False


def stops_of(controller: Controller, trace: Trace) -> Int64Array:
    """When a controller would have stopped each sample of a run without one, (N,)."""
    found = trace.stop_steps.copy()
    undecided = np.ones(len(trace), np.bool_)
    for t in range(1, trace.steps + 1):
        rows = np.flatnonzero(undecided & (trace.stop_steps >= t))
        if not len(rows):
            break
        sure = rows[controller.stop(trace.logits[rows, t - 1], np.full(len(rows), t))]
        found[sure], undecided[sure] = t, False
    return found


def choices_of(controller: Controller | None, trace: Trace) -> tuple[ExitChoice, ...]:
    """Settings from eager to patient: of the policy's threshold, else the step at which all stop.

    A policy whose threshold cannot be moved, such as a user's own, is offered with a cap on its
    steps.
    """
    if isinstance(controller, DynamicConfidence):
        return _thresholds(controller, trace)
    own = trace.stop_steps if controller is None else stops_of(controller, trace)
    last, name = trace.steps, "every sample" if controller is None else "the policy, or"
    caps = np.unique(np.linspace(1, last, min(last, MOST)).round().astype(np.int64))
    return tuple(
        ExitChoice(
            f"{name} after {cap} {'step' if cap == 1 else 'steps'}",
            np.minimum(own, cap),
            controller is not None and cap == last,
        )
        for cap in caps
    )


def _thresholds(controller: DynamicConfidence, trace: Trace) -> tuple[ExitChoice, ...]:
    steps = np.arange(1, trace.steps + 1)
    seen = np.stack(
        [controller.confidence(trace.logits[:, t - 1], np.full(len(trace), t)) for t in steps]
    )
    spread = np.quantile(seen[: trace.stop_steps.max() - 1], np.linspace(0, 1, MOST - 1) ** 0.5)
    path: dict[bytes, ExitChoice] = {}
    for threshold in np.unique([*spread, controller.threshold]):
        stops = stops_of(replace(controller, threshold=float(threshold)), trace)
        chosen = threshold == controller.threshold
        if chosen or stops.tobytes() not in path:
            choice = ExitChoice(f"confidence above {threshold:.4f}", stops, bool(chosen))
            path[stops.tobytes()] = choice
    return tuple(sorted(path.values(), key=lambda choice: float(choice.stop_steps.mean())))


def curves_of(
    network: Network, trace: Trace, labels: Int64Array
) -> dict[str, tuple[CurvePoint, ...]]:
    """What each family of policies reaches on these samples, and the oracle."""
    probe = DynamicConfidence(1.0, 1.0, network.output.scale, network.window)
    families = {
        "dynamic confidence": _thresholds(probe, trace),
        "fixed step": choices_of(None, trace),
    }
    found = {
        name: tuple(
            CurvePoint(
                float(choice.stop_steps.mean()),
                float(np.percentile(choice.stop_steps, 95)),
                trace.cut(choice.stop_steps).accuracy(labels),
            )
            for choice in choices
        )
        for name, choices in families.items()
    }
    return found
