"""A short supervised recipe: SGD with momentum, cosine schedule, QCFS activations in the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters, after Bu et al. 2022 (QCFS)."""

    epochs: int = 60
    batch: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Train in place and leave the model in eval mode.

    Args:
        model: maps float32 images (N, C, H, W) to logits (N, classes).
        images: (N, C, H, W) float32.
        labels: (N,) int64.
        recipe: hyper-parameters; the same recipe on the same machine gives the same weights.
        progress: told (epochs done, epochs in all) after each epoch.
    """
    recipe = recipe or Recipe()
    generator = torch.Generator().manual_seed(recipe.seed)
    ceilings = [p for n, p in model.named_parameters() if n.endswith("ceiling")]
    others = [p for n, p in model.named_parameters() if not n.endswith("ceiling")]
    groups: list[dict[str, Any]] = [
        {"params": others, "weight_decay": recipe.weight_decay},
        {"params": ceilings},
    ]
    optimizer = torch.optim.SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs)
    model.train()
    for epoch in range(recipe.epochs):
        for rows in torch.split(torch.randperm(len(images), generator=generator), recipe.batch):
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        schedule.step()
        if progress is not None:
            progress(epoch + 1, recipe.epochs)
    model.eval()


@torch.inference_mode()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images whose largest logit is the label's."""
    model.eval()
    hits = [
        (model(x).argmax(-1) == y)
        for x, y in zip(torch.split(images, 512), torch.split(labels, 512), strict=True)
    ]
    return float(torch.cat(hits).float().mean())
