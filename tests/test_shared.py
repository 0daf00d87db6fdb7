"""Other people's models and data, where a folder with them lies beside the checkout."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from snndeploy import certify, convert, from_torch, integer_ann, lower, run
from snndeploy.deploy import float_predictions
from snndeploy.errors import SnnDeployError
from snndeploy.nirfile import load
from snndeploy.training import QCFS, QuantizedInput

SHARED = Path(__file__).parents[2] / "shared"
CHECKPOINT = SHARED / "models/akamaster_resnet/pretrained_models/resnet20-12fca82f.th"
CIFAR = SHARED / "data/cifar10_lossless.npz"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="no shared folder beside the checkout"),
]


class Block(nn.Module):
    """A basic block; its shortcut without weights, as a convolution with an identity kernel."""

    def __init__(self, channels_in: int, channels: int, levels: int) -> None:
        super().__init__()
        stride = channels // channels_in
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = QCFS(levels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = QCFS(levels)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            weight = torch.zeros(channels, channels_in, 1, 1)
            margin = (channels - channels_in) // 2
            for c in range(channels_in):
                weight[margin + c, c] = 1
            self.shortcut.weight = nn.Parameter(weight)

    def forward(self, x):
        y = self.act1(self.bn1(self.conv1(x)))
        return self.act2(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet20(nn.Module):
    def __init__(self, levels: int) -> None:
        super().__init__()
        self.grid = QuantizedInput(1 / 32, -80, 90)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.act1 = QCFS(levels)
        widths = [(16, 16), (16, 32), (32, 64)]
        for index, (before, after) in enumerate(widths, 1):
            blocks = [Block(before, after, levels), *(Block(after, after, levels) for _ in "12")]
            setattr(self, f"layer{index}", nn.Sequential(*blocks))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.act1(self.bn1(self.conv1(self.grid(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(self.pool(x), 1))


def cifar(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(CIFAR) as data:
        x, y = data[f"x_{name}"][:count], data[f"y_{name}"][:count]
    x = x if x.shape[-1] == 3 else x.transpose(0, 2, 3, 1)
    x = (x.astype(np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32), y.astype(np.int64)


def resnet20(levels: int, calibration: torch.Tensor) -> ResNet20:
    """The published float weights, with each ceiling at the largest activations seen."""
    model = ResNet20(levels)
    state = torch.load(CHECKPOINT, map_location="cpu", weights_only=True)["state_dict"]
    names = {name.removeprefix("module."): value for name, value in state.items()}
    missing, unexpected = model.load_state_dict(names, strict=False)
    assert not unexpected
    assert all(name.endswith("ceiling") or "shortcut" in name for name in missing)
    model.eval()
    seen: dict[str, float] = {}

    def record(name):
        def hook(_module, inputs, _output):
            seen[name] = float(torch.quantile(inputs[0].relu().flatten()[::7][: 10**7], 0.999))
            return inputs[0].relu()

        return hook

    layers = {n: m for n, m in model.named_modules() if isinstance(m, QCFS)}
    hooks = [m.register_forward_hook(record(n)) for n, m in layers.items()]
    with torch.inference_mode():
        model(calibration)
    for hook in hooks:
        hook.remove()
    for name, layer in layers.items():
        layer.ceiling.data.fill_(seen[name])
    return model


@pytest.mark.slow
def test_a_published_resnet20_is_exact_and_keeps_its_accuracy():
    calibration, _ = cifar("train", 256)
    x, y = cifar("test", 100)
    x = np.clip(x, -80 / 32, 90 / 32)
    model = resnet20(15, torch.from_numpy(calibration))
    network = convert(from_torch(model, torch.from_numpy(x[:2]), "resnet20"))
    program = lower(network)
    trace = run(program, x, batch=50, record=False)
    assert trace.settled.all()
    with torch.inference_mode():
        floats = model(torch.from_numpy(x)).argmax(1).numpy()
    assert trace.accuracy(y) >= 0.85
    assert (trace.predictions == floats).mean() >= 0.95
    found = certify(program, x[:8])
    assert found.settle_max <= found.settle_bound


@pytest.mark.slow
def test_a_published_resnet20_keeps_its_accuracy_with_few_levels():
    calibration, _ = cifar("train", 256)
    x, y = cifar("test", 200)
    model = resnet20(15, torch.from_numpy(calibration[:2]))
    model.grid = nn.Identity()
    for name in [name for name, part in model.named_modules() if isinstance(part, QCFS)]:
        model.set_submodule(name, nn.ReLU())
    network = from_torch(model, torch.from_numpy(x[:2]), "resnet20")
    answers = float_predictions(network, x)
    for levels, share in ((15, 0.94), (7, 0.88)):
        few = integer_ann(convert(network, calibration, levels=levels), x).logits.argmax(1)
        assert (few == answers).mean() >= share
        assert (few == y).mean() >= (answers == y).mean() - 0.04


def test_published_nir_files_are_refused_with_one_clear_error():
    files = sorted((SHARED / "models/nir").rglob("*.nir"))
    assert files
    for path in files:
        with pytest.raises(SnnDeployError, match=re.escape(path.name)):
            load(path)
