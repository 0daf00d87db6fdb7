"""A network as numbers that every simulator's environment can read: one `.npz` file.

Needs NumPy only. Weights, thresholds and initial membranes are integers, exactly those of the
snndeploy network that was saved.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from snndeploy.network import Network

OPTIONS = ("kernel", "stride", "padding")
ARRAYS = ("weight", "threshold", "v0")


@dataclass(frozen=True, eq=False)
class Op:
    """A vertex of the graph, in topological order.

    Attributes:
        kind: Input, Conv2d, Linear, Scale, SumPool2d, Add, Flatten, Neuron or Output.
        sources: names of the vertices that feed it.
        options: kernel, stride and padding, where it has them.
        arrays: int64 weight, threshold and v0, where it has them.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    options: dict[str, tuple[int, int]]
    arrays: dict[str, np.ndarray[Any, Any]]


def save(network: Network, path: Path) -> None:
    """Write a rate-mode network without biases."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    graph = []
    for node in network.nodes:
        found = {key: getattr(node, key) for key in ARRAYS if hasattr(node, key)}
        arrays |= {f"{node.name}.{key}": value for key, value in found.items()}
        options = {key: getattr(node, key) for key in OPTIONS if hasattr(node, key)}
        kind, sources = type(node).__name__, network.sources[node.name]
        graph.append({"name": node.name, "kind": kind, "sources": sources, "options": options})
    np.savez(path, graph=json.dumps(graph), **arrays)


def load(path: Path) -> list[Op]:
    """What `save` wrote."""
    with np.load(path) as stored:
        graph = json.loads(str(stored["graph"]))
        arrays = {key: stored[key] for key in stored.files if key != "graph"}
    ops = []
    for op in graph:
        name = op["name"]
        options = {key: (value[0], value[1]) for key, value in op["options"].items()}
        found = {key: arrays[f"{name}.{key}"] for key in ARRAYS if f"{name}.{key}" in arrays}
        ops.append(Op(name, op["kind"], tuple(op["sources"]), options, found))
    return ops
