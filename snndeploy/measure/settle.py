"""When samples settle, and how much each layer fires."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from snndeploy.measure.activity import require_spikes
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.trace import Trace


@dataclass(frozen=True)
class LayerActivity:
    """How much a layer fires.

    Attributes:
        neurons: in the layer.
        spikes: mean spikes of either sign a neuron and sample.
        negative: the share of them that is negative.
        density: the share of neurons whose net count ends above 0.
    """

    layer: str
    neurons: int
    spikes: float
    negative: float
    density: float


def settle_steps(trace: Trace, window: int) -> Int64Array:
    """The step of each sample's last spike, at least the window: int64 (N,).

    From `events`, so it needs no recorded spikes. Of a sample that was stopped early it is a
    lower bound.
    """
    last = np.full(len(trace), window, np.int64)
    for events in trace.events.values():
        fired = events > 0
        latest = events.shape[1] - np.argmax(fired[:, ::-1], axis=1)
        last = np.maximum(last, np.where(fired.any(axis=1), latest, 0))
    return last


def steps_within(steps: Int64Array, share: float) -> int:
    """The least number of steps within which a share of the samples has stopped, of (N,), N > 0."""
    return int(np.sort(steps)[max(ceil(share * len(steps)), 1) - 1])


def spike_rates(program: Program, trace: Trace) -> tuple[LayerActivity, ...]:
    """How much each spiking layer fires, in network order.

    Raises:
        DataError: the trace is empty or did not record its spikes.
    """
    require_spikes(program, trace)
    rates = []
    for layer in program.spiking:
        spikes = trace.spikes[layer.name]
        events, negative = np.count_nonzero(spikes), int((spikes < 0).sum())
        per_neuron = events / (len(trace) * layer.neurons)
        density = float((spikes.sum(axis=1, dtype=np.int64) > 0).mean())
        share = negative / events if events else 0.0
        rates.append(LayerActivity(layer.name, layer.neurons, per_neuron, share, density))
    return tuple(rates)
