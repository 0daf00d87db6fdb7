"""Small PyTorch models and the networks made of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from snndeploy import convert, from_torch
from snndeploy.network import Network
from snndeploy.training import QCFS, QuantizedInput


class SmallNet(nn.Module):
    """Every operator that the frontend reads: batch-norm, pools, residual add, mean, linear."""

    def __init__(self, levels: int = 3) -> None:
        super().__init__()
        self.grid = QuantizedInput(1 / 16, 0, 16)
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.act1 = QCFS(levels, 1.5)
        self.conv2 = nn.Conv2d(4, 4, 3, padding="same", groups=2, bias=False)
        self.norm2 = nn.BatchNorm2d(4)
        self.act2 = QCFS(levels, 1.0)
        self.average = nn.AvgPool2d(2)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4 * 2 * 2, 3)

    def forward(self, x):
        x = self.act1(self.pool(self.norm1(self.conv1(self.grid(x)))))
        x = self.act2(self.norm2(self.conv2(x)) + x)
        return self.head(self.dropout(torch.flatten(self.average(x), 1)))


def small_net(seed: int = 0, levels: int = 3) -> SmallNet:
    """A SmallNet with random weights and random batch-norm statistics, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    model = SmallNet(levels)
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 0:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.4)
        for norm in (model.norm1, model.norm2):
            norm.running_mean.copy_(torch.randn(4, generator=generator) * 0.2)
            norm.running_var.copy_(torch.rand(4, generator=generator) + 0.5)
            norm.weight.copy_(torch.rand(4, generator=generator) + 0.5)
            norm.bias.copy_(torch.randn(4, generator=generator) * 0.3)
    return model.eval()


def images(count: int, seed: int = 0) -> np.ndarray:
    """Float32 images (count, 2, 8, 8) on SmallNet's input grid."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 17, (count, 2, 8, 8)) / 16).astype(np.float32)


def float_network(seed: int = 0, levels: int = 3) -> Network:
    return from_torch(small_net(seed, levels), torch.from_numpy(images(2)), "small")


def small_network(seed: int = 0, mode: str = "exact", levels: int = 3) -> Network:
    """SmallNet as an integer spiking network, in coarse units: tests change them by hand."""
    return convert(float_network(seed, levels), mode=mode, weight_exponent=0)
