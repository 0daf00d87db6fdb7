"""Networks for timing: random integer weights, thresholds set for about 12 % spikes a step."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from snndeploy.integer_ann import integer_ann
from snndeploy.network import Network
from snndeploy.nodes import (
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
)

LEVELS = 3


def vgg(width: int = 32, seed: int = 0) -> Network:
    """CIFAR-shaped: conv w, pool, conv 2w, pool, conv 4w, conv 4w, pool, linear 10."""
    rng = np.random.default_rng(seed)
    nodes: list[Node] = [Input("x", (3, 32, 32), Grid(1 / 255, 0, 255))]
    channels = 3
    for index, size in enumerate([width, "pool", 2 * width, "pool", 4 * width, 4 * width, "pool"]):
        if size == "pool":
            nodes.append(MaxPool2d(f"pool{index}", (2, 2), (2, 2)))
            continue
        out = int(size)
        weight = rng.integers(-127, 128, (out, channels, 3, 3))
        one = np.ones(out, np.int64)
        nodes.append(Conv2d(f"conv{index}", weight, padding=(1, 1)))
        nodes.append(Neuron(f"neurons{index}", one, one * 0, one * 0, LEVELS, 1.0))
        channels = out
    nodes.append(Flatten("flat"))
    nodes.append(Linear("dense", rng.integers(-127, 128, (10, channels * 16))))
    nodes.append(Output("readout", np.zeros(10, np.int64), 1.0))
    names = [node.name for node in nodes]
    network = Network("vgg", tuple(nodes), tuple(pairwise(names)), "exact", LEVELS)
    return _with_thresholds(network)


def images(network: Network, count: int, seed: int = 1) -> np.ndarray:
    """Smooth random images on the network's input grid, int64."""
    rng = np.random.default_rng(seed)
    channels, height, width = network.input.shape
    coarse = rng.integers(0, 256, (count, channels, height // 4, width // 4))
    return coarse.repeat(4, axis=2).repeat(4, axis=3).astype(np.int64)


def _with_thresholds(network: Network) -> Network:
    """Each threshold at a percentile of what the layer accumulates, from first to last."""
    sample = images(network, 2)
    for node in [n for n in network.nodes if isinstance(n, Neuron)]:
        probe = replace(node, threshold=node.threshold * 0 + 1, levels=1 << 40)
        nodes = [probe if n.name == node.name else n for n in network.nodes]
        counts = integer_ann(network.rewrite(nodes), sample).counts[node.name]
        theta = max(int(np.percentile(counts[counts > 0], 60)), 1) if (counts > 0).any() else 1
        threshold = np.full(len(node.threshold), theta, np.int64)
        fixed = replace(node, threshold=threshold, v0=threshold // 2)
        network = network.rewrite(fixed if n.name == node.name else n for n in network.nodes)
    return network
