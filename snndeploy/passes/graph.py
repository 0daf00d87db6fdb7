"""A network under reconstruction: nodes are appended behind what they read, under free names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from snndeploy.network import Network
from snndeploy.nodes import Flatten, Node, Output, Shape


@dataclass
class Graph:
    """Nodes so far, each with its sources and the shape of its value, batch left out.

    Attributes:
        reserved: names that are kept free, those of nodes that are still to come.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    reserved: set[str] = field(default_factory=set)

    @staticmethod
    def beside(network: Network) -> Graph:
        """An empty graph in which the names of `network` are reserved."""
        return Graph(reserved={node.name for node in network.nodes})

    def append(self, name: str, node: Node, sources: Sequence[str]) -> str:
        """Add a node as `name`, with a number behind it if that is taken; the name it got."""
        candidate, number = name, 1
        while candidate in self.nodes or candidate in self.reserved:
            number += 1
            candidate = f"{name}_{number}"
        self.shapes[candidate] = node.output_shape([self.shapes[s] for s in sources])
        self.nodes[candidate] = replace(node, name=candidate)
        self.sources[candidate] = tuple(sources)
        return candidate

    def only_renames(self, name: str) -> bool:
        """Whether a node flattens images of one pixel: the features are the channels."""
        node, sources = self.nodes[name], self.sources[name]
        return isinstance(node, Flatten) and self.shapes[name][0] == self.shapes[sources[0]][0]

    def network(self, before: Network) -> Network:
        """What `before` has become, without the nodes whose value nothing reads."""
        pending = [name for name, node in self.nodes.items() if isinstance(node, Output)]
        used: set[str] = set()
        while pending:
            name = pending.pop()
            if name not in used:
                used.add(name)
                pending.extend(self.sources[name])
        nodes = {name: node for name, node in self.nodes.items() if name in used}
        return before.rewrite(
            nodes.values(), [(source, name) for name in nodes for source in self.sources[name]]
        )
