"""Weights tuned to few levels: a short distillation from the float original, on the same samples.

All weights and biases at once, the activations being staircases whose gradient passes straight
through between their ends, so as to lessen

    4 * mean over layers of |y - a|**2 / |a|**2   +   |logits - original logits|**2 / variance

where a are the activations of the original, and y what the quantized network has there before it
rounds: the rounding itself no weight can mend, and it would only blur the gradient. A step of Adam
moves a weight by a small part of the mean weight of its layer, and a bias by one of what a count is
worth. Weights that are 0 stay 0; ceilings are tuned, too. The epoch with the least error on
held-out samples is kept.

Source: SNN Calibration (Li et al. 2021), section 4.3, which tunes layer by layer; all layers at
once need a fraction of the work. Straight-through gradient: Bengio et al. 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from snndeploy.float_ann.responses import relu
from snndeploy.float_ann.walk import Parameters, linear_value, parameters_of, tensor
from snndeploy.network import Network
from snndeploy.nodes import Activation, Conv2d, Input, Linear, Node, Output, Relu
from snndeploy.passes.base import Pass
from snndeploy.passes.calibration_data import CalibrationData
from snndeploy.simulate import Progress

BATCH_BYTES = 1 << 30
"""Of the values of one batch, which the gradient needs."""

LAYERS = 4
"""Weight of the layers' errors beside the logits'. Logits alone are soon learnt by heart."""


@dataclass(frozen=True)
class TuneWeights(Pass):
    """Fine-tune weights and biases for the activations' few levels.

    Attributes:
        epochs: over the samples.
        rate: what a step changes at most, relative to a layer's root mean square weight; falls to
            0 along a cosine.
        batch: the most samples a step.
        seed: of their order.
        data: samples to fit.
        held_out: samples that choose the epoch.
        original: the float network whose values are the goal.
        progress: told (samples done, samples in all).
    """

    epochs: int
    rate: float
    batch: int
    seed: int
    data: CalibrationData
    held_out: CalibrationData
    original: Network = field(repr=False)
    progress: Progress | None = field(default=None, repr=False)
    name: ClassVar[str] = "tune-weights"

    def rewrite(self, network: Network) -> Network:
        """The same network with other weights and biases."""
        found = _Tuning(self, network).run()
        return network.rewrite([_with(node, found) for node in network.nodes])


class _Tuning:
    """The state of one run: parameters, their optimizer, the best epoch so far."""

    def __init__(self, options: TuneWeights, network: Network) -> None:
        self.options, self.network = options, network
        self.goals = parameters_of(options.original)
        self.parameters: Parameters = {}
        for name, (weight, bias) in parameters_of(network).items():
            zeros = torch.zeros(len(weight))
            self.parameters[name] = (
                weight.requires_grad_(),
                (zeros if bias is None else bias).requires_grad_(),
            )
        self.steps = self._steps()
        self.masks = [weight.detach() != 0 for weight, _ in self.parameters.values()]
        values = 4 * 8 * sum(prod(shape) for shape in network.shapes.values())
        self.batch = max(1, min(options.batch, BATCH_BYTES // values))
        self.optimizer = torch.optim.Adam(self._groups())
        self.norms: dict[str, float] = {}

    def run(self) -> _Found:
        """The parameters of the best epoch."""
        options, generator = self.options, torch.Generator().manual_seed(self.options.seed)
        x, held = tensor(options.data.x), tensor(options.held_out.x)
        self._measure_norms(x)
        batches = -(-len(x) // self.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, options.epochs * batches
        )
        least, best = self._error(held), self._copy()
        for epoch in range(options.epochs):
            for rows in torch.split(torch.randperm(len(x), generator=generator), self.batch):
                self.optimizer.zero_grad()
                self._loss(x[rows]).backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                schedule.step()
                self._keep_zeros()
            error = self._error(held)
            if error < least:
                least, best = error, self._copy()
            if options.progress is not None:
                options.progress((epoch + 1) * len(x), options.epochs * len(x))
        return best

    def _groups(self) -> list[dict[str, Any]]:
        """One group a tensor, with its learning rate: a share of its layer's mean magnitude."""
        groups: list[dict[str, Any]] = []
        for name, (weight, bias) in self.parameters.items():
            used = weight.detach()[weight.detach() != 0]
            size = float(used.square().mean().sqrt()) if len(used) else 0.0
            groups.append({"params": [weight], "lr": self.options.rate * size})
            groups.append({"params": [bias], "lr": self.options.rate * self._step(name, size)})
        steps = [step for step in self.steps.values() if step.requires_grad]
        return [*groups, {"params": steps, "lr": self.options.rate}]

    def _steps(self) -> dict[str, Tensor]:
        """The logarithm of what a count of each activation is worth.

        It is tuned where the original has more levels.
        """
        steps: dict[str, Tensor] = {}
        for node in self.network.nodes:
            if isinstance(node, Activation):
                before = self.options.original.by_name[node.name]
                same = isinstance(before, Activation) and before.levels == node.levels
                step = torch.tensor(math.log(node.ceiling / node.levels))
                steps[node.name] = step if same else step.requires_grad_()
        return steps

    def _step(self, name: str, default: float) -> float:
        """What a count of the layer is worth that a weighted node feeds."""
        for target in self.network.targets[name]:
            node = self.network.by_name[target]
            if isinstance(node, Activation):
                return node.ceiling / node.levels
            if not isinstance(node, Output):
                return self._step(target, default)
        return default

    @torch.no_grad()
    def _measure_norms(self, x: Tensor) -> None:
        """The mean square of each activation and the variance of the logits, on one batch."""
        values = self._values(self.options.original, self.goals, x[: self.batch])
        for node in self.network.nodes:
            if isinstance(node, Activation):
                self.norms[node.name] = float(values[node.name].square().mean()) or 1.0
        name = self.network.output.name
        self.norms[name] = float(values[name].var()) or 1.0

    def _loss(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            goals = self._values(self.options.original, self.goals, x)
        values = self._values(self.network, self.parameters, x)
        errors = [
            (self._unrounded(k, values) - goals[k]).square().mean() / norm
            for k, norm in self.norms.items()
        ]
        return LAYERS * torch.stack(errors[:-1]).mean() + errors[-1]

    def _unrounded(self, name: str, values: dict[str, Tensor]) -> Tensor:
        """What an activation would be as the original's ReLU; else the value itself."""
        node = self.options.original.by_name[name]
        if not isinstance(node, Relu):
            return values[name]
        return relu(node, values[self.network.sources[name][0]])

    @torch.no_grad()
    def _error(self, x: Tensor) -> float:
        parts = [self._loss(rows) * len(rows) for rows in torch.split(x, self.batch)]
        return float(torch.stack(parts).sum()) / len(x)

    def _values(self, network: Network, known: Parameters, x: Tensor) -> dict[str, Tensor]:
        """The values of all activations and of the readout."""
        values: dict[str, Tensor] = {}
        for node in network.nodes:
            terms = [values[name] for name in network.sources[node.name]]
            if isinstance(node, Input):
                value = x
            elif isinstance(node, Relu):
                value = relu(node, terms[0])
            elif isinstance(node, Activation):
                tuned = network is self.network
                step = self.steps[node.name].exp() if tuned else None
                value = _staircase(terms[0], node, step)
            else:
                value = linear_value(node, terms, known)
            values[node.name] = value
        return values

    @torch.no_grad()
    def _keep_zeros(self) -> None:
        for (weight, _), mask in zip(self.parameters.values(), self.masks, strict=True):
            weight.mul_(mask)

    def _copy(self) -> _Found:
        return _Found(
            {
                name: tuple(p.detach().clone() for p in pair)  # type: ignore[misc, union-attr]
                for name, pair in self.parameters.items()
            },
            {k: math.exp(step.item()) for k, step in self.steps.items() if step.requires_grad},
        )


@dataclass(frozen=True, eq=False)
class _Found:
    """Weights and biases, and what a count of each tuned activation is worth."""

    parameters: Parameters
    steps: dict[str, float]


def _staircase(z: Tensor, node: Activation, step: Tensor | None) -> Tensor:
    if step is None:
        step = torch.tensor(node.ceiling / node.levels)
    below = round(-node.offset / node.ceiling * node.levels)
    found: Tensor = _Staircase.apply(  # type: ignore[no-untyped-call]
        z, step, node.shift, below, node.levels
    )
    return found


class _Staircase(torch.autograd.Function):
    """`s * (clip(floor(z / s + shift), 0, levels) - below)`, its gradient that of a clipped line.

    Source of the gradient to s: LSQ (Esser et al. 2020), equation 3.
    """

    @staticmethod
    def forward(
        context: Any, z: Tensor, step: Tensor, shift: float, below: int, levels: int
    ) -> Tensor:
        scaled = (z / step).add_(shift)
        inside = (scaled > 0) & (scaled < levels + 1)
        counts = scaled.floor().clamp_(0, levels)
        slope = torch.where(inside, counts - scaled + shift, counts)
        context.save_for_backward(inside, slope.sub_(below))
        return counts.sub_(below).mul_(step)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inside, slope = context.saved_tensors
        return gradient * inside, (gradient * slope).sum(), None, None, None


def _with(node: Node, found: _Found) -> Node:
    if isinstance(node, Activation) and node.name in found.steps:
        ceiling = found.steps[node.name] * node.levels
        return replace(node, ceiling=ceiling, offset=node.offset * (ceiling / node.ceiling))
    if not isinstance(node, Conv2d | Linear):
        return node
    weight, bias = found.parameters[node.name]
    assert bias is not None
    return replace(node, weight=weight.double().numpy(), bias=bias.double().numpy())
