"""The definition of foreign NIR graphs, in plain NumPy: `snndeploy.nirfile.foreign`, step by step.

Short and slow on purpose. Norse is held to it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snndeploy import linear_ops
from snndeploy.backend import Response
from snndeploy.nirfile import ForeignGraph, ForeignNode
from snndeploy.nodes import Array
from snndeploy.numerics import FloatArray


def respond(graph: ForeignGraph, inputs: FloatArray, record: bool) -> Response:
    """Simulate float64 (n, T, *input shape)."""
    rows, steps = inputs.shape[:2]
    state = State(graph)
    history = [state.step(inputs[:, t]) for t in range(steps)]
    emitted = {n.name: np.stack([h[n.name] for h in history], 1) for n in graph.spiking}
    return Response(
        np.stack([h[graph.output] for h in history], 1),
        {name: x.astype(np.int8) for name, x in emitted.items()} if record else {},
        {n: np.count_nonzero(x.reshape(rows, steps, -1), axis=2) for n, x in emitted.items()},
    )


class State:
    """What a graph holds from step to step: membranes, currents, and what is on its way."""

    def __init__(self, graph: ForeignGraph) -> None:
        self.graph = graph
        self.membrane: dict[str, FloatArray] = {}
        self.current: dict[str, FloatArray] = {}
        self.past: dict[str, list[FloatArray]] = {n.name: [] for n in graph.nodes}
        self.before: dict[str, FloatArray] = {}

    def step(self, x: FloatArray) -> dict[str, FloatArray]:
        """What every node emits, given the input (n, *shape)."""
        self.before = self.before or self.rest(len(x))
        now: dict[str, FloatArray] = {}
        for node in self.graph.nodes:
            if node.kind == "Input":
                now[node.name] = x
            elif node.holds_back:
                now[node.name] = self.delayed(node, len(x))
            else:
                now[node.name] = self.advance(node, self.received(node, now))
        for node in self.graph.nodes:
            if node.holds_back:
                self.past[node.name].append(self.received(node, now))
        self.before = now
        return now

    def rest(self, rows: int) -> dict[str, FloatArray]:
        """What every node emitted before the first step."""
        now: dict[str, FloatArray] = {}
        for node in self.graph.nodes:
            if node.resting is None:
                now[node.name] = transformed(node, self.received(node, now))
            else:
                now[node.name] = np.broadcast_to(node.resting, (rows, *node.shape))
        return now

    def received(self, node: ForeignNode, now: Mapping[str, FloatArray]) -> FloatArray:
        """The sum of what arrives: of this step, and around a cycle of the one before."""
        total: FloatArray = sum((now[s] for s in node.sources), np.zeros(()))
        for source in node.feedback:
            total = total + self.before.get(source, 0.0)
        return total

    def advance(self, node: ForeignNode, x: FloatArray) -> FloatArray:
        """What a node emits, given what it takes in (n, *shape)."""
        p, dt, name = node.values, self.graph.dt, node.name
        if node.kind in ("CubaLIF", "CubaLI"):
            i = self.current.get(name, np.zeros(node.shape))
            x = self.current[name] = i + dt / p["tau_syn"] * (p["w_in"] * x - i)
        if node.kind in ("LIF", "LI", "CubaLIF", "CubaLI"):
            v, tau = self.membrane.get(name, p["v_leak"]), p["tau_mem" if "tau_mem" in p else "tau"]
            return self.fire(node, v + dt / tau * (p["v_leak"] - v + p["r"] * x))
        if node.kind in ("IF", "I"):
            return self.fire(node, self.membrane.get(name, np.zeros(node.shape)) + dt * p["r"] * x)
        if node.kind == "Delay":
            self.past[name].append(x)
            return self.delayed(node, len(x))
        return transformed(node, x)

    def fire(self, node: ForeignNode, v: FloatArray) -> FloatArray:
        """Spikes of membranes that were advanced, or the membranes of what does not fire."""
        if "v_threshold" not in node.values:
            self.membrane[node.name] = v
            return v
        fired = v > node.values["v_threshold"]
        self.membrane[node.name] = np.where(fired, node.values["v_reset"], v)
        return fired.astype(np.float64)

    def delayed(self, node: ForeignNode, rows: int) -> FloatArray:
        """What a delay lets out now; all that it was ever given is in `past`."""
        past, steps = self.past[node.name], node.values["steps"]
        now = len(past) - (not node.holds_back)
        out = np.zeros((rows, *node.shape))
        for held in np.unique(steps):
            if held <= now:
                out = np.where(steps == held, past[now - held], out)
        return out


def transformed(node: ForeignNode, x: FloatArray) -> FloatArray:
    """A node without a state applied to (n, *shape)."""
    p: Mapping[str, Array] = node.values
    if node.kind == "Threshold":
        return (x > p["threshold"]).astype(np.float64)
    if node.kind == "Scale":
        return x * p["scale"]
    if node.kind in ("Linear", "Affine"):
        y: FloatArray = x @ p["weight"].T + p.get("bias", 0.0)
        return y
    if node.kind == "Flatten":
        return x.reshape(len(x), *node.shape)
    if node.kind in ("SumPool2d", "AvgPool2d"):
        patches = linear_ops.windows(x, node.pair("kernel"), node.pair("stride"), node.pads)
        reduce = np.sum if node.kind == "SumPool2d" else np.mean
        pooled: FloatArray = reduce(patches, axis=(-2, -1))
        return pooled
    if node.kind in ("Conv1d", "Conv2d"):
        return convolved(node, x).reshape(len(x), *node.shape)
    return x


def convolved(node: ForeignNode, x: FloatArray) -> FloatArray:
    """A convolution of images, or of signals as images of height 1."""
    p, (groups,) = node.values, node.values["groups"]
    images = x[:, :, None] if node.kind == "Conv1d" else x
    _, _, high, wide = p["weight"].shape
    sizes = ((high, wide), node.pair("stride"), node.pads, node.pair("dilation"))
    patches = linear_ops.windows(images, *sizes)
    split = patches.reshape(len(x), groups, -1, *patches.shape[2:])
    weight = p["weight"].reshape(groups, -1, *p["weight"].shape[1:])
    y: FloatArray = np.einsum("ngchwij,gocij->ngohw", split, weight)
    return y.reshape(len(x), -1, *y.shape[3:]) + p["bias"][:, None, None]
