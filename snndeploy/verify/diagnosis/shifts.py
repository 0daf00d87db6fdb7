"""One number of a channel that is off by an unknown integer delta: which deltas fit the evidence.

Every decision and every membrane that was seen bounds delta linearly,

    it fires:          margin + slope * delta >= 0
    it does not fire:  margin + slope * delta <  0

so the deltas that fit are an interval, found without trying any.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from snndeploy.numerics import BoolArray, Int64Array
from snndeploy.verify.diagnosis.causes import Finding
from snndeploy.verify.diagnosis.dynamics import Dynamics
from snndeploy.verify.diagnosis.evidence import Evidence
from snndeploy.verify.diagnosis.synapses import Synapses

LIMIT = 1 << 60
MOST_TRIED, TRIED_ON_ALL = 1 << 12, 256
"""Of other biases where a reset is hard."""

_NONE = np.zeros(1, np.int64)


@dataclass(frozen=True, eq=False)
class Shift:
    """What one unit of delta adds, (N, T, P) or what broadcasts to it.

    Attributes:
        fires: to the membrane less the threshold, where +1 is decided.
        falls: to the membrane where -1 is decided.
        rests: to the membrane after the reset.
        current: to the input current of the step; None: that is not held to the evidence.
        start: to the membrane before the first step.
        unit: delta counts in this part of a membrane's unit, rounded down together with
        remainder: what the right number leaves when it is rounded down, (T, 1).
    """

    fires: Int64Array
    falls: Int64Array
    rests: Int64Array
    current: Int64Array | None
    start: int = 0
    unit: int = 1
    remainder: Int64Array = field(default_factory=lambda: _NONE)


def shifts(evidence: Evidence, synapses: Iterable[Synapses]) -> Iterator[Finding]:
    """Each number of a channel that, were it another, would give the evidence.

    Args:
        evidence: of neurons of one channel.
        synapses: of the same neurons and samples.
    """
    if evidence.fires:
        yield from (_fires_at if evidence.hard else _threshold)(evidence)
        yield from _start(evidence)
    tried = evidence.hard and evidence.fires
    yield from (_bias_by_trial if tried else _bias)(evidence)
    for each in synapses:
        yield from _weights(evidence, each)
    if not evidence.fires:
        yield from _start(evidence)


def _threshold(evidence: Evidence) -> Iterator[Finding]:
    after = evidence.count
    before, theta = after - evidence.spikes, int(evidence.threshold[0])
    found = _interval(evidence, Shift(-(before + 1), -before, -after, _NONE))
    if found and theta + found[1] >= 1:
        other = _values(theta, (max(found[0], 1 - theta), found[1]))
        yield Finding("threshold", f"behaves as if the threshold were {other}, not {theta}")
    yield from _fires_at(evidence)
    found = _interval(evidence, Shift(-before, -before, -after, _NONE))
    if found:
        does = f"subtracts {_values(theta, found)} at a spike, not the threshold of {theta}"
        yield Finding("reset", does)


def _fires_at(evidence: Evidence) -> Iterator[Finding]:
    theta = int(evidence.threshold[0])
    found = _interval(evidence, Shift(_NONE - 1, _NONE, _NONE, _NONE))
    if found:
        leaves = "leaves 0" if evidence.hard else f"subtracts {theta}"
        does = f"fires at {_values(theta, found)}, not at {theta}, and {leaves}"
        yield Finding("threshold", does)


def _start(evidence: Evidence) -> Iterator[Finding]:
    once = np.zeros_like(evidence.input)
    once[:, 0] = 1
    before, after = evidence.kept(once)
    found = _interval(evidence, Shift(before, before, after, _NONE, start=1))
    if found:
        v0 = int(evidence.v0[0])
        yield Finding("reset", f"starts from a membrane of {_values(v0, found)}, not {v0}")


def _bias(evidence: Evidence) -> Iterator[Finding]:
    """The bias adds floor(total * k / window) in k steps."""
    bias, window = int(evidence.bias[0]), evidence.window
    steps = np.arange(1, evidence.spikes.shape[1] + 1)[:, None]
    slope = steps if evidence.rate else np.minimum(steps, window)
    rest = bias * slope % window
    shift = Shift(slope, slope, slope, None, unit=window, remainder=rest)
    found = _interval(evidence, shift)
    if found:
        other = _values(bias, found)
        yield Finding("weight", f"receives as if the channel's bias were {other}, not {bias}")


def _bias_by_trial(evidence: Evidence) -> Iterator[Finding]:
    """What a hard reset leaves of a bias is not linear in it, so others are tried.

    First on the neuron that differs, all at once; then the nearest that remain on all evidence.
    """
    bias, index = int(evidence.bias[0]), evidence.index
    one = evidence.only(slice(1), slice(index, index + 1))
    steps = np.arange(one.spikes.shape[1])[:, None]

    def others(of: Evidence, deltas: Int64Array) -> Int64Array:
        total = bias + deltas
        share = (total * (steps + 1)) // of.window - (total * steps) // of.window
        return of.input - of.bias_share + share

    deltas = np.arange(-MOST_TRIED, MOST_TRIED + 1)
    spikes = Dynamics.of(one).run(others(one, deltas)).spikes
    differs = ((spikes != one.spikes) & one.running[:, :, None]).any(axis=(0, 1))
    left = deltas[~differs]
    for delta in left[np.argsort(np.abs(left), kind="stable")][:TRIED_ON_ALL]:
        if Dynamics.of(evidence).run(others(evidence, delta[None])).fits(evidence):
            does = f"receives as if the channel's bias were {bias + delta}, not {bias}"
            yield Finding("weight", does)
            return


def _weights(evidence: Evidence, synapses: Synapses) -> Iterator[Finding]:
    """First held to the neuron that differs, then, the few that remain, to all the evidence."""
    index = evidence.index
    one = (slice(1), slice(index, index + 1))
    narrow, few = evidence.only(*one), synapses.only(*one)
    for at in synapses.indices():
        if not _interval(narrow, _arriving(narrow, few, at)):
            continue
        found = _interval(evidence, _arriving(evidence, synapses, at))
        if found:
            weight = int(synapses.weights[at])
            name = ", ".join(map(str, (synapses.channel, *at)))
            does = f"receives as if weight ({name}) of '{synapses.op.name}' were"
            yield Finding("weight", f"{does} {_values(weight, found)}, not {weight}")


def _arriving(evidence: Evidence, synapses: Synapses, at: tuple[int, ...]) -> Shift:
    current = synapses.arriving(at)
    before, after = evidence.kept(current)
    return Shift(before, before, after, current)


def _values(right: int, deltas: tuple[int, int]) -> str:
    """The values that a number may have: `101`, `101 to 104`, `at least 101`, `at most 99`."""
    low, high = deltas
    if low == high:
        return f"{right + low}"
    if low == -LIMIT:
        return f"at most {right + high}"
    if high == LIMIT:
        return f"at least {right + low}"
    return f"{right + low} to {right + high}"


def _interval(evidence: Evidence, shift: Shift) -> tuple[int, int] | None:
    """The deltas that fit all of the evidence, both ends included; None if there are none."""
    bounds = _Bounds()
    if evidence.start is not None:
        moved, here = evidence.start - evidence.v0, np.ones(1, np.bool_)
        bounds.at_least(-moved, _NONE + shift.start, here)
        bounds.at_least(moved, _NONE - shift.start, here)
    if evidence.fires:
        _decisions(bounds, evidence, shift)
    if evidence.membranes is not None:
        seen = evidence.membranes
        _equal(bounds, shift, evidence.membrane - seen.values, shift.rests, seen.where)
    if evidence.currents is not None and shift.current is not None:
        seen = evidence.currents
        _equal(bounds, shift, evidence.input - seen.values, shift.current, seen.where)
    return None if bounds.low > bounds.high else (bounds.low, bounds.high)


def _decisions(bounds: _Bounds, evidence: Evidence, shift: Shift) -> None:
    spikes, running = evidence.spikes, evidence.running[:, :, None]
    before = evidence.count - spikes
    membrane = evidence.arrived
    may_fire = running & (before < (LIMIT if evidence.cap is None else evidence.cap))
    may_fall = running & (before > 0) & (not evidence.rate)
    fired, fell = spikes == 1, spikes == -1
    if (running & ((spikes != 0) & ~(fired & may_fire) & ~(fell & may_fall))).any():
        bounds.close()
        return
    above: Int64Array = shift.unit * membrane + shift.remainder
    over: Int64Array = above - shift.unit * evidence.threshold
    bounds.at_least(over, shift.fires, may_fire & fired)
    bounds.at_least(-over - 1, -shift.fires, may_fire & ~fired)
    bounds.at_least(above, shift.falls, may_fall & ~fell)
    bounds.at_least(-above - 1, -shift.falls, may_fall & fell)


def _equal(
    bounds: _Bounds, shift: Shift, excess: Int64Array, slope: Int64Array, where: BoolArray
) -> None:
    """What the definition has in excess of what was seen must be what delta takes away."""
    margin = shift.unit * excess + shift.remainder
    bounds.at_least(margin, slope, where[:, :, None])
    bounds.at_least(shift.unit - 1 - margin, -slope, where[:, :, None])


class _Bounds:
    """The integers delta with `margin + slope * delta >= 0` for all that was required."""

    def __init__(self) -> None:
        self.low, self.high = -LIMIT, LIMIT

    def close(self) -> None:
        """Nothing fits."""
        self.low, self.high = LIMIT, -LIMIT

    def at_least(self, margin: Int64Array, slope: Int64Array, where: BoolArray) -> None:
        """Require `margin + slope * delta >= 0` at each place `where`; all broadcast."""
        if self.low > self.high:
            return
        shape = np.broadcast_shapes(margin.shape, slope.shape, where.shape)
        at = np.broadcast_to(where, shape)
        m: Int64Array = np.broadcast_to(margin, shape)[at]
        s: Int64Array = np.broadcast_to(slope, shape)[at]
        if (m[s == 0] < 0).any():
            self.close()
            return
        rising, falling = s > 0, s < 0
        self.low = max(self.low, int(_ceiling(-m[rising], s[rising]).max(initial=-LIMIT)))
        self.high = min(self.high, int((m[falling] // -s[falling]).min(initial=LIMIT)))


def _ceiling(a: Int64Array, b: Int64Array) -> NDArray[np.int64]:
    return -(-a // b)
