"""The judge: the definition of the spiking network, in plain NumPy integers.

Short and slow on purpose. Every other engine is held to its spikes.
"""

from __future__ import annotations

import numpy as np

from snndeploy import linear_ops
from snndeploy.backend import BackendStatus, Step
from snndeploy.nodes import MaxPool2d, Neuron, Output
from snndeploy.numerics import BoolArray, Int64Array, fire, window_share
from snndeploy.program import Program


class JudgeSession:
    """One batch, one logical step at a time: in a step a spike passes through every layer."""

    def __init__(self, program: Program, inputs: Int64Array) -> None:
        self.layers, self.network = program.layers, program.network
        self.inputs, self.time = inputs, 0
        self.exact = self.network.mode == "exact"
        self.membrane: dict[str, Int64Array] = {}
        self.count: dict[str, Int64Array] = {}
        for layer in self.layers[1:]:
            zeros = np.zeros((len(inputs), *layer.shape), np.int64)
            self.count[layer.name] = self.membrane[layer.name] = zeros
            if isinstance(layer.node, Neuron):
                self.membrane[layer.name] = zeros + linear_ops.per_channel(
                    layer.node.v0, zeros.ndim
                )
            elif isinstance(layer.node, MaxPool2d):
                source = self.network.shapes[layer.projections[0].source]
                self.membrane[layer.name] = np.zeros((len(inputs), *source), np.int64)

    def step(self) -> Step:
        """Advance by one logical step."""
        injecting = not self.exact or self.time < self.network.window
        values: dict[str, Int64Array] = {self.layers[0].name: self.inputs * int(injecting)}
        for layer in self.layers[1:]:
            name, node = layer.name, layer.node
            current = linear_ops.project(layer.projections, values)
            if isinstance(node, Neuron | Output) and node.bias is not None and injecting:
                share = window_share(node.bias, self.time, self.network.window)
                current = current + linear_ops.per_channel(share, current.ndim)
            if isinstance(node, Neuron):
                theta = linear_ops.per_channel(node.threshold, current.ndim)
                v = self.membrane[name] + current
                self.membrane[name], self.count[name], spikes = fire(
                    v, self.count[name], theta, node.levels, signed=self.exact
                )
                values[name] = spikes.astype(np.int64)
            elif isinstance(node, MaxPool2d):
                # A pool's membrane holds the running counts of the neurons that it pools.
                self.membrane[name] = self.membrane[name] + current
                pooled = linear_ops.max_pool(
                    self.membrane[name], node.kernel, node.stride, node.padding
                )
                values[name] = pooled - self.count[name]
                self.count[name] = pooled
            else:
                self.membrane[name] = self.membrane[name] + current
        self.time += 1
        emitted = {x.name: values[x.name].astype(np.int8) for x in self.layers[1:-1]}
        return Step(self.membrane[self.layers[-1].name], emitted)

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of the samples."""
        self.inputs = self.inputs[rows]
        self.membrane = {k: v[rows] for k, v in self.membrane.items()}
        self.count = {k: v[rows] for k, v in self.count.items()}

    def close(self) -> None:
        """Nothing to free."""


class Judge:
    """The NumPy definition, as a backend."""

    name = "judge"
    summary = "the NumPy definition of the semantics: short, obvious, slow"
    streams = True

    def status(self) -> BackendStatus:
        """Always available."""
        return BackendStatus({"numpy": np.__version__})

    def open(self, program: Program, inputs: Int64Array, steps: int) -> JudgeSession:
        """Start a session; `steps` does not matter to it."""
        return JudgeSession(program, inputs)
