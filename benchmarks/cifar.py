"""CIFAR-10 networks with QCFS activations: the data, a ResNet-20, a small VGG, their training.

Data, in a folder that the user names: `cifar10_jpeg.npz`, all 60,000 images as JPEG bytes
(`jpeg_train`, `offset_train`, `y_train`, and `_test` likewise), and `cifar10_lossless.npz`, 4,000
training and 500 test images as they were published (`x_train`, `y_train`, `x_test`, `y_test`). JPEG
costs a network that was trained on clean images about ten points, so the networks are trained and
tested on the JPEG images.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from snndeploy.training import QCFS, QuantizedInput

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
GRID = (1 / 32, -80, 90)  # covers the normalised pixels, in steps of under two grey levels


@dataclass(frozen=True, eq=False)
class Images:
    """Pixels (N, 3, 32, 32) uint8 and labels (N,) int64."""

    pixels: Tensor
    labels: Tensor

    def batch(self, rows: Tensor | slice) -> Tensor:
        """Normalised float32 images."""
        return (self.pixels[rows].float() / 255 - MEAN) / STD


def jpeg_images(folder: Path, part: str, limit: int | None = None) -> Images:
    """The first `limit` of the `train` (50,000) or `test` (10,000) images."""
    with np.load(folder / "cifar10_jpeg.npz") as data:
        content, ends, labels = (data[f"{name}_{part}"] for name in ("jpeg", "offset", "y"))
    pictures = [
        np.asarray(Image.open(io.BytesIO(content[start:end].tobytes())))
        for start, end in pairwise(ends[: None if limit is None else limit + 1])
    ]
    return _images(np.stack(pictures), labels[:limit])


def lossless_images(folder: Path, part: str = "test") -> Images:
    """500 `test` or 4,000 `train` images as published."""
    with np.load(folder / "cifar10_lossless.npz") as data:
        return _images(data[f"x_{part}"], data[f"y_{part}"])


def _images(pixels: np.ndarray, labels: np.ndarray) -> Images:
    channels_first = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    return Images(torch.from_numpy(channels_first), torch.from_numpy(labels.astype(np.int64)))


def _activation(levels: int | None) -> nn.Module:
    return nn.ReLU() if levels is None else QCFS(levels)


class Block(nn.Module):
    """Two convolutions and a shortcut without trained weights.

    Where the shape changes, the shortcut takes every second pixel and pads with zero channels,
    spelled as a convolution with a constant kernel.
    """

    def __init__(self, inputs: int, channels: int, levels: int | None) -> None:
        super().__init__()
        stride = channels // inputs
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = _activation(levels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = _activation(levels)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Conv2d(inputs, channels, 1, stride, bias=False)
            kernel = torch.zeros(channels, inputs, 1, 1)
            margin = (channels - inputs) // 2
            kernel[margin : margin + inputs, :, 0, 0] = torch.eye(inputs)
            self.shortcut.weight = nn.Parameter(kernel, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return self.act2(branch + self.shortcut(x))


class ResNet20(nn.Module):
    """ResNet-20 for CIFAR-10 (He et al. 2016, option A), parameters named as by akamaster.

    Without levels it has ReLUs, and no grid on its input.
    """

    def __init__(self, levels: int | None) -> None:
        super().__init__()
        self.grid = nn.Identity() if levels is None else QuantizedInput(*GRID)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.act1 = _activation(levels)
        for index, (before, after) in enumerate([(16, 16), (16, 32), (32, 64)], 1):
            blocks = [Block(before, after, levels), *(Block(after, after, levels) for _ in "12")]
            setattr(self, f"layer{index}", nn.Sequential(*blocks))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.conv1(self.grid(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(self.pool(x), 1))


class Vgg(nn.Module):
    """Five convolutions of width 24 to 96, max-pools, a linear readout."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.grid = QuantizedInput(*GRID)
        parts: list[nn.Module] = []
        channels = 3
        for out, pool in [(24, True), (48, False), (48, True), (96, False), (96, True)]:
            parts += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)]
            parts += [QCFS(levels)] + [nn.MaxPool2d(2)] * pool
            channels = out
        self.features = nn.Sequential(*parts)
        self.linear = nn.Linear(96 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.flatten(self.features(self.grid(x)), 1))


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Take over published weights."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    names = {name.removeprefix("module."): value for name, value in state.items()}
    missing, unexpected = model.load_state_dict(names, strict=False)
    if unexpected or any("shortcut" not in n and not n.endswith("ceiling") for n in missing):
        raise SystemExit(f"{checkpoint} holds another network: {missing} {unexpected}")


def published_resnet20(checkpoint: Path) -> ResNet20:
    """akamaster's ResNet-20 as it was published: float, with ReLUs."""
    model = ResNet20(None)
    load_weights(model, checkpoint)
    return model.eval()


def load_published(model: nn.Module, checkpoint: Path, calibration: Tensor) -> None:
    """Take over published ReLU weights; each ceiling at the 99.9 % quantile of its ReLU."""
    load_weights(model, checkpoint)

    def as_relu(layer: nn.Module, inputs: tuple[Tensor], _output: Tensor) -> Tensor:
        values = inputs[0].relu()
        layer.ceiling.data.fill_(torch.quantile(values.flatten()[::17][: 10**7], 0.999))
        return values

    layers = [module for module in model.modules() if isinstance(module, QCFS)]
    hooks = [layer.register_forward_hook(as_relu) for layer in layers]
    model.eval()
    with torch.inference_mode():
        model(calibration)
    for hook in hooks:
        hook.remove()


def train(
    model: nn.Module,
    images: Images,
    epochs: int,
    learning_rate: float,
    progress: Callable[[str], None],
    bfloat16: bool = True,
    batch: int = 128,
) -> None:
    """SGD on a one-cycle schedule, with random flips and shifts; leaves the model in eval mode.

    With `bfloat16` all epochs but the last run in it, for speed.
    """
    generator = torch.Generator().manual_seed(0)
    steps = epochs * -(-len(images.labels) // batch)
    optimizer, schedule = one_cycle(model, learning_rate, steps)
    model.train().to(memory_format=torch.channels_last)
    for epoch in range(epochs):
        started, loss_sum = perf_counter(), 0.0
        order = torch.randperm(len(images.labels), generator=generator)
        for rows in torch.split(order, batch):
            x = augmented(images.batch(rows), generator)
            with torch.autocast("cpu", torch.bfloat16, bfloat16 and epoch + 1 < epochs):
                logits = model(x)
            loss = F.cross_entropy(logits.float(), images.labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += float(loss.detach()) * len(rows)
        seconds = perf_counter() - started
        progress(f"epoch {epoch + 1}/{epochs}: loss {loss_sum / len(order):.3f}, {seconds:.0f} s")
    model.eval().to(memory_format=torch.contiguous_format)


def one_cycle(
    model: nn.Module, learning_rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD on a one-cycle schedule; weights decay, ceilings do not."""
    ceilings = [p for n, p in model.named_parameters() if n.endswith("ceiling")]
    others = [p for n, p in model.named_parameters() if not n.endswith("ceiling")]
    groups = [{"params": others, "weight_decay": 5e-4}, {"params": ceilings, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, learning_rate, 0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=0.2)
    return optimizer, schedule


def augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Flip half of the images, shift all by up to 3 pixels; one shift for each batch's quarter."""
    flips = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(flips.view(-1, 1, 1, 1), x.flip(3), x)
    parts = []
    for part in torch.chunk(F.pad(x, (3, 3, 3, 3), mode="replicate"), 4):
        top, left = torch.randint(0, 7, (2,), generator=generator).tolist()
        parts.append(part[:, :, top : top + 32, left : left + 32])
    return torch.cat(parts).to(memory_format=torch.channels_last)


@torch.inference_mode()
def accuracy(model: nn.Module, images: Images, batch: int = 500) -> float:
    """The share of images that the model classifies rightly."""
    hits = [
        model(images.batch(slice(first, first + batch))).argmax(1)
        == images.labels[first : first + batch]
        for first in range(0, len(images.labels), batch)
    ]
    return float(torch.cat(hits).float().mean())
