"""The integer quantized ANN: what the spiking network must settle to, neuron by neuron.

    a = sum of W q over the branches, plus the bias
    y = clip(floor((a + v0) / theta), 0, L)

with the same rounded weights, thresholds, biases and v0 as the spiking network. A constant input
counts as `window` times its grid integer, since it is injected that many times; one that comes
step by step counts as the sum of its steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snndeploy import linear_ops
from snndeploy.layers import Layer, layers
from snndeploy.network import Network, require_integer
from snndeploy.nodes import MaxPool2d, Neuron, Output
from snndeploy.numerics import Int64Array, settled_count


@dataclass(frozen=True, eq=False)
class IntegerAnnResult:
    """Counts (N, *shape) of every layer of neurons and every pool, and logits (N, classes)."""

    counts: dict[str, Int64Array]
    logits: Int64Array


def integer_ann(network: Network, inputs: Int64Array) -> IntegerAnnResult:
    """Evaluate the integer quantized ANN on grid integers, int64.

    They are (N, *input shape), or (N, F, *input shape) if the input is `per_step`.

    Source: QCFS (Bu et al. 2022), eq. 15, with integer weights and thresholds.
    """
    require_integer(network)
    values: dict[str, Int64Array] = {}
    for layer in layers(network):
        if layer.kind == "input":
            values[layer.name] = network.total_stimulus(inputs)
        else:
            values[layer.name] = layer_value(layer, values)
    logits = values.pop(network.output.name)
    del values[network.input.name]
    return IntegerAnnResult(values, logits)


def layer_value(layer: Layer, values: Mapping[str, Int64Array]) -> Int64Array:
    """One layer's counts, or the readout's logits, from the counts (N, *shape) of its sources."""
    node = layer.node
    total = linear_ops.project(layer.projections, values)
    if isinstance(node, MaxPool2d):
        return linear_ops.max_pool(total, node.kernel, node.stride, node.padding)
    assert isinstance(node, Neuron | Output) and node.bias is not None
    total = total + linear_ops.per_channel(node.bias, total.ndim)
    if isinstance(node, Output):
        return total
    v0, theta = (linear_ops.per_channel(a, total.ndim) for a in (node.v0, node.threshold))
    return settled_count(total, v0, theta, node.levels)
