"""Curves of accuracy against steps, for reports and studies."""

from __future__ import annotations

import numpy as np

from snndeploy.control.curve import ExitPoint, exit_points
from snndeploy.control.families import FamilyName, fit_share, policy_path
from snndeploy.errors import DataError
from snndeploy.network import Network
from snndeploy.numerics import Int64Array
from snndeploy.trace import Trace


def exit_curve(
    network: Network,
    trace: Trace,
    labels: Int64Array,
    family: FamilyName,
    *,
    fitted_to: tuple[Trace, Int64Array] | None = None,
    temperature: float | None = 1.0,
    seed: int = 0,
) -> tuple[ExitPoint, ...]:
    """What each policy of a family's path does to a run, from careful to eager.

    No sample is judged by thresholds that were fitted to it: give a fitted family the run of
    held-out data, or a share of the samples is taken for fitting and the others are judged.
    The bounds beside the curve are `snndeploy.control.oracle`.

    Args:
        network: the network that ran.
        trace: a run without stopping; spikes are not needed.
        labels: (N,) of that run.
        family: `dynamic-confidence`, `top-k-gap`, `conformal` or `fixed-step`.
        fitted_to: another run without stopping, and its labels, to fit thresholds to.
        temperature: divides the logits, where there is a softmax; None: the likeliest, which
            makes Dynamic Confidence a fitted family.
        seed: of the split.

    Raises:
        DataError: too few samples, or not as many labels.
    """
    share = fit_share(family, temperature)
    if not share:
        path = policy_path(family, network, trace, labels, temperature)
        return exit_points(path, trace, labels)
    if fitted_to is None:
        fit, test = split(len(trace), seed, share)
        fitted_to, trace, labels = (trace[fit], labels[fit]), trace[test], labels[test]
    path = policy_path(family, network, *fitted_to, temperature)
    return exit_points(path, trace, labels)


def split(samples: int, seed: int, share: float) -> tuple[Int64Array, Int64Array]:
    """Numbers of the samples that parameters are fitted to, and of those that test them."""
    if samples < 2:
        raise DataError(
            f"{samples} samples", where="held-out data", remedy="give two or more to split"
        )
    order = np.random.default_rng(seed).permutation(samples)
    fitted = min(max(round(samples * share), 1), samples - 1)
    return np.sort(order[:fitted]), np.sort(order[fitted:])
