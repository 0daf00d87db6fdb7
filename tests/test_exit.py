"""Dynamic Confidence: calibration, stopping, and its file."""

from __future__ import annotations

import numpy as np
import pytest
from models import images, small_network

from snndeploy import calibrate_exit, load_policy, lower, run
from snndeploy.control import DynamicConfidence
from snndeploy.deploy import grid_inputs
from snndeploy.errors import DataError, FileFormatError, InputError
from snndeploy.integer_ann import integer_ann


@pytest.fixture(scope="module")
def program():
    return lower(small_network(levels=7))


@pytest.fixture(scope="module")
def labels(program):
    """What the settled network answers: early exit can only lose against it."""
    inputs = grid_inputs(program.network, images(200))
    return integer_ann(program.network, inputs).logits.argmax(axis=1)


def test_confidence_is_the_softmax_of_the_scaled_logits():
    control = DynamicConfidence(threshold=0.9, temperature=2.0, scale=0.5, window=4)
    logits = np.array([[8, 0, -4]])
    z = logits[0] * 0.5 * (4 / 2) / 2.0
    expected = np.exp(z).max() / np.exp(z).sum()
    assert control.confidence(logits, np.array([2]))[0] == pytest.approx(expected)
    z = logits[0] * 0.5 / 2.0  # behind the window nothing is scaled up
    behind = control.confidence(logits, np.array([9]))[0]
    assert behind == pytest.approx(np.exp(z).max() / np.exp(z).sum())


def test_calibration_keeps_the_promise_on_its_own_data_and_saves_steps(program, labels):
    x = images(200)
    policy = calibrate_exit(program, x, labels, max_accuracy_drop=0.02)
    assert policy.settled_accuracy == 1.0
    assert policy.expected_accuracy >= 0.98
    trace = run(program, x, exit_policy=policy)
    assert trace.accuracy(labels) == pytest.approx(policy.expected_accuracy)
    assert trace.stop_steps.mean() == pytest.approx(policy.expected_steps)
    full = run(program, x)
    assert trace.stop_steps.mean() < full.stop_steps.mean()
    assert trace.total_events < full.total_events


def test_a_stopped_sample_ran_like_one_that_was_not(program, labels):
    x = images(50)
    policy = calibrate_exit(program, images(200), labels, max_accuracy_drop=0.05)
    stopped, full = run(program, x, exit_policy=policy), run(program, x)
    for sample, steps in enumerate(stopped.stop_steps):
        for name in full.spikes:
            found = stopped.spikes[name][sample]
            np.testing.assert_array_equal(found[:steps], full.spikes[name][sample, :steps])
            assert not found[steps:].any()


def test_no_drop_allowed_means_no_drop(program, labels):
    policy = calibrate_exit(program, images(200), labels, max_accuracy_drop=0.0)
    assert policy.expected_accuracy >= policy.settled_accuracy


def test_a_policy_survives_its_file(program, labels, tmp_path):
    policy = calibrate_exit(program, images(200), labels)
    policy.save(tmp_path / "policy.json")
    assert load_policy(tmp_path / "policy.json") == policy
    assert [path.name for path in tmp_path.iterdir()] == ["policy.json"]


@pytest.mark.parametrize("text", ["", "{}", '{"threshold": 2}', "[1]", "not json"])
def test_a_file_that_is_no_policy_is_refused(text, tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(FileFormatError, match="not an exit policy"):
        load_policy(path)


def test_a_policy_of_another_network_is_refused(program, labels):
    policy = calibrate_exit(program, images(200), labels)
    other = lower(small_network(seed=1))
    with pytest.raises(InputError, match="calibrated for network"):
        run(other, images(2), exit_policy=policy)


def test_labels_that_are_no_classes_are_refused(program):
    with pytest.raises(DataError, match="classes"):
        calibrate_exit(program, images(3), np.array([0, 1, 7]))
