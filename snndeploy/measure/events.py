"""Event counts: what a run makes the chip do, per layer and sample.

The names of the events are those of the prices in `hardware.Energy`. Synaptic operations,
analog MACs, updates, memory accesses, biases, comparisons and resets belong to the layer in which
they happen; spikes, packets, hops and chip crossings to the layer that fires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from snndeploy.connectivity import dense_operations, fan_out
from snndeploy.layers import Layer
from snndeploy.measure.activity import Activity, activity
from snndeploy.measure.routing import core_of, distances, route, slices
from snndeploy.measure.synapses import pooled_values
from snndeploy.nodes import Neuron, Output
from snndeploy.numerics import FloatArray, Int64Array
from snndeploy.program import Program
from snndeploy.trace import Trace

CHIP = "chip"
"""The layer name of what belongs to no layer."""

RESULT_BYTES = 4
"""Of one logit, read out at each step; and of the address of one event of the input."""

EXIT_OPERATIONS = 6
"""Of a controller, a class and step: scaling, the largest so far, the distance from it, its
exponential (from a table, interpolated: two), and the sum. A gap of logits takes fewer."""

_CHUNK = 16


@dataclass(frozen=True, eq=False)
class EventCounts:
    """Events of each sample.

    Attributes:
        samples: N.
        steps: mean physical steps, pipeline depth included.
        by_layer: event name to mean count, per layer; `chip` holds the barriers, the bytes
            between host and chip, and what the controller of an early exit reads and computes.
        each: the same as float64 (N,), a count for each sample.
        synapses: of the whole network, the analog input's left out.
        in_flight: the share of the spikes that early-stopped samples had in flight.
    """

    samples: int
    steps: float
    by_layer: Mapping[str, Mapping[str, float]]
    each: Mapping[str, Mapping[str, FloatArray]]
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
    each: dict[str, dict[str, Int64Array]] = {}
    for layer in program.layers[1:]:
        found = _received(program, layer, run) | _updates(program, layer, run)
        if layer.name in run.fired:
            found |= _sent(program, layer, run.fired[layer.name])
        each[layer.name] = found | _memory(found)
    cores = len({part.core for part in program.placement})
    each[CHIP] = {
        "barrier": run.steps * (cores if cores > 1 else 0),
        "io_byte": _bytes(program, run),
        "exit_readout": (read := program.layers[-1].neurons * run.decisions),
        "exit_arithmetic": EXIT_OPERATIONS * read,
    }
    spikes = sum(int(run.fired[layer.name].sum(dtype=np.int64)) for layer in program.spiking)
    return EventCounts(
        samples=run.samples,
        steps=float(run.steps.mean()),
        by_layer={
            name: {event: int(n.sum()) / run.samples for event, n in found.items()}
            for name, found in each.items()
        },
        each={
            name: {event: n.astype(np.float64) for event, n in found.items()}
            for name, found in each.items()
        },
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


def _received(program: Program, layer: Layer, run: Activity) -> dict[str, Int64Array]:
    """Synaptic operations and analog MACs: a constant input is computed once a sample.

    A value that arrives at one step is a spike, graded or not.
    """
    if layer.kind == "max_pool":
        return {}
    synops, macs = np.zeros(run.samples, np.int64), 0
    for projection in layer.projections:
        shape = program.network.shapes[projection.source]
        if projection.source in run.fired:
            synops += weighted(run.fired[projection.source], fan_out(projection, shape))
        else:
            macs += dense_operations(projection, shape)
    return {"synop": synops, "mac": np.full(run.samples, macs)}


def _sent(program: Program, layer: Layer, fired: Int64Array) -> dict[str, Int64Array]:
    """Spikes, and the messages that carry them."""
    spikes = weighted(fired, np.ones(fired.shape[1:], np.int64))
    if not program.placement:
        ways = sum(p.source == layer.name for x in program.layers for p in x.projections)
        return {"spike": spikes, "packet": spikes * ways}
    assert program.profile is not None
    way = route(program, layer)
    cores = way.cores.reshape(-1, *(1,) * len(layer.shape))
    apart = distances(program.profile.limits, core_of(program, layer)[None], cores)
    return {
        "spike": spikes,
        "packet": weighted(fired, way.reached.sum(axis=0)),
        "hop_ew": weighted(fired, (way.reached * apart.east_west).sum(axis=0)),
        "hop_ns": weighted(fired, (way.reached * apart.north_south).sum(axis=0)),
        "chip_crossing": weighted(fired, (way.reached & apart.crossing).sum(axis=0)),
    }


def _updates(program: Program, layer: Layer, run: Activity) -> dict[str, Int64Array]:
    """Updates of every compartment in each step that a sample runs, biases and resets."""
    profile, network = program.profile, program.network
    once = np.ones(run.samples, np.int64)
    if layer.kind == "max_pool":
        shape = program.network.shapes[layer.projections[0].source]
        held = prod(shape) + layer.neurons
        return {"compare": pooled_values(layer, shape) * run.steps, "reset": held * once}
    node = layer.node
    assert isinstance(node, Neuron | Output) and node.bias is not None
    # A readout integrates only: it needs no companion compartments, but may lie on several cores.
    spiking = layer.kind == "neurons"
    companions = slices(program, layer)
    if profile and spiking:
        companions = profile.compartments(network.mode, network.reset)
    held = layer.neurons * companions
    active = 0 * once
    if spiking:
        active = weighted(run.fired[layer.name], np.ones(layer.shape, np.int64))
    channels = float(np.count_nonzero(node.bias) / len(node.bias))
    entry = program.network.input
    if not entry.per_step and any(p.source == entry.name for p in layer.projections):
        channels = 1.0  # the analog input's constant current is injected as a bias is
    return {
        "update_active": active,
        "update_inactive": held * run.steps - active,
        "bias": round(layer.neurons * channels) * run.injected,
        "reset": held * once,
    }


def _memory(found: Mapping[str, Int64Array]) -> dict[str, Int64Array]:
    """A weight for each synaptic operation; a membrane read and written for it and each update."""
    if "synop" not in found:
        return {}
    operations = found["synop"] + found["mac"]
    updates = found["update_active"] + found["update_inactive"]
    return {"weight_read": operations, "state_access": 2 * (operations + updates)}


def _bytes(program: Program, run: Activity) -> Int64Array:
    """Between host and chip: the input once, or each of its events; the logits at each step.

    Logits that a controller reads are `exit_readout` instead.
    """
    entry, readout = program.network.input, program.layers[-1]
    result = RESULT_BYTES * readout.neurons * np.where(run.decisions > 0, 0, run.steps)
    if entry.name in run.fired:
        events = weighted(run.fired[entry.name], np.ones(entry.shape, np.int64))
        return result + RESULT_BYTES * events
    return result + prod(entry.shape) * input_bytes(program)


def input_bytes(program: Program) -> int:
    """Of one value of a constant input."""
    grid = program.network.input.grid
    assert grid is not None
    return -(-max(abs(grid.low), abs(grid.high), 1).bit_length() // 8)


def weighted(fired: Int64Array, weight: Int64Array) -> Int64Array:
    """Sum over the neurons of spikes (N, *shape) times a figure for each neuron (*shape): (N,)."""
    flat, factors = fired.reshape(len(fired), -1), weight.reshape(-1).astype(np.int64)
    chunks = [flat[i : i + _CHUNK] @ factors for i in range(0, len(flat), _CHUNK)]
    return np.concatenate(chunks)
