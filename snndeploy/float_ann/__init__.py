"""The float quantized ANN in float64: what the integer one, and so the spikes, come from.

    y = clip(floor(x / s + shift), 0, L),    s = ceiling / levels,    the value is offset + s * y

Counts are kept for every layer, to hold those of `integer_ann` against them. `walk` evaluates any
folded float network layer by layer, `responses` says what activations make of what arrives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from snndeploy.float_ann.responses import pass_station
from snndeploy.float_ann.walk import Walk
from snndeploy.network import Network
from snndeploy.nodes import Activation, Array, MaxPool2d, Node
from snndeploy.numerics import FloatArray, Int64Array


@dataclass(frozen=True, eq=False)
class FloatAnnResult:
    """Counts (N, *shape) of every activation and of the pools behind, and logits (N, classes)."""

    counts: dict[str, Int64Array]
    logits: FloatArray


@torch.inference_mode()
def float_ann(network: Network, inputs: Array) -> FloatAnnResult:
    """Evaluate a float network on inputs (N, *input shape) in the model's units.

    Args:
        network: folded, its max-pools behind the activations.
        inputs: already on the input grid, if there is one.

    Source: QCFS (Bu et al. 2022), eq. 15.

    Raises:
        UnsupportedModelError: a node that has no place in a folded float network.
    """
    walk = Walk(network, np.asarray(inputs), dtype=torch.float64)
    counts: dict[str, Int64Array] = {}
    for node in walk.stations():
        pass_station(walk, node)
        activation = _counted(network, node)
        if activation is not None:
            step = activation.ceiling / activation.levels
            count = (walk.value(node.name) - activation.offset) / step
            counts[node.name] = count.round().to(torch.int64).numpy()
    return FloatAnnResult(counts, walk.value(network.output.name).numpy())


def _counted(network: Network, node: Node) -> Activation | None:
    """The activation whose counts a node's values stand for."""
    while isinstance(node, MaxPool2d):
        node = network.by_name[network.sources[node.name][0]]
    return node if isinstance(node, Activation) else None
