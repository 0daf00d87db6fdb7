"""Random networks that Lava's own processes can hold: chains in rate mode with hard reset."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np
from hypothesis import strategies as st

from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Flatten, Grid, Input, Linear, Neuron, Node, Output, SumPool2d

STEPS = 9
"""That no membrane of these networks overflows in."""

STATE = 1 << 17


class _Chain:
    def __init__(self, draw) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.window = draw(st.sampled_from([1, 4, 7]))
        low, high = draw(st.sampled_from([(0, 1), (0, 16), (-8, 7)]))
        side = st.integers(2, 6)
        image = st.tuples(st.integers(1, 3), side, side)
        shape = draw(st.one_of(image, image, st.tuples(st.integers(1, 9))))
        self.nodes: list[Node] = [Input("x", shape, Grid(1.0 / high, low, high))]
        self.shape, self.reach = shape, max(high, -low)

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        self.shape = node.output_shape([self.shape])

    def weight(self, *shape: int) -> np.ndarray:
        """So small that neither a current nor a membrane overflows, and not all zero."""
        most = STATE // (4 * STEPS * self.reach * prod(shape[1:]))
        weight = self.rng.integers(-min(most, 127), min(most, 127) + 1, shape)
        weight[(0,) * len(shape)] = 1
        return weight

    def layer(self, index: int) -> None:
        draw, images = self.draw, len(self.shape) == 3
        if images and draw(st.integers(0, 4)) == 0:
            self.pool(f"pool{index}")
        if images and draw(st.integers(0, 3)):
            self.conv(f"conv{index}")
        else:
            self.dense(f"dense{index}", draw(st.integers(1, 7)))
        count = self.shape[0]
        theta = np.full(count, draw(st.integers(1, 900)))
        bias = self.rng.integers(-60, 60, count) * self.window
        self.add(Neuron(f"neuron{index}", theta, 0 * theta, bias, 7, 0.5))
        self.reach = 1

    def pool(self, name: str) -> None:
        """Of two by two pixels that tile the image; the weights behind it may be anything."""
        _, height, width = self.shape
        kernel = tuple(2 if n % 2 == 0 else 1 for n in (height, width))
        self.add(SumPool2d(name, kernel, kernel))
        self.reach *= prod(kernel)

    def conv(self, name: str) -> None:
        channels, *size = self.shape
        pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
        kernel, stride, dilation = (self.draw(pair) for _ in range(3))
        span = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        least = [max(0, s - n + 1) for s, n in zip(span, size, strict=True)]
        padding = tuple(n + self.draw(st.integers(0, 1)) for n in (*least, 0, 0))
        groups = self.draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
        out = groups * self.draw(st.integers(1, 3))
        weight = self.weight(out, channels // groups, *kernel)
        self.add(Conv2d(name, weight, None, stride, padding, dilation, groups))

    def dense(self, name: str, out: int) -> None:
        if len(self.shape) == 3:
            self.add(Flatten(f"{name}_flat"))
        self.add(Linear(name, self.weight(out, *self.shape)))


@st.composite
def chain_networks(draw, max_layers: int = 3) -> Network:
    """Convolutions (strided, padded, also unevenly, dilated, grouped) and dense layers.

    Some stand behind a sum pool. One threshold a layer, membranes that start at 0, the same bias
    at each step, weights of 8 bits, states of 18.
    """
    chain = _Chain(draw)
    for index in range(draw(st.integers(1, max_layers))):
        chain.layer(index)
    chain.dense("head", 3)
    bias = chain.rng.integers(-60, 60, 3) * chain.window
    chain.add(Output("out", bias, 0.01))
    edges = tuple(pairwise(node.name for node in chain.nodes))
    return Network("chain", tuple(chain.nodes), edges, "rate", chain.window, reset="hard")
