"""Integer thresholds and offsets that decide every count as real ones do.

A neuron has counted to n where its input a reaches `theta * n - offset`, both real. Let a be a
multiple of g, as the weights of a channel and the input's window make it. Then nothing but the next
multiple matters,

    G[n] = g * ceil((theta * n - offset) / g),    n = 1 .. L,

and integers theta', offset' decide alike if `G[n] - g < theta' * n - offset' <= G[n]` for all n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snndeploy.numerics import BoolArray, FloatArray, Int64Array, round_to_integer

MOST_LEVELS = 1 << 10
"""Beyond so many levels nothing is searched for."""

SLACK = 1e-6
"""A boundary so near above a multiple of the lattice, in units, lies on it."""


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Integer thresholds and offsets (C,), and for which channels they decide every count alike."""

    theta: Int64Array
    offset: Int64Array
    exact: BoolArray


def boundaries(
    theta: FloatArray, offset: FloatArray, lattice: Int64Array, levels: int
) -> Boundaries:
    """The integers for each channel, or the nearest where there are none.

    Args:
        theta, offset: real, in accumulator units, (C,); theta at least 1/2.
        lattice: what divides every input of a channel, (C,).
        levels: L.
    """
    found = _nearest(theta, offset, levels)
    if levels > MOST_LEVELS:
        return found
    n = np.arange(1, levels + 1)
    real = theta[:, None] * n - offset[:, None]
    target = lattice[:, None] * np.ceil((real - SLACK) / lattice[:, None])
    for move in (1, -1, 0):  # the last that is possible is kept: the nearest
        moved = np.maximum(round_to_integer(theta) + move, 1)
        gap = moved[:, None] * n - target
        low, high = gap.max(axis=1), gap.min(axis=1) + lattice - 1
        possible = low <= high
        middle = np.floor((low + high) / 2).astype(np.int64)
        found = Boundaries(
            np.where(possible, moved, found.theta),
            np.where(possible, middle, found.offset),
            possible | found.exact,
        )
    return found


def _nearest(theta: FloatArray, offset: FloatArray, levels: int) -> Boundaries:
    """Both rounded; they agree with the real ones at a low count, where most neurons are."""
    rounded = np.maximum(round_to_integer(theta), 1)
    middle = max(1.0, (1 + levels) / 4)
    total = np.floor(offset + middle * (rounded - theta) + SLACK).astype(np.int64)
    return Boundaries(rounded, total, np.zeros(theta.shape, np.bool_))
