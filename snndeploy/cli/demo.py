"""The demo: handwritten digits from training to an energy report, on every backend.

Data: scikit-learn's `load_digits`, 1,797 images of 8x8 pixels in 0 .. 16 (UCI Optical
Recognition of Handwritten Digits, test part). Split once, by a fixed seed: 1,077 to train, 360
held out to calibrate the exit, 360 to test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from snndeploy import deploy
from snndeploy.cli import console
from snndeploy.files import save_json
from snndeploy.hardware import hardware
from snndeploy.integer_ann import integer_ann
from snndeploy.nirfile import load as load_nir
from snndeploy.nirfile import save
from snndeploy.report import report_of
from snndeploy.samples import Samples
from snndeploy.story import tell_story
from snndeploy.training import QCFS, QuantizedInput, Recipe, accuracy, train

SEED = 0
LEVELS = 3  # 2-bit activations
TEST = HELD_OUT = 360
LAVA_SAMPLES = 64
PROFILE = "loihi1"


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


def trained_network(data: Samples, quiet: bool = True) -> DigitsNet:
    """A `DigitsNet` trained from a fixed seed; a few seconds on two cores."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = DigitsNet()
    with console.progress("training", quiet) as tell:
        train(
            model,
            *_tensors(data),
            Recipe(seed=SEED),
            tell,
        )
    return model


def run_demo(folder: Path, quiet: bool = False) -> dict[str, Any]:
    """Write `model.nir`, `report.html` and `summary.json` into `folder`; return the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    tell = console.silent if quiet else console.say
    data = digits()
    test = data.test
    labels = test.labels("the demo")
    tell(f"data       {len(data.training)} digits to train, {HELD_OUT} held out, {TEST} to test")

    model = trained_network(data.training, quiet)
    ann = accuracy(model, *_tensors(test))
    tell(f"trained    residual CNN, 2-bit activations: {ann:.2%} as a float quantized ANN")

    example = torch.from_numpy(test.x[:2])
    save(deploy.convert(deploy.from_torch(model, example, "digits")), folder / "model.nir")
    network = load_nir(folder / "model.nir")
    program = deploy.lower(network, hardware(PROFILE))
    qann = integer_ann(network, deploy.grid_inputs(network, test.x)).logits.argmax(axis=1)
    qann_accuracy = float((qann == labels).mean())
    tell(f"converted  8-bit weights, integer thresholds: {qann_accuracy:.2%} as an integer ANN")

    policy = deploy.calibrate_exit(
        program, data.held_out.x, data.held_out.labels("calibration"), max_accuracy_drop=0.0
    )
    tell(f"calibrated early exit on the held-out part: confidence above {policy.threshold:.3f}")

    tell(f"running    reference and Norse on {TEST} images, Lava on {LAVA_SAMPLES}")
    with console.progress("running", quiet) as progress:
        story = tell_story(
            program,
            test,
            policy,
            ("reference", "norse", "lava"),
            limits={"lava": LAVA_SAMPLES},
            progress=progress,
        )
    accuracies = {
        "float ANN": ann,
        "integer quantized ANN": qann_accuracy,
        "spiking, settled": story.trace.accuracy(labels),
    }
    summary = {
        "dataset": "scikit-learn handwritten digits (1,797 images, 8x8)",
        "ann_accuracy": ann,
        "qann_accuracy": qann_accuracy,
        **story.summary(),
    }
    report_of(story, accuracies, "Handwritten digits").save(folder / "report.html")
    save_json(summary, folder / "summary.json")
    if not quiet:
        _show(summary, story.refusal, folder)
    return summary


def _show(summary: dict[str, Any], refusal: str, folder: Path) -> None:
    settle = summary["settle_steps"]
    exact = "every neuron equal to the integer ANN" if summary["exact"] else f"NOT exact: {refusal}"
    console.say(
        f"certified  {exact}; settled after {settle['mean']:.2f} steps, at most {settle['max']}"
    )
    for name, row in summary["backends"].items():
        if "missing" in row:
            console.say(f"{name:<10} did not run: {row['missing']}")
            continue
        same = "same spikes" if row["spikes_equal_reference"] else "DIFFERENT SPIKES"
        console.say(
            f"{name:<10} {row['samples']} images, {row['accuracy']:.2%}, {same}, "
            f"{row['seconds']:.2f} s"
        )
    stop = summary["exit"]
    console.say(
        f"early exit {stop['mean_steps']:.2f} steps on average (at most {stop['max_steps']}), "
        f"{stop['accuracy']:.2%}, {stop['spike_ratio']:.0%} of the spikes"
    )
    energy = summary["energy"]
    console.say(
        f"energy     {_interval(energy['snn_uj'])} µJ settled, "
        f"{_interval(energy['snn_exit_uj'])} µJ with early exit on {energy['profile']}; "
        f"{_interval(energy['ann_int8_uj'])} µJ as an int8 ANN"
    )
    console.say(f"\nopen {folder / 'report.html'}")


def _interval(value: dict[str, float] | None) -> str:
    if value is None:
        return "unknown"
    return f"{value['nominal']:.3g} ({value['low']:.3g} to {value['high']:.3g})"


def _tensors(data: Samples) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(data.x), torch.from_numpy(data.labels("training"))
