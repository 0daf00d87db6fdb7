"""Choose a policy on held-out data, with a finite-sample guarantee if one is asked for.

The guarantee is Learn then Test with fixed-sequence testing: Angelopoulos, Bates, Candes, Jordan,
Lei, "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control", 2021, section
3.2. Each family's path of policies, from the most careful to the most eager, is fixed before the
data are seen that test it. Along it the hypotheses "the expected drop exceeds the promise" are
rejected, each at the family's whole level, until the first that cannot be. All rejected at once
are wrong with a probability of at most that level, so the one with the fewest steps may be
chosen. Families share the error evenly (Bonferroni). Each test is `snndeploy.control.bounds`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import ceil

import numpy as np

from snndeploy.control.bounds import drop_bound, samples_needed
from snndeploy.control.curve import ExitPoint, tail
from snndeploy.control.exit_policy import ExitPolicy, FrontPoint, Promise
from snndeploy.control.families import FamilyName, fit_share
from snndeploy.control.study import exit_curve
from snndeploy.control.temperature import likeliest_temperature
from snndeploy.network import Network
from snndeploy.numerics import BoolArray, Int64Array
from snndeploy.trace import Trace

GUARANTEED = (
    "Learn then Test: fixed-sequence tests along a path of policies, by Clopper-Pearson bounds of "
    "the losses (3/4 of the error) and the gains (1/4), the error shared by the families"
)
SEEN = "the drop seen on the held-out samples that chose the policy"

MOST_FRONT = 16
"""Points of the front that are kept, evenly spread over the mean steps."""


@dataclass(frozen=True)
class Search:
    """What is asked of a calibration.

    Attributes:
        max_accuracy_drop: how far accuracy may fall below the settled network's, in [0, 1].
        confidence: that of the guarantee, in (0, 1); None: the drop on the held-out data.
        families: to search.
        temperature: divides the logits, where there is a softmax. None: the likeliest on the
            held-out data; for a guarantee, on a tenth of them, and the others test the policy.
        seed: of the split, for families whose parameters are fitted.
    """

    max_accuracy_drop: float = 0.0
    confidence: float | None = None
    families: tuple[FamilyName, ...] = ("dynamic-confidence",)
    temperature: float | None = None
    seed: int = 0

    @property
    def error(self) -> float | None:
        """How often the promise of one family may be wrong; None without a guarantee."""
        return None if self.confidence is None else (1 - self.confidence) / len(self.families)


def calibrate(
    network: Network,
    trace: Trace,
    labels: Int64Array,
    held_out_hash: str,
    search: Search,
) -> ExitPolicy:
    """The policy that keeps the promise in the smallest share of the steps; or none, if none does.

    Args:
        network: the network that ran.
        trace: its run on held-out data, without stopping; spikes are not needed.
        labels: (N,) of that data.
        held_out_hash: of that data.
        search: what is asked.

    Raises:
        DataError: no sample, or one for a family that needs some to be fitted.
    """
    temperature = search.temperature
    if temperature is None and search.error is None:
        temperature = likeliest_temperature(network, trace, labels)
    curves = {
        family: exit_curve(
            network,
            trace,
            labels,
            family,
            temperature=temperature,
            seed=search.seed,
        )
        for family in search.families
    }
    kept = [point for curve in curves.values() for point in _kept(curve, search)]
    chosen = min(
        (point for point in kept if point.saves),
        key=lambda point: point.mean_steps / point.settled_steps,
        default=None,
    )
    everything = [point for curve in curves.values() for point in curve]
    p95, p99 = tail(trace.stop_steps)
    settled_accuracy, settled_steps = trace.accuracy(labels), float(trace.stop_steps.mean())
    return ExitPolicy(
        policy=None if chosen is None else chosen.policy,
        network_hash=network.hash,
        mode=network.mode,
        steps=None if network.mode == "exact" else trace.steps,
        held_out_samples=len(trace),
        held_out_hash=held_out_hash,
        seed=search.seed,
        settled_accuracy=settled_accuracy if chosen is None else chosen.settled_accuracy,
        settled_steps=settled_steps if chosen is None else chosen.settled_steps,
        expected_accuracy=settled_accuracy if chosen is None else chosen.accuracy,
        expected_steps=settled_steps if chosen is None else chosen.mean_steps,
        p95_steps=p95 if chosen is None else chosen.p95_steps,
        p99_steps=p99 if chosen is None else chosen.p99_steps,
        promise=_promise(curves, chosen, search),
        front=tuple(_front_point(point) for point in _thinned(pareto_front(everything))),
    )


def _kept(curve: Sequence[ExitPoint], search: Search) -> list[ExitPoint]:
    """The points of a path that keep the promise."""
    drop, error = search.max_accuracy_drop, search.error
    if error is None:
        return [point for point in curve if point.accuracy_drop <= drop + 1e-12]
    return list(takewhile(lambda point: _bound(point, error) <= drop, curve))


def _bound(point: ExitPoint, error: float) -> float:
    return drop_bound(point.losses, point.gains, point.samples, error)


def _promise(
    curves: Mapping[FamilyName, Sequence[ExitPoint]], chosen: ExitPoint | None, search: Search
) -> Promise:
    error, drop = search.error, search.max_accuracy_drop
    shown = 0.0 if chosen is None else None
    if chosen is not None and error is not None:
        shown = _bound(chosen, error)
    family = None if chosen is None else chosen.policy.policy
    tighter = [
        _held_out(name, samples_needed(drop / 2, error), search)
        for name in search.families
        if error is not None and name == (family or name)
    ]
    return Promise(
        max_accuracy_drop=drop,
        confidence=search.confidence,
        method=SEEN if error is None else GUARANTEED,
        families=search.families,
        samples=0 if chosen is None else chosen.samples,
        losses=0 if chosen is None else chosen.losses,
        gains=0 if chosen is None else chosen.gains,
        drop_bound=shown,
        samples_needed=None if chosen is not None else _needed(curves, search),
        tighter_drop=drop / 2,
        tighter_samples=_least(tighter),
    )


def _needed(curves: Mapping[FamilyName, Sequence[ExitPoint]], search: Search) -> int | None:
    """Held-out samples that would show the promise of some family's most careful policy."""
    error, found = search.error, []
    for family, curve in curves.items():
        point = next((point for point in curve if point.saves), None)
        if error is not None and point is not None:
            rates = point.losses / point.samples, point.gains / point.samples
            samples = samples_needed(search.max_accuracy_drop, error, *rates)
            found.append(_held_out(family, samples, search))
    return _least(found)


def _held_out(family: FamilyName, tested: int | None, search: Search) -> int | None:
    """Held-out samples of which so many are left for testing."""
    if tested is None:
        return None
    return ceil(tested / (1 - fit_share(family, search.temperature)))


def _least(numbers: Sequence[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def _front_point(point: ExitPoint) -> FrontPoint:
    return FrontPoint(
        policy=point.policy,
        samples=point.samples,
        accuracy=point.accuracy,
        accuracy_drop=point.accuracy_drop,
        mean_steps=point.mean_steps,
        p95_steps=point.p95_steps,
        p99_steps=point.p99_steps,
    )


def _thinned(front: Sequence[ExitPoint]) -> list[ExitPoint]:
    """At most `MOST_FRONT` points, as evenly spread over the mean steps as they come."""
    steps = np.array([point.mean_steps for point in front])
    wanted = np.linspace(steps[0], steps[-1], MOST_FRONT)
    nearest = np.abs(steps[:, None] - wanted).argmin(axis=0)
    return [front[k] for k in np.unique(nearest)]


def pareto_front(points: Sequence[ExitPoint]) -> list[ExitPoint]:
    """The points that none of the others beats, by mean steps.

    One beats another if it is no worse in accuracy drop, mean, p95 and p99 steps, and better in
    one of them. Of equal ones the first stays.
    """
    ordered = sorted(points, key=_costs)
    costs = np.array([_costs(point) for point in ordered])
    no_worse = (costs[:, None] <= costs).all(axis=-1)
    # Sorted, a point can only be beaten, or equalled, by an earlier one.
    beaten: BoolArray = np.any(np.triu(no_worse, 1), axis=0)
    return [point for point, gone in zip(ordered, beaten, strict=True) if not gone]


def _costs(point: ExitPoint) -> tuple[float, float, int, int]:
    return point.mean_steps, point.accuracy_drop, point.p95_steps, point.p99_steps
