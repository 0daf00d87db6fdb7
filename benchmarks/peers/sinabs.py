"""sinabs: `IAF` with one spike a step at most and membrane subtraction.

Its EXODUS neurons need a GPU.
"""

from __future__ import annotations

import torch
from sinabs.activation import MembraneSubtract, SingleSpike
from sinabs.layers import IAF
from torch import Tensor

from peers.torch_graph import SETTINGS, Population, TorchSimulator, Words


class Layer:
    """An `IAF` layer over (N, T, *shape); where it is compiled, over one step at a time."""

    def __init__(self, threshold: float, v0: float, words: Words) -> None:
        self.v0 = v0
        self.layered, self.compiled = "layers" in words, "compiled" in words
        self.layer = IAF(
            spike_threshold=torch.tensor(threshold),
            spike_fn=SingleSpike,
            reset_fn=MembraneSubtract(),
        ).eval()
        self.call = torch.compile(self.layer) if self.compiled else self.layer

    def rest(self) -> None:
        self.layer.v_mem = torch.zeros(0)

    def __call__(self, current: Tensor) -> Tensor:
        timed = current if self.layered else current.unsqueeze(1)
        if not self.layer.is_state_initialised():
            self.layer.v_mem = torch.full_like(timed[:, 0], self.v0)
        if self.compiled:
            spikes = torch.cat([self.call(one) for one in timed.split(1, dim=1)], dim=1)
        else:
            spikes = self.call(timed)
        return spikes if self.layered else spikes.squeeze(1)


class Simulator(TorchSimulator):
    """sinabs."""

    packages = ("sinabs",)
    settings = SETTINGS
    time_axis = 1

    def population(self, threshold: float, v0: float, words: Words) -> Population:
        return Layer(threshold, v0, words)
