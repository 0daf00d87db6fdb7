"""The integer quantized ANN: what the spiking network must settle to, neuron by neuron.

    a = sum of W q over the branches, plus the bias
    y = clip(floor((a + v0) / theta), 0, L)

with the same rounded weights, thresholds, biases and v0 as the spiking network. The input
counts as `window` times its grid integer, since it is injected that many times.
"""

from __future__ import annotations

from dataclasses import dataclass

from snndeploy import linear_ops
from snndeploy.layers import layers
from snndeploy.network import Network, require_integer
from snndeploy.nodes import MaxPool2d, Neuron, Output
from snndeploy.numerics import Int64Array, settled_count


@dataclass(frozen=True, eq=False)
class IntegerAnnResult:
    """Counts (N, *shape) of every layer of neurons and every pool, and logits (N, classes)."""

    counts: dict[str, Int64Array]
    logits: Int64Array


def integer_ann(network: Network, inputs: Int64Array) -> IntegerAnnResult:
    """Evaluate the integer quantized ANN on grid integers (N, *input shape), int64.

    Source: QCFS (Bu et al. 2022), eq. 15, with integer weights and thresholds.
    """
    require_integer(network)
    values: dict[str, Int64Array] = {}
    for layer in layers(network):
        node = layer.node
        if layer.kind == "input":
            values[layer.name] = inputs * network.window
            continue
        total = linear_ops.project(layer.projections, values)
        if isinstance(node, MaxPool2d):
            values[layer.name] = linear_ops.max_pool(total, node.kernel, node.stride, node.padding)
        elif isinstance(node, Neuron):
            bias, v0, theta = (
                linear_ops.per_channel(a, total.ndim) for a in (node.bias, node.v0, node.threshold)
            )
            values[layer.name] = settled_count(total + bias, v0, theta, node.levels)
        elif isinstance(node, Output):
            assert node.bias is not None
            values[layer.name] = total + linear_ops.per_channel(node.bias, total.ndim)
    logits = values.pop(network.output.name)
    del values[network.input.name]
    return IntegerAnnResult(values, logits)
