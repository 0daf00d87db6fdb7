"""Calibration keeps its promise: bounds, splits, words, files."""

from __future__ import annotations

import json
from itertools import pairwise
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import images, small_network
from populations import population
from scipy.stats import binom

import snndeploy as sd
from snndeploy.control import (
    FAMILIES,
    Search,
    calibrate,
    drop_bound,
    exit_curve,
    exit_points,
    samples_needed,
)
from snndeploy.control.bounds import clopper_pearson_lower, clopper_pearson_upper
from snndeploy.control.calibration import pareto_front
from snndeploy.control.families import fit_share
from snndeploy.control.words import sentences
from snndeploy.errors import FileFormatError, InputError
from snndeploy.simulate import simulate
from snndeploy.training.digits import digits, trained_network
from snndeploy_backends.norse import Norse
from snndeploy_backends.reference.engine import Reference

NETWORK = small_network(seed=7, levels=7)
UNIT = NETWORK.output.scale
SPLITS = 200


def most_failures(share: float) -> int:
    """Failures of 200 that a true share of failures exceeds once in a thousand test runs."""
    return int(binom.ppf(0.999, SPLITS, share))


@settings(max_examples=50)
@given(st.integers(1, 3_000), st.floats(0, 1), st.floats(1e-4, 0.3))
def test_bounds_are_the_tails_of_the_binomial(samples, share, error):
    hits = round(samples * share)
    upper = clopper_pearson_upper(hits, samples, error)
    lower = clopper_pearson_lower(hits, samples, error)
    assert lower <= hits / samples <= upper
    if hits < samples:
        assert binom.cdf(hits, samples, upper) == pytest.approx(error, rel=1e-6)
    if hits:
        assert binom.sf(hits - 1, samples, lower) == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize(("lost", "gained"), [(0.002, 0.0), (0.01, 0.008), (0.05, 0.001)])
def test_the_drop_is_bounded_as_often_as_it_says(lost, gained):
    """Exactly, by summing over all outcomes of 400 samples."""
    samples, error = 400, 0.1
    losses = np.arange(60)[:, None]
    gains = np.arange(30)[None, :]
    chance = binom.pmf(losses, samples, lost) * binom.pmf(
        gains, samples - losses, gained / (1 - lost)
    )
    assert chance.sum() > 0.999
    fails = np.array(
        [[drop_bound(k, g, samples, error) < lost - gained for g in range(30)] for k in range(60)]
    )
    assert chance[fails].sum() <= error


@given(st.floats(1e-4, 0.2), st.floats(1e-3, 0.3))
def test_the_samples_needed_are_the_fewest(drop, error):
    found = samples_needed(drop, error)
    assert drop_bound(0, 0, found, error) <= drop
    assert found == 1 or drop_bound(0, 0, found - 1, error) > drop
    assert found == pytest.approx(np.log(0.75 * error) / np.log1p(-drop), abs=1.01)
    assert samples_needed(drop, error, drop / 4) > found
    assert samples_needed(drop, error, 2 * drop, drop) is None
    assert samples_needed(0.0, error) is None


def chosen_drops(trace, labels, samples, search, seed):
    """The drop in the whole population of what each of 200 random held-out parts chose."""
    rng = np.random.default_rng(seed)
    drops, promised = [], 0
    for _ in range(SPLITS):
        rows = rng.choice(len(trace), samples, replace=False)
        found = calibrate(NETWORK, trace[rows], labels[rows], "", search)
        promised += found.policy is not None
        drop = 0.0
        if found.policy is not None:
            drop = exit_points([found.policy], trace, labels)[0].accuracy_drop
        drops.append(drop)
    return np.array(drops), promised


@pytest.mark.slow
@pytest.mark.parametrize("families", [("dynamic-confidence",), FAMILIES])
def test_the_promise_is_broken_no_more_often_than_it_may(families):
    trace, labels = population(10_000, 5, UNIT)
    search = Search(0.02, 0.8, families, temperature=1.0)
    drops, promised = chosen_drops(trace, labels, 400, search, 6)
    assert promised == SPLITS
    assert (drops > 0.02).sum() <= most_failures(0.2)
    # The same data without a guarantee: what looked good on 400 samples often is not.
    if families != FAMILIES:
        drops, _ = chosen_drops(
            trace, labels, 400, Search(0.02, None, families, temperature=1.0), 6
        )
        assert (drops > 0.02).sum() > most_failures(0.2)


@pytest.fixture(scope="module")
def trained():
    """The digits network, and the run of all digits that did not train it."""
    data = digits()
    model = trained_network(data.training)
    program = sd.lower(sd.convert(sd.from_torch(model, torch.from_numpy(data.test.x[:2]))))
    x = np.concatenate([data.held_out.x, data.test.x])
    return program, x, np.concatenate([data.held_out.y, data.test.y])


@pytest.mark.slow
def test_the_promise_holds_over_splits_of_the_digits(trained):
    """The 720 digits that did not train the network are the population; half is held out."""
    program, x, labels = trained
    trace = sd.run(program, x, record=False)
    rng, broken, steps = np.random.default_rng(0), 0, []
    for _ in range(SPLITS):
        held_out = rng.permutation(len(x))[: len(x) // 2]
        found = calibrate(program.network, trace[held_out], labels[held_out], "", Search(0.02, 0.9))
        assert found.policy is not None
        point = exit_points([found.policy], trace, labels)[0]
        broken += point.accuracy_drop > 0.02
        steps.append(point.mean_steps)
    assert broken <= most_failures(0.1)
    assert np.mean(steps) < 0.6 * trace.stop_steps.mean()


def test_all_engines_stop_alike(trained):
    """The step and the answer of every sample, with a policy of every family."""
    program, x, labels = trained
    full = sd.run(program, x, record=False)
    for family in FAMILIES:
        curve = exit_curve(program.network, full, labels, family)
        policy = min(curve, key=lambda point: abs(point.mean_steps - 3)).policy
        inputs = sd.deploy.grid_inputs(program.network, x[:200])
        ours = simulate(Reference(), program, inputs, controller=policy)
        theirs = simulate(Norse("cpu"), program, inputs, controller=policy)
        np.testing.assert_array_equal(ours.stop_steps, theirs.stop_steps)
        np.testing.assert_array_equal(ours.predictions, theirs.predictions)
        assert ours.stop_steps.sum() < full[:200].stop_steps.sum()


@pytest.fixture(scope="module")
def made():
    return population(3_000, 1, UNIT)


@pytest.mark.parametrize("families", [FAMILIES, *((family,) for family in FAMILIES)])
@pytest.mark.parametrize("confidence", [None, 0.95])
def test_what_is_found_keeps_its_promise_on_the_samples_that_tested_it(made, families, confidence):
    trace, labels = made
    found = calibrate(NETWORK, trace, labels, "data", Search(0.03, confidence, families))
    assert found.policy is not None
    assert found.policy.policy in families
    assert found.expected_steps < found.settled_steps
    promise = found.promise
    seen = (promise.losses - promise.gains) / promise.samples
    assert found.settled_accuracy - found.expected_accuracy == pytest.approx(seen)
    share = fit_share(found.policy.policy, 1.0 if confidence is None else None)
    assert promise.samples == 3_000 * (1 - share)
    if confidence is None:
        assert promise.drop_bound is None
        assert seen <= 0.03
        return
    error = 0.05 / len(families)
    bound = drop_bound(promise.losses, promise.gains, promise.samples, error)
    assert promise.drop_bound == pytest.approx(bound)
    assert seen < promise.drop_bound <= 0.03


def test_a_promise_costs_steps(made):
    trace, labels = made
    steps = [
        calibrate(NETWORK, trace, labels, "", Search(0.02, confidence)).expected_steps
        for confidence in (None, 0.8, 0.95, 0.999)
    ]
    assert steps == sorted(steps)
    assert steps[0] < steps[-1]


def test_where_nothing_can_be_promised_the_network_runs_to_its_end():
    trace, labels = population(300, 0, UNIT)
    found = calibrate(NETWORK, trace, labels, "", Search(0.002, 0.95, FAMILIES))
    assert found.policy is None
    assert found.expected_steps == found.settled_steps == trace.stop_steps.mean()
    assert found.expected_accuracy == found.settled_accuracy
    needed = found.promise.samples_needed
    assert needed >= samples_needed(0.002, 0.05 / 4) > 300
    text = " ".join(sentences(found))
    assert "runs to its end" in text
    assert f"About {needed:,} would, of" in text
    none = calibrate(NETWORK, trace, labels, "", Search(0.0, 0.95))
    assert none.policy is None
    assert none.promise.samples_needed is None
    assert "No number of samples" in " ".join(sentences(none))


def test_a_policy_without_a_policy_stops_nothing():
    program, x = sd.lower(NETWORK), images(40)
    labels = sd.run(program, x).predictions
    found = sd.calibrate_exit(program, x, labels, max_accuracy_drop=0.001, confidence=0.9)
    assert found.policy is None
    full, run = sd.run(program, x), sd.run(program, x, exit_policy=found)
    full.assert_same_spikes(run)
    np.testing.assert_array_equal(full.stop_steps, run.stop_steps)


def test_words_say_what_is_promised(made):
    trace, labels = made
    found = calibrate(NETWORK, trace, labels, "", Search(0.02, 0.95))
    text = " ".join(sentences(found))
    promise = found.promise
    assert "Promised with 0.95 confidence" in text
    assert "at most 2 percentage points below" in text
    assert f"{promise.losses:,} answers lost and {promise.gains:,} gained on 2,700" in text
    assert "integer quantized ANN" in text
    assert f"{ceil(samples_needed(0.01, 0.05) / 0.9):,} held-out samples" in text
    seen = " ".join(sentences(calibrate(NETWORK, trace, labels, "", Search(0.02))))
    assert "no guarantee" in seen


def test_the_front_holds_what_nothing_beats(made):
    trace, labels = made
    points = [p for f in FAMILIES for p in exit_curve(NETWORK, trace, labels, f)]
    front = pareto_front(points)

    def costs(point):
        return np.array([point.mean_steps, point.accuracy_drop, point.p95_steps, point.p99_steps])

    assert 3 < len(front) < len(points)
    for a in front:
        assert not any(
            (costs(b) <= costs(a)).all() and (costs(b) != costs(a)).any() for b in points
        )
    for point in points:
        assert any((costs(a) <= costs(point)).all() for a in front)
    found = calibrate(NETWORK, trace, labels, "", Search(0.02, None, FAMILIES)).front
    assert 3 < len(found) <= 16
    assert all(a.mean_steps <= b.mean_steps for a, b in pairwise(found))


def test_rate_mode_compares_with_the_last_step():
    program, x = sd.lower(small_network(seed=7, mode="rate")), images(60)
    full = sd.run(program, x, steps=12)
    found = sd.calibrate_exit(program, x, full.predictions, max_accuracy_drop=0.1, steps=12)
    assert (found.mode, found.steps, found.settled_accuracy) == ("rate", 12, 1.0)
    assert "the last step, 12" in " ".join(sentences(found))
    run = sd.run(program, x, exit_policy=found)
    np.testing.assert_array_equal(
        run.stop_steps, sd.run(program, x, steps=12, exit_policy=found.policy).stop_steps
    )
    assert run.stop_steps.mean() == pytest.approx(found.expected_steps)
    with pytest.raises(InputError, match="for rate mode"):
        sd.calibrate_exit(sd.lower(NETWORK), x, full.predictions, steps=12)


def test_the_front_is_priced_on_a_profile():
    program, x = sd.lower(NETWORK, "loihi1"), images(40)
    labels = sd.run(program, x).predictions
    found = sd.calibrate_exit(
        program, x, labels, max_accuracy_drop=0.5, policy="fixed-step", energy_samples=20
    )
    assert (found.profile, found.energy_samples) == ("loihi1", 20)
    energies = [point.energy_pj for point in found.front]
    assert energies == sorted(energies)
    assert energies[0] < found.settled_energy_pj


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"confidence": 1.0}, "between 0 and 1"),
        ({"confidence": 0.0}, "between 0 and 1"),
        ({"policy": "telepathy"}, "known: dynamic-confidence"),
        ({"max_accuracy_drop": -0.1}, "expected 0 to 1"),
        ({"energy_samples": 4}, "no hardware profile"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        sd.calibrate_exit(sd.lower(NETWORK), images(4), [0, 1, 2, 0], **wrong)


def test_a_policy_file_survives_and_an_old_one_is_refused(made, tmp_path):
    trace, labels = made
    for family in FAMILIES:
        found = calibrate(NETWORK, trace, labels, "data", Search(0.02, 0.95, (family,)))
        found.save(tmp_path / "p.json")
        assert sd.load_policy(tmp_path / "p.json") == found
    old = {
        "threshold": 0.9,
        "temperature": 1.0,
        "network_hash": "a",
        "held_out_samples": 4,
        "held_out_hash": "b",
        "settled_accuracy": 1.0,
        "expected_accuracy": 1.0,
        "expected_steps": 2.0,
    }
    (tmp_path / "old.json").write_text(json.dumps(old))
    with pytest.raises(FileFormatError, match=r"format 2.*calibrate-exit"):
        sd.load_policy(tmp_path / "old.json")
