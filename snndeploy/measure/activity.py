"""Spikes of a trace, summed, in the steps of the chip that would run it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snndeploy.errors import DataError
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.trace import Trace


@dataclass(frozen=True, eq=False)
class Activity:
    """Spikes per neuron of N samples: summed over the samples, and over the steps.

    Attributes:
        depth: physical steps from input to readout; 1 on a chip that is not pipelined.
        events: int64 (T + depth - 1, *shape) per spiking layer, in the layer's logical steps;
            spikes of either sign, and the values of an input that comes step by step. Steps
            after a sample has stopped hold the work that was still in flight.
        fired: int16 or int64 (N, *shape) per spiking layer: the same of each sample.
        in_flight: how many of all events are such work.
        running: int64 (T + depth - 1,), samples that run at each physical step.
        steps: int64 (N,), physical steps of each sample.
        injected: int64 (N,), steps in which bias and input were injected.
    """

    depth: int
    events: dict[str, Int64Array]
    fired: dict[str, Int64Array]
    in_flight: int
    running: Int64Array
    steps: Int64Array
    injected: Int64Array

    @property
    def samples(self) -> int:
        """N."""
        return len(self.steps)


def activity(program: Program, trace: Trace, full: Trace | None = None) -> Activity:
    """Sum a trace over its samples, and over its steps.

    On a pipelined chip the readout runs `depth - 1` steps late. A sample that stopped before it
    had settled has kept the layers above the readout busy meanwhile: work that its trace does
    not hold. It is taken from `full`, a run of the same samples without stopping; without one
    the last recorded step is repeated, an estimate.

    Raises:
        DataError: a trace is empty or did not record its spikes, or `full` has other samples.
    """
    require_spikes(program, trace)
    if full is not None:
        require_spikes(program, full)
        if len(full) != len(trace):
            raise DataError(f"{len(full)} samples, expected {len(trace)}", where="full trace")
    pipelined = program.profile is not None and program.profile.pipelined
    depth = program.depth if pipelined else 1
    physical = trace.stop_steps + depth - 1
    narrow = np.int16 if trace.steps + depth < 1 << 15 else np.int64
    events: dict[str, Int64Array] = {}
    fired: dict[str, Int64Array] = {}
    in_flight = 0
    for layer in program.spiking:
        spikes = trace.spikes[layer.name]
        size = np.abs(spikes)
        each = size.sum(axis=1, dtype=narrow)
        summed = size.sum(axis=0, dtype=np.int64)
        late = max(depth - layer.depth, 0)
        extra = np.zeros((depth - 1, *summed.shape[1:]), np.int64)
        summed = np.concatenate([summed, extra])
        for stop in np.unique(trace.stop_steps[~trace.settled]):
            rows = ~trace.settled & (trace.stop_steps == stop)
            if full is None:
                ahead = np.repeat(spikes[rows, stop - 1 : stop], late, axis=1)
            else:
                ahead = full.spikes[layer.name][rows, stop : stop + late]
            ahead = np.abs(ahead)
            more = ahead.sum(axis=0, dtype=np.int64)
            summed[stop : stop + len(more)] += more
            each[rows] += ahead.sum(axis=1, dtype=narrow)
            in_flight += int(more.sum())
        events[layer.name], fired[layer.name] = summed, each
    if trace.input_events is not None:
        name = program.network.input.name
        events[name], fired[name] = _arrived(trace, trace.steps + depth - 1)
    running = (physical[:, None] > np.arange(trace.steps + depth - 1)).sum(axis=0)
    injected = trace.stop_steps
    if program.network.mode == "exact":
        injected = np.minimum(injected, program.network.window)
    return Activity(depth, events, fired, in_flight, running, physical, injected)


def _arrived(trace: Trace, steps: int) -> tuple[Int64Array, Int64Array]:
    """Input values other than 0 while the samples ran: at each step, and of each sample."""
    found = trace.input_events
    assert found is not None
    total = np.zeros((steps, *found.shape[2:]), np.int64)
    each = np.zeros((len(found), *found.shape[2:]), np.int64)
    for t in range(min(found.shape[1], trace.steps)):
        rows = trace.stop_steps > t
        total[t] = found[rows, t].sum(axis=0)
        each[rows] += found[rows, t]
    return total, each


def require_spikes(program: Program, trace: Trace) -> None:
    """Raise `DataError` unless the trace has samples and the spikes of every spiking layer."""
    if not len(trace):
        raise DataError("holds no samples", where="trace", remedy="run at least one sample")
    missing = [x.name for x in program.spiking if x.name not in trace.spikes]
    if missing:
        raise DataError(
            f"holds no spikes of {', '.join(missing)}",
            where=f"trace of backend '{trace.backend}'",
            remedy="run this program again with record=True",
        )
