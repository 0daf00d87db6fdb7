"""The break-even: how often a spiking network may fire before the ANN is cheaper."""

from __future__ import annotations

from snndeploy.connectivity import dense_operations
from snndeploy.cost.estimate import Estimate
from snndeploy.cost.prices import energy_price
from snndeploy.measure.synapses import is_dense
from snndeploy.program import Program

PUBLISHED_MARKS = (
    "an integrate-and-fire network competes at 0.15 to 1.38 spikes a synapse and inference "
    "(Dampfhoffer et al. 2023)",
    "at 5 steps, below a firing rate of about 5.7 % (Yan et al. 2024)",
)


def break_even_spikes(program: Program, ann: Estimate) -> float | None:
    """Spikes a synapse and inference at which synaptic operations alone cost what the ANN does.

    Nominal dynamic energies. Compare with `EventCounts.spikes_per_synapse`. The rest of the chip
    is taken as free, so the true break-even lies lower. None if either side has no price.
    """
    profile, source = program.profile, program.network.input.name
    if profile is None or ann.dynamic_pj is None:
        return None
    each = 0.0  # energy of one spike through every synapse, pJ
    for layer in program.layers[1:]:
        price = energy_price(profile, "synop", is_dense(layer))
        if layer.kind == "max_pool":
            continue
        if price is None:
            return None
        for p in layer.projections:
            if p.source != source or program.network.input.per_step:
                each += dense_operations(p, program.network.shapes[p.source]) * price.value
    return ann.dynamic_pj.nominal / each if each else None
