"""The bootstrap: how far a mean over samples may be off, because other samples could have come."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from snndeploy.cost.quantity import DRAWS, generator
from snndeploy.numerics import FloatArray

MAX_BLOCKS = 1000
"""More samples than these are drawn in blocks of neighbours."""


def resampled_means(values: FloatArray) -> FloatArray:
    """Means (`DRAWS`, k) over samples drawn anew with replacement, of figures (N, k) a sample.

    The same samples are drawn for every set of N samples, so that two estimates of one run share
    them.
    """
    if len(values) == 1:
        return np.repeat(np.asarray(values, np.float64), DRAWS, axis=0)
    blocks = min(len(values), MAX_BLOCKS)
    edges = np.linspace(0, len(values), blocks + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.asarray(values, np.float64), edges, axis=0)
    sizes = np.diff([*edges, len(values)])
    often = _drawn(blocks)
    means: FloatArray = (often @ sums) / (often @ sizes)[:, None]
    return means


@lru_cache(maxsize=4)
def _drawn(blocks: int) -> FloatArray:
    """How often each block is drawn, (`DRAWS`, blocks)."""
    rng = generator(f"bootstrap of {blocks}")
    often: FloatArray = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), DRAWS).astype(float)
    often.flags.writeable = False
    return often
