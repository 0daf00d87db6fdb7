"""Networks for timing: random 8-bit weights, thresholds set for about 12 % spikes a step.

They are deterministic: every value up to the thresholds is an integer that float32 holds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from snndeploy.network import Network
from snndeploy.nodes import (
    Add,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool2d,
)

RATE = 0.12
STEPS = 8
"""The window, and the steps after which the spikes are counted for the thresholds."""


class Builder:
    """Adds node after node; each call returns the name to connect the next to."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = [Input("x", (3, 32, 32), Grid(1 / 255, 0, 255))]
        self.edges: list[tuple[str, str]] = []

    def add(self, node: Node, *sources: str) -> str:
        self.nodes.append(node)
        self.edges += [(source, node.name) for source in sources]
        return node.name

    def weight(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-127, 128, shape)

    def conv(self, source: str, inputs: int, out: int, size: int = 3, stride: int = 1) -> str:
        weight, padding = self.weight(out, inputs, size, size), (size // 2,) * 2
        name = f"conv{len(self.nodes)}"
        return self.add(Conv2d(name, weight, stride=(stride,) * 2, padding=padding), source)

    def neurons(self, source: str, channels: int) -> str:
        one = np.ones(channels, np.int64)
        name = f"neurons{len(self.nodes)}"
        return self.add(Neuron(name, one, one * 0, one * 0, STEPS, 1.0), source)

    def pool(self, source: str, size: int) -> str:
        return self.add(SumPool2d(f"pool{len(self.nodes)}", (size,) * 2, (size,) * 2), source)

    def network(self, name: str, source: str, features: int) -> Network:
        last = self.add(Flatten("flat"), source)
        last = self.add(Linear("dense", self.weight(10, features)), last)
        self.add(Output("readout", np.zeros(10, np.int64), 1.0), last)
        network = Network(name, tuple(self.nodes), tuple(self.edges), "rate", STEPS)
        return _with_thresholds(network)


def vgg11(width: int = 64, seed: int = 0) -> Network:
    """VGG-11 for CIFAR: eight convolutions, five 2x2 sum pools, linear 10."""
    build, last, channels = Builder(seed), "x", 3
    for factor in (1, 0, 2, 0, 4, 4, 0, 8, 8, 0, 8, 8, 0):
        if factor:
            out = factor * width
            last = build.neurons(build.conv(last, channels, out), out)
            channels = out
        else:
            last = build.pool(last, 2)
    return build.network("vgg11", last, channels)


def resnet18(width: int = 64, seed: int = 0) -> Network:
    """ResNet-18 for CIFAR: a stem, four stages of two blocks, global sum pool, linear 10."""
    build, channels = Builder(seed), width
    last = build.neurons(build.conv("x", 3, width), width)
    for stage in range(4):
        for block in range(2):
            out, stride = width << stage, 2 if stage and not block else 1
            first = build.neurons(build.conv(last, channels, out, stride=stride), out)
            second = build.conv(first, out, out)
            if stride == 1:
                name = f"scale{len(build.nodes)}"
                short = build.add(Scale(name, build.rng.integers(500, 2000, out)), last)
            else:
                short = build.conv(last, channels, out, 1, stride)
            joined = build.add(Add(f"add{len(build.nodes)}"), second, short)
            last, channels = build.neurons(joined, out), out
    return build.network("resnet18", build.pool(last, 4), channels)


def exact(network: Network, levels: int) -> Network:
    """The same weights and thresholds in exact mode: signed spikes, cap and drain."""
    nodes = [
        replace(node, levels=levels) if isinstance(node, Neuron) else node for node in network.nodes
    ]
    return network.rewrite(nodes, mode="exact", window=levels)


def images(network: Network, count: int, seed: int = 1) -> np.ndarray:
    """Smooth random images on the network's input grid, int64."""
    rng = np.random.default_rng(seed)
    channels, height, width = network.input.shape
    coarse = rng.integers(0, 256, (count, channels, height // 4, width // 4))
    return coarse.repeat(4, axis=2).repeat(4, axis=3).astype(np.int64)


@torch.no_grad()
def _with_thresholds(network: Network, samples: int = 2) -> Network:
    """Each threshold such that the layer emits `RATE` spikes a step, from first to last.

    Thresholds are even, so that half of one is an integer.
    """
    pixels = torch.from_numpy(images(network, samples)).float()
    values = {"x": pixels.repeat(STEPS, 1, 1, 1)}
    nodes: list[Node] = []
    for node in network.nodes:
        sources = [values[name] for name in network.sources[node.name]]
        found = node
        if isinstance(node, Neuron):
            current = sources[0].unflatten(0, (STEPS, samples))
            theta = _threshold(current)
            threshold = np.full(len(node.threshold), theta, np.int64)
            found = replace(node, threshold=threshold, v0=threshold // 2)
            values[node.name] = _spikes(current, theta).flatten(0, 1)
        elif not isinstance(node, Input):
            values[node.name] = _apply(node, sources)
        nodes.append(found)
    return network.rewrite(nodes)


def _threshold(current: torch.Tensor) -> int:
    """By bisection: the rate of spikes falls as the threshold rises."""
    low, high = 1, max(int(current.max()), 2)
    while high - low > 1:
        middle = (low + high) // 2
        if _spikes(current, 2 * middle).mean() > RATE:
            low = middle
        else:
            high = middle
    return 2 * high


def _spikes(current: torch.Tensor, theta: int) -> torch.Tensor:
    """Integrate and fire with soft reset over (T, n, *shape), from theta / 2."""
    membrane = torch.full_like(current[0], theta // 2)
    spikes = torch.empty_like(current)
    for t, gained in enumerate(current):
        membrane += gained
        spikes[t] = membrane >= theta
        membrane -= theta * spikes[t]
    return spikes


def _apply(node: Node, sources: list[torch.Tensor]) -> torch.Tensor:
    x = sources[0]
    if isinstance(node, Conv2d):
        return F.conv2d(x, torch.from_numpy(node.weight).float(), None, node.stride, node.padding)
    if isinstance(node, Linear):
        return F.linear(x, torch.from_numpy(node.weight).float())
    if isinstance(node, Scale):
        return x * torch.from_numpy(node.weight).view(-1, 1, 1)
    if isinstance(node, SumPool2d):
        return F.avg_pool2d(x, node.kernel, node.stride, divisor_override=1)
    if isinstance(node, Flatten):
        return x.flatten(1)
    return sum(sources[1:], x)
