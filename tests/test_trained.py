"""The network of the exit study, as it is committed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snndeploy import certify, load, lower, run

FILE = Path(__file__).parents[1] / "benchmarks" / "trained" / "resnet20.nir"
IMAGES = Path(__file__).parents[2] / "shared" / "data" / "cifar10_lossless.npz"
MEAN, STD = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).reshape(2, 3, 1, 1)


def test_the_trained_network_is_small_has_two_bits_and_is_certified():
    program = lower(load(FILE), "loihi2")
    assert FILE.stat().st_size < 2_000_000
    assert program.network.window == 3
    noise = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).clip(-2.4, 2.6)
    assert certify(program, noise.astype(np.float32)).samples == 2


@pytest.mark.shared
@pytest.mark.skipif(not IMAGES.exists(), reason="needs the shared images")
def test_the_trained_network_knows_images_after_two_steps_nearly_as_well_as_settled():
    with np.load(IMAGES) as data:
        pixels, labels = data["x_test"][:200], data["y_test"][:200].astype(np.int64)
    x = ((pixels.transpose(0, 3, 1, 2) / 255 - MEAN) / STD).astype(np.float32)
    trace = run(lower(load(FILE)), x, record=False)
    by_step = trace.accuracy_by_step(labels)
    assert by_step[-1] > 0.75
    assert by_step[1] > by_step[-1] - 0.05
