"""The network under construction while ATen operators are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snndeploy.frontends.reading import Unsupported, identifier
from snndeploy.nodes import Grid, Node, Padding, Pair, Sides, sides


@dataclass
class Builder:
    """The network under construction.

    Attributes:
        parameters: what is stored, and what is computed of it alone, by the name in the graph.
        grids: of the activations that stand for quantizers.
        names: the node that computes what a place in the graph holds.
        pads: zeros around that, which a convolution or pool behind it merges.
    """

    parameters: dict[str, Tensor]
    grids: dict[str, Grid] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)
    names: dict[torch.fx.Node, str] = field(default_factory=dict)
    pads: dict[torch.fx.Node, Sides] = field(default_factory=dict)

    def add(self, fx: torch.fx.Node, make: Callable[[str], Node], *sources: Any) -> None:
        """Add the node that `fx` becomes, `make(name)`, behind its sources."""
        self.put(fx, make, *(self.source(source) for source in sources))

    def put(self, fx: torch.fx.Node, make: Callable[[str], Node], *sources: str) -> None:
        """Add the node that `fx` becomes, `make(name)`, behind nodes."""
        node = make(self._name(fx))
        self.nodes.append(node)
        self.edges.extend((source, node.name) for source in sources)
        self.names[fx] = node.name

    def around(self, x: Any, padding: Padding) -> Padding:
        """The padding of a convolution or pool, and what is around its operand already."""
        outer, (top, left, bottom, right) = sides(padding), self.pads.get(x, (0, 0, 0, 0))
        return outer[0] + top, outer[1] + left, outer[2] + bottom, outer[3] + right

    def alias(self, fx: torch.fx.Node, source: torch.fx.Node) -> None:
        """`fx` changes nothing: let it stand for its source."""
        self.names[fx] = self.value(source)
        if source in self.pads:
            self.pads[fx] = self.pads[source]

    def value(self, fx: Any) -> str:
        """The name of the node that computes an operand, but for zeros around it."""
        if fx not in self.names:
            raise Unsupported("an operand is not computed from the model's input")
        return self.names[fx]

    def source(self, fx: Any) -> str:
        """The name of the node that computes an operand."""
        if fx in self.pads:
            raise Unsupported("reads a padded value: only convolutions and average pools can")
        return self.value(fx)

    def tensor(self, argument: Any) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """A parameter or buffer as float64, or None where the argument is None."""
        if argument is None:
            return None
        if not isinstance(argument, torch.fx.Node) or argument.name not in self.parameters:
            raise Unsupported("its weights are computed, not stored")
        return self.parameters[argument.name].detach().double().numpy()

    def stored(self, argument: Any) -> Tensor | None:
        """A parameter, a buffer, or what is computed of them alone; None for other operands."""
        known = isinstance(argument, torch.fx.Node) and argument.name in self.parameters
        return self.parameters[argument.name] if known else None

    def number(self, argument: Any) -> float:
        """A number that is stated, or stored as a tensor of one element."""
        stored = self.stored(argument)
        if stored is not None and stored.numel() == 1:
            return float(stored.item())
        if not isinstance(argument, int | float):
            raise Unsupported("its scale or zero point is not one stored number")
        return float(argument)

    def shape(self, fx: torch.fx.Node) -> tuple[int, ...]:
        """The shape of its value in the model, batch included."""
        return tuple(int(n) for n in fx.meta["val"].shape)

    def spatial(self, fx: torch.fx.Node, x: Any) -> int:
        """1 or 2, the spatial dimensions of an operator on signals or images and of its operand."""
        dims = 1 if "1d" in str(fx.target) else 2
        if len(self.shape(x)) != dims + 2:
            kind = "signals (N, C, W)" if dims == 1 else "images (N, C, H, W)"
            raise Unsupported(f"works on {kind}, not on {self.shape(x)}")
        return dims

    def _name(self, fx: torch.fx.Node) -> str:
        """The module's path in the model if it is free, else the operator's name."""
        stack = fx.meta.get("nn_module_stack") or {}
        path = str(list(stack.values())[-1][0]) if stack else ""
        return self.free(path, fx.name, f"{path}_{fx.name}")

    def free(self, *candidates: str) -> str:
        """The first that is a free name once it is spelled as an identifier, or a numbered one."""
        taken = {node.name for node in self.nodes}
        return identifier((*candidates, f"{candidates[-1]}_{len(taken)}"), taken)


def pair(value: int | Sequence[int], dims: int, height: int) -> Pair:
    """Along height and width; `height` where there is only a width."""
    first, last = (value, value) if isinstance(value, int) else (value[0], value[-1])
    return (first if dims == 2 else height), last
