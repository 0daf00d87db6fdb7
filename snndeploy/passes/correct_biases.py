"""Biases that make up for what quantization, or coding by spikes, adds to each channel on average.

Layer by layer, with the earlier layers corrected already, for each channel c

    b[c] += mean(a[c]) - mean(y[c])

where a is the value in the float original and y what the quantized activation makes of what arrives
there now; in rate mode, what its neuron has emitted after all steps. The readout, too. Counts are
not linear in the bias, so this is done a few times over.

Source: SNN Calibration (Li et al. 2021), section 4.2 (light calibration).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from snndeploy.float_ann.responses import pass_station, response
from snndeploy.float_ann.walk import Walk, per_channel
from snndeploy.network import Network
from snndeploy.nodes import (
    Activation,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Linear,
    Node,
    Output,
)
from snndeploy.numerics import FloatArray
from snndeploy.passes.base import Pass
from snndeploy.passes.calibration_data import CalibrationData
from snndeploy.simulate import Progress


@dataclass(frozen=True)
class CorrectBiases(Pass):
    """Shift the bias of each channel until its mean is that of the float original.

    A layer that no weights of its own feed, such as a sum that another layer reads, too, is left.

    Attributes:
        steps: 0 for exact mode; in rate mode, how many are simulated.
        window: steps over which biases and inputs are spread.
        rounds: how often a layer is corrected.
        data: samples.
        original: the float network whose means are the goal.
        progress: told (nodes done, nodes in all).
    """

    steps: int
    window: int
    rounds: int
    data: CalibrationData
    original: Network = field(repr=False)
    progress: Progress | None = field(default=None, repr=False)
    name: ClassVar[str] = "correct-biases"

    @torch.inference_mode()
    def rewrite(self, network: Network) -> Network:
        """The same network with other biases."""
        goals = Walk(self.original, self.data.x)
        walk = Walk(network, self.data.x, self.steps, self.window)
        shifts: dict[str, FloatArray] = {}
        stations = zip(goals.stations(), walk.stations(), strict=True)
        for done, (node, own) in enumerate(stations):
            pass_station(goals, node)
            holder = bias_holder(network, own.name)
            if isinstance(own, Activation | Output) and holder is not None:
                mean = goals.mean(node.name)
                found = self._corrected(walk, own, mean)
                shifts[holder] = found.numpy()
            else:
                pass_station(walk, own, self.steps, self.window)
            if self.progress is not None:
                self.progress(done + 1, len(network.nodes))
        return network.rewrite([shifted(node, shifts.get(node.name)) for node in network.nodes])

    def _corrected(self, walk: Walk, node: Node, goal: Tensor) -> Tensor:
        """Keep the node's corrected values; the shift that they took, (C,)."""
        arriving, share = walk.arriving(node), 1 / self.window if self.steps else 1.0
        respond = response(node, self.steps, self.window)
        shift = torch.zeros_like(goal)

        def moved(z: Tensor) -> Tensor:
            return respond(z + per_channel(shift * share, z))

        for _ in range(self.rounds):
            walk.keep(node, arriving, moved)
            shift += goal - walk.mean(node.name)
        walk.keep(node, arriving, moved)
        return shift


def bias_holder(network: Network, name: str) -> str | None:
    """The weighted node whose bias nothing but the node `name` reads, and that unchanged."""
    for source in network.sources[name]:
        node = network.by_name[source]
        if len(network.targets[source]) > 1:
            continue
        if isinstance(node, Conv2d | Linear):
            return source
        uniform = isinstance(node, AvgPool2d) and not any(node.pads)
        renames = isinstance(node, Flatten) and (
            network.shapes[source][0] == network.shapes[network.sources[source][0]][0]
        )
        if isinstance(node, Add) or uniform or renames:
            found = bias_holder(network, source)
            if found is not None:
                return found
    return None


def shifted(node: Node, shift: FloatArray | None) -> Node:
    """A weighted node with `shift` (C,) added to its bias."""
    if shift is None or not isinstance(node, Conv2d | Linear):
        return node
    return replace(node, bias=shift if node.bias is None else node.bias + shift)
