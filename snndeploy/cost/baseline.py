"""The baseline: the same quantized ANN on a digital accelerator, at batch 1.

Dense, or skipping multiplications by zero activations. Memory traffic assumes perfect reuse:
each weight is read once, each activation written once and read once by every branch, from the
smallest memory that holds all of the layer's. That is a lower bound, which favours the ANN.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from snndeploy import linear_ops
from snndeploy.connectivity import dense_operations, fan_out
from snndeploy.cost.estimate import Estimate
from snndeploy.cost.prices import INTERVALS, held_by, resampled, terms
from snndeploy.cost.quantity import ZERO
from snndeploy.errors import ProfileError
from snndeploy.hardware import HardwareProfile
from snndeploy.layers import Layer, Projection, layers
from snndeploy.measure.activity import require_spikes
from snndeploy.measure.events import weighted
from snndeploy.measure.synapses import pooled_values
from snndeploy.network import Network, require_integer
from snndeploy.nodes import Conv2d, Linear, Neuron, Output, Scale, SumPool2d
from snndeploy.numerics import FloatArray, Int64Array
from snndeploy.program import Program
from snndeploy.trace import Trace

Counts = Mapping[str, Int64Array]


def estimate_ann(
    network: Network, profile: HardwareProfile, trace: Trace | None = None
) -> Estimate:
    """Price the integer quantized ANN that a spiking network settles to.

    Args:
        network: an integer network.
        profile: of kind `ann`.
        trace: a settled run with spikes, whose net counts are the ANN's activations: the zeros
            among them are skipped. None for a dense accelerator. The input is always dense.

    Raises:
        ProfileError: the profile is that of a spiking chip.
        UnsupportedModelError: the network is a float network.
        DataError: the trace is empty or did not record its spikes.
    """
    if profile.kind != "ann":
        raise ProfileError(
            "describes a spiking chip, not an accelerator for ANNs",
            where=f"profile '{profile.name}'",
            remedy="use estimate",
        )
    require_integer(network)
    counts: Counts | None = None
    if trace is not None:
        require_spikes(Program(network), trace)
        counts = trace.counts
    each = {x.name: _layer_counts(network, x, counts) for x in layers(network)[1:]}
    notes = [INTERVALS]
    if profile.scope == "per_op":
        notes += [
            f"{profile.limits.weight_bits} bits, batch 1, perfect reuse: each weight and "
            "activation moves once; favours the ANN",
            "requantization and control left out; no static power: taken as 0",
        ]
    if trace is not None and not trace.settled.all():
        notes.append("some samples had not settled: their zeros may not be the ANN's")
    if profile.notes:
        notes.append(profile.notes.strip())
    return Estimate(
        profile=profile.name,
        title=f"ANN, {'zeros skipped' if trace is not None else 'dense'} ({profile.title})",
        boundary=profile.boundary,
        kind="ann",
        samples=1 if trace is None else len(trace),
        terms=terms(profile, resampled(each), held=held_by(network, profile)),
        static_pj=ZERO,
        latency_us=None,
        notes=tuple(notes),
    )


def _layer_counts(network: Network, layer: Layer, counts: Counts | None) -> dict[str, FloatArray]:
    """Events of each sample; of one where nothing depends on the samples."""
    samples = 1 if counts is None else len(next(iter(counts.values())))
    names = ("mac", "bias", "compare", "weight_read", "activation_access")
    total = {name: np.zeros(samples) for name in names}
    total["activation_access"] += layer.neurons
    for projection in layer.projections:
        shape = network.shapes[projection.source]
        total["activation_access"] += prod(shape)
        if layer.kind == "max_pool":
            total["compare"] += pooled_values(layer, shape)
            continue
        values = counts.get(projection.source) if counts is not None else None
        _add_projection(total, projection, shape, values)
    node = layer.node
    if isinstance(node, Neuron | Output) and node.bias is not None:
        share = float(np.count_nonzero(node.bias) / len(node.bias))
        total["bias"] += layer.neurons * (share + len(layer.projections) - 1)
    return total


def _add_projection(
    total: dict[str, FloatArray],
    projection: Projection,
    shape: tuple[int, ...],
    values: Int64Array | None,
) -> None:
    """Walk the linear nodes: pools add, weighted nodes multiply what is not zero."""
    for op in projection.ops:
        step = Projection(projection.source, (op,))
        if isinstance(op, SumPool2d):
            total["bias"] += dense_operations(step, shape)
        elif isinstance(op, Conv2d | Linear | Scale):
            reach = fan_out(step, shape)
            total["mac"] += int(reach.sum()) if values is None else weighted(values != 0, reach)
            total["weight_read"] += op.weight.size
        if values is not None:
            values = linear_ops.apply(op, values)
        shape = op.output_shape([shape])
