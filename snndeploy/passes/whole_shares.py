"""Biases whose share of a step is the same at each step, and a short number.

What a bias loses so, the initial membrane gets: a settled count depends on their sum alone.
"""

from __future__ import annotations

import numpy as np

from snndeploy.numerics import Int64Array, round_to_integer


def whole_shares(total: Int64Array, window: int, bits: int, exponent: int) -> Int64Array:
    """The nearest totals whose shares are whole, and `bits` long times a power of two.

    Args:
        total: int64 (C,), over the window.
        bits: of the signed word of a share.
        exponent: the largest exponent of two that shares may have as a factor.

    Returns:
        int64 (C,); the totals themselves where no power of two is enough.
    """
    found = total.copy()
    open_ = np.ones(total.shape, np.bool_)
    for power in range(exponent + 1):
        share = round_to_integer(total / (window << power))
        fits = open_ & (share >= -(1 << (bits - 1))) & (share < 1 << (bits - 1))
        found[fits] = (share * (window << power))[fits]
        open_ &= ~fits
    return found
