"""SpikingJelly: `IFNode` with soft reset, in step modes 'm' (layers) and 's' (steps).

Its CuPy and Triton neurons need a GPU. `layer.Conv2d` in step mode 'm' is the folding that
`torch_graph` does.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based.functional import multi_step_forward
from spikingjelly.activation_based.neuron import IFNode
from torch import Tensor

from peers.torch_graph import SETTINGS, Population, TorchSimulator, Words


class Nodes:
    """An `IFNode`; where it is compiled, a layer's steps are those of mode 's'."""

    def __init__(self, threshold: float, v0: float, words: Words) -> None:
        self.layered, self.compiled = "layers" in words, "compiled" in words
        mode = "m" if self.layered and not self.compiled else "s"
        self.node = IFNode(v_threshold=threshold, v_reset=None, step_mode=mode).eval()
        self.node.set_reset_value("v", v0)
        self.node.reset()
        self.call = torch.compile(self.node) if self.compiled else self.node

    def rest(self) -> None:
        self.node.reset()

    def __call__(self, current: Tensor) -> Tensor:
        if self.layered and self.compiled:
            return multi_step_forward(current, self.call)
        return self.call(current)


class Simulator(TorchSimulator):
    """SpikingJelly."""

    packages = ("spikingjelly",)
    settings = SETTINGS

    def population(self, threshold: float, v0: float, words: Words) -> Population:
        return Nodes(threshold, v0, words)
