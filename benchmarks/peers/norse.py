"""Norse: `SNN` (layers) and `SNNCell` (steps) with a soft reset of our own.

Norse's integrate-and-fire and LIFBox cells reset to a fixed value, so they cannot give these
spikes; `SNN` and `SNNCell` take the step as a function.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from peers.torch_graph import SETTINGS, Population, TorchSimulator, Words

with warnings.catch_warnings():
    # Norse 1.1 scripts functions when it is imported, which PyTorch 2.13 deprecates.
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
    from norse.torch.module.snn import SNN, SNNCell


class Parameters(nn.Module):
    """Of a population."""

    threshold: Tensor

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(threshold))


def fire(x: Tensor, v: Tensor, p: Parameters, _dt: float) -> tuple[Tensor, Tensor]:
    """Integrate and fire with soft reset."""
    v = v + x
    z = (v >= p.threshold).to(v.dtype)
    return z, v - z * p.threshold


class Cells:
    """An `SNN` or, compiled or in setting `steps`, an `SNNCell`, and its state."""

    def __init__(self, threshold: float, v0: float, words: Words) -> None:
        self.v0, self.layered, self.compiled = v0, "layers" in words, "compiled" in words
        kind = SNN if self.layered and not self.compiled else SNNCell
        module = kind(fire, self._initial, Parameters(threshold))
        self.call = torch.compile(module) if self.compiled else module
        self.state: Tensor | None = None

    def _initial(self, current: Tensor) -> Tensor:
        return torch.full_like(current, self.v0)

    def rest(self) -> None:
        self.state = None

    def __call__(self, current: Tensor) -> Tensor:
        if self.state is None:
            self.state = self._initial(current[0] if self.layered else current)
        if self.layered and self.compiled:
            return torch.stack([self.step(one) for one in current])
        return self.step(current)

    def step(self, current: Tensor) -> Tensor:
        spikes, self.state = self.call(current, self.state)
        return spikes


class Simulator(TorchSimulator):
    """Norse."""

    packages = ("norse",)
    settings = SETTINGS

    def population(self, threshold: float, v0: float, words: Words) -> Population:
        return Cells(threshold, v0, words)
