"""Where two runs first differ, and how much of them is looked at to say why."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from snndeploy.backend import Backend
from snndeploy.layers import Layer
from snndeploy.nodes import Array
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.trace import Divergence, Trace, padded

MAX_SAMPLES = 32
MAX_VALUES = 1 << 21
"""Samples, and samples * steps * neurons, that an explanation is held to."""


@dataclass(frozen=True, eq=False)
class Run:
    """A backend, what it was given and what it did."""

    backend: Backend
    program: Program
    trace: Trace


@dataclass(frozen=True, eq=False)
class Place:
    """Where two runs first differ, and how much of the runs is taken as evidence.

    Neurons are numbered row-major within `kept`, which is the whole layer or, where that is too
    large, the channel.

    Attributes:
        channel: the number of the channel, the first axis of the layer.
        index: the neuron.
        own: the neurons of its channel.
        step: 1-based.
        samples: the one that differs, then others.
    """

    layer: Layer
    channel: int
    index: int
    own: slice
    kept: slice
    step: int
    samples: tuple[int, ...]

    @staticmethod
    def of(found: Divergence, program: Program, trace: Trace) -> Place:
        """The place of a divergence; `readout` stands for the last layer, whatever its name."""
        spiking = {layer.name: layer for layer in program.spiking}
        layer = spiking[found.layer] if found.layer in trace.spikes else program.layers[-1]
        index, channel = int(np.ravel_multi_index(found.neuron, layer.shape)), found.neuron[0]
        size = layer.neurons // layer.shape[0]
        own, kept = slice(channel * size, (channel + 1) * size), slice(0, layer.neurons)
        if trace.steps * layer.neurons > MAX_VALUES:
            own, kept, index = slice(0, size), own, index - own.start
        values = trace.steps * (kept.stop - kept.start)
        others = [sample for sample in range(len(trace)) if sample != found.sample]
        most = max(1, min(MAX_SAMPLES, MAX_VALUES // values))
        samples = (found.sample, *others[: most - 1])
        return Place(layer, channel, index, own, kept, found.step, samples)

    def neurons(self, values: Array) -> Int64Array:
        """(N, T, *shape) of the layer as (N, T, P)."""
        flat: Int64Array = values.reshape(*values.shape[:2], -1).astype(np.int64)
        return flat[:, :, self.kept]

    def channels(self, values: Int64Array) -> Int64Array:
        """One value a channel as (P,)."""
        each: Int64Array = np.repeat(values, self.layer.neurons // self.layer.shape[0])
        return each[self.kept].astype(np.int64)


def lengthened(trace: Trace, steps: int) -> Trace:
    """The trace with its last state held up to `steps` steps."""
    return replace(
        trace,
        logits=padded(trace.logits, steps, "edge"),
        spikes={name: padded(spikes, steps) for name, spikes in trace.spikes.items()},
        events={name: padded(events, steps) for name, events in trace.events.items()},
    )
