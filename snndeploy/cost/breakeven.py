"""The break-even: how often a spiking network may fire before the ANN is cheaper."""

from __future__ import annotations

from collections.abc import Iterable

from snndeploy.connectivity import dense_operations
from snndeploy.cost.estimate import Estimate
from snndeploy.cost.prices import held_by, price_of
from snndeploy.measure.synapses import is_dense
from snndeploy.program import Program

DAMPFHOFFER = (0.15, 1.38)
"""Spikes a synapse and inference at which an integrate-and-fire network competes (2023)."""

YAN_STEPS, YAN_RATE = 5, 0.057
"""Steps, and the firing rate below which a spiking network competes (2024)."""

PUBLISHED_MARKS = (
    f"an integrate-and-fire network competes at {DAMPFHOFFER[0]} to {DAMPFHOFFER[1]} spikes a "
    "synapse and inference (Dampfhoffer et al. 2023)",
    f"at {YAN_STEPS} steps, below a firing rate of about {100 * YAN_RATE:.1f} % (Yan et al. 2024)",
)


def break_even_spikes(program: Program, ann: Estimate) -> float | None:
    """Spikes a synapse and inference at which synaptic operations alone cost what the ANN does.

    Nominal dynamic energies, memory accesses included where they have a price of their own.
    Compare with `EventCounts.spikes_per_synapse`. The rest of the chip is taken as free, so the
    true break-even lies lower. None if either side has no price.
    """
    profile, source = program.profile, program.network.input.name
    if profile is None or ann.dynamic_pj is None:
        return None
    held = held_by(program.network, profile)
    each = 0.0  # energy of one spike through every synapse, pJ
    for layer in program.layers[1:]:
        price = price_of(profile, "synop", is_dense(layer), held[layer.name])
        if layer.kind == "max_pool":
            continue
        if price is None:
            return None
        one = price.nominal_pj
        if profile.charged is None:
            for event, times in (("weight_read", 1), ("state_access", 2)):
                memory = price_of(profile, event, False, held[layer.name])
                one += 0.0 if memory is None else times * memory.nominal_pj
        for p in layer.projections:
            if p.source != source or program.network.input.per_step:
                each += dense_operations(p, program.network.shapes[p.source]) * one
    return ann.dynamic_pj.nominal / each if each else None


def break_even_rate(program: Program, ann: Estimate, steps: float) -> float | None:
    """The same as a firing rate: spikes a synapse and step, over so many steps."""
    spikes = break_even_spikes(program, ann)
    return None if spikes is None or steps <= 0 else spikes / steps


def break_even_lines(
    program: Program, baselines: Iterable[Estimate], spikes_per_synapse: float, steps: float
) -> tuple[str, ...]:
    """The break-even against each baseline, and where the network lies, in sentences."""
    lines = []
    for baseline in baselines:
        spikes = break_even_spikes(program, baseline)
        rate = break_even_rate(program, baseline, steps)
        if spikes is not None and rate is not None:
            lines.append(
                f"Against {baseline.title}: {spikes:.2g} spikes a synapse and inference at most "
                f"({100 * rate:.2g} % a step), were synaptic operations all that the chip paid for."
            )
    if not lines:
        return ()
    found = [f"This network: {line}." for line in place_among_marks(spikes_per_synapse, steps)]
    return (*found, *lines, *(f"Published: {mark}." for mark in PUBLISHED_MARKS))


def place_among_marks(spikes_per_synapse: float, steps: float) -> tuple[str, ...]:
    """Where a network lies among the published marks, in sentences."""
    low, high = DAMPFHOFFER
    where = "below" if spikes_per_synapse < low else "above"
    if low <= spikes_per_synapse <= high:
        where = "inside"
    lines = [
        f"{spikes_per_synapse:.2g} spikes a synapse and inference: {where} {low} to {high}, where "
        "an integrate-and-fire network competes (Dampfhoffer et al. 2023)"
    ]
    if steps > 0:
        rate = spikes_per_synapse / steps
        side = "below" if rate < YAN_RATE else "above"
        lines.append(
            f"{100 * rate:.2g} % of the synapses a step, over {steps:.3g} steps: {side} the "
            f"{100 * YAN_RATE:.1f} % that hold at {YAN_STEPS} steps (Yan et al. 2024)"
        )
    return tuple(lines)
