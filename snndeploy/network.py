"""`Network`: a frozen graph of typed nodes, before and after quantization to integers.

A *float* network comes from a frontend: `Conv2d`, `Linear`, `BatchNorm`, `AvgPool2d`,
`MaxPool2d`, `Add`, `Concat`, `Flatten` and quantized `Activation`s. Passes turn it into an
*integer* network, in which weights are integers, every `Activation` is a `Neuron`, average pools
are `SumPool2d`s, identity branches carry an integer `Scale`, and concats are sums of branches.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from snndeploy.errors import UnsupportedModelError
from snndeploy.nodes import (
    FLOAT_ONLY,
    INTEGER_ONLY,
    Add,
    Array,
    Concat,
    Conv2d,
    Grid,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    Shape,
    refuse,
)

Mode: TypeAlias = Literal["exact", "rate"]
Reset: TypeAlias = Literal["soft", "hard"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, eq=False)
class Network:
    """A directed acyclic graph with one `Input` and one `Output`.

    Attributes:
        nodes: in topological order.
        edges: (source, target) names.
        mode: `exact` (signed spikes, cap and drain) or `rate`.
        window: steps during which input and bias are injected; 0 in a float network.
        history: the spelling of every pass applied so far.
        reset: what a spike leaves of a membrane: `soft` subtracts the threshold, `hard` sets it to
            0, as Lava's own neurons do (rate mode only).
    """

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    mode: Mode = "exact"
    window: int = 0
    history: tuple[str, ...] = ()
    reset: Reset = "soft"

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

    def injects(self, step: int) -> bool:
        """Whether bias and constant input arrive at 0-based `step`."""
        return self.mode == "rate" or step < self.window

    def stimulus(self, inputs: Array, step: int) -> Array:
        """What the input layer emits at 0-based `step`, (N, *shape).

        Args:
            inputs: grid integers (N, *shape), or (N, F, *shape) if the input is `per_step`.
        """
        if self.input.per_step:
            return inputs[:, step] if step < inputs.shape[1] else np.zeros_like(inputs[:, 0])
        return inputs if self.injects(step) else np.zeros_like(inputs)

    def total_stimulus(self, inputs: Array) -> Array:
        """What the input layer emits in all while the bias is injected once, (N, *shape)."""
        return inputs.sum(axis=1) if self.input.per_step else inputs * self.window

    @cached_property
    def hash(self) -> str:
        """SHA-256 over everything that decides the network's behaviour (name, history aside)."""
        digest = hashlib.sha256(f"snndeploy-network-1 {self.mode} {self.window}".encode())
        for node in sorted(self.nodes, key=lambda n: n.name):
            sources = list(self.sources[node.name])
            if not isinstance(node, Concat):  # the order of summands is of no account
                sources.sort()
            digest.update(f"\n{type(node).__name__} {sources}".encode())
            if isinstance(node, Neuron) and self.reset == "hard":
                digest.update(b" hard")
            for field in fields(node):
                value = getattr(node, field.name)
                if isinstance(value, np.ndarray):
                    value = np.ascontiguousarray(value)
                    kind = "i8" if np.issubdtype(value.dtype, np.integer) else "f8"
                    digest.update(f" {field.name} {value.shape} {kind}".encode())
                    digest.update(value.astype(f"<{kind}").tobytes())
                else:
                    digest.update(f" {field.name} {_plain(value)!r}".encode())
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
            if isinstance(node, Add | Concat):
                low, high = 2, 1_000
            if not low <= count <= high:
                refuse(node, f"has {count} inputs, expected {low}" + (" or more" * (high > 1)))
            if not self.targets[node.name] and not isinstance(node, Output):
                refuse(node, "feeds nothing; remove it from the model")

    def _check_values(self) -> None:
        if self.mode not in get_args(Mode) or self.window < 0:
            raise UnsupportedModelError(
                f"mode {self.mode!r} with a window of {self.window} steps",
                where=f"network '{self.name}'",
                remedy=f"modes are {' and '.join(get_args(Mode))}",
            )
        if self.reset not in get_args(Reset) or (self.reset == "hard" and self.mode == "exact"):
            raise UnsupportedModelError(
                f"{self.reset!r} reset in {self.mode} mode: counts would not settle to the ANN's",
                where=f"network '{self.name}'",
                remedy="reset is soft, or, in rate mode only, hard",
            )
        wrong = FLOAT_ONLY if self.is_integer else INTEGER_ONLY
        logits = self.shapes[self.output.name]
        if len(logits) != 1:
            refuse(self.output, f"has shape {logits}, expected (classes,); flatten before it")
        for node in self.nodes:
            if isinstance(node, wrong):
                kind = "an integer" if self.is_integer else "a float"
                refuse(node, f"a {type(node).__name__} has no place in {kind} network")
            if self.is_integer:
                _check_integer(node)
            for field in fields(node):
                value = getattr(node, field.name)
                if not isinstance(value, np.ndarray):
                    continue
                if self.is_integer and not np.issubdtype(value.dtype, np.integer):
                    refuse(node, f"{field.name} is {value.dtype}, expected integers")
                if not np.all(np.isfinite(value)):
                    refuse(node, f"{field.name} holds NaN or infinity")


def require_integer(network: Network) -> None:
    """Raise `UnsupportedModelError` unless the network is a spiking network."""
    if not network.is_integer:
        raise UnsupportedModelError(
            "is a float network", where=f"network '{network.name}'", remedy="convert it first"
        )


def _plain(value: Any) -> Any:
    """NumPy scalars as Python's, so that equal networks hash alike."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Grid):
        return Grid(float(value.scale), int(value.low), int(value.high))
    return float(value) if isinstance(value, float) else value


def _check_integer(node: Node) -> None:
    """What an integer network must have, and must not have, beyond the right node types."""
    if isinstance(node, Input) and node.grid is None:
        refuse(node, "has no grid")
    if isinstance(node, Output) and node.bias is None:
        refuse(node, "has no bias; use zeros")
    if isinstance(node, Conv2d | Linear) and node.bias is not None:
        refuse(node, "has a bias; in an integer network it belongs to the neurons")
    if isinstance(node, Neuron) and (int(node.threshold.min()) < 1 or node.levels < 1):
        refuse(node, f"threshold {node.threshold.min()}, levels {node.levels}: below 1")


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
