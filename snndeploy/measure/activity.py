"""Spikes of a trace, summed, in the steps of the chip that would run it."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        late: the same of each sample for such work alone, which `fired` includes.
        in_flight: how many of all events are such work.
        running: int64 (T + depth - 1,), samples that run at each physical step.
        steps: int64 (N,), physical steps of each sample.
        injected: int64 (N,), steps in which bias and input were injected.
        decisions: int64 (N,), steps after which a controller looked at the logits.
    """

    depth: int
    events: dict[str, Int64Array]
    fired: dict[str, Int64Array]
    late: dict[str, Int64Array]
    in_flight: int
    running: Int64Array
    steps: Int64Array
    injected: Int64Array
    decisions: Int64Array

    @property
    def samples(self) -> int:
        """N."""
        return len(self.steps)

    @property
    def recorded(self) -> Activity:
        """Without work in flight in `fired`."""
        fired = {
            name: found - self.late[name] if name in self.late else found
            for name, found in self.fired.items()
        }
        return replace(self, fired=fired, late={}, in_flight=0)


def activity(program: Program, trace: Trace, full: Trace | None = None) -> Activity:
    """Sum a trace over its samples, and over its steps.

    On a pipelined chip the readout runs `depth - 1` steps late. A sample that stopped before it
    had settled has kept the layers above the readout busy meanwhile: work that its trace does
    not hold. It is taken from `full`, a run of the same samples without stopping, and exact then.
    Without one each layer is taken to go on as it fired in the last recorded step: an estimate,
    which may be off either way. Either way the last spikes of each layer count as delivered.

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
    behind: dict[str, Int64Array] = {}
    for layer in program.spiking:
        spikes = trace.spikes[layer.name]
        size = np.abs(spikes)
        each = size.sum(axis=1, dtype=narrow)
        summed = size.sum(axis=0, dtype=np.int64)
        late, after = max(depth - layer.depth, 0), np.zeros_like(each)
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
            after[rows] = ahead.sum(axis=1, dtype=narrow)
        events[layer.name], fired[layer.name] = summed, each + after
        behind[layer.name] = after
    if trace.input_events is not None:
        name = program.network.input.name
        events[name], fired[name] = _arrived(trace, trace.steps + depth - 1)
    running = (physical[:, None] > np.arange(trace.steps + depth - 1)).sum(axis=0)
    injected = trace.stop_steps
    if program.network.mode == "exact":
        injected = np.minimum(injected, program.network.window)
    in_flight = sum(int(found.sum(dtype=np.int64)) for found in behind.values())
    decisions = trace.stop_steps * trace.controlled
    return Activity(depth, events, fired, behind, in_flight, running, physical, injected, decisions)


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
