"""Handwritten digits: a small residual network, its data, and a training run of a few seconds.

Data: scikit-learn's `load_digits`, 1,797 images of 8x8 pixels in 0 .. 16 (UCI Optical
Recognition of Handwritten Digits, test part). Split once, by a fixed seed: 1,077 to train, 360
held out to calibrate the exit, 360 to test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from snndeploy.samples import Samples
from snndeploy.training.qcfs import QCFS, QuantizedInput
from snndeploy.training.recipe import Recipe, train

SEED = 0
LEVELS = 3  # 2-bit activations
TEST = HELD_OUT = 360


class DigitsNet(nn.Module):
    """A residual CNN: conv 16, conv 32, max-pool, a block of two conv 32, mean, linear."""

    def __init__(self, levels: int = LEVELS) -> None:
        super().__init__()
        self.grid = QuantizedInput(scale=1 / 16, low=0, high=16)
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.act1 = QCFS(levels)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.act2 = QCFS(levels)
        self.pool = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(32)
        self.act3 = QCFS(levels)
        self.conv4 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.norm4 = nn.BatchNorm2d(32)
        self.act4 = QCFS(levels)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.classes = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 1, 8, 8) in [0, 1]."""
        x = self.act1(self.norm1(self.conv1(self.grid(x))))
        x = self.pool(self.act2(self.norm2(self.conv2(x))))
        branch = self.norm4(self.conv4(self.act3(self.norm3(self.conv3(x)))))
        logits: Tensor = self.classes(self.flat(self.mean(self.act4(branch + x))))
        return logits


@dataclass(frozen=True, eq=False)
class Digits:
    """The three parts of the data."""

    training: Samples
    held_out: Samples
    test: Samples


def digits() -> Digits:
    """Images (N, 1, 8, 8) in [0, 1], shuffled and split by a fixed seed."""
    images, labels = load_digits(return_X_y=True)
    x = (images.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)
    order = np.random.default_rng(SEED).permutation(len(x))
    parts = np.split(order, [TEST, TEST + HELD_OUT])
    test, held_out, training = (Samples(x[rows], labels[rows].astype(np.int64)) for rows in parts)
    return Digits(training, held_out, test)


def trained_network(data: Samples, progress: Callable[[int, int], None] | None = None) -> DigitsNet:
    """A `DigitsNet` trained from a fixed seed in a few seconds.

    Args:
        data: images and labels, as in `digits().training`.
        progress: told (epochs done, epochs in all).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = DigitsNet()
    train(model, *tensors(data), Recipe(seed=SEED), progress)
    return model


def tensors(data: Samples) -> tuple[Tensor, Tensor]:
    """Images and labels for PyTorch."""
    return torch.from_numpy(data.x), torch.from_numpy(data.labels("training"))
