"""Each policy: its formula, its path, and that a run with it is the recorded run, cut."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import images, small_network
from populations import population
from strategies import grid_inputs, integer_networks
from test_trace_cut import assert_identical, first_stops

import snndeploy as sd
from snndeploy.control import (
    FAMILIES,
    Conformal,
    DynamicConfidence,
    FixedStep,
    TopKGap,
    exit_curve,
    exit_points,
    oct_steps,
    oracle,
    policy_path,
    stop_steps,
)
from snndeploy.control.conformal import ALPHAS
from snndeploy.control.top_k_gap import EPSILONS, MARGINS, SUPPORT, top_gap
from snndeploy.errors import DataError
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference

NETWORK = small_network(seed=7, levels=7)


@pytest.fixture(scope="module")
def made():
    return population(2_000, 0, NETWORK.output.scale)


@st.composite
def policies(draw, steps: int = 12):
    """Any policy of any family, its numbers where logits of random networks are."""
    scaled = {
        "temperature": draw(st.floats(0.01, 100)),
        "scale": draw(st.sampled_from([0.01, 1.0])),
        "window": draw(st.integers(1, 31)),
    }
    return draw(
        st.one_of(
            st.builds(DynamicConfidence, threshold=st.floats(0, 1), **_just(scaled)),
            st.builds(FixedStep, steps=st.integers(1, steps)),
            st.builds(
                TopKGap,
                epsilon=st.just(0.1),
                gaps=st.lists(st.none() | st.integers(0, 3_000), min_size=1, max_size=steps).map(
                    tuple
                ),
            ),
            st.builds(
                Conformal,
                alpha=st.just(0.1),
                quantiles=st.lists(st.none() | st.floats(0, 9), min_size=1, max_size=steps).map(
                    tuple
                ),
                **_just(scaled),
            ),
        )
    )


def _just(values):
    return {key: st.just(value) for key, value in values.items()}


@settings(max_examples=40)
@given(integer_networks(), st.integers(0, 2**32 - 1), policies(), st.integers(1, 4))
def test_a_run_with_a_policy_is_the_recorded_run_cut(network, seed, policy, batch):
    program, inputs = Program(network), grid_inputs(network, 5, seed)
    full = simulate(Reference(), program, inputs, batch=batch)
    run = simulate(Reference(), program, inputs, controller=policy, batch=batch)
    stops = stop_steps(policy, full)
    np.testing.assert_array_equal(stops, np.minimum(first_stops(policy, full), full.stop_steps))
    assert_identical(full.cut(stops), run)


@settings(max_examples=60)
@given(policies(), st.integers(0, 2**32 - 1))
def test_a_row_is_judged_alone(policy, seed):
    rng = np.random.default_rng(seed)
    logits, ages = rng.integers(-2_000, 2_000, (20, 5)), rng.integers(1, 20, 20)
    together = policy.stop(logits, ages)
    alone = [policy.stop(logits[k : k + 1], ages[k : k + 1])[0] for k in range(20)]
    assert together.tolist() == alone


@given(policies())
def test_a_policy_survives_json(policy):
    assert type(policy).model_validate_json(policy.model_dump_json()) == policy
    assert str(policy)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_path_goes_from_careful_to_eager(family, made):
    trace, labels = made
    path = policy_path(family, NETWORK, trace, labels)
    stops = np.array([stop_steps(policy, trace) for policy in path])
    # Each sample stops no later with a policy that is further along.
    assert (np.diff(stops, axis=0) <= 0).all()
    assert (stops[0] == trace.stop_steps).mean() > 0.5
    assert stops[-1].mean() < 0.5 * trace.stop_steps.mean()
    assert all(str(policy) for policy in path)


def test_top_k_thresholds_are_what_they_say():
    trace, labels = population(150, 0, NETWORK.output.scale)
    path = policy_path("top-k-gap", NETWORK, trace, labels)
    answers, gaps = trace.logits.argmax(axis=-1), top_gap(trace.logits)
    stable = [
        [(answers[i, t:] == answers[i, -1]).all() for t in range(trace.steps)]
        for i in range(len(trace))
    ]
    stable = np.array(stable)
    for policy in path[len(MARGINS) :: 9]:
        for t, beta in enumerate(policy.gaps):
            runs = trace.stop_steps > t + 1
            seen, good = gaps[runs, t], stable[runs, t]
            enough = [
                b for b in {0, *seen.tolist()} if (seen > b).sum() >= SUPPORT
            ]  # fmt: skip
            share = {b: good[seen > b].mean() for b in enough}
            safe = [
                b for b in enough if all(share[c] >= 1 - policy.epsilon for c in enough if c >= b)
            ]
            assert beta == min(safe, default=None)


def test_top_k_with_too_few_samples_stops_none():
    trace, labels = population(SUPPORT - 1, 0, NETWORK.output.scale)
    for policy in policy_path("top-k-gap", NETWORK, trace, labels):
        assert set(policy.gaps) == {None}


def test_a_tie_is_no_answer():
    assert not TopKGap(epsilon=1.0, gaps=(0,)).stop(np.array([[5, 5, 1]]), np.array([3]))[0]


def test_conformal_sets_cover_new_samples():
    """At each step the true class is in the set of at least 1 - alpha of new samples."""
    unit = NETWORK.output.scale
    fit, labels = population(500, 1, unit)
    new, truth = population(20_000, 2, unit)
    path = policy_path("conformal", NETWORK, fit, labels)
    assert [policy.alpha for policy in path] == list(ALPHAS)
    for policy in path[28::4]:
        for t, quantile in enumerate(policy.quantiles):
            z = new.logits[:, t] * unit * (NETWORK.window / min(t + 1, NETWORK.window))
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            strange = -np.log(p[np.arange(len(truth)), truth])
            # One calibration set of 500: coverage has a standard deviation of about 1.3 points.
            assert (strange <= quantile).mean() >= 1 - policy.alpha - 0.05


def test_conformal_stops_when_the_second_best_class_is_out():
    policy = Conformal(alpha=0.1, quantiles=(1.0, None), scale=1.0, window=1)
    # -log p of the second best: 1.31 and 9.0; a quantile of 1 leaves one class, none leaves all.
    assert policy.stop(np.array([[1, 0]]), np.array([1]))[0]
    assert not policy.stop(np.array([[0, 0]]), np.array([1]))[0]
    assert not policy.stop(np.array([[9, 0]]), np.array([2]))[0]
    assert not policy.stop(np.array([[9, 0]]), np.array([5]))[0]


@given(st.integers(0, 2**32 - 1))
def test_oct_is_the_first_step_from_which_the_answer_stays_right(seed):
    trace, labels = population(20, seed, 0.5)
    answers = trace.logits.argmax(axis=-1)
    for i, step in enumerate(oct_steps(trace, labels)):
        right = answers[i] == labels[i]
        if right[-1]:
            assert right[step - 1 :].all()
            assert step == 1 or not right[step - 2]
        else:
            assert step == trace.stop_steps[i]


def test_no_policy_beats_the_oracle(made):
    trace, labels = made
    bound = oracle(trace, labels)
    assert bound.accuracy == trace.accuracy(labels)
    for family in FAMILIES:
        for point in exit_points(policy_path(family, NETWORK, trace, labels), trace, labels):
            assert point.accuracy <= bound.best_accuracy
            if point.losses == 0 and point.gains == 0:
                assert point.mean_steps >= bound.best_mean_steps


@pytest.mark.parametrize("family", FAMILIES)
def test_a_points_figures_are_those_of_the_cut_run(family):
    program, x = sd.lower(NETWORK), images(80, 3)
    full = sd.run(program, x)
    labels = np.random.default_rng(0).integers(0, 3, 80)
    fit = population(200, 0, NETWORK.output.scale)
    curve = exit_curve(NETWORK, full, labels, family, fitted_to=fit)
    for point in curve[:: max(len(curve) // 4, 1)]:
        run = sd.run(program, x, exit_policy=point.policy)
        assert point.samples == 80
        assert point.accuracy == pytest.approx(run.accuracy(labels))
        assert point.settled_accuracy == pytest.approx(full.accuracy(labels))
        assert point.mean_steps == pytest.approx(run.stop_steps.mean())
        for share, tail in ((0.95, point.p95_steps), (0.99, point.p99_steps)):
            assert (run.stop_steps <= tail).mean() >= share > (run.stop_steps < tail).mean()
        lost = (full.predictions == labels) & (run.predictions != labels)
        assert point.losses == lost.sum()
        assert point.accuracy_drop == pytest.approx(full.accuracy(labels) - run.accuracy(labels))


def test_fitted_families_are_judged_on_other_samples(made):
    trace, labels = made
    for family in FAMILIES:
        samples = {point.samples for point in exit_curve(NETWORK, trace, labels, family)}
        assert samples == {1_000 if family in ("top-k-gap", "conformal") else 2_000}
    with pytest.raises(DataError, match="two or more"):
        exit_curve(NETWORK, trace[:1], labels[:1], "conformal")


def test_epsilons_begin_at_nothing_lost():
    assert EPSILONS[0] == 0
    assert EPSILONS[-1] == 1
    assert list(EPSILONS) == sorted(EPSILONS)


@pytest.mark.parametrize("backend", ["reference", "norse"])
def test_a_policy_of_ones_own_is_any_object_with_stop(backend):
    program, x = sd.lower(NETWORK), images(30)
    full = sd.run(program, x)
    page = (Path(__file__).parents[1] / "docs" / "exit.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- own policy -->\n```python\n(.*?)```", page, re.DOTALL)
    names = {"program": program, "test": x}
    exec(code, names)
    own = sd.run(program, x, exit_policy=names["Lead"](), backend=backend)
    assert_identical(full.cut(first_stops(names["Lead"](), full)), own)
    assert_identical(names["trace"], own)
    assert own.stop_steps.sum() < full.stop_steps.sum()
