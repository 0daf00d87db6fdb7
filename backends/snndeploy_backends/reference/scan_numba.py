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
        membrane, count: (n, K), of the thresholds' type, whatever that of the current; updated.
        out: uint8 (T, n, K), receives spike + 1.
        events: int64 (units, T), receives the number of spikes.
    """
    width, block = membrane.shape[1], len(theta)
    blocks = -(-width // block)
    kind = membrane.dtype.type
    zero, one, cap = kind(0), kind(1), kind(levels)
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
                    v[i] += kind(drive[i])
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
    hard: bool,
    out: Any,
    events: Any,
    first: int,
    last: int,
) -> None:
    """Rate mode: like `scan_signed`, without cap and signs; `out` receives the spike.

    Args:
        hard: a spike sets the membrane to 0; otherwise it subtracts the threshold.
    """
    width, block = membrane.shape[1], len(theta)
    blocks = -(-width // block)
    kind = membrane.dtype.type
    zero = kind(0)
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
                    v[i] += kind(drive[i])
            if bias.shape[0]:
                for i in range(high - low):
                    v[i] += bias[t, i]
            for i in range(high - low):
                up = v[i] >= theta[i]
                left = zero if hard else v[i] - theta[i]
                v[i] = left if up else v[i]
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
def pool_counts(
    spikes: Any,
    zero: int,
    window: Any,
    count: Any,
    pooled: Any,
    out: Any,
    events: Any,
    first: int,
    last: int,
) -> None:
    """Maxima of running counts over windows, and by how much they change from step to step.

    Args:
        spikes: uint8 (T, n, H, W, C).
        window: kernel and stride, each down and right, and padding at the top and at the left.
        count: (n, H, W, C), the running counts; updated, like their maxima `pooled`.
        pooled: (n, H_out, W_out, C).
        out: uint8 (T, n, H_out, W_out, C), receives change + zero.
        events: int64 (n, T), receives the number of changes.
    """
    _, height, width, channels = count.shape
    best = np.empty(channels, count.dtype)
    for sample in range(first, last):
        for t in range(len(spikes)):
            seen, found = count[sample].reshape(-1), spikes[t, sample].reshape(-1)
            for i in range(len(seen)):
                seen[i] += found[i]
                seen[i] -= zero
            fired = 0
            for y in range(out.shape[2]):
                for x in range(out.shape[3]):
                    best[:] = 0
                    top, left = y * window[2] - window[4], x * window[3] - window[5]
                    for a in range(max(top, 0), min(top + window[0], height)):
                        for b in range(max(left, 0), min(left + window[1], width)):
                            here = count[sample, a, b]
                            for c in range(channels):
                                best[c] = max(best[c], here[c])
                    before, emitted = pooled[sample, y, x], out[t, sample, y, x]
                    for c in range(channels):
                        emitted[c] = np.uint8(best[c] - before[c] + zero)
                        fired += int(best[c] != before[c])
                        before[c] = best[c]
            events[sample, t] = fired
