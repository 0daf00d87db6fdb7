"""What each core has to do in each physical step: the input of the latency model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from snndeploy.layers import Layer, Projection
from snndeploy.measure.activity import Activity, activity
from snndeploy.measure.events import RESULT_BYTES, input_bytes
from snndeploy.measure.routing import core_of, distances, holdings, route, slices
from snndeploy.measure.synapses import arrivals, is_dense, pooled_values
from snndeploy.numerics import BoolArray, FloatArray, Int64Array
from snndeploy.program import Program
from snndeploy.trace import Trace


@dataclass(frozen=True, eq=False)
class CoreLoad:
    """Mean work of each core in each physical step.

    Attributes:
        running: float (P,), the share of the samples that run at step p.
        work: event name to float (P, K), means over the samples that run; the names of
            `hardware.Time`, `synop` being dense and `synop_conv` of shared kernels; where the
            profile has times of their own for the input layer and the readout, these apart.
        farthest: int64 (P, 2), the most hops along a row and along a column of any packet.
        io_bytes: float (P,), between host and chip.
        tiles: how many tiles of the mesh are in use; cores where there is no mesh.
    """

    running: FloatArray
    work: Mapping[str, FloatArray]
    farthest: Int64Array
    io_bytes: FloatArray
    tiles: int


def core_load(program: Program, trace: Trace, full: Trace | None = None) -> CoreLoad:
    """The work of K cores in P steps, in a placed program.

    Layer `d` of a pipelined chip does its logical step t at the physical step t + d - 1. The
    analog input is worked through in the first step.
    """
    return load_of(program, activity(program, trace, full))


def load_of(program: Program, run: Activity) -> CoreLoad:
    """`core_load` of activity that is summed already."""
    profile = program.profile
    assert profile is not None
    cores = 1 + max(part.core for part in program.placement)
    load = _Load(run, cores)
    farthest = np.zeros((len(run.running), 2), np.int64)
    for layer in program.layers[1:]:
        late = layer.depth - 1 if run.depth > 1 else 0
        for projection in layer.projections:
            _message_work(load, program, layer, projection, late)
        _neuron_work(load, program, layer)
    for layer in program.spiking:
        way, late = route(program, layer), layer.depth if run.depth > 1 else 0
        flat = run.events[layer.name].reshape(len(run.running), -1)
        reached = way.reached.reshape(len(way.cores), -1)
        load.add_at("message", late, way.cores, flat @ reached.T.astype(np.int64))
        origin = core_of(program, layer).reshape(-1)
        late = max(late - 1, 0)
        load.add_at("packet", late, origin, flat * reached.sum(axis=0))
        load.add_at("spike", late, origin, flat)
        load.add_at("update_active", late, origin, flat)
        load.add_at("update_inactive", late, origin, -flat)
        apart = distances(profile.limits, origin[None], way.cores[:, None])
        hops = [int((reached * x).max(initial=0)) for x in (apart.east_west, apart.north_south)]
        fires = (flat.sum(axis=1) > 0)[: len(flat) - late, None]
        farthest[late:] = np.maximum(farthest[late:], fires * np.array(hops))
    tiles = {part.core // (profile.limits.cores_per_tile or 1) for part in program.placement}
    return CoreLoad(
        run.running / run.samples, load.means(), farthest, _io(program, run), len(tiles)
    )


class _Load:
    """Sums over the samples, by event, step and core."""

    def __init__(self, run: Activity, cores: int) -> None:
        self.run, self.cores = run, cores
        self.sums: dict[str, Int64Array] = {}

    def add_at(self, event: str, late: int, cores: Int64Array, work: Int64Array) -> None:
        """Add work (P, n) on cores (n,), `late` steps later; what falls off the end is lost."""
        steps = len(self.run.running)
        total = self.sums.setdefault(event, np.zeros((steps, self.cores), np.int64))
        for core in np.unique(cores):
            column = work[:, cores == core].sum(axis=1)
            total[late:, core] += column[: steps - late]

    def means(self) -> dict[str, FloatArray]:
        """Means over the samples that run at each step."""
        return {event: total / self.run.running[:, None] for event, total in self.sums.items()}


def _message_work(
    load: _Load, program: Program, layer: Layer, projection: Projection, late: int
) -> None:
    run, entry = load.run, program.network.input
    if layer.kind == "max_pool":
        return
    events = run.events.get(projection.source)
    if events is None:
        event, late = "mac", 0
        events = np.zeros((len(run.running), *entry.shape), np.int64)
        events[0] = run.samples
    else:
        event = _synop(program, layer, projection)
    if slices(program, layer) == 1:
        work, placed = arrivals(projection, events), core_of(program, layer).reshape(-1)
        load.add_at(event, late, placed, work.reshape(len(work), -1))
        return
    for held in holdings(program, layer):
        kept = events if held.sources is None else events * held.sources
        work = arrivals(projection, kept)
        _add_masked(load, event, late, held.core, work, held.targets)


def _add_masked(
    load: _Load, event: str, late: int, core: int, work: Int64Array, mask: BoolArray
) -> None:
    column = work[:, mask].sum(axis=1, keepdims=True)
    load.add_at(event, late, np.array([core]), column)


def _synop(program: Program, layer: Layer, projection: Projection) -> str:
    """The name of the layer's synaptic operations among the profile's times."""
    assert program.profile is not None
    time = program.profile.time
    if time.synop_input is not None and projection.source == program.network.input.name:
        return "synop_input"
    if time.synop_readout is not None and layer.kind == "readout":
        return "synop_readout"
    return "synop" if is_dense(layer) else "synop_conv"


def _neuron_work(load: _Load, program: Program, layer: Layer) -> None:
    run, profile = load.run, program.profile
    assert profile is not None
    each_step = run.running[:, None]
    if layer.kind == "max_pool":
        shape = program.network.shapes[layer.projections[0].source]
        share = np.full(layer.neurons, pooled_values(layer, shape) // layer.neurons)
        load.add_at("compare", 0, core_of(program, layer).reshape(-1), each_step * share)
        return
    companions, event = 1, "update_inactive"
    if layer.kind == "neurons":
        companions = profile.compartments(program.network.mode, program.network.reset)
    elif profile.time.update_readout is not None:
        event = "update_readout"
    for held in holdings(program, layer):
        count = int(held.targets.sum()) * companions
        load.add_at(event, 0, np.array([held.core]), each_step * count)


def _io(program: Program, run: Activity) -> FloatArray:
    """Bytes (P,) between host and chip: the input first or event by event, the logits each step."""
    entry = program.network.input
    found = np.full(len(run.running), float(RESULT_BYTES * program.layers[-1].neurons))
    if entry.name in run.events:
        events = run.events[entry.name].reshape(len(found), -1).sum(axis=1)
        moved: FloatArray = found + RESULT_BYTES * events / run.running
        return moved
    found[0] += prod(entry.shape) * input_bytes(program)
    return found
