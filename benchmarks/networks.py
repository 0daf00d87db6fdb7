"""Networks for timing: random integer weights, thresholds set for about 12 % spikes a step."""

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
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool2d,
)

LEVELS = 3


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
        return self.add(Neuron(name, one, one * 0, one * 0, LEVELS, 1.0), source)

    def network(self, name: str, source: str, features: int) -> Network:
        last = self.add(Flatten("flat"), source)
        last = self.add(Linear("dense", self.weight(10, features)), last)
        self.add(Output("readout", np.zeros(10, np.int64), 1.0), last)
        network = Network(name, tuple(self.nodes), tuple(self.edges), "exact", LEVELS)
        return _with_thresholds(network)


def vgg(width: int = 32, seed: int = 0) -> Network:
    """CIFAR-shaped: conv w, pool, conv 2w, pool, conv 4w, conv 4w, pool, linear 10; max-pools."""
    plan = (width, "P", 2 * width, "P", 4 * width, 4 * width, "P")
    return _plain("vgg", plan, MaxPool2d, seed)


def vgg11(width: int = 64, seed: int = 0) -> Network:
    """VGG-11 for CIFAR: eight convolutions, five 2x2 sum pools, linear 10."""
    w = width
    plan = (w, "P", 2 * w, "P", 4 * w, 4 * w, "P", 8 * w, 8 * w, "P", 8 * w, 8 * w, "P")
    return _plain("vgg11", plan, SumPool2d, seed)


def _plain(name: str, plan: tuple[int | str, ...], pool: type[Node], seed: int) -> Network:
    build, last, channels, size = Builder(seed), "x", 3, 32
    for item in plan:
        if isinstance(item, str):
            last, size = build.add(pool(f"pool{len(build.nodes)}", (2, 2), (2, 2)), last), size // 2
        else:
            last = build.neurons(build.conv(last, channels, item), item)
            channels = item
    return build.network(name, last, channels * size * size)


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
    last = build.add(SumPool2d("pool", (4, 4), (4, 4)), last)
    return build.network("resnet18", last, channels)


def images(network: Network, count: int, seed: int = 1) -> np.ndarray:
    """Smooth random images on the network's input grid, int64."""
    rng = np.random.default_rng(seed)
    channels, height, width = network.input.shape
    coarse = rng.integers(0, 256, (count, channels, height // 4, width // 4))
    return coarse.repeat(4, axis=2).repeat(4, axis=3).astype(np.int64)


@torch.no_grad()
def _with_thresholds(network: Network) -> Network:
    """Each threshold at a percentile of what the layer accumulates, from first to last."""
    values = {"x": torch.from_numpy(images(network, 2) * network.window).float()}
    nodes = []
    for node in network.nodes:
        sources = [values[name] for name in network.sources[node.name]]
        found = node
        if isinstance(node, Neuron):
            total = sources[0]
            theta = max(int(np.percentile(total[total > 0].numpy(), 60)), 1)
            threshold = np.full(len(node.threshold), theta, np.int64)
            found = replace(node, threshold=threshold, v0=threshold // 2)
            values[node.name] = ((total + theta // 2) / theta).floor().clip(0, node.levels)
        elif not isinstance(node, Input):
            values[node.name] = _apply(node, sources)
        nodes.append(found)
    return network.rewrite(nodes)


def _apply(node: Node, sources: list[torch.Tensor]) -> torch.Tensor:
    x = sources[0]
    if isinstance(node, Conv2d):
        return F.conv2d(x, torch.from_numpy(node.weight).float(), None, node.stride, node.padding)
    if isinstance(node, Linear):
        return F.linear(x, torch.from_numpy(node.weight).float())
    if isinstance(node, Scale):
        return x * torch.from_numpy(node.weight).view(-1, 1, 1)
    if isinstance(node, MaxPool2d):
        return F.max_pool2d(x, node.kernel, node.stride)
    if isinstance(node, SumPool2d):
        return F.avg_pool2d(x, node.kernel, node.stride, divisor_override=1)
    if isinstance(node, Flatten):
        return x.flatten(1)
    return sum(sources[1:], x)
