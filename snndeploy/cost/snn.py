"""`estimate`: what one inference of a placed spiking network costs on its chip."""

from __future__ import annotations

from snndeploy.cost.estimate import ZERO, Estimate, Interval, weakest
from snndeploy.cost.latency import Latency, latency
from snndeploy.cost.prices import ENVELOPE, interval, terms
from snndeploy.errors import InputError, ProfileError
from snndeploy.hardware import Grade, HardwareProfile
from snndeploy.measure.activity import activity
from snndeploy.measure.events import EventCounts, events_of
from snndeploy.measure.synapses import is_dense
from snndeploy.program import Program
from snndeploy.trace import Trace


def estimate(program: Program, trace: Trace, full: Trace | None = None) -> Estimate:
    """Price a trace on the chip that the program was placed on: counts, energy, latency.

    Means over the samples of the trace, at batch 1, early exits as recorded. Only the events
    inside the profile's boundary are counted: the transfer of inputs and results is not.
    `full` is a run of the same samples without early exit, which holds the work that was in
    flight when they stopped.

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
    if profile.kind != "spiking":
        raise ProfileError(
            "describes an accelerator for ANNs",
            where=f"profile '{profile.name}'",
            remedy="use estimate_ann",
        )
    run = activity(program, trace, full)
    counts = events_of(program, run)
    dense = frozenset(x.name for x in program.layers if is_dense(x))
    time = latency(program, run)
    cores = len({part.core for part in program.placement})
    per_chip = profile.limits.cores
    chips = -(-cores // per_chip) if per_chip else min(cores, 1)
    static, static_grade = static_energy(profile, time, chips, cores)
    return Estimate(
        profile=profile.name,
        title=profile.title,
        boundary=profile.boundary,
        kind="snn",
        samples=counts.samples,
        terms=terms(profile, counts.by_layer, dense),
        static_pj=static,
        latency_us=time.us,
        steps=counts.steps,
        cores=cores,
        chips=chips,
        notes=_notes(program, counts, time.untimed, full is None),
        static_grade=static_grade,
        latency_grade=time.grade,
    )


def static_energy(
    profile: HardwareProfile, time: Latency, chips: int, cores: int
) -> tuple[Interval | None, Grade | None]:
    """Static power times latency, pJ: (chip + host) for each chip, and each core in use.

    1 mW for 1 us is 1000 pJ. None if the latency or every power is unknown; 0 on a profile of
    scope `all_in`, whose price of a synaptic operation holds it already. With it the weakest
    grade of the powers and of the latency.
    """
    if profile.scope == "all_in":
        return ZERO, None
    power = profile.power
    if time.us is None or not any(power.constants()):
        return None, None
    total, grade = ZERO, time.grade
    for constant, units in ((power.chip, chips), (power.host, chips), (power.core, cores)):
        if constant is not None:
            total += interval(constant).times(units)
            grade = weakest((grade, constant.grade))
    static = Interval(
        total.low * time.us.low * 1e3,
        total.nominal * time.us.nominal * 1e3,
        total.high * time.us.high * 1e3,
    )
    return static, grade


def _notes(
    program: Program, counts: EventCounts, untimed: tuple[str, ...], guessed: bool
) -> tuple[str, ...]:
    profile = program.profile
    assert profile is not None
    notes = [ENVELOPE, *profile.workarounds(program.network.mode, program.network.reset)]
    if profile.notes:
        notes.append(profile.notes)
    if profile.scope == "all_in":
        notes.append("all-in price: synaptic operations hold everything else; no other term")
    if counts.in_flight:
        notes.append(
            f"{counts.in_flight:.1%} of the spikes are work in flight when samples stopped"
            + (", estimated by repeating their last step" if guessed else "")
        )
    if not program.placement:
        notes.append("no placement: one packet a projection, no hops, no latency")
    elif profile.limits.tile_columns is None:
        notes.append("the profile describes no mesh: hops are not counted")
    if untimed:
        notes.append(f"latency unknown: no time for {', '.join(untimed)}")
    if program.placement and not untimed:
        notes.append("latency of the busiest core of the mean sample, without contention")
    return tuple(notes)
