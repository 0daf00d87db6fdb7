"""`Network`: a frozen graph of typed nodes, before and after quantization to integers.

A *float* network comes from a frontend: `Conv2d`, `Linear`, `BatchNorm`, `AvgPool2d`,
`MaxPool2d`, `Add`, `Flatten` and quantized `Activation`s. Passes turn it into an *integer*
network, in which weights are integers, every `Activation` is a `Neuron`, average pools are
`SumPool2d`s and identity branches carry an integer `Scale`.

Shapes leave out the batch: (C, H, W) or (F,).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from snndeploy.errors import UnsupportedModelError

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]
Mode: TypeAlias = Literal["exact", "rate"]
Array: TypeAlias = NDArray[Any]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, eq=False)
class Node:
    """A named vertex of the graph."""

    name: str

    def output_shape(self, inputs: list[Shape]) -> Shape:
        """The shape of this node's value, given those of its sources in edge order."""
        return inputs[0]


@dataclass(frozen=True)
class Grid:
    """Integers `low .. high`, each worth `scale` in the model's units."""

    scale: float
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Input(Node):
    """The samples: `shape` without the batch, on `grid` once that is known."""

    shape: Shape
    grid: Grid | None = None

    def output_shape(self, inputs: list[Shape]) -> Shape:
        return self.shape


@dataclass(frozen=True, eq=False)
class Conv2d(Node):
    """Cross-correlation; weight (C_out, C_in / groups, K_h, K_w), zero padding."""

    weight: Array
    bias: Array | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def output_shape(self, inputs: list[Shape]) -> Shape:
        shape = _image(self, inputs[0])
        channels, group = shape[0], self.weight.shape[1]
        if channels != group * self.groups or self.weight.shape[0] % self.groups:
            _refuse(self, f"weight {self.weight.shape} in {self.groups} groups on {shape}")
        kernel = (self.weight.shape[2], self.weight.shape[3])
        spatial = _window_shape(self, shape, kernel, self.stride, self.padding, self.dilation)
        return (self.weight.shape[0], *spatial)


@dataclass(frozen=True, eq=False)
class Linear(Node):
    """Dense synapses; weight (F_out, F_in) on a flat input."""

    weight: Array
    bias: Array | None = None

    def output_shape(self, inputs: list[Shape]) -> Shape:
        if inputs[0] != (self.weight.shape[1],):
            _refuse(self, f"weight {self.weight.shape} on an input of shape {inputs[0]}")
        return (self.weight.shape[0],)


@dataclass(frozen=True, eq=False)
class Scale(Node):
    """An identity branch with one integer weight a channel."""

    weight: Array

    def output_shape(self, inputs: list[Shape]) -> Shape:
        if self.weight.shape != inputs[0][:1]:
            _refuse(self, f"{self.weight.shape} weights on an input of shape {inputs[0]}")
        return inputs[0]


@dataclass(frozen=True, eq=False)
class BatchNorm(Node):
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta`, per channel, frozen."""

    mean: Array
    variance: Array
    gamma: Array
    beta: Array
    epsilon: float

    def output_shape(self, inputs: list[Shape]) -> Shape:
        if self.mean.shape != inputs[0][:1]:
            _refuse(self, f"{self.mean.shape} channels on an input of shape {inputs[0]}")
        return inputs[0]


@dataclass(frozen=True, eq=False)
class _Pool2d(Node):
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def output_shape(self, inputs: list[Shape]) -> Shape:
        shape = _image(self, inputs[0])
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            _refuse(self, f"padding {self.padding} exceeds half of the kernel {self.kernel}")
        spatial = _window_shape(self, shape, self.kernel, self.stride, self.padding, (1, 1))
        return (shape[0], *spatial)


class MaxPool2d(_Pool2d):
    """Maximum over windows: of values in a float network, of spike counts in an integer one."""


class AvgPool2d(_Pool2d):
    """Mean over windows; padding counts as zeros."""


class SumPool2d(_Pool2d):
    """Sum over windows: what remains of an average pool in an integer network."""


@dataclass(frozen=True, eq=False)
class Add(Node):
    """Sum of two or more branches of one shape."""

    def output_shape(self, inputs: list[Shape]) -> Shape:
        if len(set(inputs)) != 1:
            _refuse(self, f"adds unlike shapes {inputs}")
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Flatten(Node):
    """All dimensions but the batch into one, row-major."""

    def output_shape(self, inputs: list[Shape]) -> Shape:
        return (prod(inputs[0]),)


@dataclass(frozen=True, eq=False)
class Activation(Node):
    """Quantized ReLU (QCFS): `s * clip(floor(x / s + 1/2), 0, levels)`, `s = ceiling / levels`."""

    ceiling: float
    levels: int


@dataclass(frozen=True, eq=False)
class Neuron(Node):
    """Integrate-and-fire with soft reset, all integer.

    Attributes:
        threshold, v0, bias: int64, one per channel (first axis of the layer). The bias is
            the total over the window.
        levels: the largest net count, L.
        scale: what one spike is worth in the model's units.
    """

    threshold: Array
    v0: Array
    bias: Array
    levels: int
    scale: float

    def output_shape(self, inputs: list[Shape]) -> Shape:
        for label in ("threshold", "v0", "bias"):
            if getattr(self, label).shape != inputs[0][:1]:
                _refuse(self, f"{label} {getattr(self, label).shape} on a layer of {inputs[0]}")
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Output(Node):
    """The readout: neurons that integrate and never fire.

    In an integer network `bias` is the total over the window, and one unit of membrane is
    worth `scale` in the model's units.
    """

    bias: Array | None = None
    scale: float = 1.0


WEIGHTED: tuple[type[Node], ...] = (Conv2d, Linear, Scale)
"""Nodes that hold synaptic weights."""

FLOAT_ONLY: tuple[type[Node], ...] = (BatchNorm, AvgPool2d, Activation)
INTEGER_ONLY: tuple[type[Node], ...] = (Neuron, SumPool2d, Scale)


@dataclass(frozen=True, eq=False)
class Network:
    """A directed acyclic graph with one `Input` and one `Output`.

    Attributes:
        nodes: in topological order.
        edges: (source, target) names.
        mode: `exact` (signed spikes, cap and drain) or `rate`.
        window: steps during which input and bias are injected; 0 in a float network.
        history: the spelling of every pass applied so far.
    """

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    mode: Mode = "exact"
    window: int = 0
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", _in_topological_order(self))
        self._check_ends()
        _ = self.shapes
        self._check_values()

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """For each node the names that feed it, in edge order."""
        return {n.name: tuple(a for a, b in self.edges if b == n.name) for n in self.nodes}

    @cached_property
    def targets(self) -> Mapping[str, tuple[str, ...]]:
        """For each node the names that it feeds."""
        return {n.name: tuple(b for a, b in self.edges if a == n.name) for n in self.nodes}

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """The shape of each node's value, batch left out."""
        shapes: dict[str, Shape] = {}
        for node in self.nodes:
            shapes[node.name] = node.output_shape([shapes[s] for s in self.sources[node.name]])
        return shapes

    @property
    def input(self) -> Input:
        """The one input node."""
        return next(node for node in self.nodes if isinstance(node, Input))

    @property
    def output(self) -> Output:
        """The one readout node."""
        return next(node for node in self.nodes if isinstance(node, Output))

    @property
    def is_integer(self) -> bool:
        """True for a spiking network, False for what a frontend gave."""
        return self.window > 0

    @cached_property
    def hash(self) -> str:
        """SHA-256 over everything that decides the network's behaviour (name, history aside)."""
        digest = hashlib.sha256(f"snndeploy-network-1 {self.mode} {self.window}".encode())
        for node in sorted(self.nodes, key=lambda n: n.name):
            digest.update(f"\n{type(node).__name__} {sorted(self.sources[node.name])}".encode())
            for field in fields(node):
                value = getattr(node, field.name)
                if isinstance(value, np.ndarray):
                    value = np.ascontiguousarray(value)
                    kind = "i8" if np.issubdtype(value.dtype, np.integer) else "f8"
                    digest.update(f" {field.name} {value.shape} {kind}".encode())
                    digest.update(value.astype(f"<{kind}").tobytes())
                else:
                    digest.update(f" {field.name} {value!r}".encode())
        return digest.hexdigest()

    def rewrite(
        self,
        nodes: Iterable[Node],
        edges: Iterable[tuple[str, str]] | None = None,
        **changes: Any,
    ) -> Network:
        """A new network with other nodes (and edges), and the other fields as given or kept."""
        new_edges = self.edges if edges is None else tuple(edges)
        return replace(self, nodes=tuple(nodes), edges=new_edges, **changes)

    def _check_ends(self) -> None:
        for kind in (Input, Output):
            found = [n.name for n in self.nodes if isinstance(n, kind)]
            if len(found) != 1:
                raise UnsupportedModelError(
                    f"has {len(found)} {kind.__name__} nodes {found}, exactly one is supported",
                    where=f"network '{self.name}'",
                )
        for node in self.nodes:
            count = len(self.sources[node.name])
            low, high = (0, 0) if isinstance(node, Input) else (1, 1)
            if isinstance(node, Add):
                low, high = 2, 1_000
            if not low <= count <= high:
                _refuse(node, f"has {count} inputs, expected {low}" + (" or more" * (high > 1)))
            if not self.targets[node.name] and not isinstance(node, Output):
                _refuse(node, "feeds nothing; remove it from the model")

    def _check_values(self) -> None:
        wrong = FLOAT_ONLY if self.is_integer else INTEGER_ONLY
        for node in self.nodes:
            if isinstance(node, wrong):
                kind = "an integer" if self.is_integer else "a float"
                _refuse(node, f"a {type(node).__name__} has no place in {kind} network")
            if isinstance(node, Input) and self.is_integer and node.grid is None:
                _refuse(node, "has no grid")
            if isinstance(node, Neuron) and (int(node.threshold.min()) < 1 or node.levels < 1):
                _refuse(node, f"threshold {node.threshold.min()}, levels {node.levels}: below 1")
            for field in fields(node):
                value = getattr(node, field.name)
                if not isinstance(value, np.ndarray):
                    continue
                if self.is_integer and not np.issubdtype(value.dtype, np.integer):
                    _refuse(node, f"{field.name} is {value.dtype}, expected integers")
                if not np.all(np.isfinite(value)):
                    _refuse(node, f"{field.name} holds NaN or infinity")


def _refuse(node: Node, problem: str) -> None:
    raise UnsupportedModelError(problem, where=f"{type(node).__name__} '{node.name}'")


def _image(node: Node, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        _refuse(node, f"expects an input of shape (C, H, W), found {shape}")
    return shape[0], shape[1], shape[2]


def _window_shape(
    node: Node, shape: tuple[int, int, int], kernel: Pair, stride: Pair, padding: Pair, dil: Pair
) -> Pair:
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[1:], kernel, stride, padding, dil, strict=True)
    ]
    if min(size) < 1:
        _refuse(node, f"kernel {kernel} is larger than the padded input {shape[1:]}")
    return size[0], size[1]


def _in_topological_order(network: Network) -> tuple[Node, ...]:
    """Kahn's algorithm; keeps the given order among nodes that are ready together."""
    where = f"network '{network.name}'"
    names = [node.name for node in network.nodes]
    for name in names:
        if not NAME.fullmatch(name):
            raise UnsupportedModelError(f"node name {name!r} is not an identifier", where=where)
    if len(set(names)) != len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise UnsupportedModelError(f"node names used twice: {twice}", where=where)
    unknown = sorted({end for edge in network.edges for end in edge} - set(names))
    if unknown:
        raise UnsupportedModelError(f"edges name unknown nodes: {unknown}", where=where)
    waiting = {name: sum(b == name for _, b in network.edges) for name in names}
    ordered: list[Node] = []
    pending = list(network.nodes)
    while pending:
        ready = next((node for node in pending if waiting[node.name] == 0), None)
        if ready is None:
            cycle = [node.name for node in pending]
            raise UnsupportedModelError(
                f"has a cycle through {cycle}", where=where, remedy="recurrence is not supported"
            )
        pending.remove(ready)
        ordered.append(ready)
        for source, target in network.edges:
            if source == ready.name:
                waiting[target] -= 1
    return tuple(ordered)
