"""Random integer networks and inputs for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

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
    SumPool2d,
)


class _Graph:
    """A random network under construction, from its input on; `last` is where it grows."""

    def __init__(self, draw) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.levels = draw(st.sampled_from([1, 3, 7, 15, 31]))
        channels, size = draw(st.integers(1, 3)), draw(st.integers(3, 7))
        low, high = draw(st.sampled_from([(0, 1), (0, 16), (-8, 7)]))
        self.nodes: list[Node] = [Input("x", (channels, size, size), Grid(1.0 / high, low, high))]
        self.edges: list[tuple[str, str]] = []
        self.shapes = {"x": (channels, size, size)}
        self.last, self.spiking = "x", False

    def add(self, node: Node, *sources: str) -> str:
        self.nodes.append(node)
        self.edges.extend((source, node.name) for source in sources)
        self.shapes[node.name] = node.output_shape([self.shapes[source] for source in sources])
        return node.name

    def weight(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-127, 128, shape)

    def max_pool(self, index: int) -> None:
        """A pool on counts, its windows overlapping and padded as it comes."""
        _, height, width = self.shapes[self.last]
        kernel = self.draw(st.integers(2, min(3, height, width)))
        stride = self.draw(st.integers(1, kernel))
        padding = self.draw(st.integers(0, kernel // 2))
        pool = MaxPool2d(f"pool{index}", (kernel,) * 2, (stride,) * 2, (padding,) * 2)
        self.last = self.add(pool, self.last)

    def neurons(self, index: int, source: str, residual: bool) -> None:
        """A convolution, an identity branch beside it if `residual`, and neurons."""
        conv = self.convolution(index, source, residual)
        if residual:
            scale = Scale(f"scale{index}", self.weight(self.shapes[source][0]))
            conv = self.add(Add(f"add{index}"), conv, self.add(scale, source))
        count = self.shapes[conv][0]
        theta, bias = self.rng.integers(1, 700, count), self.rng.integers(-400, 400, count)
        neuron = Neuron(f"neuron{index}", theta, theta // 2, bias, self.levels, 0.5)
        self.last, self.spiking = self.add(neuron, conv), True

    def convolution(self, index: int, source: str, residual: bool) -> str:
        """Strided, padded, dilated, grouped; of the same shape if `residual`."""
        draw = self.draw
        c, height, width = self.shapes[source]
        groups = c if draw(st.booleans()) else 1
        out = c if residual else groups * draw(st.integers(1, 3))
        kernel = draw(st.sampled_from([1, 3])) if residual else draw(st.integers(1, 3))
        padding = kernel // 2 if residual else draw(st.integers(0, 2))
        dilation = 1 if residual else draw(st.integers(1, 2))
        stride = 1 if residual else draw(st.integers(1, 2))
        if dilation * (kernel - 1) + 1 > min(height, width) + 2 * padding:
            kernel, padding, dilation = 1, 0, 1
        weight = self.weight(out, c // groups, kernel, kernel)
        pairs = {"stride": stride, "padding": padding, "dilation": dilation}
        conv = Conv2d(
            f"conv{index}", weight, groups=groups, **{k: (v, v) for k, v in pairs.items()}
        )
        return self.add(conv, source)


@st.composite
def integer_networks(draw, max_layers: int = 4, mode: str | None = None) -> Network:
    """Convolutions (strided, padded, dilated, grouped), residual adds with identity branches,
    max-pools on counts (overlapping, padded), sum pools and a dense readout."""
    mode = mode or draw(st.sampled_from(["exact", "rate"]))
    graph = _Graph(draw)
    for index in range(draw(st.integers(1, max_layers))):
        kind = draw(st.sampled_from(["conv", "conv", "residual", "max_pool", "sum_pool"]))
        wide = min(graph.shapes[graph.last][1:]) >= 2
        if kind == "max_pool" and graph.spiking and wide:
            graph.max_pool(index)
            continue
        source = graph.last
        if kind == "sum_pool" and wide:
            source = graph.add(SumPool2d(f"sum{index}", (2, 2), (2, 2)), source)
        graph.neurons(index, source, residual=kind == "residual" and graph.spiking)
    flat = graph.add(Flatten("flat"), graph.last)
    dense = graph.add(Linear("dense", graph.weight(3, graph.shapes[flat][0])), flat)
    graph.add(Output("out", graph.rng.integers(-300, 300, 3), 0.01), dense)
    return Network("random", tuple(graph.nodes), tuple(graph.edges), mode, graph.levels)


def grid_inputs(network: Network, samples: int, seed: int) -> np.ndarray:
    grid = network.input.grid
    rng = np.random.default_rng(seed)
    return rng.integers(grid.low, grid.high + 1, (samples, *network.input.shape))
