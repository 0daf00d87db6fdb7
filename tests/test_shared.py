"""Other people's models and data, where a folder with them lies beside the checkout."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from snndeploy import certify, convert, from_torch, integer_ann, lower, run
from snndeploy.deploy import float_predictions
from snndeploy.errors import SnnDeployError
from snndeploy.nirfile import load

SHARED = Path(__file__).parents[2] / "shared"
CHECKPOINT = SHARED / "models/akamaster_resnet/pretrained_models/resnet20-12fca82f.th"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="no shared folder beside the checkout"),
]


@pytest.fixture
def cifar(monkeypatch):
    """The benchmarks' networks and images."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return import_module("cifar")


def images(cifar, part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    found = cifar.lossless_images(SHARED / "data", part)
    return found.batch(slice(count)).numpy(), found.labels[:count].numpy()


@pytest.mark.slow
def test_a_published_resnet20_is_exact_and_keeps_its_accuracy(cifar):
    calibration, _ = images(cifar, "train", 256)
    x, y = images(cifar, "test", 100)
    x = np.clip(x, -80 / 32, 90 / 32)
    model = cifar.ResNet20(15)
    cifar.load_published(model, CHECKPOINT, torch.from_numpy(calibration))
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
def test_a_published_resnet20_keeps_its_accuracy_with_few_levels(cifar):
    calibration, _ = images(cifar, "train", 256)
    x, y = images(cifar, "test", 200)
    model = cifar.published_resnet20(CHECKPOINT)
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
