"""Dynamic Confidence on logits of any size."""

from __future__ import annotations

import numpy as np
import pytest
from models import float_network

from snndeploy import convert
from snndeploy.control import Search, calibrate
from snndeploy.control.temperature import likeliest_temperature
from snndeploy.trace import Trace

CLASSES, STEPS = 3, 6


def _trace(samples: int, size: float, seed: int = 0) -> tuple[Trace, np.ndarray]:
    """Logits that grow towards the label, noisy at first, `size` units apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, samples)
    pull = np.eye(CLASSES)[labels][:, None] * np.arange(1, STEPS + 1)[:, None]
    logits = np.rint(size * (pull + rng.normal(size=(samples, 1, CLASSES)) * 2)).astype(np.int64)
    return Trace(
        backend="made",
        logits=logits,
        spikes={},
        events={"layer": np.ones((samples, STEPS), np.int64)},
        stop_steps=np.full(samples, STEPS),
        settled=np.ones(samples, np.bool_),
        seconds=0.0,
    ), labels


@pytest.fixture(scope="module")
def network():
    return convert(float_network())


@pytest.mark.parametrize("confidence", [None, 0.9])
def test_the_size_of_the_logits_does_not_matter(network, confidence):
    found = []
    for size in (1e2, 1e8):
        trace, labels = _trace(2_000, size)
        search = Search(0.05, confidence)
        found.append(calibrate(network, trace, labels, "", search))
    small, large = found
    assert small.expected_steps < 0.9 * STEPS
    assert large.expected_steps == pytest.approx(small.expected_steps, abs=0.2)
    assert large.policy.temperature == pytest.approx(1e6 * small.policy.temperature, rel=0.05)


def test_a_guarantee_tests_nine_tenths_of_the_samples_or_all(network):
    trace, labels = _trace(1_000, 1e2)
    fitted = calibrate(network, trace, labels, "", Search(0.1, 0.9))
    temperature = likeliest_temperature(network, trace, labels)
    given = calibrate(network, trace, labels, "", Search(0.1, 0.9, temperature=temperature))
    assert fitted.promise.samples == 900
    assert given.promise.samples == 1_000


def test_the_likeliest_temperature_makes_confidence_what_it_is_worth(network):
    trace, labels = _trace(20_000, 1e3)
    temperature = likeliest_temperature(network, trace, labels)
    z = trace.logits[:, -1] * network.output.scale / temperature
    chances = np.exp(z - z.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    assert chances.max(axis=1).mean() == pytest.approx(trace.accuracy(labels), abs=0.02)


def test_logits_that_are_all_alike_have_no_temperature(network):
    trace, labels = _trace(50, 0.0)
    assert likeliest_temperature(network, trace, labels) == 1.0
