"""Batch normalisation into the weights before it.

gamma * (W x + b - mean) / sqrt(variance + epsilon) + beta
    = (W * g) x + ((b - mean) * g + beta),    g = gamma / sqrt(variance + epsilon)

It passes through an average pool without padding, and through a sum:

    g * mean(x) + h = mean(g * x + h),    g * (x + y) + h = (g * x + h) + g * y

Weights that something else reads, too, are copied. A norm on spikes or on the input becomes a
depthwise convolution with kernels of one pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from snndeploy.errors import UnsupportedModelError
from snndeploy.network import Network
from snndeploy.nodes import Add, AvgPool2d, BatchNorm, Conv2d, Linear, Node
from snndeploy.numerics import FloatArray
from snndeploy.passes.base import Pass
from snndeploy.passes.graph import Graph


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Fold every `BatchNorm` into the weights above it."""

    name: ClassVar[str] = "fold-batch-norm"

    def rewrite(self, network: Network) -> Network:
        """A network without `BatchNorm`.

        Raises:
            UnsupportedModelError: a norm on flat values that no weights compute.
        """
        folder = _Folder(network)
        for node in network.nodes:
            folder.names[node.name] = folder.apply(node)
        return folder.graph.network(network)


class _Folder:
    """Builds the new network, node by node of the old one.

    Attributes:
        names: what computes the value of a node of the old network in the new one.
    """

    def __init__(self, network: Network) -> None:
        self.old, self.graph = network, Graph.beside(network)
        self.names: dict[str, str] = {}

    def apply(self, node: Node) -> str:
        """Add a node, or change what is above a norm; the name of what computes its value."""
        self.graph.reserved.discard(node.name)
        sources = [self.names[source] for source in self.old.sources[node.name]]
        if not isinstance(node, BatchNorm):
            return self.graph.append(node.name, node, sources)
        gain: FloatArray = node.gamma / np.sqrt(node.variance + node.epsilon)
        return self._fold(node.name, sources[0], gain, node.beta - node.mean * gain)

    def _fold(
        self, norm: str, above: str, gain: FloatArray, shift: FloatArray, alone: bool = True
    ) -> str:
        """Make `g * x + h` of the value x of `above`: of itself if it is `alone`, else beside."""
        graph, alone = self.graph, alone and self._read_once(above)
        node, sources = graph.nodes[above], graph.sources[above]
        even = isinstance(node, AvgPool2d) and node.padding == (0, 0)
        if isinstance(node, Conv2d | Linear):
            node = folded(node, gain, shift)
        elif isinstance(node, Add) or even or graph.only_renames(above):
            shifts = (shift, *(np.zeros_like(shift),) * (len(sources) - 1))
            sources = tuple(
                self._fold(norm, source, gain, h, alone)
                for source, h in zip(sources, shifts, strict=True)
            )
        elif len(graph.shapes[above]) == 3:
            weight = gain.reshape(-1, 1, 1, 1)
            return graph.append(norm, Conv2d(norm, weight, shift, groups=len(weight)), [above])
        else:
            raise UnsupportedModelError(
                f"follows '{above}', a {type(node).__name__}, and cannot be folded",
                where=f"BatchNorm '{norm}'",
                remedy="put it directly behind a linear layer",
            )
        if not alone:
            return graph.append(f"{above}_{norm}", node, sources)
        graph.nodes[above], graph.sources[above] = node, sources
        return above

    def _read_once(self, name: str) -> bool:
        """Whether only one node of the old network reads what `name` computes."""
        users = [len(self.old.targets[old]) for old, new in self.names.items() if new == name]
        return bool(users) and max(users) == 1


def folded(layer: Conv2d | Linear, gain: FloatArray, shift: FloatArray) -> Conv2d | Linear:
    """The layer with `g * x + h` in its weight and bias."""
    bias = shift if layer.bias is None else layer.bias * gain + shift
    weight = layer.weight * gain.reshape(-1, *(1,) * (layer.weight.ndim - 1))
    return replace(layer, weight=weight, bias=bias)
