"""How far membranes went in a run: recomputed from its spikes, since traces keep no membranes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snndeploy import linear_ops
from snndeploy.layers import Layer
from snndeploy.measure.activity import require_spikes
from snndeploy.nodes import Neuron, Output
from snndeploy.numerics import Int64Array, window_share
from snndeploy.program import Program
from snndeploy.trace import Trace

CHUNK = 32


def membrane_extremes(
    program: Program, inputs: Int64Array, trace: Trace
) -> Mapping[str, tuple[int, int]]:
    """The least and the largest membrane of each layer with membranes, before a step's reset.

    By adding up inputs and taking off what the recorded spikes reset, layer by layer.

    Args:
        program: what was run.
        inputs: its grid integers, (N, *input shape) or (N, F, *input shape).
        trace: the run, with spikes.

    Raises:
        DataError: the trace is empty or did not record its spikes.
    """
    require_spikes(program, trace)
    held = [layer for layer in program.layers if isinstance(layer.node, Neuron | Output)]
    found: dict[str, tuple[int, int]] = {}
    for start in range(0, len(inputs), CHUNK):
        rows = slice(start, start + CHUNK)
        for layer in held:
            low, high = _extremes(program, layer, inputs[rows], trace[rows])
            before = found.get(layer.name, (low, high))
            found[layer.name] = min(low, before[0]), max(high, before[1])
    return found


def _extremes(program: Program, layer: Layer, inputs: Int64Array, trace: Trace) -> tuple[int, int]:
    network, node = program.network, layer.node
    assert isinstance(node, Neuron | Output) and node.bias is not None
    ndim = 1 + len(layer.shape)
    v: Int64Array = np.zeros((len(inputs), *layer.shape), np.int64)
    if isinstance(node, Neuron):
        v = v + linear_ops.per_channel(node.v0, ndim)
    low, high = int(v.min()), int(v.max())
    for t in range(trace.steps):
        values = {name: spikes[:, t].astype(np.int64) for name, spikes in trace.spikes.items()}
        values[network.input.name] = network.stimulus(inputs, t)
        v = v + linear_ops.project(layer.projections, values)
        if network.injects(t):
            share = window_share(node.bias, t, network.window)
            v = v + linear_ops.per_channel(share, ndim)
        low, high = min(low, int(v.min())), max(high, int(v.max()))
        if isinstance(node, Neuron):
            fired = values[layer.name]
            if network.reset == "hard":
                v = np.where(fired > 0, 0, v)
            else:
                v = v - linear_ops.per_channel(node.threshold, ndim) * fired
    return low, high
