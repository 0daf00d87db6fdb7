"""The verbs, with what users hand in: tensors, lists, names, and mistakes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import float_network, images, small_network

import snndeploy as sd
from snndeploy.errors import DataError, InputError, UnsupportedModelError
from snndeploy.nodes import Neuron
from snndeploy.ranges import ranges


@pytest.fixture(scope="module")
def program():
    return sd.lower(small_network())


@pytest.mark.parametrize("give", [torch.from_numpy, np.ndarray.tolist, np.asfortranarray])
def test_samples_may_be_tensors_lists_or_any_array(program, give):
    x = images(3)
    expected = sd.run(program, x)
    expected.assert_same_spikes(sd.run(program, give(x)))


def test_grid_integers_are_taken_as_they_are(program):
    x = images(3)
    integers = np.rint(x * 16).astype(np.uint8)
    sd.run(program, x).assert_same_spikes(sd.run(program, integers))


def test_the_integer_ann_takes_model_units(program):
    x = images(3)
    logits = sd.integer_ann(program.network, x).logits
    np.testing.assert_array_equal(logits, sd.run(program, x).logits[:, -1])


def test_a_wider_membrane_gives_finer_units():
    original, x = float_network(levels=15), images(50)
    narrow, wide = (sd.convert(original, state_bits=bits) for bits in (24, 32))
    reach = [max(bound.magnitude for bound in ranges(n).values()) for n in (narrow, wide)]
    assert reach[0] < 1 << 23
    assert 1 << 24 < reach[1] < 1 << 31
    thresholds = [
        [n.threshold.max() for n in net.nodes if isinstance(n, Neuron)] for net in (narrow, wide)
    ]
    assert (np.array(thresholds[0]) < thresholds[1]).all()
    trace = sd.run(sd.lower(wide), x)
    np.testing.assert_array_equal(trace.logits[:, -1], sd.integer_ann(wide, x).logits)
    assert trace.settled.all()


@pytest.mark.parametrize("bits", [7, 33])
def test_a_word_of_other_sizes_is_refused(bits):
    with pytest.raises(InputError, match=f"{bits}, expected 8 to 32"):
        sd.convert(float_network(), state_bits=bits)


def test_a_profile_may_be_given_by_name():
    assert sd.lower(small_network(), "loihi1").profile.name == "loihi1"


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((2, 8, 8)), "takes"),
        (np.zeros((0, 2, 8, 8)), r"array of shape \(0, 2, 8, 8\)"),
        (np.full((1, 2, 8, 8), np.inf), "infinite"),
        (np.zeros((1, 2, 8, 8), complex), "not numeric"),
        (np.full((1, 2, 8, 8), "a"), "not numeric"),
        ([[1.0], [1.0, 2.0]], "not an array"),
    ],
)
def test_samples_that_cannot_be_run_are_refused(program, x, words):
    with pytest.raises(DataError, match=words):
        sd.run(program, x)


@pytest.mark.parametrize("steps", [0, -1])
def test_a_run_needs_a_step(program, steps):
    with pytest.raises(InputError, match="steps"):
        sd.run(program, images(1), steps=steps)


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_needs_a_sample(program, batch):
    with pytest.raises(InputError, match="batch"):
        sd.run(program, images(1), batch=batch)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_is_above_zero_and_finite(program, temperature):
    with pytest.raises(InputError, match="temperature"):
        sd.calibrate_exit(program, images(2), [0, 1], temperature=temperature)


def test_float_networks_are_not_run():
    with pytest.raises(UnsupportedModelError, match="convert it first"):
        sd.Program(float_network())
    with pytest.raises(UnsupportedModelError, match="convert it first"):
        sd.integer_ann(float_network(), images(1))


def test_a_mode_that_does_not_exist_is_refused():
    with pytest.raises(UnsupportedModelError, match="exact and rate"):
        sd.convert(float_network(), mode="exakt")


def test_calibration_data_that_would_be_ignored_are_refused():
    with pytest.raises(InputError, match="states its input grid"):
        sd.convert(float_network(), images(2))


def test_a_policy_takes_a_path_as_text(program, tmp_path):
    policy = sd.calibrate_exit(program, images(2), torch.tensor([0, 1]))
    policy.save(str(tmp_path / "p.json"))
    assert sd.load_policy(str(tmp_path / "p.json")) == policy
