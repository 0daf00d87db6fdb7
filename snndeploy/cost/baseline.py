"""The baseline: the same quantized ANN on a digital int8 accelerator, at batch 1.

Dense, or skipping multiplications by zero activations. Memory traffic assumes perfect reuse:
each weight is read once, each activation written once and read once by every branch. That is a
lower bound, which favours the ANN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snndeploy import linear_ops
from snndeploy.connectivity import dense_operations, fan_out
from snndeploy.cost.estimate import Estimate
from snndeploy.cost.prices import ENVELOPE, terms
from snndeploy.errors import DataError, ProfileError, UnsupportedModelError
from snndeploy.hardware import HardwareProfile
from snndeploy.layers import Layer, Projection, layers
from snndeploy.measure.synapses import pooled_values
from snndeploy.network import WEIGHTED, Network, Neuron, Output, SumPool2d
from snndeploy.numerics import Int64Array

Counts = Mapping[str, Int64Array]


def estimate_ann(
    network: Network, profile: HardwareProfile, counts: Counts | None = None
) -> Estimate:
    """Price the integer quantized ANN that a spiking network settles to.

    Args:
        network: an integer network.
        profile: of kind `ann`.
        counts: settled counts (N, *shape) by layer, such as `trace.counts` of a settled run, to
            skip the zeros among them. The input is taken as dense unless it is there as well.

    Raises:
        ProfileError: the profile is that of a spiking chip.
        UnsupportedModelError: the network is a float network.
        DataError: counts are given, but not for every layer that feeds another.
    """
    if profile.kind != "ann":
        raise ProfileError(
            "describes a spiking chip, not an accelerator for ANNs",
            where=f"profile '{profile.name}'",
            remedy="use estimate",
        )
    if not network.is_integer:
        raise UnsupportedModelError(
            "is a float network", where=f"network '{network.name}'", remedy="convert it first"
        )
    found = layers(network)
    if counts is not None:
        _check_counts(found, counts)
    by_layer = {layer.name: _layer_counts(network, layer, counts) for layer in found[1:]}
    notes = [
        ENVELOPE,
        "int8, batch 1, perfect reuse: each weight and activation moves once; favours the ANN",
        "requantization, control and static power left out: compare dynamic energies",
        "zero activations skipped" if counts is not None else "dense",
    ]
    samples = len(next(iter(counts.values()))) if counts else 1
    return Estimate(
        profile=profile.name,
        title=profile.title,
        boundary=profile.boundary,
        kind="ann",
        samples=samples,
        terms=terms(profile, by_layer),
        static_pj=None,
        latency_us=None,
        notes=tuple(notes),
    )


def _check_counts(found: tuple[Layer, ...], counts: Counts) -> None:
    missing = [x.name for x in found if x.kind in ("neurons", "max_pool") and x.name not in counts]
    if missing or not all(len(c) for c in counts.values()):
        raise DataError(
            f"lack layers {missing}" if missing else "hold no samples",
            where="counts",
            remedy="use the counts of a run that recorded its spikes",
        )


def _layer_counts(network: Network, layer: Layer, counts: Counts | None) -> dict[str, float]:
    total = {"mac": 0.0, "bias": 0.0, "compare": 0.0, "weight_read": 0.0}
    total["activation_access"] = float(layer.neurons)
    for projection in layer.projections:
        shape = network.shapes[projection.source]
        total["activation_access"] += float(np.prod(shape))
        if layer.kind == "max_pool":
            total["compare"] += pooled_values(layer, shape)
            continue
        values = counts.get(projection.source) if counts is not None else None
        _add_projection(total, projection, shape, values)
    node = layer.node
    if isinstance(node, Neuron | Output) and node.bias is not None:
        share = np.count_nonzero(node.bias) / len(node.bias)
        total["bias"] += layer.neurons * (share + len(layer.projections) - 1)
    return total


def _add_projection(
    total: dict[str, float],
    projection: Projection,
    shape: tuple[int, ...],
    values: Int64Array | None,
) -> None:
    """Walk the linear nodes: pools add, weighted nodes multiply what is not zero."""
    for op in projection.ops:
        step = Projection(projection.source, (op,))
        if isinstance(op, SumPool2d):
            total["bias"] += dense_operations(step, shape)
        elif isinstance(op, WEIGHTED):
            reach = fan_out(step, shape)
            if values is None:
                total["mac"] += int(reach.sum())
            else:
                total["mac"] += int(((values != 0) * reach).sum()) / len(values)
            total["weight_read"] += op.weight.size
        if values is not None:
            values = linear_ops.apply(op, values)
        shape = op.output_shape([shape])
