"""The judge: the definition of the spiking network, in plain NumPy integers.

Short and slow on purpose. Every other engine is held to its spikes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snndeploy import linear_ops
from snndeploy.backend import BackendStatus, Probe, Response, Step
from snndeploy.layers import Layer
from snndeploy.nirfile import ForeignGraph
from snndeploy.nodes import MaxPool2d, Neuron, Output
from snndeploy.numerics import BoolArray, FloatArray, Int64Array, fire, window_share
from snndeploy.program import Program
from snndeploy_backends.reference import foreign_judge


class JudgeSession:
    """One batch, one logical step at a time: in a step a spike passes through every layer."""

    def __init__(self, program: Program, inputs: Int64Array) -> None:
        self.layers, self.network = program.layers, program.network
        self.inputs, self.time = inputs, 0
        self.exact = self.network.mode == "exact"
        self.hard = self.network.reset == "hard"
        self.membrane: dict[str, Int64Array] = {}
        self.count: dict[str, Int64Array] = {}
        self.current: dict[str, Int64Array] = {}
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
        values = {self.layers[0].name: self.network.stimulus(self.inputs, self.time)}
        for layer in self.layers[1:]:
            self.current[layer.name] = self.receive(layer, values)
            values[layer.name] = self.advance(layer, self.current[layer.name])
        self.time += 1
        emitted = {x.name: values[x.name].astype(np.int8) for x in self.layers[1:-1]}
        return Step(values[self.layers[-1].name], emitted)

    def receive(self, layer: Layer, values: Mapping[str, Int64Array]) -> Int64Array:
        """The input of the step: what the sources emit, and the step's share of the bias."""
        current = linear_ops.project(layer.projections, values)
        node = layer.node
        if isinstance(node, Neuron | Output) and self.network.injects(self.time):
            assert node.bias is not None
            share = window_share(node.bias, self.time, self.network.window)
            current = current + linear_ops.per_channel(share, current.ndim)
        return current

    def advance(self, layer: Layer, current: Int64Array) -> Int64Array:
        """Integrate the input; what the layer emits: spikes, or the readout its membrane."""
        name, node = layer.name, layer.node
        self.membrane[name] = self.membrane[name] + current
        if isinstance(node, Neuron):
            theta = linear_ops.per_channel(node.threshold, current.ndim)
            self.membrane[name], self.count[name], spikes = fire(
                self.membrane[name],
                self.count[name],
                theta,
                node.levels,
                signed=self.exact,
                hard=self.hard,
            )
            return spikes.astype(np.int64)
        if isinstance(node, MaxPool2d):
            # A pool's membrane holds the running counts of the neurons that it pools.
            pooled = linear_ops.max_pool(
                self.membrane[name], node.kernel, node.stride, node.padding
            )
            change = pooled - self.count[name]
            self.count[name] = pooled
            return change
        return self.membrane[name]

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

    def probe(self, program: Program, inputs: Int64Array, steps: int, layer: str) -> Probe:
        """Simulate, and keep what the neurons of one layer receive and hold."""
        session = self.open(program, inputs, steps)
        currents, spikes, membranes = [], [], [session.membrane[layer]]
        for _ in range(steps):
            spikes.append(session.step().spikes[layer])
            currents.append(session.current[layer])
            membranes.append(session.membrane[layer])
        return Probe(np.stack(currents, 1), np.stack(membranes, 1), np.stack(spikes, 1))

    def respond(self, graph: ForeignGraph, inputs: FloatArray, record: bool) -> Response:
        """Run a NIR graph that another tool wrote."""
        return foreign_judge.respond(graph, inputs, record)
