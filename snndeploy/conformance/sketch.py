"""Small integer networks put together by hand, their weights and thresholds from a seed."""

from __future__ import annotations

import zlib
from dataclasses import replace
from math import isqrt, prod, sqrt
from typing import Any

import numpy as np

from snndeploy.network import Mode, Network
from snndeploy.nodes import (
    Add,
    Array,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Padding,
    Pair,
    Scale,
    Shape,
    SumPool2d,
)
from snndeploy.numerics import Int64Array

GRID = Grid(1 / 16, 0, 16)
LOWEST, HIGHEST = -120, 127
"""Weights are a little above zero on average, so that deep layers still fire."""
CLASSES = 3


class Sketch:
    """A network under construction; each method adds a node behind `last` and returns the sketch.

    Thresholds are a share of what a layer is expected to receive, so that counts of all sizes
    occur: silent neurons, saturated ones, and those that take spikes back.

    Args:
        name: the structure's; the seed of everything random.
        shape: of a sample.
        levels: the most spikes of a neuron, unless a layer says otherwise.
        window: steps with input; default as many as levels.
    """

    def __init__(
        self,
        name: str,
        shape: Shape,
        grid: Grid = GRID,
        levels: int = 3,
        window: int = 0,
        per_step: bool = False,
    ) -> None:
        self.name, self.levels, self.window = name, levels, window or levels
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes: list[Node] = [Input("x", shape, grid, per_step)]
        self.edges: list[tuple[str, str]] = []
        self.shapes: dict[str, Shape] = {"x": shape}
        values = (
            np.arange(grid.low, grid.high + 1) if grid.high < 1 << 16 else np.array([grid.high])
        )
        total = float((values.astype(np.float64) ** 2).mean())
        self.power = {"x": total if per_step else total * self.window**2}
        """Roughly the mean square of each node's total over the window."""
        self.last = "x"

    def at(self, name: str) -> Sketch:
        """Go on behind this node."""
        self.last = name
        return self

    def conv(
        self,
        out: int,
        kernel: Pair,
        *,
        stride: Pair = (1, 1),
        padding: Padding = (0, 0),
        dilation: Pair = (1, 1),
        groups: int = 1,
        exponent: int = 0,
    ) -> Sketch:
        """A convolution with weights on 8 bits, times two to the `exponent`."""
        weight = self._weight(exponent, out, self.shapes[self.last][0] // groups, *kernel)
        return self._weighted(
            Conv2d(
                self._new("conv"),
                weight=weight,
                stride=stride,
                padding=padding,
                dilation=dilation,
                groups=groups,
            )
        )

    def linear(self, out: int, *, exponent: int = 0, largest: int = 0) -> Sketch:
        """Dense synapses, behind a flatten if need be; up to `largest`, if that is given."""
        if len(self.shapes[self.last]) > 1:
            self.flatten()
        weight = self._weight(exponent, out, *self.shapes[self.last], largest=largest)
        return self._weighted(Linear(self._new("dense"), weight))

    def scale(self, *, exponent: int = 0) -> Sketch:
        """An identity branch, with a weight a channel."""
        gains = self.rng.integers(20, HIGHEST + 1, self.shapes[self.last][:1])
        return self._weighted(Scale(self._new("scale"), gains << exponent))

    def sum_pool(
        self, kernel: Pair | None = None, stride: Pair | None = None, padding: Padding = (0, 0)
    ) -> Sketch:
        """What an average pool leaves; without a kernel over everything."""
        _, height, width = self.shapes[self.last]
        kernel = kernel or (height, width)
        pool = SumPool2d(self._new("mean"), kernel=kernel, stride=stride or kernel, padding=padding)
        return self._add(pool, self.power[self.last] * prod(kernel) ** 1.5)

    def max_pool(
        self, kernel: Pair, stride: Pair | None = None, padding: Padding = (0, 0)
    ) -> Sketch:
        """A max-pool on counts."""
        pool = MaxPool2d(self._new("pool"), kernel=kernel, stride=stride or kernel, padding=padding)
        return self._add(pool, self.power[self.last])

    def flatten(self) -> Sketch:
        """All dimensions into one."""
        return self._add(Flatten(self._new("flat")), self.power[self.last])

    def sum(self, *branches: str) -> Sketch:
        """The sum of branches of one shape."""
        power = sum(self.power[branch] for branch in branches)
        return self._add(Add(self._new("sum")), power, *branches)

    def neurons(
        self,
        *,
        levels: int = 0,
        threshold: Array | None = None,
        v0: Array | None = None,
        bias: Array | None = None,
    ) -> Sketch:
        """Neurons on what `last` gives; what is not given is drawn, a number a channel."""
        levels, channels = levels or self.levels, self.shapes[self.last][0]
        expected = sqrt(self.power[self.last])
        if threshold is None:
            low, high = int(expected / levels / 2) + 1, int(1.5 * expected / levels) + 2
            threshold = self.rng.integers(low, high, channels)
        if bias is None:
            reach = int(expected / 2) + 1
            bias = self.rng.integers(-reach, reach + 1, channels)
        v0 = threshold // 2 if v0 is None else v0
        node = Neuron(self._new("spikes"), threshold, v0, bias, levels, 0.5)
        return self._add(node, levels**2 / 3)

    def readout(self) -> Sketch:
        """Integrates what `last` gives, and never fires."""
        reach = isqrt(int(self.power[self.last])) // 2 + 1
        bias = self.rng.integers(-reach, reach + 1, self.shapes[self.last])
        return self._add(Output("out", bias, 0.01), 0.0)

    def network(self, mode: Mode) -> Network:
        """The network; without a readout it gets a dense one."""
        if not isinstance(self.nodes[-1], Output):
            self.linear(CLASSES).readout()
        return Network(self.name, tuple(self.nodes), tuple(self.edges), mode, self.window)

    def renamed(self, names: dict[str, str]) -> Sketch:
        """The same nodes under other names."""
        self.nodes = [replace(n, name=names.get(n.name, n.name)) for n in self.nodes]
        self.edges = [(names.get(a, a), names.get(b, b)) for a, b in self.edges]
        return self

    def _weight(self, exponent: int, *shape: int, largest: int = 0) -> Int64Array:
        low, high = (-largest, largest) if largest else (LOWEST, HIGHEST)
        return self.rng.integers(low, high + 1, shape) << exponent

    def _weighted(self, node: Conv2d | Linear | Scale) -> Sketch:
        weight = node.weight.astype(np.float64)
        fan_in = weight[0].size
        return self._add(node, fan_in * float((weight**2).mean()) * self.power[self.last])

    def _add(self, node: Node, power: float, *sources: str) -> Sketch:
        sources = sources or (self.last,)
        self.nodes.append(node)
        self.edges += [(source, node.name) for source in sources]
        self.shapes[node.name] = node.output_shape([self.shapes[s] for s in sources])
        self.power[node.name], self.last = power, node.name
        return self

    def _new(self, kind: str) -> str:
        return f"{kind}{len(self.nodes)}"


def samples(network: Network, count: int, frames: int = 0) -> Int64Array:
    """Random inputs on the grid: (count, *shape), or so many frames of changes, half of them 0."""
    node: Any = network.input
    rng = np.random.default_rng(zlib.crc32(f"{network.name} inputs".encode()))
    if not node.per_step:
        return rng.integers(node.grid.low, node.grid.high + 1, (count, *node.shape))
    shape = (count, frames, *node.shape)
    values = rng.integers(min(node.grid.low, 0), max(node.grid.high, 0) + 1, shape)
    still = rng.random(shape) < 0.5
    for t in range(1, frames):
        values[:, t] = np.where(still[:, t], values[:, t - 1], values[:, t])
    return np.diff(values, axis=1, prepend=0)
