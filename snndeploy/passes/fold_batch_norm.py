"""Batch normalisation into the weights before it.

gamma * (W x + b - mean) / sqrt(variance + epsilon) + beta
    = (W * g) x + ((b - mean) * g + beta),    g = gamma / sqrt(variance + epsilon)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from snndeploy.errors import UnsupportedModelError
from snndeploy.network import Network
from snndeploy.nodes import BatchNorm, Conv2d, Linear, Node
from snndeploy.passes.base import Pass


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Fold every `BatchNorm` into the `Conv2d` or `Linear` that alone feeds it."""

    name: ClassVar[str] = "fold-batch-norm"

    def rewrite(self, network: Network) -> Network:
        """A network without `BatchNorm`."""
        for norm in [n for n in network.nodes if isinstance(n, BatchNorm)]:
            source = network.by_name[network.sources[norm.name][0]]
            if not isinstance(source, Conv2d | Linear) or len(network.targets[source.name]) > 1:
                raise UnsupportedModelError(
                    f"follows '{source.name}', a {type(source).__name__}, and cannot be folded",
                    where=f"BatchNorm '{norm.name}'",
                    remedy="put it directly behind a convolution or linear layer that feeds "
                    "nothing else",
                )
            network = remove_node(network, norm, folded(source, norm))
        return network


def folded(layer: Conv2d | Linear, norm: BatchNorm) -> Conv2d | Linear:
    """The layer with the normalisation in its weight and bias."""
    gain = norm.gamma / np.sqrt(norm.variance + norm.epsilon)
    bias = np.zeros_like(gain) if layer.bias is None else layer.bias
    weight = layer.weight * gain.reshape(-1, *(1,) * (layer.weight.ndim - 1))
    return replace(layer, weight=weight, bias=(bias - norm.mean) * gain + norm.beta)


def remove_node(network: Network, gone: Node, replacement: Node) -> Network:
    """Drop `gone`; its one source, as `replacement`, feeds what it fed."""
    nodes = [
        replacement if n.name == replacement.name else n
        for n in network.nodes
        if n.name != gone.name
    ]
    edges = [
        (replacement.name if a == gone.name else a, b) for a, b in network.edges if b != gone.name
    ]
    return network.rewrite(nodes, edges)
