"""snndeploy as a user calls it: `run` on the reference engine, without recording the spikes."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from description import Op

import snndeploy
from peers.spikes import SpikeRecord
from snndeploy import nodes
from snndeploy.network import Network
from snndeploy.nodes import Grid, Neuron, Node, Output


class Simulator:
    """snndeploy."""

    settings = ("reference",)

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("snndeploy", "torch", "numba")}

    def load(self, ops: list[Op], setting: str) -> None:
        edges = [(source, op.name) for op in ops for source in op.sources]
        network = Network("network", tuple(map(_node, ops)), tuple(edges), "rate", 1)
        self.program, self.backend = snndeploy.lower(network), setting

    def prepare(self, images: np.ndarray[Any, Any], steps: int) -> None:
        self.images, self.steps = images, steps

    def run(self, record: SpikeRecord | None) -> np.ndarray[Any, Any]:
        trace = snndeploy.run(
            self.program,
            self.images,
            backend=self.backend,
            steps=self.steps,
            batch=len(self.images),
            record=record is not None,
        )
        if record is not None:
            for layer, spikes in trace.spikes.items():
                record.add(layer, spikes.swapaxes(0, 1))
        return trace.logits[:, -1]


def _node(op: Op) -> Node:
    if op.kind == "Input":
        return nodes.Input(op.name, (3, 32, 32), Grid(1 / 255, 0, 255))
    if op.kind == "Neuron":
        theta, v0 = op.arrays["threshold"], op.arrays["v0"]
        return Neuron(op.name, theta, v0, np.zeros_like(theta), 1, 1.0)
    if op.kind == "Output":
        return Output(op.name, np.zeros(10, np.int64), 1.0)
    found: Node = getattr(nodes, op.kind)(op.name, **op.arrays, **op.options)
    return found
