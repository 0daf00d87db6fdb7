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


@st.composite
def integer_networks(draw, max_layers: int = 4, mode: str | None = None) -> Network:
    """Convolutions (strided, padded, dilated, grouped), residual adds with identity branches,
    max-pools on counts (overlapping, padded), sum pools and a dense readout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mode = mode or draw(st.sampled_from(["exact", "rate"]))
    levels = draw(st.sampled_from([1, 3, 7, 15, 31]))
    channels = draw(st.integers(1, 3))
    size = draw(st.integers(3, 7))
    low, high = draw(st.sampled_from([(0, 1), (0, 16), (-8, 7)]))
    nodes: list[Node] = [Input("x", (channels, size, size), Grid(1.0 / high, low, high))]
    edges: list[tuple[str, str]] = []
    last, index, spiking = "x", 0, False

    def add(node: Node, *sources: str) -> str:
        nodes.append(node)
        edges.extend((s, node.name) for s in sources)
        return node.name

    def shape_of(name: str) -> tuple[int, ...]:
        shapes: dict[str, tuple[int, ...]] = {}
        for node in nodes:
            shapes[node.name] = node.output_shape([shapes[a] for a, b in edges if b == node.name])
        return shapes[name]

    def weight(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape)

    def neuron(name: str, count: int) -> Neuron:
        theta = rng.integers(1, 700, count)
        bias = rng.integers(-400, 400, count)
        return Neuron(name, theta, theta // 2, bias, levels, 0.5)

    for index in range(draw(st.integers(1, max_layers))):
        kind = draw(st.sampled_from(["conv", "conv", "residual", "max_pool", "sum_pool"]))
        c, h, w = shape_of(last)
        if kind == "max_pool" and spiking and min(h, w) >= 2:
            kernel = draw(st.integers(2, min(3, h, w)))
            stride = draw(st.integers(1, kernel))
            padding = draw(st.integers(0, kernel // 2))
            last = add(
                MaxPool2d(f"pool{index}", (kernel,) * 2, (stride,) * 2, (padding,) * 2), last
            )
            continue
        source = last
        if kind == "sum_pool" and min(h, w) >= 2:
            source = add(SumPool2d(f"sum{index}", (2, 2), (2, 2)), last)
            c, h, w = shape_of(source)
        groups = c if draw(st.booleans()) else 1
        residual = kind == "residual" and spiking
        out = c if residual else groups * draw(st.integers(1, 3))
        kernel = draw(st.integers(1, 3))
        padding = kernel // 2 if residual else draw(st.integers(0, 2))
        dilation = 1 if residual else draw(st.integers(1, 2))
        if dilation * (kernel - 1) + 1 > min(h, w) + 2 * padding:
            kernel, padding, dilation = 1, 0, 1
        if residual and kernel == 2:
            kernel, padding = 3, 1
        stride = 1 if residual else draw(st.integers(1, 2))
        conv = add(
            Conv2d(
                f"conv{index}",
                weight(out, c // groups, kernel, kernel),
                stride=(stride,) * 2,
                padding=(padding,) * 2,
                dilation=(dilation,) * 2,
                groups=groups,
            ),
            source,
        )
        if residual:
            identity = add(Scale(f"scale{index}", weight(c)), source)
            conv = add(Add(f"add{index}"), conv, identity)
        last = add(neuron(f"neuron{index}", out), conv)
        spiking = True
    flat = add(Flatten("flat"), last)
    features = shape_of(flat)[0]
    dense = add(Linear("dense", weight(3, features)), flat)
    add(Output("out", rng.integers(-300, 300, 3), 0.01), dense)
    return Network("random", tuple(nodes), tuple(edges), mode, levels)


def grid_inputs(network: Network, samples: int, seed: int) -> np.ndarray:
    grid = network.input.grid
    rng = np.random.default_rng(seed)
    return rng.integers(grid.low, grid.high + 1, (samples, *network.input.shape))
