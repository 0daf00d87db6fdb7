"""What the worker is to run, as JSON and plain arrays.

Both sides use this module, so it keeps to what the worker's Python and NumPy know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snndeploy.network import Network
from snndeploy.nodes import (
    Add,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Scale,
    Shape,
    SumPool2d,
)
from snndeploy_backends.lava.worker.frames import Frame

NODES: dict[str, type[Node]] = {
    kind.__name__: kind
    for kind in (
        *(Input, Conv2d, Linear, Scale, MaxPool2d, SumPool2d),
        *(Add, Flatten, Neuron, Output),
    )
}


CHANNEL_SLOTS = 2
"""Messages that a channel holds: of spikes one is under way, of commands two."""


@dataclass(frozen=True, eq=False)
class Job:
    """A network, and how it is run.

    Attributes:
        slots: the most samples that run side by side.
        sample: the shape of one of them: that of the input, or (F, *shape) if it is `per_step`.
        state_bits: the signed word that no membrane may leave.
        paired: whether a signed spike takes two channels, one for each sign.
        probe: the layer of neurons whose currents and membranes are wanted, or none.
    """

    network: Network
    slots: int
    sample: Shape
    state_bits: int
    paired: bool = False
    probe: str = ""

    def frame(self) -> Frame:
        """The request to open this job."""
        arrays: dict[str, NDArray[Any]] = {}
        network = self.network
        described = {field.name: getattr(network, field.name) for field in fields(network)}
        described["nodes"] = [_described(node, arrays) for node in network.nodes]
        details = {
            "slots": self.slots,
            "sample": self.sample,
            "state_bits": self.state_bits,
            "paired": self.paired,
            "probe": self.probe,
            "network": described,
        }
        return Frame("open", details, arrays)

    @staticmethod
    def of(frame: Frame) -> Job:
        """The job of such a request."""
        given = frame.details
        described = dict(given["network"])
        nodes = tuple(_node(entry, frame.arrays) for entry in described.pop("nodes"))
        edges = tuple((source, target) for source, target in described.pop("edges"))
        history = tuple(described.pop("history"))
        return Job(
            Network(nodes=nodes, edges=edges, history=history, **described),
            given["slots"],
            tuple(given["sample"]),
            given["state_bits"],
            given["paired"],
            given["probe"],
        )


def _described(node: Node, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": type(node).__name__}
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, np.ndarray):
            key = f"{node.name}.{field.name}"
            arrays[key] = value.astype(np.int64)
            value = {"array": key}
        elif isinstance(value, Grid):
            value = {"grid": [value.scale, value.low, value.high]}
        entry[field.name] = value
    return entry


def _node(entry: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Node:
    def value_of(value: Any) -> Any:
        if isinstance(value, dict):
            return arrays[value["array"]] if "array" in value else Grid(*value["grid"])
        return tuple(value) if isinstance(value, list) else value

    values = {name: value_of(value) for name, value in entry.items()}
    return NODES[values.pop("type")](**values)
