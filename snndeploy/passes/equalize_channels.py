"""One ceiling a layer, but a range for each channel: factors moved across the ReLUs.

A ReLU is positively homogeneous, so for any f > 0 a channel

    relu(w x + b) = f * relu(w / f x + b / f)

can be made f times smaller, and the weights that read it f times larger. With f in proportion to
the ceiling that each channel needs, one ceiling fits all channels of the layer. Pools, sums and
flattening pass factors on unchanged: nodes that are joined by them form a group with common
factors, so that identity branches need no weights. The input and the readout keep theirs, and so do
groups of activations that keep their levels.

Source: Nagel et al. 2019, data-free quantization, section 4.1 (cross-layer equalization), with the
ceilings of channels on data in the place of the ranges of weights.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch

from snndeploy.float_ann.responses import pass_station
from snndeploy.float_ann.walk import Walk
from snndeploy.network import Network
from snndeploy.nodes import (
    Activation,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Output,
    Relu,
)
from snndeploy.numerics import FloatArray
from snndeploy.passes.base import Pass
from snndeploy.passes.calibration_data import CalibrationData
from snndeploy.passes.calibration_options import Thresholds
from snndeploy.passes.ceilings import channel_ceilings
from snndeploy.simulate import Progress

FLOOR = 1 / 16
"""The smallest factor of a group relative to its largest."""

SAME_FACTORS = (Activation, Relu, MaxPool2d, AvgPool2d, Add, Flatten, Output)


@dataclass(frozen=True)
class EqualizeChannels(Pass):
    """Move a factor per channel across each ReLU, so that all channels need the same ceiling.

    Attributes:
        levels, thresholds, percentile: how the ceiling that a channel needs is found.
        data: samples.
        progress: told (nodes done, nodes in all).
    """

    levels: int
    thresholds: Thresholds
    percentile: float
    data: CalibrationData
    progress: Progress | None = field(default=None, repr=False)
    name: ClassVar[str] = "equalize-channels"

    def rewrite(self, network: Network) -> Network:
        """A network that computes the same."""
        groups = _groups(network)
        factors = self._factors(network, groups)
        return network.rewrite([_scaled(network, n, groups, factors) for n in network.nodes])

    @torch.inference_mode()
    def _factors(self, network: Network, groups: dict[str, str]) -> dict[str, FloatArray]:
        """Per group that may have any: the largest need of its layers, at most 1."""
        needs: dict[str, list[FloatArray]] = defaultdict(list)
        fixed = {
            groups[n.name] for n in network.nodes if isinstance(n, Activation | Input | Output)
        }
        channels: dict[str, int] = {}
        for name, group in groups.items():
            count = network.shapes[name][0]
            channels[group] = min(channels.get(group, count), count)
        walk = Walk(network, self.data.x)
        for done, node in enumerate(walk.stations()):
            pass_station(walk, node)
            group = groups[node.name]
            if isinstance(node, Relu) and group not in fixed:
                values = walk.value(node.name)
                values = values.reshape(len(values), channels[group], -1)
                found = channel_ceilings(values, self.levels, self.thresholds, self.percentile)
                if found.max() > 0:
                    needs[group].append(found / found.mean())
            if self.progress is not None:
                self.progress(done + 1, len(network.nodes))
        largest = {group: np.max(found, axis=0) for group, found in needs.items()}
        return {group: np.maximum(f / f.max(), FLOOR) for group, f in largest.items()}


def _groups(network: Network) -> dict[str, str]:
    """For each node the name that stands for all nodes with the same factors."""
    parent = {node.name: node.name for node in network.nodes}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in network.nodes:
        if isinstance(node, SAME_FACTORS):
            for source in network.sources[node.name]:
                parent[root(source)] = root(node.name)
    return {name: root(name) for name in parent}


def _scaled(
    network: Network, node: Node, groups: dict[str, str], factors: dict[str, FloatArray]
) -> Node:
    """A node with the factors of what it reads in its weights, and without those of its value."""

    def factor(name: str) -> FloatArray:
        channels, found = network.shapes[name][0], factors.get(groups[name], np.ones(1))
        return np.repeat(found, channels // len(found))

    own = factor(node.name)
    if isinstance(node, Relu) and node.cap is not None and groups[node.name] in factors:
        return replace(node, cap=node.cap / own)
    if not isinstance(node, Conv2d | Linear):
        return node
    read = factor(network.sources[node.name][0])
    groups_of = node.groups if isinstance(node, Conv2d) else 1
    columns = np.repeat(read.reshape(groups_of, -1), len(own) // groups_of, axis=0)
    ratio = (columns / own[:, None]).reshape(*columns.shape, *(1,) * (node.weight.ndim - 2))
    bias = None if node.bias is None else node.bias / own
    return replace(node, weight=node.weight * ratio, bias=bias)
