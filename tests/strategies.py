"""Random integer networks and inputs for property tests."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod

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
    sides,
)

STATE = 1 << 23
"""What no accumulator reaches: the networks fit 24-bit states."""

MOST_CHANNELS = 6


class _Graph:
    """A random network under construction, from its input on; `last` is where it grows."""

    def __init__(self, draw, exponents: bool) -> None:
        self.draw, self.exponents = draw, exponents
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.levels = draw(st.sampled_from([1, 3, 7, 15, 31]))
        low, high = draw(st.sampled_from([(0, 1), (0, 16), (-8, 7)]))
        kind = draw(st.sampled_from(["image", "image", "image", "signal", "flat"]))
        side = st.integers(3, 7)
        shape = {
            "image": st.tuples(st.integers(1, 3), side, side),
            "signal": st.tuples(st.integers(1, 3), st.just(1), st.integers(3, 12)),
            "flat": st.tuples(st.integers(1, 9)),
        }[kind]
        self.nodes: list[Node] = [Input("x", draw(shape), Grid(1.0 / high, low, high))]
        self.edges: list[tuple[str, str]] = []
        self.shapes = {"x": self.nodes[0].shape}
        self.reach = {"x": max(high, -low) * self.levels}
        self.layers, self.last = ["x"], "x"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.shapes[self.last]

    @property
    def spiking(self) -> bool:
        return self.last != "x"

    def add(self, node: Node, *sources: str, gain: int = 1) -> str:
        """A node whose values are at most `gain` times those of its sources."""
        self.nodes.append(node)
        self.edges.extend((source, node.name) for source in sources)
        self.shapes[node.name] = node.output_shape([self.shapes[source] for source in sources])
        self.reach[node.name] = gain * sum(self.reach[source] for source in sources)
        return node.name

    def weight(self, source: str, *shape: int) -> np.ndarray:
        """8-bit weights times a power of two, narrower where four such branches were too wide."""
        most = max(1, STATE // 5 // (self.reach[source] * prod(shape[1:])))
        largest = min(127, most)
        bits = min(9, (most // largest).bit_length() - 1)
        exponent = self.draw(st.integers(0, bits if self.exponents else 0))
        return self.rng.integers(-largest, largest + 1, shape) << exponent

    def weighted(self, node: Conv2d | Linear | Scale, source: str) -> str:
        return self.add(node, source, gain=int(np.abs(node.weight).max()) * node.weight[0].size)

    def pair(self, least: int, *most: int) -> tuple[int, int]:
        """Two numbers from `least` to `most` (along height and width), often equal."""
        high, wide = (self.draw(st.integers(least, max(least, m))) for m in (most * 2)[:2])
        return high, wide

    def padding(self, *most: int) -> tuple[int, ...]:
        """The same on both sides, or not: top, left, bottom, right."""
        first = self.pair(0, *most)
        return first if self.draw(st.booleans()) else first + self.pair(0, *most)

    def max_pool(self, index: int) -> None:
        """A pool on counts, its windows overlapping and padded as it comes."""
        self.last = self.add(MaxPool2d(f"pool{index}", *self.windows(self.last)), self.last)
        self.layers.append(self.last)

    def sum_pool(self, name: str, source: str) -> str:
        """What an average pool leaves: overlapping, padded, or over everything."""
        _, *size = self.shapes[source]
        everything = self.draw(st.integers(0, 3)) == 0
        windows = (tuple(size),) * 2 if everything else self.windows(source)
        pool = SumPool2d(name, *windows)
        return self.add(pool, source, gain=prod(pool.kernel))

    def windows(self, source: str) -> tuple[tuple[int, int], ...]:
        """Kernel, stride and padding, along each side as far as it goes."""
        _, height, width = self.shapes[source]
        kernel = self.pair(1, min(3, height), min(3, width))
        return kernel, self.pair(1, *kernel), self.padding(kernel[0] - 1, kernel[1] - 1)

    def neurons(self, name: str, branches: list[str]) -> None:
        """Neurons on the sum of some branches, a threshold for each channel."""
        current = self.add(Add(f"{name}_sum"), *branches) if len(branches) > 1 else branches[0]
        count = self.shapes[current][0]
        theta, bias = self.rng.integers(1, 700, count), self.rng.integers(-400, 400, count)
        self.last = self.add(Neuron(name, theta, theta // 2, bias, self.levels, 0.5), current)
        self.reach[name] = self.levels
        self.layers.append(name)

    def layer(self, index: int) -> None:
        """A layer behind the last, with up to three other branches from anywhere before."""
        draw, source = self.draw, self.last
        pooled = len(self.shape) == 3 and draw(st.integers(0, 3)) == 0
        if pooled:
            source = self.sum_pool(f"sum{index}", source)
        plain = self.spiking and draw(st.integers(0, 4)) == 0
        first = self.scale(index, source) if plain else self.any_weights(index, source)
        branches = [first]
        for number in range(draw(st.sampled_from([0, 0, 1, 1, 2, 3]))):
            branches += self.branch(f"{index}_{number}", self.shapes[first])
        self.neurons(f"neuron{index}", branches)

    def branch(self, index: str, shape: tuple[int, ...]) -> list[str]:
        """One more branch of that shape: an identity, or what weights there are for it."""
        like = [name for name in self.layers[1:] if self.shapes[name] == shape]
        if like and self.draw(st.booleans()):
            return [self.scale(index, self.draw(st.sampled_from(like)))]
        source = self.draw(st.sampled_from(self.layers))
        if len(shape) == 1:
            return [self.linear(f"linear{index}", self.flat(f"flat{index}", source), *shape)]
        return self.convolution(index, source, shape) if len(self.shapes[source]) == 3 else []

    def convolution(self, index: int | str, source: str, shape: tuple[int, ...]) -> list[str]:
        """A convolution from a source to that shape, or none if there is none."""
        (channels, *have), (out, *want) = self.shapes[source], shape
        ways = [geometries(n, m) for n, m in zip(have, want, strict=True)]
        if not all(ways):
            return []
        drawn = [self.draw(st.sampled_from(way)) for way in ways]
        kernel, stride, padding, dilation = zip(*drawn, strict=True)
        pads = tuple(side[at] for at in (0, 1) for side in padding)
        where = (kernel, stride, pads, dilation)
        return [self.conv(index, source, out, self.groups(channels, out), *where)]

    def any_weights(self, index: int, source: str) -> str:
        """A convolution, strided, padded, dilated, grouped; of flat values a dense layer."""
        if len(self.shapes[source]) == 1:
            return self.linear(f"linear{index}", source, self.draw(st.integers(1, 9)))
        if self.draw(st.booleans()):
            return self.convolution(index, source, self.shapes[source])[0]
        channels, *size = self.shapes[source]
        kernel, stride = self.pair(1, 3), self.pair(1, 2)
        padding, dilation = self.padding(2, 2), self.pair(1, 2)
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        added = [a + b for a, b in zip(sides(padding)[:2], sides(padding)[2:], strict=True)]
        if any(r > n + p for r, n, p in zip(reach, size, added, strict=True)):
            kernel, padding, dilation = (1, 1), (0, 0), (1, 1)
        groups = self.groups(channels, 0)
        out = groups * self.draw(st.integers(1, max(1, MOST_CHANNELS // groups)))
        return self.conv(index, source, out, groups, kernel, stride, padding, dilation)

    def conv(self, index: int | str, source: str, out: int, groups: int, *where: tuple) -> str:
        """`where`: kernel, stride, padding, dilation."""
        kernel, *rest = where
        weight = self.weight(source, out, self.shapes[source][0] // groups, *kernel)
        return self.weighted(Conv2d(f"conv{index}", weight, None, *rest, groups), source)

    def groups(self, inside: int, out: int) -> int:
        """A common divisor: one group, a channel each, or between."""
        common = [g for g in range(1, inside + 1) if inside % g == 0 and out % g == 0]
        return self.draw(st.sampled_from(common))

    def scale(self, index: int | str, source: str) -> str:
        weight = self.weight(source, self.shapes[source][0])
        return self.weighted(Scale(f"scale{index}", weight), source)

    def flat(self, name: str, source: str) -> str:
        return source if len(self.shapes[source]) == 1 else self.add(Flatten(name), source)

    def linear(self, name: str, source: str, out: int) -> str:
        weight = self.weight(source, out, *self.shapes[source])
        return self.weighted(Linear(name, weight), source)

    def logits(self, index: int, source: str) -> str:
        """Three logits from a layer, pooled or not."""
        if len(self.shapes[source]) == 3 and self.draw(st.integers(0, 3)) == 0:
            source = self.sum_pool(f"mean{index}", source)
        return self.linear(f"dense{index}", self.flat(f"flatten{index}", source), 3)


def geometries(have: int, want: int) -> list[tuple[int, int, tuple[int, int], int]]:
    """Kernel, stride, padding and dilation along one side that make `want` values of `have`."""
    return [
        (kernel, stride, padding, dilation)
        for kernel in (1, 2, 3)
        for stride in (1, 2, 3)
        for padding in product((0, 1, 2), repeat=2)
        for dilation in (1, 2)
        if (span := have + sum(padding) - dilation * (kernel - 1) - 1) >= 0
        and span // stride + 1 == want
    ]


@st.composite
def integer_networks(
    draw,
    max_layers: int = 4,
    mode: str | None = None,
    min_layers: int = 1,
    exponents: bool = True,
    reset: str | None = None,
) -> Network:
    """Images, signals of height one and flat values; layers on the sum of one to four branches.

    A branch is a convolution (non-square kernels, strides, uneven padding, dilation, groups), a
    dense layer or an identity, from any layer before, some behind a sum pool (overlapping, padded
    or over everything). Weights are bytes, with `exponents` times a power of two. Max-pools on
    counts, also of max-pools. One or several dense layers behind a flatten; one or two readout
    branches. All fits 24-bit states. In rate mode resets are soft or hard.
    """
    mode = mode or draw(st.sampled_from(["exact", "rate"]))
    if reset is None:
        reset = draw(st.sampled_from(["soft", "hard"])) if mode == "rate" else "soft"
    graph = _Graph(draw, exponents)
    for index in range(draw(st.integers(min_layers, max_layers))):
        images = len(graph.shape) == 3
        if images and graph.spiking and draw(st.integers(0, 4)) == 0:
            graph.max_pool(index)
        elif images and index and draw(st.integers(0, 9)) == 0:
            flat = graph.add(Flatten(f"flat{index}"), graph.last)
            graph.neurons(f"neuron{index}", [graph.linear(f"linear{index}", flat, 5)])
        else:
            graph.layer(index)
    logits = [graph.logits(0, graph.last)]
    if draw(st.integers(0, 3)) == 0:
        logits.append(graph.logits(1, draw(st.sampled_from(graph.layers))))
    end = graph.add(Add("logits"), *logits) if len(logits) > 1 else logits[0]
    graph.add(Output("out", graph.rng.integers(-300, 300, 3), 0.01), end)
    nodes, edges = tuple(graph.nodes), tuple(graph.edges)
    return Network("random", nodes, edges, mode, graph.levels, reset=reset)


def grid_inputs(network: Network, samples: int, seed: int) -> np.ndarray:
    grid = network.input.grid
    rng = np.random.default_rng(seed)
    return rng.integers(grid.low, grid.high + 1, (samples, *network.input.shape))


def fed_by_steps(network: Network, window: int) -> Network:
    """The same network, its input coming step by step."""
    nodes = [replace(n, per_step=True) if isinstance(n, Input) else n for n in network.nodes]
    return network.rewrite(nodes, window=window)


def frames(network: Network, samples: int, steps: int, seed: int) -> np.ndarray:
    """Changes of random values on the grid, many of them 0."""
    rng, grid = np.random.default_rng(seed), network.input.grid
    shape = (samples, steps, *network.input.shape)
    values = rng.integers(min(grid.low, 0), max(grid.high, 0) + 1, shape)
    still = rng.random(shape) < 0.5
    for t in range(1, steps):
        values[:, t] = np.where(still[:, t], values[:, t - 1], values[:, t])
    return np.diff(values, axis=1, prepend=0)
