"""Activations of many levels back to what their levels stand for, before they get few.

An activation of 255 levels on a grid from 0 upwards is a ReLU with a cap. One with negative levels,
or one whose inputs are never negative, only rounds: it vanishes if no two weighted nodes meet then.
Integer models round so in front of each residual sum and behind each average pool; as neurons,
those roundings would cost steps and accuracy, and compute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snndeploy.network import Network
from snndeploy.nodes import Activation, AvgPool2d, Conv2d, Flatten, Input, Linear, MaxPool2d, Relu
from snndeploy.passes.base import Pass


@dataclass(frozen=True)
class RemoveLevels(Pass):
    """Make `Relu`s of activations with more than `above` levels, or nothing where they only round.

    Activations that are neither, such as those with negative levels between two convolutions, keep
    their levels.
    """

    above: int
    name: ClassVar[str] = "remove-levels"

    def rewrite(self, network: Network) -> Network:
        """A float network; the values change by the rounding that is left out."""
        for node in network.nodes:
            if isinstance(node, Activation) and node.levels > self.above:
                if _only_rounds(network, node):
                    network = _without(network, node.name)
                elif node.offset == 0 and 0 <= node.shift <= 1:
                    relu = Relu(node.name, node.ceiling)
                    network = network.rewrite([relu if n is node else n for n in network.nodes])
        return network


def _only_rounds(network: Network, node: Activation) -> bool:
    above, below = _weights_above(network, node.name), _weights_below(network, node.name)
    signed = node.offset < 0 and node.levels > 1
    return (signed or _is_positive(network, node.name)) and below >= 0 and above + below <= 1


def _is_positive(network: Network, name: str) -> bool:
    """Whether what arrives at a node is an activation's value, or a pool of it."""
    source = network.by_name[network.sources[name][0]]
    if isinstance(source, AvgPool2d | MaxPool2d | Flatten):
        return _is_positive(network, source.name)
    if isinstance(source, Activation):
        return source.offset >= 0
    return isinstance(source, Relu)


def _weights_above(network: Network, name: str) -> int:
    """The most weighted nodes on a way from the activations above."""
    most = 0
    for source in network.sources[name]:
        node = network.by_name[source]
        if not isinstance(node, Activation | Relu | MaxPool2d | Input):
            own = isinstance(node, Conv2d | Linear)
            most = max(most, own + _weights_above(network, source))
    return most


def _weights_below(network: Network, name: str) -> int:
    """The most weighted nodes on a way to the activations below; -9 if a max-pool is the first."""
    most = 0
    for target in network.targets[name]:
        node = network.by_name[target]
        if isinstance(node, MaxPool2d):
            return -9
        if not isinstance(node, Activation | Relu):
            own = isinstance(node, Conv2d | Linear)
            found = _weights_below(network, target)
            if found < 0:
                return -9
            most = max(most, own + found)
    return most


def _without(network: Network, name: str) -> Network:
    """The network in which the source of a node takes its place."""
    source = network.sources[name][0]
    edges = [(source if a == name else a, b) for a, b in network.edges if b != name]
    return network.rewrite([n for n in network.nodes if n.name != name], edges)
