"""What each core has to do in each physical step: the input of the latency model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snndeploy.layers import Layer
from snndeploy.measure.activity import Activity, activity
from snndeploy.measure.routing import core_of, route
from snndeploy.measure.synapses import arrivals, is_dense, pooled_values
from snndeploy.numerics import FloatArray, Int64Array
from snndeploy.program import Program
from snndeploy.trace import Trace


@dataclass(frozen=True, eq=False)
class CoreLoad:
    """Mean work of each core in each physical step.

    Attributes:
        running: float (P,), the share of the samples that run at step p.
        work: event name to float (P, K), means over the samples that run; the names of
            `hardware.Time`, `synop` being dense and `synop_conv` of shared kernels.
    """

    running: FloatArray
    work: Mapping[str, FloatArray]


def core_load(program: Program, trace: Trace, full: Trace | None = None) -> CoreLoad:
    """The work of K cores in P steps, in a placed program.

    Layer `d` of a pipelined chip does its logical step t at the physical step t + d - 1. The
    analog input is worked through in the first step.
    """
    return load_of(program, activity(program, trace, full))


def load_of(program: Program, run: Activity) -> CoreLoad:
    """`core_load` of activity that is summed already."""
    cores = 1 + max(part.core for part in program.placement)
    load = _Load(run, cores)
    for layer in program.layers[1:]:
        placed = core_of(program, layer).reshape(-1)
        late = layer.depth - 1 if run.depth > 1 else 0
        _message_work(load, program, layer, placed, late)
        _neuron_work(load, program, layer, placed)
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
    return CoreLoad(run.running / run.samples, load.means())


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
    load: _Load, program: Program, layer: Layer, placed: Int64Array, late: int
) -> None:
    run = load.run
    if layer.kind == "max_pool":
        return
    event = "synop" if is_dense(layer) else "synop_conv"
    for projection in layer.projections:
        if projection.source in run.events:
            work = arrivals(projection, run.events[projection.source])
            load.add_at(event, late, placed, work.reshape(len(work), -1))
        else:
            once = np.zeros((len(run.running), *program.network.input.shape), np.int64)
            once[0] = run.samples
            work = arrivals(projection, once)
            load.add_at("mac", 0, placed, work.reshape(len(work), -1))


def _neuron_work(load: _Load, program: Program, layer: Layer, placed: Int64Array) -> None:
    run, profile = load.run, program.profile
    each_step = run.running[:, None]
    if layer.kind == "max_pool":
        shape = program.network.shapes[layer.projections[0].source]
        share = np.full(layer.neurons, pooled_values(layer, shape) // layer.neurons)
        load.add_at("compare", 0, placed, each_step * share)
        return
    companions = 1
    if profile is not None and layer.kind == "neurons":
        companions = profile.compartments(program.network.mode, program.network.reset)
    load.add_at("update_inactive", 0, placed, each_step * np.full(layer.neurons, companions))
