"""What an accumulator unit is worth: the grid of a layer's weights, and its thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snndeploy.numerics import FloatArray
from snndeploy.passes.rounding import EXACT, TOLERANCE, largest_exact_factor

SLACK = 1e-6
"""Relative to a unit: what float32 models and float64 sums are off."""


def largest_thresholds(reach: FloatArray, most: int, highest: int) -> FloatArray:
    """The largest thresholds (C,) that leave every weight in its word; whole, if not below 1.

    Args:
        reach: the most that one synapse adds to a channel, in counts of the layer, (C,).
        most: the largest magnitude of an integer weight.
        highest: the largest threshold.
    """
    with np.errstate(divide="ignore"):
        found = np.minimum(most / reach * (1 + SLACK), highest)
    return np.where(found < 1, found, np.floor(found))


def channel_unit(rows: Sequence[FloatArray], reach: float, limit: float, most: int) -> float:
    """What a unit of one channel is worth in counts of the layer.

    The first of these that there is: one over a threshold that makes every weight an integer; a
    unit that makes the weights of the widest branch integers; both again, for weights that lie on
    their grid as nearly as float32 holds them; one over `limit`.

    Args:
        rows: what one count of each input adds to the channel's count, (K,) a branch.
        reach, limit, most: as in `largest_thresholds`; `limit` is its result.
    """
    every = np.concatenate(rows)
    row = max(rows, key=len)
    largest = float(np.abs(row).max())
    for tolerance in (EXACT, TOLERANCE):
        if limit >= 1 and (theta := largest_exact_factor(every, int(limit), (tolerance,))):
            return 1 / theta
        factor = largest_exact_factor(row / largest, most, (tolerance,)) if largest > 0 else 0
        unit = largest / factor if factor else 0.0
        if (
            unit
            and reach <= most * unit * (1 + SLACK)
            and min(limit, 1) <= round(1 / unit, 6) <= limit + 1
        ):
            return unit
    return 1 / limit


def readout_unit(rows: FloatArray, most: int) -> float:
    """What a unit of all logits is worth in the model's units, given weights (C, K)."""
    weights = rows.ravel()
    largest = float(np.abs(weights).max())
    if largest == 0:
        return 1.0
    return largest / (largest_exact_factor(weights / largest, most) or most)
