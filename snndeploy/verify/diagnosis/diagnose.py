"""Why two backends first differ: both sides' membranes and currents, and a cause.

Divergences are ordered by step, then by layer; so where two runs first differ, all spikes that the
neuron has received agree, and the fault lies in the neuron, its synapses or its pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from snndeploy.backend import Probe, Probing
from snndeploy.errors import SnnDeployError
from snndeploy.nodes import Array, Neuron
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy.trace import Divergence, Trace
from snndeploy.verify.diagnosis.dynamics import definition
from snndeploy.verify.diagnosis.evidence import Evidence, neuron_evidence
from snndeploy.verify.diagnosis.place import Place, Run, lengthened
from snndeploy.verify.diagnosis.pool_faults import PoolEvidence, pool_definition, pool_evidence
from snndeploy.verify.diagnosis.result import Diagnosis, NeuronState
from snndeploy.verify.diagnosis.search import Side, explain


def diagnose(
    program: Program, inputs: Int64Array, ours: Run, theirs: Run, found: Divergence
) -> Diagnosis:
    """Explain where two runs first differ.

    Runs the one sample again, up to that step, on both backends.

    Args:
        program: the definition that both are held to.
        inputs: grid integers (N, *input shape) of the samples that both ran.
        ours, theirs: the runs, in the order of the divergence.
        found: from `ours.trace.first_divergence(theirs.trace)`.
    """
    steps = max(ours.trace.steps, theirs.trace.steps)
    runs = [replace(run, trace=lengthened(run.trace, steps)) for run in (ours, theirs)]
    place = Place.of(found, program, runs[0].trace)
    sides = [_side(program, inputs, run, place) for run in runs]
    cause, explanation, also = explain(place, sides)
    node = place.layer.node
    return Diagnosis(
        divergence=found,
        kind=place.layer.kind,
        ours=sides[0].state,
        theirs=sides[1].state,
        threshold=int(node.threshold[place.channel]) if isinstance(node, Neuron) else None,
        cause=cause,
        explanation=" ".join([explanation, *(side.note for side in sides if side.note)]),
        also=also,
    )


def _side(program: Program, inputs: Int64Array, run: Run, place: Place) -> Side:
    """Run the sample again, watch the neuron if the backend lets us, derive the rest."""
    probe, repeats, note = None, True, ""
    try:
        probe, repeats = _again(inputs, run, place)
    except SnnDeployError as error:
        note = f"{run.trace.backend} could not run the sample again: {error}."
    if place.layer.kind == "max_pool":
        pool = pool_evidence(run, place)
        return Side(pool, (), _state(run, place, pool, None), repeats, note)
    evidence, synapses = neuron_evidence(program, inputs, run, place, probe)
    return Side(evidence, synapses, _state(run, place, evidence, probe), repeats, note)


def _again(inputs: Int64Array, run: Run, place: Place) -> tuple[Probe | None, bool]:
    """The sample alone up to the step: what is seen of the layer, and whether it does the same.

    What a run that did otherwise shows is of no use, and left out.
    """
    sample = place.samples[0]
    name, at = place.layer.name, (slice(sample, sample + 1), slice(place.step))
    row = np.ascontiguousarray(inputs[at[0]])
    probe = None
    if place.layer.kind == "neurons" and isinstance(run.backend, Probing):
        probe = run.backend.probe(run.program, row, place.step, name)
        found: Array = probe.spikes
    else:
        trace = lengthened(simulate(run.backend, run.program, row, steps=place.step), place.step)
        found = _emitted(trace, name)
    repeats = np.array_equal(found, _emitted(run.trace, name)[at])
    return (probe if repeats else None), repeats


def _emitted(trace: Trace, layer: str) -> Array:
    """A layer's spikes (N, T, *shape), or the readout's membranes."""
    spikes: Mapping[str, Array] = trace.spikes
    return spikes.get(layer, trace.logits)


def _state(
    run: Run, place: Place, evidence: Evidence | PoolEvidence, probe: Probe | None
) -> NeuronState:
    t, at = place.step - 1, (0, place.step - 1, place.index)
    emitted, probed = int(evidence.spikes[at]), probe is not None
    if isinstance(evidence, PoolEvidence):
        membrane = int(evidence.counts[0, t - 1, place.index].max()) if t else 0
        current = int(evidence.arriving[at].sum())
    elif not evidence.fires and evidence.membranes is not None:
        seen, probed = evidence.membranes.values[0, :, place.index], True
        emitted, membrane = int(seen[t]), int(seen[t - 1]) if t else 0
        current = emitted - membrane
    elif probe is not None:
        membrane = int(place.neurons(probe.membranes)[at])
        current = int(place.neurons(probe.currents)[at])
    else:
        current = int(evidence.input[at])
        membrane = int(evidence.arrived[at]) - current
    return NeuronState(
        backend=run.trace.backend,
        membrane=membrane,
        current=current,
        emitted=emitted,
        probed=probed,
        conforms=_conforms(evidence),
    )


def _conforms(evidence: Evidence | PoolEvidence) -> bool:
    """Whether the one neuron emitted on the one sample what the definition says."""
    emitted = evidence.only(slice(1), slice(evidence.index, evidence.index + 1)).emitted()
    if isinstance(emitted, PoolEvidence):
        return pool_definition(emitted).fits(emitted)
    return definition(emitted).fits(emitted)
