"""A two-layer network that any backend runs in a moment: convolution, max-pool, readout."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Flatten, Grid, Input, Linear, MaxPool2d, Neuron, Output
from snndeploy.numerics import Int64Array


def tiny_network() -> Network:
    """One convolution, one max-pool on counts and a readout of three classes, from a seed."""
    rng = np.random.default_rng(7)
    theta = rng.integers(100, 400, 4)
    nodes = (
        Input("x", (1, 6, 6), Grid(1 / 16, 0, 16)),
        Conv2d("conv", rng.integers(-127, 128, (4, 1, 3, 3)), padding=(1, 1)),
        Neuron("neurons", theta, theta // 2, rng.integers(-90, 90, 4), 3, 1.0),
        MaxPool2d("pool", (2, 2), (2, 2)),
        Flatten("flat"),
        Linear("dense", rng.integers(-127, 128, (3, 36))),
        Output("readout", rng.integers(-300, 300, 3), 1.0),
    )
    names = [node.name for node in nodes]
    return Network("tiny", nodes, tuple(pairwise(names)), "exact", 3)


def tiny_chain() -> Network:
    """A convolution, neurons with hard reset and a readout: for what runs such chains only."""
    rng = np.random.default_rng(7)
    theta = np.full(4, 300)
    nodes = (
        Input("x", (1, 6, 6), Grid(1 / 16, 0, 16)),
        Conv2d("conv", rng.integers(-127, 128, (4, 1, 3, 3)), padding=(1, 1)),
        Neuron("neurons", theta, 0 * theta, 4 * rng.integers(-90, 90, 4), 3, 1.0),
        Flatten("flat"),
        Linear("dense", rng.integers(-9, 10, (3, 144))),
        Output("readout", 4 * rng.integers(-90, 90, 3), 1.0),
    )
    names = [node.name for node in nodes]
    return Network("tiny", nodes, tuple(pairwise(names)), "rate", 4, reset="hard")


def tiny_inputs(network: Network) -> Int64Array:
    """Eight random images on the network's input grid."""
    grid = network.input.grid
    assert grid is not None
    rng = np.random.default_rng(8)
    return rng.integers(grid.low, grid.high + 1, (8, *network.input.shape))
