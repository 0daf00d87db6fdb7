"""The judge with one fault planted, for tests of the diagnosis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from snndeploy import linear_ops
from snndeploy.backend import BackendStatus
from snndeploy.nodes import MaxPool2d, Neuron
from snndeploy.program import Program
from snndeploy_backends.reference.judge import Judge, JudgeSession


@dataclass(frozen=True)
class Fault:
    """What is done otherwise, in the layers named or, without names, in all.

    Attributes:
        fires, falls: the decisions for +1 and -1, of neurons with v, theta, v0, count, levels.
        reset: the membrane after the spikes, of neurons with these and spikes.
        membrane, current: what a register makes of a value.
        pool: the spikes of a max-pool, from its windows' spikes (.., K_h, K_w) of the step.
        late: steps by which the layer's own spikes are late.
        sources_late: steps by which the spikes of a source arrive late; early, if negative.
    """

    layers: tuple[str, ...] = ()
    fires: Callable = lambda n: (n.v >= n.theta) & (n.count < n.levels)
    falls: Callable = lambda n: (n.v < 0) & (n.count > 0)
    reset: Callable = lambda n: n.v - n.theta * n.spikes
    membrane: Callable = lambda v: v
    current: Callable = lambda v: v
    pool: Callable | None = None
    late: int = 0
    sources_late: Mapping[str, int] = field(default_factory=dict)


class FaultySession(JudgeSession):
    """Exact mode only; the decisions are those of the fault."""

    def __init__(self, program: Program, inputs, fault: Fault, steps: int) -> None:
        super().__init__(program, inputs)
        self.fault = fault
        self.emitted = defaultdict(list)
        self.ahead = {}
        if min(fault.sources_late.values(), default=0) < 0:
            right = FaultySession(program, inputs, Fault(), steps)
            for _ in range(steps + 4):
                right.step()
            self.ahead = right.emitted

    def _has_fault(self, layer) -> bool:
        return not self.fault.layers or layer.name in self.fault.layers

    def receive(self, layer, values):
        for source, value in values.items():
            if len(self.emitted[source]) <= self.time:
                self.emitted[source].append(value)
        if self._has_fault(layer):
            late = self.fault.sources_late
            values = {name: self._before(name, late.get(name, 0)) for name in values}
            return self.fault.current(super().receive(layer, values))
        return super().receive(layer, values)

    def _before(self, source: str, late: int):
        if late < 0:
            return self.ahead[source][self.time - late]
        values = self.emitted[source]
        return values[-1 - late] if late < len(values) else np.zeros_like(values[0])

    def advance(self, layer, current):
        if not self._has_fault(layer):
            return super().advance(layer, current)
        node, name = layer.node, layer.name
        if isinstance(node, Neuron):
            emitted = self._neurons(layer, current)
        elif isinstance(node, MaxPool2d) and self.fault.pool is not None:
            options = (node.kernel, node.stride, node.padding)
            emitted = self.fault.pool(linear_ops.windows(current, *options))
        else:
            emitted = super().advance(layer, current)
            if layer.kind == "readout":
                self.membrane[name] = emitted = self.fault.membrane(emitted)
        queue = self.emitted[f"{name} "]
        queue.append(emitted)
        return self._before(f"{name} ", self.fault.late)

    def keep(self, rows):
        super().keep(rows)
        for record in (self.emitted, self.ahead):
            for name, values in record.items():
                record[name] = [value[rows] for value in values]

    def _neurons(self, layer, current):
        name, node, fault = layer.name, layer.node, self.fault
        theta, v0 = (linear_ops.per_channel(x, current.ndim) for x in (node.threshold, node.v0))
        v = fault.membrane(self.membrane[name] + current)
        state = {"v": v, "theta": theta, "v0": v0, "levels": node.levels}
        neurons = SimpleNamespace(**state, count=self.count[name])
        neurons.spikes = fault.fires(neurons).astype(np.int64) - fault.falls(neurons)
        self.membrane[name] = fault.membrane(fault.reset(neurons))
        self.count[name] = self.count[name] + neurons.spikes
        return neurons.spikes


class Faulty(Judge):
    """The judge with a fault."""

    name = "faulty"

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    def open(self, program, inputs, steps):
        return FaultySession(program, inputs, self.fault, steps)


class Rewired(Judge):
    """The judge, but it runs another network than it is given."""

    name = "rewired"

    def __init__(self, network) -> None:
        self.network = network

    def open(self, program, inputs, steps):
        return super().open(program.with_network(self.network), inputs, steps)


class Leaky(Judge):
    """The judge, but a sample starts with what the one before it in the batch was given."""

    name = "leaky"

    def open(self, program, inputs, steps):
        session = super().open(program, inputs, steps)
        for layer in program.layers:
            if layer.kind == "neurons" and len(inputs) > 1:
                session.membrane[layer.name][1:] += int(np.abs(inputs[:-1]).sum()) % 97 + 500
        return session


class Blind:
    """A backend that does not show its membranes."""

    streams, summary = True, ""

    def __init__(self, backend) -> None:
        self.backend, self.name = backend, backend.name

    def status(self) -> BackendStatus:
        return self.backend.status()

    def open(self, program, inputs, steps):
        return self.backend.open(program, inputs, steps)
