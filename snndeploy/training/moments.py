"""A network of QCFS activations as its spiking network is after a step, with gradients.

After step t the membrane has received `t / L` of a constant input, at most all of it, so a neuron
whose rate would be x should have counted

    target = clip(floor(x t / ceiling + 1/2), 0, min(t, L)),

and a network that is accurate for each t, not only for the last one, can be stopped early. In
exact mode a neuron moves one count a step at most:

    counts[t] = counts[t - 1] + clip(target - counts[t - 1], -1, 1)

which is the neuron of the integer semantics with its sums in floating point. All activations are
passed on as rates, `counts ceiling / min(t, L)`: what a settled network would hold if the rest of
the window went on as it began. Gradients pass the floor straight through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn


class Activation(Protocol):
    """What a moment needs of `QCFS`."""

    ceiling: nn.Parameter
    levels: int


class Moment:
    """The step that all activations of a network are at, and the counts of the step before.

    Args:
        step: from 1. A tensor of no dimensions, so that a compiled network serves every step.
        remembers: count from the step before; if False, count as if the target could be reached
            at once, which needs no other step to be computed.
    """

    def __init__(self, step: int = 1, remembers: bool = False) -> None:
        self.step = torch.tensor(float(step))
        self.counts: dict[Activation, Tensor] | None = {} if remembers else None

    def rates(self, activation: Activation, x: Tensor) -> Tensor:
        """Activations of one layer, of any shape, from its weighted sums."""
        share = torch.clamp(self.step / activation.levels, max=1.0)
        unit = activation.ceiling / activation.levels
        most = torch.clamp(self.step, max=float(activation.levels))
        sums = torch.minimum(torch.clamp(x * (share / unit), min=0.0), most)
        counts = sums + (torch.floor(sums + 0.5) - sums).detach()
        if self.counts is not None:
            before = self.counts.get(activation)
            if before is not None:
                counts = before + torch.clamp(counts - before, -1.0, 1.0)
            self.counts[activation] = counts
        return counts * (unit / share)


@contextmanager
def at(model: nn.Module, moment: Moment) -> Iterator[None]:
    """Hold all QCFS activations of a model to one moment."""
    activations = [m for m in model.modules() if hasattr(m, "moment")]
    for module in activations:
        module.moment = moment  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in activations:
            module.moment = None  # type: ignore[assignment]


def logits_by_step(model: nn.Module, x: Tensor, steps: int) -> list[Tensor]:
    """Logits (N, classes) after each of the first steps of the exact mode, as rates.

    Args:
        x: (N, *shape), the same at each step.
        steps: how many; above L the network drains.
    """
    moment = Moment(remembers=True)
    found = []
    with at(model, moment):
        for step in range(1, steps + 1):
            moment.step = torch.tensor(float(step))
            found.append(model(x))
    return found
