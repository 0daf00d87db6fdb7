"""The networks of the exit study, and for each the samples to calibrate and to test on.

Networks that were trained for it (`anytime.py`) lie in `trained/`. Those of others (`foreign.py`)
are brought to few levels first, as in `models.py`. No sample is in two of: training, calibration
of levels, held out, test. Where a model's only unseen data is its test set, a fixed half of what
is left of it is held out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anytime
import cifar
import foreign
import numpy as np
import torch

from snndeploy import Network, convert, load, save
from snndeploy.samples import Samples

CALIBRATION = 512
KEYWORDS = 160
"""Samples that levels are calibrated on; fewer of the keywords, of which there are 500."""


@dataclass(frozen=True)
class Folders:
    """Where data, other people's models, and converted networks are."""

    data: Path
    models: Path
    kept: Path


@dataclass(frozen=True, eq=False)
class Subject:
    """A spiking network and its data.

    Attributes:
        title: for tables.
        network: an integer network.
        held_out: to calibrate the exit on.
        test: to test on.
        more: further test sets, by name.
    """

    title: str
    network: Network
    held_out: Samples
    test: Samples
    more: Mapping[str, Samples] = field(default_factory=dict)


def trained(name: str, mode: str) -> Callable[[Folders], Subject]:
    """A network of `anytime.py` with its 5,000 held-out images."""

    def make(folders: Folders) -> Subject:
        network = load(anytime.TRAINED / f"{name}.nir")
        images = cifar.jpeg_images(folders.data, "train")
        rows = torch.from_numpy(anytime.held_out_rows(len(images.labels))[1])
        return Subject(
            f"{name} (CIFAR-10), {mode} mode, L = {anytime.LEVELS}",
            network.rewrite(network.nodes, mode=mode),
            _samples(cifar.Images(images.pixels[rows], images.labels[rows])),
            _samples(cifar.jpeg_images(folders.data, "test")),
            {"lossless": _samples(cifar.lossless_images(folders.data))},
        )

    return make


def another(name: str, levels: int, method: str) -> Callable[[Folders], Subject]:
    """Somebody else's network with fewer levels."""

    def make(folders: Folders) -> Subject:
        model = foreign.MODELS[name](folders.data, folders.models)
        order = np.random.default_rng(0).permutation(len(model.test))
        if model.training is None:
            calibration, order = model.test.rows(order[:KEYWORDS]), order[KEYWORDS:]
        else:
            calibration = model.training.rows(slice(CALIBRATION))
        file = folders.kept / f"{name}_{levels}_{method}.nir"
        if not file.exists():
            options = {"levels": levels, "calibrate": method, "weight_exponent": 0}
            save(convert(model.network, calibration.ours, **options), file)
        half = len(order) // 2
        parts = [model.test.rows(np.sort(part)) for part in (order[:half], order[half:])]
        held_out, test = (Samples(part.ours, part.labels) for part in parts)
        return Subject(f"{model.title}, L = {levels}", load(file), held_out, test)

    return make


def _samples(images: cifar.Images) -> Samples:
    return Samples(images.batch(slice(None)).numpy(), images.labels.numpy())


TRAINED: dict[str, Callable[[Folders], Subject]] = {
    "resnet20": trained("resnet20", "exact"),
    "resnet20_rate": trained("resnet20", "rate"),
}

SUBJECTS = TRAINED | {
    "mnist8": another("mnist8", 7, "advanced"),
    "sinabs_mnist": another("sinabs_mnist", 15, "light"),
    "dscnn": another("dscnn", 15, "light"),
    "resnet8": another("resnet8", 15, "light"),
}
