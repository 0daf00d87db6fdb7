"""snnTorch: `Leaky` with beta = 1 and reset by subtraction.

`Leaky` fires at `v > threshold`, and subtracts the threshold at the start of the next step. A
membrane that starts half a unit higher fires at `v >= threshold` on integers; the spikes are then
those of a reset at once. It knows single steps only: setting `layers` calls it step by step on
currents that were computed for all steps.
"""

from __future__ import annotations

import torch
from snntorch import Leaky
from torch import Tensor

from peers.torch_graph import SETTINGS, Population, TorchSimulator, Words


class Cell:
    """A `Leaky` and its membrane."""

    def __init__(self, threshold: float, v0: float, words: Words) -> None:
        self.v0, self.layered = v0 + 0.5, "layers" in words
        cell = Leaky(beta=1.0, threshold=threshold, reset_mechanism="subtract").eval()
        self.call = torch.compile(cell) if "compiled" in words else cell
        self.membrane: Tensor | None = None

    def rest(self) -> None:
        self.membrane = None

    def step(self, current: Tensor) -> Tensor:
        if self.membrane is None:
            self.membrane = torch.full_like(current, self.v0)
        spikes, self.membrane = self.call(current, self.membrane)
        return spikes

    def __call__(self, current: Tensor) -> Tensor:
        if self.layered:
            return torch.stack([self.step(one) for one in current])
        return self.step(current)


class Simulator(TorchSimulator):
    """snnTorch."""

    packages = ("snntorch",)
    settings = SETTINGS

    def population(self, threshold: float, v0: float, words: Words) -> Population:
        return Cell(threshold, v0, words)
