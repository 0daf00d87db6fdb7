"""The definition on a pipelined target: a layer works one physical step after those before it.

Loihi delivers a spike at the step after the one that sent it. The layer at depth d does logical
step t at physical step t + d; its share of the bias comes as much later, and a branch that skips
layers waits for the longest one, `Projection.delay` steps. Spikes are those of the synchronous
definition, shifted.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from snndeploy import linear_ops
from snndeploy.backend import BackendStatus, Step
from snndeploy.layers import Layer
from snndeploy.nodes import MaxPool2d, Neuron, Output
from snndeploy.numerics import BoolArray, Int64Array, fire, window_share
from snndeploy.program import Program


class PipelinedSession:
    """One batch. `tick` is a physical step, `step` a logical one."""

    def __init__(self, program: Program, inputs: Int64Array) -> None:
        self.program, self.network, self.inputs = program, program.network, inputs
        self.clock = self.time = 0
        self.silent = {x.name: np.zeros((len(inputs), *x.shape), np.int64) for x in program.layers}
        self.membrane = {x.name: self._rest(x) for x in program.layers}
        self.count = dict(self.silent)
        self.wires = {
            (x.name, p.source): deque([self.silent[p.source]] * (p.delay + 1))
            for x in program.layers
            for p in x.projections
        }
        self.emitted: dict[str, deque[Int64Array]] = {x.name: deque() for x in program.layers}

    def tick(self) -> dict[str, Int64Array]:
        """One physical step: what each layer (n, *shape) sends; zeros before its first step."""
        sent = {layer.name: self._advance(layer) for layer in self.program.layers}
        for (_, source), wire in self.wires.items():
            wire.append(sent[source])
        self.clock += 1
        return sent

    def step(self) -> Step:
        """One logical step: tick until the readout has done it."""
        self.time += 1
        while self.clock < self.time + self.program.depth:
            sent = self.tick()
            for layer in self.program.layers:
                if self.clock > layer.depth:
                    self.emitted[layer.name].append(sent[layer.name])
        values = {name: waiting.popleft() for name, waiting in self.emitted.items()}
        spikes = {x.name: values[x.name].astype(np.int8) for x in self.program.spiking}
        return Step(values[self.program.layers[-1].name], spikes)

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of the samples; the others leave membranes, wires and what waits."""
        self.inputs = self.inputs[rows]
        for state in (self.silent, self.membrane, self.count):
            state.update({name: values[rows] for name, values in state.items()})
        for queues in (self.wires, self.emitted):
            for queue in queues.values():
                for place, values in enumerate(queue):
                    queue[place] = values[rows]

    def close(self) -> None:
        """Nothing to free."""

    def _rest(self, layer: Layer) -> Int64Array:
        """The membranes before the first step; of a max-pool, the counts that it pools."""
        silent = self.silent[layer.name]
        if isinstance(layer.node, Neuron):
            return silent + linear_ops.per_channel(layer.node.v0, silent.ndim)
        if isinstance(layer.node, MaxPool2d):
            return self.silent[layer.projections[0].source]
        return silent

    def _advance(self, layer: Layer) -> Int64Array:
        t, name, node = self.clock - layer.depth, layer.name, layer.node
        arrived = {p.source: self.wires[name, p.source][0] for p in layer.projections}
        for source in arrived:
            self.wires[name, source].popleft()
        if t < 0:
            return self.silent[name]
        if layer.kind == "input":
            return self.network.stimulus(self.inputs, t)
        current = linear_ops.project(layer.projections, arrived)
        if isinstance(node, Neuron | Output) and self.network.injects(t):
            assert node.bias is not None
            share = window_share(node.bias, t, self.network.window)
            current = current + linear_ops.per_channel(share, current.ndim)
        self.membrane[name] = membrane = self.membrane[name] + current
        if isinstance(node, Neuron):
            theta = linear_ops.per_channel(node.threshold, current.ndim)
            self.membrane[name], self.count[name], spikes = fire(
                membrane,
                self.count[name],
                theta,
                node.levels,
                signed=self.network.mode == "exact",
                hard=self.network.reset == "hard",
            )
            return spikes.astype(np.int64)
        if isinstance(node, MaxPool2d):
            before = self.count[name]
            self.count[name] = linear_ops.max_pool(membrane, node.kernel, node.stride, node.padding)
            return self.count[name] - before
        return membrane


class Pipelined:
    """The pipelined definition, as a backend; its steps are logical ones, the shift removed."""

    name = "pipelined"
    summary = "the NumPy definition with a pipeline's timing"
    streams = True

    def status(self) -> BackendStatus:
        """Always available."""
        return BackendStatus({"numpy": np.__version__})

    def open(self, program: Program, inputs: Int64Array, steps: int) -> PipelinedSession:
        """Start a session; `steps` does not matter to it."""
        return PipelinedSession(program, inputs)
