"""Quantizers where a network can have them: one activation right behind what it quantizes.

Exporters put a quantizer wherever a value is stored, also behind a pool, on the model's input and
on its logits. With A for the activation that it becomes, these rules keep every value as it is:

    input -> A                    the grid of the input
    max-pool or flatten -> A      A first: it is monotone, and the same for all elements
    ReLU -> A, A -> ReLU          A without the counts that the ReLU takes away
    A -> pools, flattens -> A'    without A', if its grid holds that of A
    A -> output                   without A, which is told: it would only blur the logits
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import floor, inf

from snndeploy.nodes import Activation, Concat, Flatten, Grid, Input, MaxPool2d, Node, Output, Relu


def staircase(name: str, grid: Grid) -> Activation:
    """The quantizer to the values of a grid, as an activation.

    It rounds halves up, where PyTorch and ONNX round them to even.
    """
    levels = grid.high - grid.low
    low, s = grid.low, grid.scale
    return Activation(name, s * levels, levels, 0.5 - low, s * low)


@dataclass
class Placed:
    """A graph under these rules.

    Attributes:
        nodes, sources: by name, in any order.
        grids: of the activations that stand for quantizers.
        clipped: the activations that took over the bounds of a ReLU.
        dropped: names of the quantizers on the logits.
    """

    nodes: dict[str, Node]
    sources: dict[str, list[str]]
    grids: dict[str, Grid]
    clipped: set[str] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)

    @staticmethod
    def of(
        nodes: Iterable[Node], edges: Iterable[tuple[str, str]], grids: dict[str, Grid]
    ) -> Placed:
        """The graph after all rules.

        Args:
            nodes, edges: of the network as the model has it.
            grids: of each activation that stands for a quantizer, by name.
        """
        by_name = {node.name: node for node in nodes}
        sources: dict[str, list[str]] = {name: [] for name in by_name}
        for source, target in edges:
            sources[target].append(source)
        graph = Placed(by_name, sources, dict(grids))
        rules = (
            graph._on_input,
            graph._on_grid,
            graph._before_output,
            graph._behind_relu,
            graph._behind_pool,
            graph._before_relu,
        )
        while any(
            rule(name) for name in list(graph.grids) for rule in rules if name in graph.grids
        ):
            pass
        return graph

    @property
    def edges(self) -> Iterator[tuple[str, str]]:
        """(source, target) names."""
        return ((source, name) for name in self.nodes for source in self.sources[name])

    def _readers(self, name: str) -> list[str]:
        return [reader for reader, sources in self.sources.items() if name in sources]

    def _bypass(self, name: str) -> None:
        """Let what reads a node read its source, and forget it."""
        (source,) = self.sources.pop(name)
        for sources in self.sources.values():
            sources[:] = [source if s == name else s for s in sources]
        del self.nodes[name]
        self.grids.pop(name, None)

    def _prune(self, name: str) -> None:
        """Forget a node that nobody reads any more."""
        if not self._readers(name):
            del self.nodes[name], self.sources[name]
            self.grids.pop(name, None)

    def _on_input(self, name: str) -> bool:
        (source,) = self.sources[name]
        node, readers = self.nodes[source], self._readers(source)
        if not isinstance(node, Input) or node.grid is not None:
            return False
        if any(self.grids.get(reader) != self.grids[name] for reader in readers):
            return False
        self.nodes[source] = replace(node, grid=self.grids[name])
        for reader in readers:
            self._bypass(reader)
        return True

    def _on_grid(self, name: str) -> bool:
        if not self._is_on(self.sources[name][0], self.grids[name]):
            return False
        self._bypass(name)
        return True

    def _is_on(self, name: str, grid: Grid) -> bool:
        """Whether the values of a node are among those of a grid."""
        node = self.nodes[name]
        if isinstance(node, MaxPool2d | Flatten | Concat):
            return all(self._is_on(source, grid) for source in self.sources[name])
        found = node.grid if isinstance(node, Input) else self.grids.get(name)
        if found is None or found.scale != grid.scale:
            return False
        return grid.low <= found.low and found.high <= grid.high

    def _before_output(self, name: str) -> bool:
        (source,), readers = self.sources[name], self._readers(name)
        if name in self.clipped or isinstance(self.nodes[source], Relu):
            return False
        while len(readers) == 1 and isinstance(self.nodes[readers[0]], Flatten):
            readers = self._readers(readers[0])
        if len(readers) != 1 or not isinstance(self.nodes[readers[0]], Output):
            return False
        self.dropped.append(name)
        self._bypass(name)
        return True

    def _behind_relu(self, name: str) -> bool:
        """The bounds of a ReLU before an activation are taken over into it."""
        (source,) = self.sources[name]
        relu = self.nodes[source]
        if not isinstance(relu, Relu) or not self._narrow(name, name, relu):
            return False
        self.sources[name] = list(self.sources[source])
        self._prune(source)
        return True

    def _before_relu(self, name: str) -> bool:
        """A ReLU behind an activation becomes one with fewer counts."""
        for reader in self._readers(name):
            relu = self.nodes[reader]
            if isinstance(relu, Relu) and self._narrow(reader, name, relu, exact=True):
                self.sources[reader] = list(self.sources[name])
                self._prune(name)
                return True
        return False

    def _narrow(self, name: str, of: str, relu: Relu, exact: bool = False) -> bool:
        """Make `name` the activation `of` without what a ReLU takes away."""
        grid = self.grids[of]
        top = min(grid.high, inf if relu.cap is None else relu.cap / grid.scale)
        low, high = max(grid.low, 0), floor(top + 0.5)
        if low >= high or (exact and top != high):
            return False
        self.clipped.add(name)
        self.grids[name] = Grid(grid.scale, low, high)
        self.nodes[name] = staircase(name, self.grids[name])
        return True

    def _behind_pool(self, name: str) -> bool:
        """An activation behind a pool or flatten that nobody else reads changes places with it."""
        (source,) = self.sources[name]
        if not isinstance(self.nodes[source], MaxPool2d | Flatten):
            return False
        if self._readers(source) != [name]:
            return False
        for sources in self.sources.values():
            sources[:] = [source if s == name else s for s in sources]
        self.sources[name], self.sources[source] = self.sources[source], [name]
        return True
