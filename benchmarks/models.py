"""Other people's float models with few levels: accuracy, steps, spikes and energy.

    python benchmarks/models.py --data FOLDER --models FOLDER [--only NAME] [--fresh] [--smoke]

Each network is calibrated on 512 training images or fewer, as they are, and tested on others. Exact
mode with 3 to 63 levels, rate mode with 8, 16 and 32 steps, each with every way to calibrate.
Tested on the 500 lossless images of CIFAR-10, and on 2,000 of MNIST.
Writes `models.json`; a run that was broken off goes on where it ended.

Data: `cifar10_lossless.npz` (x_train, y_train, x_test, y_test) and `mnist/` with the four official
files. Models: `akamaster_resnet/` (ResNet-20, CIFAR-10) and `sinabs/mnist_params.pt`.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import cifar
import numpy as np
import torch
from results import Rows
from torch import nn

from snndeploy import Network, from_torch, sweep
from snndeploy.training import QCFS

CALIBRATION, IMAGES = 512, 2_000
EXACT_LEVELS, RATE_STEPS = (3, 7, 15, 31, 63), (8, 16, 32)
METHODS = ("none", "light", "advanced")

PUBLISHED = {
    "source": "Li et al. 2021, SNN Calibration, table 2, CIFAR-10, 32 steps (printed as 16)",
    "differs": "its networks are better ones: its ResNet-20 has 95.68 % where ours has 91 %; its "
    "advanced calibration has 1,024 samples, ours 512; its images are all of the test set",
    "ResNet-20": {"ann": 95.68, "none": 67.88, "light": 93.89, "advanced": 94.33},
    "VGG-16": {"ann": 95.76, "none": 64.52, "light": 93.30, "advanced": 93.65},
}
"""Accuracies in per cent."""


@dataclass(frozen=True, eq=False)
class Case:
    """A float network and its data: float32 (N, *shape), labels (N,)."""

    network: Network
    calibration: np.ndarray
    x: np.ndarray
    labels: np.ndarray


def resnet20(data: Path, models: Path, images: int) -> Case:
    """The ResNet-20 of akamaster's repository, CIFAR-10, float32, ReLU."""
    with np.load(data / "cifar10_lossless.npz") as file:
        training, test = (_images(file[f"x_{part}"]) for part in ("train", "test"))
        labels = file["y_test"].astype(np.int64)
    checkpoint = models / "akamaster_resnet/pretrained_models/resnet20-12fca82f.th"
    model = cifar.ResNet20(15)
    cifar.load_published(model, checkpoint, torch.from_numpy(training[:2]))
    model.grid = nn.Identity()
    for name in [name for name, part in model.named_modules() if isinstance(part, QCFS)]:
        model.set_submodule(name, nn.ReLU())
    network = from_torch(model.eval(), torch.from_numpy(test[:2]), "resnet20")
    return Case(network, training[:CALIBRATION], test[:images], labels[:images])


def sinabs_mnist(data: Path, models: Path, images: int) -> Case:
    """The MNIST network of the sinabs examples: no biases, average pools, pixels / 255."""
    model = nn.Sequential(
        *(nn.Conv2d(1, 20, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(20, 32, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(32, 128, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 500, bias=False), nn.ReLU()),
        nn.Linear(500, 10, bias=False),
    )
    file = models / "sinabs/mnist_params.pt"
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    x = [_mnist(data, f"{part}-images-idx3-ubyte.gz", 16) for part in ("train", "t10k")]
    training, test = (part.reshape(-1, 1, 28, 28).astype(np.float32) / 255 for part in x)
    labels = _mnist(data, "t10k-labels-idx1-ubyte.gz", 8).astype(np.int64)
    network = from_torch(model.eval(), torch.from_numpy(test[:2]), "sinabs_mnist")
    return Case(network, training[:CALIBRATION], test[:images], labels[:images])


CASES: dict[str, Callable[[Path, Path, int], Case]] = {
    "resnet20": resnet20,
    "sinabs_mnist": sinabs_mnist,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="the folder with data sets")
    arguments.add_argument("--models", type=Path, required=True, help="the folder with models")
    arguments.add_argument("--only", choices=sorted(CASES), help="one network")
    arguments.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    arguments.add_argument("--smoke", action="store_true", help="a tiny run, nothing written")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    rows = Rows("models", fresh=chosen.fresh, keep=not chosen.smoke)
    for name in [chosen.only] if chosen.only else CASES:
        case = CASES[name](chosen.data, chosen.models, 20 if chosen.smoke else IMAGES)
        for mode, number, method in choices(chosen.smoke):
            key = f"{name} {mode} {number} {method}"
            if rows.get(key) is None:
                rows.add(key, measured(name, case, mode, number, method))
            print(line(key, rows.rows[key]), flush=True)
    if rows.keep and not chosen.only:
        rows.finish(
            command="python benchmarks/models.py --data FOLDER --models FOLDER",
            calibration_images=CALIBRATION,
            published=PUBLISHED,
        )


def choices(smoke: bool) -> Iterator[tuple[str, int, str]]:
    """Mode, levels (in rate mode, steps, too) and method of each row."""
    for mode, numbers in (("exact", EXACT_LEVELS), ("rate", RATE_STEPS)):
        for number in numbers[:1] if smoke else numbers:
            for method in METHODS[:2] if smoke else METHODS:
                yield mode, number, method


def measured(name: str, case: Case, mode: str, number: int, method: str) -> dict[str, object]:
    """One row."""
    started = perf_counter()
    found = sweep(
        case.network,
        case.x,
        case.labels,
        calibration=case.calibration,
        levels=[number],
        methods=[method],
        mode=mode,
    )
    point = {k: v for k, v in asdict(found.points[0]).items() if not k.startswith("on_")}
    return {
        "model": name,
        "mode": mode,
        "images": len(case.x),
        **point,
        "original_accuracy": found.original_accuracy,
        "seconds": round(perf_counter() - started, 1),
    }


def line(key: str, row: dict[str, object]) -> str:
    """A row in words."""
    if row["error"]:
        return f"{key}: {row['error']}"
    energy = "none" if row["energy_pj"] is None else f"{row['energy_pj'] / 1e6:.1f} uJ"
    return (
        f"{key}: {row['accuracy']:.2%} of {row['original_accuracy']:.2%}, "
        f"{row['mean_steps']:.1f} steps, {row['spikes']:,.0f} spikes, energy {energy}, "
        f"{row['seconds']} s"
    )


def _images(pixels: np.ndarray) -> np.ndarray:
    """Normalised float32 (N, 3, 32, 32) of pixels (N, 32, 32, 3)."""
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float()
    return ((x / 255 - cifar.MEAN) / cifar.STD).numpy()


def _mnist(data: Path, name: str, header: int) -> np.ndarray:
    with gzip.open(data / "mnist" / name) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


if __name__ == "__main__":
    main()
