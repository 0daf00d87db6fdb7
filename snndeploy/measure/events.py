"""Event counts: what a run makes the chip do, per layer, mean over the samples.

The names of the events are those of the prices in `hardware.Energy`. Synaptic operations,
analog MACs, updates, biases, comparisons and resets belong to the layer in which they happen;
spikes, packets, hops and chip crossings to the layer that fires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from snndeploy.connectivity import dense_operations, fan_out
from snndeploy.layers import Layer
from snndeploy.measure.activity import Activity, activity
from snndeploy.measure.routing import core_of, distances, route
from snndeploy.measure.synapses import pooled_values
from snndeploy.nodes import Neuron, Output
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.trace import Trace

CHIP = "chip"
"""The layer name of what belongs to no layer."""


@dataclass(frozen=True, eq=False)
class EventCounts:
    """Mean events a sample.

    Attributes:
        samples: over which the means are taken.
        steps: mean physical steps, pipeline depth included.
        by_layer: event name to mean count, per layer; `chip` holds the barriers.
        synapses: of the whole network, the analog input's left out.
        in_flight: the share of the spikes that early-stopped samples had in flight.
    """

    samples: int
    steps: float
    by_layer: Mapping[str, Mapping[str, float]]
    synapses: int
    in_flight: float

    def total(self, event: str) -> float:
        """Mean count of one event over all layers."""
        return sum(events.get(event, 0.0) for events in self.by_layer.values())

    @property
    def spikes_per_synapse(self) -> float:
        """Synaptic operations a synapse and inference."""
        return self.total("synop") / self.synapses if self.synapses else 0.0


def count_events(program: Program, trace: Trace, full: Trace | None = None) -> EventCounts:
    """Count what one sample costs on average.

    Exact for what the trace holds; `activity` says what is added for work in flight. Without a
    placement a spike is one packet for each projection, and there are no hops and barriers.

    Raises:
        DataError: the trace is empty or did not record its spikes.
    """
    return events_of(program, activity(program, trace, full))


def events_of(program: Program, run: Activity) -> EventCounts:
    """`count_events` of activity that is summed already."""
    fired = {name: events.sum(axis=0) for name, events in run.events.items()}
    by_layer: dict[str, dict[str, float]] = {}
    for layer in program.layers[1:]:
        total = _received(program, layer, fired, run.samples) | _updates(program, layer, run)
        if layer.name in fired:
            total |= _sent(program, layer, fired[layer.name])
        by_layer[layer.name] = {event: n / run.samples for event, n in total.items()}
    cores = len({part.core for part in program.placement})
    by_layer[CHIP] = {"barrier": cores * run.steps / run.samples}
    spikes = sum(int(fired[layer.name].sum()) for layer in program.spiking)
    return EventCounts(
        samples=run.samples,
        steps=run.steps / run.samples,
        by_layer=by_layer,
        synapses=synapses(program),
        in_flight=run.in_flight / spikes if spikes else 0.0,
    )


def synapses(program: Program) -> int:
    """Connections between spiking layers, and from them to the readout."""
    entry = program.network.input
    analog = "" if entry.per_step else entry.name
    return sum(
        dense_operations(p, program.network.shapes[p.source])
        for layer in program.layers[1:]
        for p in layer.projections
        if p.source != analog and layer.kind != "max_pool"
    )


def _received(
    program: Program, layer: Layer, fired: Mapping[str, Int64Array], samples: int
) -> dict[str, int]:
    """Synaptic operations and analog MACs: a constant input is computed once a sample.

    A value that arrives at one step is a spike, graded or not.
    """
    if layer.kind == "max_pool":
        return {}
    synops = macs = 0
    for projection in layer.projections:
        shape = program.network.shapes[projection.source]
        if projection.source in fired:
            synops += int((fired[projection.source] * fan_out(projection, shape)).sum())
        else:
            macs += dense_operations(projection, shape)
    return {"synop": synops, "mac": macs * samples}


def _sent(program: Program, layer: Layer, fired: Int64Array) -> dict[str, int]:
    """Spikes, and the messages that carry them."""
    spikes = int(fired.sum())
    if not program.placement:
        ways = sum(p.source == layer.name for x in program.layers for p in x.projections)
        return {"spike": spikes, "packet": spikes * ways}
    assert program.profile is not None
    way = route(program, layer)
    cores = way.cores.reshape(-1, *(1,) * fired.ndim)
    hops, crossing = distances(program.profile.limits, core_of(program, layer)[None], cores)
    packets = way.reached * fired
    return {
        "spike": spikes,
        "packet": int(packets.sum()),
        "hop": int((packets * hops).sum()),
        "chip_crossing": int((packets * crossing).sum()),
    }


def _updates(program: Program, layer: Layer, run: Activity) -> dict[str, int]:
    """Updates of every compartment in each step that a sample runs, biases and resets."""
    profile, network = program.profile, program.network
    if layer.kind == "max_pool":
        shape = program.network.shapes[layer.projections[0].source]
        held = prod(shape) + layer.neurons
        return {"compare": pooled_values(layer, shape) * run.steps, "reset": held * run.samples}
    node = layer.node
    assert isinstance(node, Neuron | Output) and node.bias is not None
    # A readout integrates only: it needs no companion compartments.
    companions = 1
    if profile and layer.kind == "neurons":
        companions = profile.compartments(network.mode, network.reset)
    held = layer.neurons * companions
    active = int(run.events[layer.name].sum()) if layer.kind == "neurons" else 0
    channels = float(np.count_nonzero(node.bias) / len(node.bias))
    entry = program.network.input
    if not entry.per_step and any(p.source == entry.name for p in layer.projections):
        channels = 1.0  # the analog input's constant current is injected as a bias is
    return {
        "update_active": active,
        "update_inactive": held * run.steps - active,
        "bias": round(layer.neurons * channels) * run.injected,
        "reset": held * run.samples,
    }
