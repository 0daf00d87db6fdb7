"""Conversion keeps the meaning of odd structures: float model against integer ANN at 16 bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from snndeploy import certify, convert, from_torch, integer_ann, lower
from snndeploy.errors import UnsupportedModelError
from snndeploy.training import QCFS, QuantizedInput


class Base(nn.Module):
    """Parts from which the structures below are put together."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.grid = QuantizedInput(1 / 16, 0, 16)
        self.stem1, self.stem2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.act1, self.act2 = QCFS(7, 0.7**0.5), QCFS(7, 0.6**0.5)
        self.act3, self.act4 = QCFS(7, 0.9**0.5), QCFS(7, 0.8**0.5)
        self.head, self.small_head = nn.Linear(4 * 36, 3), nn.Linear(4 * 9, 3)
        self.tiny_head = nn.Linear(4 * 6, 3)

    def branch(self, x):
        return self.act1(self.stem1(self.grid(x)))

    def branches(self, x):
        x = self.grid(x)
        return self.act1(self.stem1(x)), self.act2(self.stem2(x))


class SharedSum(Base):
    def forward(self, x):
        a, b = self.branches(x)
        y = a + b
        return self.head(torch.flatten(self.act3(y) + self.act4(y), 1))


class PooledSum(Base):
    def forward(self, x):
        a, b = self.branches(x)
        return self.small_head(torch.flatten(self.act3(F.avg_pool2d(a + b, 2)), 1))


class FlatSum(Base):
    def forward(self, x):
        a, b = self.branches(x)
        return self.head(self.act3(torch.flatten(a + b, 1)))


class SumAddedAgain(Base):
    def forward(self, x):
        a = self.branch(x)
        y = a + self.conv(a)
        return self.head(torch.flatten(self.act3(y + a), 1))


class ConvolvedSum(Base):
    def forward(self, x):
        a, b = self.branches(x)
        return self.head(torch.flatten(self.act3(self.conv(a + b)), 1))


class ConvolutionTwice(Base):
    def forward(self, x):
        a = self.branch(x)
        y = self.conv(a)
        return self.head(torch.flatten(self.act3(y) + self.act4(y), 1))


class BiasCountedTwice(Base):
    def forward(self, x):
        a = self.branch(x)
        y = self.conv(a)
        return self.head(torch.flatten(self.act3((y + a) + y), 1))


class InPlaceSum(Base):
    def forward(self, x):
        a = self.branch(x)
        y = self.conv(a)
        y += a
        return self.head(torch.flatten(self.act3(y), 1))


class FourBranches(Base):
    def forward(self, x):
        a, b = self.branches(x)
        y = sum([a, self.conv(b), b, self.stem1(self.grid(x))])
        return self.head(torch.flatten(self.act3(y), 1))


class SumOfSums(Base):
    """The inner sum feeds a pool, too, so that no branch of it can be changed in place."""

    def forward(self, x):
        a, b = self.branches(x)
        y = a + self.conv(b)
        pooled = F.avg_pool2d(self.act4(y), 3, 1, 1)
        return self.head(torch.flatten(self.act3(b + (y + pooled)), 1))


class DepthwiseBranches(Base):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(4, 4, (1, 3), padding=(0, 2), dilation=(1, 2), groups=4)
        self.tall = nn.Conv2d(1, 4, (5, 1), padding=(2, 0))

    def forward(self, x):
        a, b = self.branches(x)
        y = self.act3(self.depthwise(a) + self.tall(self.grid(x)) + b)
        return self.small_head(torch.flatten(F.max_pool2d(F.max_pool2d(y, 3, 1, 1), 2), 1))


@pytest.mark.parametrize(
    "model",
    [
        SharedSum,
        PooledSum,
        FlatSum,
        SumAddedAgain,
        ConvolvedSum,
        ConvolutionTwice,
        BiasCountedTwice,
        InPlaceSum,
        FourBranches,
        SumOfSums,
        DepthwiseBranches,
    ],
)
def test_the_integer_ann_means_what_the_model_means(model):
    net = model().eval()
    x = (np.random.default_rng(0).integers(0, 17, (100, 1, 6, 6)) / 16).astype(np.float32)
    network = convert(from_torch(net, torch.from_numpy(x[:2])), weight_bits=16)
    found = integer_ann(network, x).logits * network.output.scale
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    error = np.abs(found - expected).max(axis=1) / np.abs(expected).max()
    assert np.median(error) < 2e-3
    certify(lower(network), x[:10])


class TwoGrids(Base):
    def forward(self, x):
        y = self.stem1(self.grid(x)) + self.stem1(QuantizedInput(1 / 2, 0, 2)(x))
        return self.head(torch.flatten(self.act1(y), 1))


class RawBranch(Base):
    def forward(self, x):
        return self.head(torch.flatten(self.act1(self.stem1(self.grid(x)) + self.stem2(x)), 1))


class MutatedView(Base):
    def forward(self, x):
        a = self.branch(x)
        flat = torch.flatten(a, 1)
        a += self.conv(a.clone())
        return self.head(flat) + self.head(torch.flatten(self.act3(a), 1))


class MutatedSignal(Base):
    def forward(self, x):
        a = self.branch(x)
        signal = F.avg_pool2d(a, (6, 1)).squeeze(2)
        image = signal.unsqueeze(2)
        signal += F.avg_pool1d(signal, 3, 1, 1)
        return self.tiny_head(torch.flatten(image, 1))


class MapOutput(Base):
    def forward(self, x):
        return self.conv(self.branch(x))


class Constant(Base):
    def forward(self, x):
        a = self.branch(x)
        return self.head(torch.flatten(self.act3(self.conv(a) + torch.ones(1)), 1))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (TwoGrids, "one and the same grid"),
        (RawBranch, "one and the same grid"),
        (MutatedView, "used again after"),
        (MutatedSignal, "used again after"),
        (MapOutput, r"expected \(classes,\)"),
        (Constant, "ones"),
    ],
)
def test_what_would_change_its_meaning_is_refused(model, words):
    with pytest.raises(UnsupportedModelError, match=words):
        from_torch(model().eval(), torch.rand(2, 1, 6, 6))
