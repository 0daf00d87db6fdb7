"""How far the integers of a layer are from the weights and biases that they stand for."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from snndeploy.layers import Layer, Projection, constant, count_worths, pooled
from snndeploy.network import Network
from snndeploy.nodes import Neuron, Output, Scale
from snndeploy.numerics import FloatArray


def rounding(
    float_network: Network, before: Layer, network: Network, after: Layer
) -> tuple[float, float]:
    """Relative root mean square of the rounding of a layer's weights, and of its biases.

    Args:
        float_network: that `before` is a layer of.
        network: its integer form, that `after` is the same layer of.
    """
    node = after.node
    if not isinstance(node, Neuron | Output):
        return 0.0, 0.0
    unit = np.full(after.shape[0], node.scale)
    if isinstance(node, Neuron):
        unit = unit / node.threshold
    worths = count_worths(network)
    exact = np.concatenate([m for _, m in _weights(before)], axis=1)
    rounded = np.concatenate([m / worths[name] for name, m in _weights(after)], axis=1)
    bias = constant(float_network, before.name)
    assert node.bias is not None
    return _relative(rounded * unit[:, None] - exact, exact), _relative(
        node.bias * unit - bias, bias
    )


def _weights(layer: Layer) -> list[tuple[str, FloatArray]]:
    """Source and weights (C, K) of each branch, in an order that conversion and files keep.

    The identity branches of one source, and the synapses that share one, are added up.
    """
    found: dict[tuple[str, str], FloatArray] = defaultdict(lambda: np.zeros(1))
    for projection in layer.projections:
        op = projection.weighted
        key = (projection.source, "" if op is None or isinstance(op, Scale) else op.name)
        found[key] = found[key] + _matrix(projection, layer.shape[0])
    return [(source, found[source, name]) for source, name in sorted(found)]


def _matrix(projection: Projection, channels: int) -> FloatArray:
    """The weights of a projection, (C, K), as they act on the mean over its sum pools."""
    op = projection.weighted
    weights = np.ones(channels) if op is None else op.weight.astype(np.float64)
    rows: FloatArray = weights.reshape(channels, -1) * pooled(projection)
    return rows


def _relative(error: FloatArray, exact: FloatArray) -> float:
    """Root mean square of `error` relative to that of `exact`; 0 where there is no error."""
    size = float(np.sqrt((exact**2).mean()))
    found = float(np.sqrt((error**2).mean()))
    return found / size if size else found
