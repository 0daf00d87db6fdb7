"""`estimate`: what one inference of a placed spiking network costs on its chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snndeploy.cost.estimate import Estimate, weakest
from snndeploy.cost.latency import Latency, latency
from snndeploy.cost.prices import (
    EXIT_OPERATION,
    INTERVALS,
    Counts,
    Held,
    fixed,
    held_by,
    in_flight,
    resampled,
    terms,
)
from snndeploy.cost.quantity import ZERO, Quantity, summed
from snndeploy.errors import InputError, ProfileError
from snndeploy.hardware import Grade, HardwareProfile
from snndeploy.measure.activity import Activity, activity
from snndeploy.measure.events import CHIP, EventCounts, events_of
from snndeploy.measure.synapses import is_dense
from snndeploy.numerics import FloatArray
from snndeploy.program import Program
from snndeploy.trace import Trace

_PJ_PER_MW_US = 1e3


def estimate(program: Program, trace: Trace, full: Trace | None = None) -> Estimate:
    """Price a trace on the chip that the program was placed on: counts, energy, latency.

    Means over the samples of the trace, at batch 1, early exits as recorded. Only the events
    inside the profile's boundary are counted: bytes between host and chip are where it is the
    board.

    Early exit costs three terms of their own. `exit_readout`: each logit that the controller
    reads, at each step. `exit_arithmetic`: what it computes with them, which takes time, too.
    `in_flight`: what the layers of a pipelined chip had begun when samples stopped, all their
    events together, counted in spikes. `full` is a run of the same samples without early exit,
    from which that is counted exactly; without it, the last recorded step is repeated.

    Raises:
        InputError: the program has no profile.
        ProfileError: the profile is not that of a spiking chip.
        DataError: the trace is empty or did not record its spikes.
    """
    profile = program.profile
    if profile is None:
        raise InputError(
            "has no hardware profile", where="program", remedy="lower the network to a profile"
        )
    _spiking(profile)
    run = activity(program, trace, full)
    counts = events_of(program, run)
    each = {name: dict(events) for name, events in counts.each.items()}
    if profile.boundary != "board":
        del each[CHIP]["io_byte"]
    dense = frozenset(x.name for x in program.layers if is_dense(x))
    time = latency(program, run)
    cores = len({part.core for part in program.placement})
    held = held_by(program.network, profile)
    late = None
    if run.in_flight:
        until_stop = events_of(program, run.recorded).each
        late = resampled(_difference(each, until_stop) | {CHIP: {"spike": _spikes(run)}})
        each = {name: {e: until_stop[name][e] for e in events} for name, events in each.items()}
    priced = _priced(profile, resampled(each), time, cores, dense, held)
    if late is not None:
        spikes = late[CHIP]["spike"]
        rest = {name: events for name, events in late.items() if name != CHIP}
        priced["terms"] += (in_flight(profile, spikes, rest, dense, held),)
    return Estimate(
        **priced,
        samples=counts.samples,
        steps=counts.steps,
        notes=_notes(program, counts, time, full is None),
        latency_grade=time.grade,
    )


def _difference(
    each: Mapping[str, Mapping[str, FloatArray]], less: Mapping[str, Mapping[str, FloatArray]]
) -> dict[str, dict[str, FloatArray]]:
    """Counts (N,) by layer and event that are in `each` and not in `less`."""
    return {
        name: {event: found - less[name][event] for event, found in events.items()}
        for name, events in each.items()
    }


def _spikes(run: Activity) -> FloatArray:
    """Spikes (N,) in flight when each sample stopped."""
    late = [found.reshape(run.samples, -1).sum(axis=1) for found in run.late.values()]
    summed: FloatArray = np.sum(late, axis=0, dtype=np.float64)
    return summed


def estimate_counts(
    profile: HardwareProfile,
    counts: Mapping[str, Mapping[str, float]],
    *,
    latency_us: float | None = None,
    cores: int = 0,
    held: Mapping[str, Held] | None = None,
) -> Estimate:
    """Price published counts, by layer and event, of an inference of a known duration.

    For checks against measurements of networks that are not at hand. Layers pay the prices of
    dense synapses.

    Raises:
        ProfileError: the profile is not that of a spiking chip.
    """
    _spiking(profile)
    time = Latency(us=None if latency_us is None else Quantity.fixed(latency_us))
    priced = _priced(profile, fixed(counts), time, cores, frozenset(counts), held)
    return Estimate(**priced, samples=1, notes=(INTERVALS,))


def _spiking(profile: HardwareProfile) -> None:
    if profile.kind != "spiking":
        raise ProfileError(
            "describes an accelerator for ANNs",
            where=f"profile '{profile.name}'",
            remedy="use estimate_ann",
        )


def _priced(
    profile: HardwareProfile,
    counts: Counts,
    time: Latency,
    cores: int,
    dense: frozenset[str],
    held: Mapping[str, Held] | None,
) -> dict[str, Any]:
    """What of an estimate follows from counts and time."""
    per_chip = profile.limits.cores
    chips = -(-cores // per_chip) if per_chip else min(cores, 1)
    static = static_energy(profile, time, max(chips, 1), cores)
    return {
        "profile": profile.name,
        "title": profile.title,
        "boundary": profile.boundary,
        "kind": "snn",
        "terms": terms(profile, counts, dense, held),
        "static_pj": static.pj,
        "static_grade": static.grade,
        "static_ends_pj": static.ends_pj,
        "latency_us": time.us,
        "bound": time.bound,
        "cycles": time.cycles,
        "cores": cores,
        "chips": chips,
    }


@dataclass(frozen=True)
class Static:
    """Static energy, pJ; None if it is unknown. See `Estimate` for `grade` and `ends_pj`."""

    pj: Quantity | None
    grade: Grade | None = None
    ends_pj: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def static_energy(profile: HardwareProfile, time: Latency, chips: int, cores: int) -> Static:
    """Static power times latency: (chip, controller and host) for each chip, and each core in use.

    1 mW for 1 us is 1000 pJ. None if the latency or every power is unknown; 0 on a profile of
    scope `all_in`, whose price of a synaptic operation holds it already. With it the weakest
    grade of the powers and of the latency.
    """
    if profile.scope == "all_in":
        return Static(ZERO)
    power = dict(profile.power.constants())
    if time.us is None or not power:
        return Static(None)
    units = {name: cores if name == "core" else chips for name in power}
    mw = summed(Quantity.of(constant).times(units[name]) for name, constant in power.items())
    us = time.us.nominal
    ends: dict[str, tuple[float, float]] = {}
    for name, constant in power.items():
        rest = mw.nominal - constant.value * units[name]
        low, high = rest + constant.low * units[name], rest + constant.high * units[name]
        ends[f"power.{name}"] = (low * us * _PJ_PER_MW_US, high * us * _PJ_PER_MW_US)
    for name, (shortest, longest) in time.swings.items():
        scale = mw.nominal * _PJ_PER_MW_US
        ends[f"time.{name}"] = (shortest * scale, longest * scale)
    grade = weakest((time.grade, *(constant.grade for constant in power.values())))
    return Static(time.us.times(mw).times(_PJ_PER_MW_US), grade, ends)


def _on_exit(profile: HardwareProfile, time: Latency) -> str:
    """Who pays for the controller."""
    if profile.power.host is not None:
        energy = "inside the host's power"
    elif profile.energy.exit_arithmetic is None:
        energy = f"at {EXIT_OPERATION.value} pJ an operation, a stand-in"
    else:
        energy = "at the profile's price"
    late = " and the chip waits for it at each step" if time.deciding else ", its time left out"
    return f"early exit: the controller's arithmetic is {energy}{late}"


def _notes(program: Program, counts: EventCounts, time: Latency, guessed: bool) -> tuple[str, ...]:
    profile = program.profile
    assert profile is not None
    notes = [INTERVALS, *profile.workarounds(program.network.mode, program.network.reset)]
    if counts.samples == 1:
        notes.append("one sample: the intervals hold no spread of activity")
    if profile.notes:
        notes.append(profile.notes.strip())
    if profile.charged is not None:
        what = "spikes" if "spike" in profile.charged else "synaptic operations"
        beside = "no other term" if profile.scope == "all_in" else "static power apart"
        notes.append(f"all-in price: {what} hold everything else; {beside}")
    if counts.in_flight:
        notes.append(
            f"{counts.in_flight:.1%} of the spikes are work in flight when samples stopped"
            + (", estimated by repeating their last step" if guessed else "")
        )
    if counts.total("exit_arithmetic"):
        notes.append(_on_exit(profile, time))
    if program.arrangement == "by_traffic":
        notes.append("cores that talk to each other lie together")
    if not program.placement:
        notes.append("no placement: one packet a projection, no hops, no latency")
    elif profile.limits.tile_columns is None and profile.limits.cores != 1:
        notes.append("the profile describes no mesh: hops are not counted")
    if profile.scope != "all_in" and not any(profile.power.constants()):
        notes.append("static energy unknown: the profile has no static power")
    if time.untimed:
        notes.append(f"latency unknown: no time for {', '.join(time.untimed)}")
    if time.us is not None:
        notes.append("latency of the busiest core of the mean sample, without contention")
    return tuple(notes)
