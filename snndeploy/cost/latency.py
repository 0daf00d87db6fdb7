"""Latency: the busiest core sets the pace of each step.

    T_neuron  = updates * t_update + spikes * t_spike + packets * t_packet + compares * t_compare
    T_message = packets_in * t_message + synops * t_synop + macs * t_mac
    t_step    = max(max over cores of combine(T_neuron, T_message), t_tick) + t_barrier
    latency   = sum over steps of (share of the samples that run) * t_step

The busiest core is that of the mean sample, which is a lower bound of the mean over the busiest
cores; the sources of contention between cores are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from snndeploy.cost.estimate import Interval, weakest
from snndeploy.hardware import ALL_IN_EVENTS, Constant, Grade, HardwareProfile, Time
from snndeploy.measure.activity import Activity
from snndeploy.measure.load import CoreLoad, load_of
from snndeploy.numerics import FloatArray
from snndeploy.program import Program

NEURON_EVENTS = ("update_active", "update_inactive", "spike", "packet", "compare")
MESSAGE_EVENTS = ("message", "synop", "synop_conv", "mac")
Bound = Literal["low", "value", "high"]


@dataclass(frozen=True)
class Latency:
    """Mean time to the answer.

    Attributes:
        us: the interval; None if an event has no time, the profile has none at all, or the
            program is not placed.
        grade: the weakest of the times that were used.
        untimed: events that occur but have no time.
    """

    us: Interval | None = None
    grade: Grade | None = None
    untimed: tuple[str, ...] = ()


def latency(program: Program, run: Activity) -> Latency:
    """Mean time to the answer of a placed program."""
    profile = program.profile
    if profile is None or not program.placement or not any(profile.time.constants()):
        return Latency()
    load = load_of(program, run)
    times, missing = _times(profile, load.work)
    if missing:
        return Latency(untimed=missing)
    bounds: tuple[Bound, ...] = ("low", "value", "high")
    low, nominal, high = (_latency_ns(profile, load, times, bound) / 1e3 for bound in bounds)
    used = (*times.values(), profile.time.tick, profile.time.barrier)
    grade = weakest(constant.grade for constant in used if constant is not None)
    return Latency(Interval(low, nominal, high), grade)


def _times(
    profile: HardwareProfile, work: Mapping[str, FloatArray]
) -> tuple[dict[str, Constant], tuple[str, ...]]:
    """The times of the events that occur, and the events that lack one.

    On a chip of scope `all_in`, or one that keeps a fixed tick, what has no time is inside.
    """
    times: dict[str, Constant] = {}
    missing: list[str] = []
    for event in (*NEURON_EVENTS, *MESSAGE_EVENTS):
        if event not in work or not work[event].any():
            continue
        time = _time(profile.time, event)
        if time is not None:
            times[event] = time
        elif profile.time.tick is None and (profile.scope == "per_op" or event in ALL_IN_EVENTS):
            missing.append(event)
    return times, tuple(missing)


def _time(time: Time, event: str) -> Constant | None:
    found: Constant | None = getattr(time, event)
    return time.synop if found is None and event == "synop_conv" else found


def _latency_ns(
    profile: HardwareProfile, load: CoreLoad, times: Mapping[str, Constant], bound: Bound
) -> float:
    shape = next(iter(load.work.values())).shape
    spent = {"neuron": np.zeros(shape), "message": np.zeros(shape)}
    for event, constant in times.items():
        part = spent["neuron" if event in NEURON_EVENTS else "message"]
        part += load.work[event] * getattr(constant, bound)
    overlap = profile.combine == "max"
    busy = np.maximum(*spent.values()) if overlap else spent["neuron"] + spent["message"]
    step: FloatArray = busy.max(axis=1)
    if profile.time.tick is not None:
        step = np.maximum(step, getattr(profile.time.tick, bound))
    if profile.time.barrier is not None:
        step = step + getattr(profile.time.barrier, bound)
    return float((load.running * step).sum())
