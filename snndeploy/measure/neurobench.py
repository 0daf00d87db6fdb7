"""NeuroBench's metrics (Yik et al. 2025), by its definitions, of a run of an integer network.

They differ from the hardware's counts: every layer is called at every step, so the analog input is
multiplied at each step of its window; zero weights do not count; an operation is an accumulation
only if every input value of the call is -1, 0 or 1, so sums of a pool make multiplications; and
biases, pools, packets and memory are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from snndeploy import linear_ops
from snndeploy.errors import DataError
from snndeploy.layers import Projection
from snndeploy.measure.activity import require_spikes
from snndeploy.network import require_integer
from snndeploy.nodes import Conv2d, Linear, Neuron, Output
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.trace import Trace

_WORD_BYTES = 4


@dataclass(frozen=True)
class NeuroBenchMetrics:
    """NeuroBench's figures, means over the samples.

    Attributes:
        footprint_bytes: weights in the profile's words (8 bits without one), thresholds, biases
            and initial membranes in 32 bits.
        connection_sparsity: share of the weights of convolutions and linear layers that is 0.
        activation_sparsity: share of neurons and steps without a spike.
        dense: operations, had no weight and no input been 0.
        effective_macs, effective_acs: operations of what is not 0.
        membrane_updates: neurons times steps, each membrane being advanced at every step.
    """

    footprint_bytes: int
    connection_sparsity: float
    activation_sparsity: float
    dense: float
    effective_macs: float
    effective_acs: float
    membrane_updates: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def neurobench_metrics(program: Program, trace: Trace, inputs: Int64Array) -> NeuroBenchMetrics:
    """NeuroBench's metrics of a run; all samples make one batch.

    Args:
        program: whose network was run.
        trace: with spikes.
        inputs: int64 (N, *shape) on the input grid, or (N, F, *shape) step by step.

    Raises:
        UnsupportedModelError: the network is a float network.
        DataError: the trace did not record its spikes, or has other samples than `inputs`.
    """
    require_integer(program.network)
    require_spikes(program, trace)
    if len(inputs) != len(trace):
        raise DataError(f"{len(inputs)} samples, the trace has {len(trace)}", where="inputs")
    tally = {"dense": 0, "macs": 0, "acs": 0}
    for layer in program.layers[1:]:
        for projection in layer.projections if layer.kind != "max_pool" else ():
            for values, running in _calls(program, trace, inputs, projection):
                _count(tally, projection, values, running)
    neurons = sum(x.neurons for x in program.layers if x.kind == "neurons")
    fired = sum(int(np.count_nonzero(trace.spikes[x.name])) for x in _neurons(program))
    steps = int(trace.stop_steps.sum())
    readout = program.layers[-1].neurons
    zeros, weights = _weights(program)
    samples = len(trace)
    return NeuroBenchMetrics(
        footprint_bytes=_footprint(program),
        connection_sparsity=zeros / max(weights, 1),
        activation_sparsity=1.0 - fired / max(neurons * steps, 1),
        dense=tally["dense"] / samples,
        effective_macs=tally["macs"] / samples,
        effective_acs=tally["acs"] / samples,
        membrane_updates=(neurons + readout) * steps / samples,
    )


def _neurons(program: Program) -> list[Any]:
    return [x for x in program.layers if x.kind == "neurons"]


def _calls(
    program: Program, trace: Trace, inputs: Int64Array, projection: Projection
) -> Iterator[tuple[Int64Array, int]]:
    """What reaches a projection at each step, (N, *shape), and how many samples still run."""
    entry, exact = program.network.input, program.network.mode == "exact"
    for t in range(trace.steps):
        rows = trace.stop_steps > t
        if projection.source != entry.name:
            values = trace.spikes[projection.source][:, t].astype(np.int64)
        elif entry.per_step:
            values = inputs[:, t] if t < inputs.shape[1] else np.zeros_like(inputs[:, 0])
        else:
            injected = not exact or t < program.network.window
            values = inputs if injected else np.zeros_like(inputs)
        yield values * rows.reshape(-1, *(1,) * (values.ndim - 1)), int(rows.sum())


def _count(tally: dict[str, int], projection: Projection, values: Int64Array, running: int) -> None:
    """Add the operations of one call."""
    for op in projection.ops:
        if isinstance(op, Conv2d | Linear):
            full = replace(op, weight=np.ones(op.weight.shape, np.int64))
            one = np.ones((1, *values.shape[1:]), np.int64)
            tally["dense"] += running * int(linear_ops.apply(full, one).sum())
            bare = replace(op, weight=(op.weight != 0).astype(np.int64))
            operations = int(linear_ops.apply(bare, (values != 0).astype(np.int64)).sum())
            tally["acs" if (np.abs(values) <= 1).all() else "macs"] += operations
            return
        values = linear_ops.apply(op, values)


def _weights(program: Program) -> tuple[int, int]:
    """Zeros, and all weights, of convolutions and linear layers."""
    found = [n.weight for n in program.network.nodes if isinstance(n, Conv2d | Linear)]
    return sum(int((w == 0).sum()) for w in found), sum(w.size for w in found)


def _footprint(program: Program) -> int:
    bits = (program.profile.limits.weight_bits if program.profile else None) or 8
    total = _weights(program)[1] * -(-bits // 8)
    for node in program.network.nodes:
        if isinstance(node, Neuron):
            total += _WORD_BYTES * (node.threshold.size + node.v0.size + node.bias.size)
        elif isinstance(node, Output) and node.bias is not None:
            total += _WORD_BYTES * node.bias.size
    return int(total)
