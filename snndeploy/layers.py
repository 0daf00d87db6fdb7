"""The layer view of a network: populations of neurons and the projections between them.

A *layer* is the input, a population of neurons (or float activations), a max-pool on counts,
or the readout. A *projection* is a chain of linear nodes from one layer into another. Every
engine, the range analysis, the placement and the cost model walk this view.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from snndeploy.errors import UnsupportedModelError
from snndeploy.network import Network
from snndeploy.nodes import (
    WEIGHTED,
    Activation,
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Relu,
    Scale,
    Shape,
    SumPool2d,
)
from snndeploy.numerics import FloatArray

Kind: TypeAlias = Literal["input", "neurons", "max_pool", "readout"]

_LINEAR = (Conv2d, Linear, Scale, SumPool2d, AvgPool2d, Flatten)


@dataclass(frozen=True, eq=False)
class Projection:
    """The linear nodes, first to last, between the layer `source` and the layer that holds this.

    `delay` is the number of extra steps that a pipelined target must hold its spikes back, so
    that they meet those of the longest branch.
    """

    source: str
    ops: tuple[Node, ...]
    delay: int = 0

    @property
    def weighted(self) -> Conv2d | Linear | Scale | None:
        """The one node with weights, if there is one."""
        for op in self.ops:
            if isinstance(op, Conv2d | Linear | Scale):
                return op
        return None


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer. `node` is its Input, Neuron, Activation, MaxPool2d or Output node.

    `depth` is its distance from the input, which is 0, along the longest path.
    """

    name: str
    kind: Kind
    shape: Shape
    node: Node
    projections: tuple[Projection, ...]
    depth: int

    @cached_property
    def neurons(self) -> int:
        """How many neurons (or pooled counts, or input values) the layer has."""
        return prod(self.shape)


def layers(network: Network) -> tuple[Layer, ...]:
    """The network's layers in topological order, the input first and the readout last.

    Raises:
        UnsupportedModelError: two weighted nodes follow each other without an activation, or a
            max-pool does not pool spikes.
    """
    kinds: dict[type[Node], Kind] = {
        Input: "input",
        Neuron: "neurons",
        Activation: "neurons",
        MaxPool2d: "max_pool",
        Output: "readout",
    }
    found: dict[str, Layer] = {}
    for node in network.nodes:
        kind = kinds.get(type(node))
        if kind is None:
            continue
        paths = [] if kind == "input" else _paths(network, node)
        if kind == "max_pool":
            _check_pool(node, paths, found)
        depth = 1 + max((found[p.source].depth for p in paths), default=-1)
        paths = [replace(p, delay=depth - 1 - found[p.source].depth) for p in paths]
        shape = network.shapes[node.name]
        found[node.name] = Layer(node.name, kind, shape, node, tuple(paths), depth)
    return tuple(sorted(found.values(), key=lambda layer: layer.kind == "readout"))


def _paths(network: Network, node: Node) -> list[Projection]:
    """Every path from a layer into `node`, through linear nodes only."""
    paths: list[Projection] = []
    for source in network.sources[node.name]:
        above = network.by_name[source]
        if isinstance(above, _LINEAR):
            paths += [replace(p, ops=(*p.ops, above)) for p in _paths(network, above)]
        elif isinstance(above, Add):
            paths += _paths(network, above)
        elif isinstance(above, BatchNorm | Concat):
            raise UnsupportedModelError(
                "is still there, between two layers",
                where=f"{type(above).__name__} '{above.name}'",
                remedy="apply SplitConcat and FoldBatchNorm first",
            )
        elif isinstance(above, Relu):
            raise UnsupportedModelError(
                "has no levels yet",
                where=f"Relu '{above.name}'",
                remedy="convert with levels and calibration data, or train with QCFS activations",
            )
        else:
            paths.append(Projection(source, ()))
    for path in paths:
        weighted = [op.name for op in path.ops if isinstance(op, WEIGHTED)]
        if len(weighted) > 1:
            raise UnsupportedModelError(
                f"the weighted layers {weighted} follow each other without an activation",
                where=f"path from '{path.source}'",
                remedy="put a quantized activation between them, or merge them into one layer",
            )
    return paths


def _check_pool(node: Node, paths: list[Projection], found: dict[str, Layer]) -> None:
    source = paths[0]
    if source.ops or len(paths) > 1 or found[source.source].kind not in ("neurons", "max_pool"):
        raise UnsupportedModelError(
            "pools values that are not spike counts",
            where=f"MaxPool2d '{node.name}'",
            remedy="put it directly behind a quantized activation",
        )


def constant(network: Network, name: str) -> FloatArray:
    """What reaches a node of a float network while all counts are zero, one number a channel.

    That is what biases add, and the offsets of activations. Follows the graph itself: a bias in
    front of a sum that is used twice counts twice.

    Raises:
        UnsupportedModelError: it is not the same at the border, on account of zero padding.
    """
    values = [_resting(network, network.by_name[source]) for source in network.sources[name]]
    total: FloatArray = np.sum(values, axis=0)
    return total


def _resting(network: Network, node: Node) -> FloatArray:
    """The value of a node while all counts are zero, one number a channel."""
    if isinstance(node, Input | Activation):
        offset = node.offset if isinstance(node, Activation) else 0.0
        return np.full(network.shapes[node.name][0], offset)
    if isinstance(node, MaxPool2d):
        return _resting(network, network.by_name[network.sources[node.name][0]])
    value = constant(network, node.name)
    if value.any() and isinstance(node, Conv2d | AvgPool2d) and any(node.padding):
        raise UnsupportedModelError(
            "zero padding is not the value of a silent neuron, so the border would differ",
            where=f"{type(node).__name__} '{node.name}'",
            remedy="use padding 0, or put the bias behind it and a grid that starts at 0 before it",
        )
    if isinstance(node, Flatten):
        return np.repeat(value, network.shapes[node.name][0] // len(value))
    if isinstance(node, Conv2d | Linear):
        rows = node.weight.reshape(len(node.weight), node.weight.shape[1], -1).sum(axis=2)
        if isinstance(node, Conv2d):
            group = np.arange(len(rows)) // (len(rows) // node.groups)
            value = value.reshape(node.groups, -1)[group]
        total: FloatArray = (rows * value).sum(axis=1)
        return total if node.bias is None else total + node.bias
    return value


def count_worths(network: Network) -> dict[str, float]:
    """What one count of each layer of an integer network is worth in the model's units."""
    grid = network.input.grid
    assert grid is not None
    worths = {network.input.name: grid.scale / (1 if network.input.per_step else network.window)}
    for layer in layers(network):
        if isinstance(layer.node, Neuron):
            worths[layer.name] = layer.node.scale
        elif layer.kind == "max_pool":
            worths[layer.name] = worths[layer.projections[0].source]
    return worths


def pooled(projection: Projection) -> int:
    """How many values the sum pools of a projection add up to one."""
    return prod(prod(op.kernel) for op in projection.ops if isinstance(op, SumPool2d))
