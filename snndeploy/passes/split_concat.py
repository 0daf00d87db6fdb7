"""Concatenation away: what follows a concat is applied to each of its parts.

    act(cat(a, b))    = cat(act(a), act(b))           norms, pools and flatten likewise
    W cat(a, b) + c   = (W_a a + c) + W_b b           W_a, W_b: slices along the inputs
    cat(a, b) + x     = pad(a) + pad(b) + x           pad: with channels of zeros

So every branch gets a weight grid of its own, fit to what its spikes are worth. A part is padded
by rows of zeros in the weights that computed it, or by an identity matrix with such rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import ClassVar, TypeAlias

import numpy as np

from snndeploy.errors import UnsupportedModelError
from snndeploy.network import Network
from snndeploy.nodes import (
    Add,
    Array,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Linear,
    Node,
    Output,
    Pair,
)
from snndeploy.passes.base import Pass
from snndeploy.passes.graph import Graph


@dataclass(frozen=True)
class SplitConcat(Pass):
    """Rewrite a float network so that no `Concat` is left."""

    name: ClassVar[str] = "split-concat"

    def rewrite(self, network: Network) -> Network:
        """The same function, with sums of branches in place of concats.

        Raises:
            UnsupportedModelError: the groups of a convolution cut across the parts of a concat.
        """
        splitter = _Splitter(Graph.beside(network))
        values: dict[str, Value] = {}
        for node in network.nodes:
            inputs = [values[source] for source in network.sources[node.name]]
            values[node.name] = splitter.apply(node, inputs)
        return splitter.graph.network(network)


@dataclass(frozen=True)
class _Part:
    """Some neighbouring channels of a value, or features of a flat one.

    Attributes:
        node: the node of the new network that computes them.
        size: how many they are.
        label: the branch that a concat took them from, or may take them from.
    """

    node: str
    size: int
    label: str


Value: TypeAlias = tuple[_Part, ...]
"""What a node of the old network computes: one part if there is no concat above it."""


class _Splitter:
    """Builds the new network, node by node of the old one."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def apply(self, node: Node, inputs: list[Value]) -> Value:
        """Add what `node` becomes."""
        self.graph.reserved.discard(node.name)
        if isinstance(node, Concat):
            return tuple(part for value in inputs for part in value)
        if all(len(value) == 1 for value in inputs):
            sources = [value[0].node for value in inputs]
            return (self._part(self.graph.append(node.name, node, sources), node.name),)
        if isinstance(node, Add):
            return self._add(node, inputs)
        (value,) = inputs
        if isinstance(node, Conv2d | Linear):
            return self._weighted(node, value)
        if isinstance(node, Output):
            joined = self._sum(f"{node.name}_sum", "", self._padded_all(value))
            return (self._part(self.graph.append(node.name, node, [joined.node]), node.name),)
        return self._each(node, value)

    def _each(self, node: Node, value: Value) -> Value:
        """A node that treats every channel by itself; once, if a part comes twice."""
        found: list[_Part] = []
        made: dict[tuple[str, int], _Part] = {}
        for part, (start, stop) in zip(value, pairwise(_bounds(value)), strict=True):
            norm = _sliced_norm(node, start, stop) if isinstance(node, BatchNorm) else None
            key = (part.node, start if norm else 0)
            if key not in made:
                name = f"{node.name}_from_{part.label}"
                name = self.graph.append(name, norm or node, [part.node])
                made[key] = self._part(name, part.label)
            found.append(made[key])
        return tuple(found)

    def _weighted(self, node: Conv2d | Linear, value: Value) -> Value:
        """A slice of the weights for each part; sums where a group has several parts."""
        groups = node.groups if isinstance(node, Conv2d) else 1
        inside, out = _size(value) // groups, len(node.weight) // groups
        spans = _spans([_bounds(value), range(0, _size(value) + 1, inside)])
        found: list[_Part] = []
        for start, stop in spans:
            parts, many = _within(value, start, stop), (stop - start) // inside
            if len(parts) > 1 and many > 1:
                raise UnsupportedModelError(
                    f"groups of {inside} channels cut across the concatenated branches "
                    f"{ {part.label: part.size for part in value} }",
                    where=f"Conv2d '{node.name}'",
                    remedy="give each branch a multiple of the group, or use one group",
                )
            rows = slice(start // inside * out, stop // inside * out)
            terms: list[str] = []
            for part, columns in zip(parts, pairwise(_bounds(parts)), strict=True):
                own = _sliced(node, rows, slice(*columns) if many == 1 else slice(None), many)
                own = replace(own, bias=None) if terms else own
                name = f"{node.name}_from_{part.label}"
                terms.append(self.graph.append(name, own, [part.node]))
            found.append(self._sum(node.name, _label(parts) if len(spans) > 1 else "", terms))
        return tuple(found)

    def _add(self, node: Add, values: list[Value]) -> Value:
        """Part by part as far as all values are cut at the same places, else padded."""
        spans = _spans([_bounds(value) for value in values])
        found: list[_Part] = []
        for start, stop in spans:
            cut = [_within(value, start, stop) for value in values]
            terms = [name for parts in cut for name in self._padded_all(parts)]
            found.append(self._sum(node.name, _label(cut[0]) if len(spans) > 1 else "", terms))
        return tuple(found)

    def _sum(self, name: str, label: str, terms: Sequence[str]) -> _Part:
        """The sum of values of one shape: all of what `name` computed, or its part `label`."""
        full = f"{name}_from_{label}" if label else name
        total = self.graph.append(full, Add(full), terms) if len(terms) > 1 else terms[0]
        return self._part(total, label or name)

    def _part(self, name: str, label: str) -> _Part:
        return _Part(name, self.graph.shapes[name][0], label)

    def _padded_all(self, parts: Value) -> list[str]:
        """Each of the parts with zeros in the place of the others."""
        bounds = pairwise(_bounds(parts))
        return [
            self._padded(part.node, (start, _size(parts) - stop))
            for part, (start, stop) in zip(parts, bounds, strict=True)
        ]

    def _padded(self, name: str, zeros: Pair) -> str:
        """The value of a node with channels of zeros before and after it."""
        if zeros == (0, 0):
            return name
        node, sources = self.graph.nodes[name], self.graph.sources[name]
        if isinstance(node, AvgPool2d | Add | BatchNorm) or self.graph.only_renames(name):
            sources = tuple(self._padded(source, zeros) for source in sources)
            node = _padded_norm(node, zeros) if isinstance(node, BatchNorm) else node
        elif isinstance(node, Conv2d | Linear):
            node = _padded_rows(node, zeros)
        else:
            shape, sources = self.graph.shapes[name], (name,)
            rows = _pad(np.eye(shape[0]), zeros)
            node = Linear(name, rows) if len(shape) == 1 else Conv2d(name, rows[:, :, None, None])
        return self.graph.append(f"{name}_padded", node, sources)


def _size(value: Value) -> int:
    return sum(part.size for part in value)


def _label(parts: Value) -> str:
    return "_and_".join(part.label for part in parts)


def _bounds(value: Value) -> list[int]:
    """Where its parts begin and end."""
    return list(accumulate((part.size for part in value), initial=0))


def _spans(bounds: Iterable[Iterable[int]]) -> list[tuple[int, int]]:
    """The shortest spans that begin and end where all of the bounds do."""
    common = set.intersection(*(set(b) for b in bounds))
    return list(pairwise(sorted(common)))


def _within(value: Value, start: int, stop: int) -> Value:
    """The parts of a value that lie in a span."""
    places = zip(value, _bounds(value), strict=False)
    return tuple(part for part, place in places if start <= place < stop)


def _sliced(node: Conv2d | Linear, rows: slice, columns: slice, groups: int) -> Conv2d | Linear:
    weight, bias = node.weight[rows, columns], None if node.bias is None else node.bias[rows]
    if isinstance(node, Conv2d):
        return replace(node, weight=weight, bias=bias, groups=groups)
    return replace(node, weight=weight, bias=bias)


def _sliced_norm(norm: BatchNorm, start: int, stop: int) -> BatchNorm:
    own = slice(start, stop)
    mean, gamma, beta = norm.mean[own], norm.gamma[own], norm.beta[own]
    return replace(norm, mean=mean, variance=norm.variance[own], gamma=gamma, beta=beta)


def _padded_norm(norm: BatchNorm, zeros: Pair) -> BatchNorm:
    """Maps the channels that were added, which are zero, to zero."""
    mean, gamma, beta = (_pad(field, zeros) for field in (norm.mean, norm.gamma, norm.beta))
    variance = np.pad(norm.variance, zeros, constant_values=1)
    return replace(norm, mean=mean, variance=variance, gamma=gamma, beta=beta)


def _padded_rows(node: Conv2d | Linear, zeros: Pair) -> Conv2d | Linear:
    bias = None if node.bias is None else _pad(node.bias, zeros)
    if isinstance(node, Conv2d):
        return replace(node, weight=_pad(_ungrouped(node), zeros), bias=bias, groups=1)
    return replace(node, weight=_pad(node.weight, zeros), bias=bias)


def _ungrouped(conv: Conv2d) -> Array:
    """The weights as one group, zero between the groups that there were."""
    out, inside, *kernel = conv.weight.shape
    weight = np.zeros((conv.groups, out // conv.groups, conv.groups, inside, *kernel))
    for group, own in enumerate(conv.weight.reshape(conv.groups, -1, inside, *kernel)):
        weight[group, :, group] = own
    return weight.reshape(out, conv.groups * inside, *kernel)


def _pad(rows: Array, zeros: Pair) -> Array:
    return np.pad(rows, (zeros, *((0, 0),) * (rows.ndim - 1)))
