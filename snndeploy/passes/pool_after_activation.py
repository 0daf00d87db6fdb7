"""Max-pools behind their activation, where they pool spike counts.

A ReLU and a quantized activation with one ceiling a layer are monotone, so

    activation(max_pool(x)) = max_pool(activation(x)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snndeploy.network import Network
from snndeploy.nodes import Activation, MaxPool2d, Node, Relu
from snndeploy.passes.base import Pass


@dataclass(frozen=True)
class PoolAfterActivation(Pass):
    """Swap each `MaxPool2d` with the activation that alone follows it."""

    name: ClassVar[str] = "pool-after-activation"

    def rewrite(self, network: Network) -> Network:
        """A network in which no activation directly follows a max-pool."""
        while (pair := _first_pair(network)) is not None:
            pool, activation = pair[0].name, pair[1].name
            renamed = {pool: activation, activation: pool}
            edges: list[tuple[str, str]] = []
            for a, b in network.edges:
                if b == pool:
                    edges.append((a, activation))
                elif a == pool:
                    edges.append((activation, pool))
                else:
                    edges.append((renamed.get(a, a), b))
            network = network.rewrite(network.nodes, edges)
        return network


def _first_pair(network: Network) -> tuple[Node, Node] | None:
    for node in network.nodes:
        if isinstance(node, MaxPool2d) and len(network.targets[node.name]) == 1:
            follower = network.by_name[network.targets[node.name][0]]
            if isinstance(follower, Activation | Relu):
                return node, follower
    return None
