"""Few levels for each activation, layer by layer, with the earlier layers quantized already.

    s = ceiling / levels,    the ceiling that minimises  mean (staircase(z) - a)**2

over the samples: z is what arrives behind quantized layers, a the value in the float original. The
grid that is searched are fractions of the original's largest value.

Source: SNN Calibration (Li et al. 2021), section 4.1, with rounding instead of the floor and with
one more grid, that of activations with negative levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from snndeploy.float_ann.responses import pass_station, response, staircase
from snndeploy.float_ann.walk import Walk
from snndeploy.network import Network
from snndeploy.nodes import Activation, Node, Relu
from snndeploy.passes.base import Pass
from snndeploy.passes.calibration_data import CalibrationData
from snndeploy.passes.calibration_options import Thresholds
from snndeploy.passes.ceilings import layer_percentile, layer_share
from snndeploy.simulate import Progress


@dataclass(frozen=True)
class ChooseCeilings(Pass):
    """Give each `Relu`, and each activation of more levels, `levels` levels.

    Attributes:
        levels: the largest count.
        thresholds, percentile: how ceilings are found.
        data: samples.
        original: the float network whose values are the goal; None: the network itself.
        progress: told (nodes done, nodes in all).
    """

    levels: int
    thresholds: Thresholds
    percentile: float
    data: CalibrationData
    original: Network | None = field(default=None, repr=False)
    progress: Progress | None = field(default=None, repr=False)
    name: ClassVar[str] = "choose-ceilings"

    @torch.inference_mode()
    def rewrite(self, network: Network) -> Network:
        """A network without a `Relu`."""
        original = self.original or network
        goals, walk = Walk(original, self.data.x), Walk(network, self.data.x)
        chosen: dict[str, Activation] = {}
        stations = zip(goals.stations(), walk.stations(), strict=True)
        for done, (node, own) in enumerate(stations):
            pass_station(goals, node)
            if isinstance(node, Relu) or (
                isinstance(node, Activation) and node.levels > self.levels
            ):
                arriving = walk.arriving(own)
                quantized = self._quantized(node, arriving, goals.value(node.name))
                chosen[node.name] = quantized
                walk.keep(quantized, arriving, response(quantized))
            else:
                pass_station(walk, own)
            if self.progress is not None:
                self.progress(done + 1, len(network.nodes))
        return network.rewrite([chosen.get(node.name, node) for node in network.nodes])

    def _quantized(self, node: Node, arriving: Tensor, goal: Tensor) -> Activation:
        """The activation of few levels in the place of `node`."""
        low, high = float(goal.min()), float(goal.max())
        if not high > low:
            return Activation(node.name, self._span(node) or 1.0, self.levels)
        if self.thresholds == "percentile":
            high = max(layer_percentile(goal, self.percentile), high / 100)
            low = min(layer_percentile(goal, 100 - self.percentile), 0.0)

        def scaled(share: float) -> Activation:
            return _on_grid(node.name, share * min(low, 0.0), share * max(high, 0.0), self.levels)

        share = 1.0
        if self.thresholds == "mse":
            share = layer_share(lambda z, part: staircase(scaled(part), z), arriving, goal)
        return scaled(share)

    def _span(self, node: Node) -> float:
        """The ceiling of an activation that the samples never reach."""
        if isinstance(node, Activation):
            return node.ceiling
        cap = getattr(node, "cap", None)
        return 0.0 if cap is None else float(np.max(cap))


def _on_grid(name: str, low: float, high: float, levels: int) -> Activation:
    """The finest grid of `levels` steps that covers low .. high and holds 0."""
    step = (high - low) / levels
    below = -round(low / step)  # levels under 0
    if below and below < levels:
        step = max(-low / below, high / (levels - below))
    return Activation(
        name, step * levels, levels, shift=0.5 + below, offset=-step * below if below else 0.0
    )
