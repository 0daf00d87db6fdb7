"""Compiled loops; imported only where numba is installed.

Each works on units (or rows) `first .. last-1`, so that threads can share the work. Time comes
first and channels last; spikes are bytes that hold `spike + zero`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def scan_signed(
    current: Any,
    bias: Any,
    theta: Any,
    membrane: Any,
    count: Any,
    levels: int,
    out: Any,
    events: Any,
    first: int,
    last: int,
) -> None:
    """Exact mode. A unit is a block of one sample's neurons.

    Args:
        current: (T, n, K), (1, n, K) for a constant, (0, n, K) for silence.
        bias: (T, block), or (0, block) for none.
        theta: (block,), the channels' thresholds repeated.
        membrane, count: (n, K), same float type as the current; updated.
        out: uint8 (T, n, K), receives spike + 1.
        events: int64 (units, T), receives the number of spikes.
    """
    width, block = membrane.shape[1], len(theta)
    blocks = -(-width // block)
    zero, one = membrane.dtype.type(0), membrane.dtype.type(1)
    cap = membrane.dtype.type(levels)
    moving = int(current.shape[0] > 1)
    for unit in range(first, last):
        sample, low = unit // blocks, (unit % blocks) * block
        high = min(low + block, width)
        v, n = membrane[sample, low:high], count[sample, low:high]
        for t in range(out.shape[0]):
            spikes = out[t, sample, low:high]
            if current.shape[0]:
                drive = current[t * moving, sample, low:high]
                for i in range(high - low):
                    v[i] += drive[i]
            if bias.shape[0]:
                for i in range(high - low):
                    v[i] += bias[t, i]
            for i in range(high - low):
                up = (v[i] >= theta[i]) & (n[i] < cap)
                down = (v[i] < zero) & (n[i] > zero)
                s = (one if up else zero) - (one if down else zero)
                v[i] -= s * theta[i]
                n[i] += s
                spikes[i] = np.uint8(1) + np.uint8(up) - np.uint8(down)
            fired = 0
            for i in range(high - low):
                fired += int(spikes[i] != 1)
            events[unit, t] = fired
            if fired == 0 and current.shape[0] == 0 and bias.shape[0] == 0:
                out[t + 1 :, sample, low:high] = 1
                break


@njit(nogil=True, cache=True)
def scan_unsigned(
    current: Any,
    bias: Any,
    theta: Any,
    membrane: Any,
    count: Any,  # noqa: ARG001
    levels: int,  # noqa: ARG001
    out: Any,
    events: Any,
    first: int,
    last: int,
) -> None:
    """Rate mode: like `scan_signed`, without cap and signs; `out` receives the spike."""
    width, block = membrane.shape[1], len(theta)
    blocks = -(-width // block)
    zero, one = membrane.dtype.type(0), membrane.dtype.type(1)
    moving = int(current.shape[0] > 1)
    for unit in range(first, last):
        sample, low = unit // blocks, (unit % blocks) * block
        high = min(low + block, width)
        v = membrane[sample, low:high]
        for t in range(out.shape[0]):
            spikes = out[t, sample, low:high]
            if current.shape[0]:
                drive = current[t * moving, sample, low:high]
                for i in range(high - low):
                    v[i] += drive[i]
            if bias.shape[0]:
                for i in range(high - low):
                    v[i] += bias[t, i]
            for i in range(high - low):
                up = v[i] >= theta[i]
                v[i] -= (one if up else zero) * theta[i]
                spikes[i] = np.uint8(up)
            fired = 0
            for i in range(high - low):
                fired += int(spikes[i])
            events[unit, t] = fired


@njit(nogil=True, cache=True)
def add_scaled(total: Any, spikes: Any, weight: Any, zero: int, first: int, last: int) -> None:
    """Add `weight * spike` to `total` (rows, K); weight (block,), repeated along K."""
    width, block = total.shape[1], len(weight)
    shift = total.dtype.type(zero)
    for row in range(first, last):
        for low in range(0, width, block):
            high = min(low + block, width)
            sums, found = total[row, low:high], spikes[row, low:high]
            for i in range(high - low):
                sums[i] += (total.dtype.type(found[i]) - shift) * weight[i]


@njit(nogil=True, cache=True)
def scatter(
    spikes: Any, weight: Any, zero: int, where: Any, total: Any, first: int, last: int
) -> None:
    """A convolution that visits spikes only.

    Args:
        spikes: uint8 (rows, H, W, C_in).
        weight: int8 (C_in, K_h, K_w, C_out).
        where: stride, padding, dilation, each down and right.
        total: (rows, H_out, W_out, C_out), overwritten with the sums.
    """
    _, height, width, channels = spikes.shape
    down, right = total.shape[1:3]
    for row in range(first, last):
        total[row] = 0
        for y in range(height):
            for x in range(width):
                for c in range(channels):
                    if spikes[row, y, x, c] == zero:
                        continue
                    value = total.dtype.type(int(spikes[row, y, x, c]) - zero)
                    for i in range(weight.shape[1]):
                        a, rest = divmod(y + where[2] - i * where[4], where[0])
                        if rest or a < 0 or a >= down:
                            continue
                        for j in range(weight.shape[2]):
                            b, rest = divmod(x + where[3] - j * where[5], where[1])
                            if rest or b < 0 or b >= right:
                                continue
                            sums, some = total[row, a, b], weight[c, i, j]
                            for o in range(len(some)):
                                sums[o] += value * total.dtype.type(some[o])
