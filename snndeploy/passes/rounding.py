"""Real weights to integers: a grid that they already lie on, or the nearest with errors balanced.

Weights come as rows (C, K), one an output channel, so that an integer is the goal for each entry.
"""

from __future__ import annotations

import numpy as np

from snndeploy.numerics import FloatArray, Int64Array, round_to_integer

TOLERANCE = 1e-3
"""How near to integers weights are that a float32 model holds on an integer grid."""

EXACT = 1e-7
"""How near they are in a float64 model. A lone weight is near to many grids, and on one."""

PROBES = 12
"""Weights of a channel, its largest, that a grid is tried on before all of them are."""


def largest_exact_factor(
    row: FloatArray, most: int, tolerances: tuple[float, ...] = (EXACT, TOLERANCE)
) -> int:
    """The largest factor up to `most` that makes a row of weights (K,) integer; 0: there is none.

    Weights that were trained on an integer grid are found again, whatever their scale.

    Args:
        row: the weights.
        most: the largest factor.
        tolerances: how near to integers is enough; by default one that makes them integers
            exactly comes before one that does so as float32 can hold them.
    """
    if not row.any():
        return most
    probes = row[np.argsort(-np.abs(row))[:PROBES]]
    least = int(np.ceil(min(0.5 / np.abs(probes[0]), most + 1)))  # the largest must not vanish
    factors = np.arange(most, least - 1, -1)
    off = np.abs(_remainder(factors[:, None] * probes)).max(axis=1)
    for tolerance in tolerances:
        for factor in factors[off < tolerance]:
            if np.abs(_remainder(factor * row)).max() < tolerance:
                return int(factor)
    return 0


def balanced(goals: FloatArray, most: int) -> Int64Array:
    """Integers near `goals` (C, I, T) whose errors add up to less than one, a kernel and a row.

    Spikes only ever add: the inputs of a kernel are positive and alike, so the sum of its errors
    counts for more than their size. First each kernel (T taps of one input channel), then each
    row is corrected by moving the weights that were nearest to a tie to their other neighbour.

    Source: SQuant (Guo et al., ICLR 2022), kernel-wise and channel-wise, without its last step.

    Args:
        goals: real weights in accumulator units.
        most: the largest magnitude of an integer weight.
    """
    rounded = np.clip(round_to_integer(goals), -most, most)
    for shape in ((-1, goals.shape[2]), (len(goals), -1)):
        rounded = _balance(rounded.reshape(shape), goals.reshape(shape), most)
    return rounded.reshape(goals.shape)


def _balance(rounded: Int64Array, goals: FloatArray, most: int) -> Int64Array:
    """Move entries of each row by one, until its summed error is at most a half."""
    error = rounded - goals
    excess = round_to_integer(error.sum(axis=1))
    step = np.sign(excess)[:, None]
    movable = np.abs(rounded - step) <= most
    gain = np.where(movable, step * error, -np.inf)
    rank = np.argsort(np.argsort(-gain, axis=1, kind="stable"), axis=1)
    moved = (rank < np.abs(excess)[:, None]) & movable
    corrected: Int64Array = rounded - step * moved
    return corrected


def _remainder(x: FloatArray) -> FloatArray:
    """The distance to the nearest integer."""
    remainder: FloatArray = x - np.floor(x + 0.5)
    return remainder
