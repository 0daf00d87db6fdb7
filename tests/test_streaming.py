"""Streaming: the steps and answers of a run, and a simulation that ends with its loop."""

from __future__ import annotations

import numpy as np
import pytest
from models import images, small_network

import snndeploy as sd
from snndeploy import streaming
from snndeploy.backend import require_backend
from snndeploy.control import DynamicConfidence
from snndeploy.errors import DataError, InputError


@pytest.fixture(scope="module")
def program():
    return sd.lower(small_network(levels=7))


@pytest.fixture(scope="module")
def policy(program):
    """Some samples stop at the first steps, some later, some settle."""
    x, network = images(20), program.network
    found = sd.calibrate_exit(program, x, sd.integer_ann(network, x).logits.argmax(axis=1))
    sure = DynamicConfidence(threshold=0.7, scale=network.output.scale, window=network.window)
    return found.model_copy(update={"policy": sure})


class Fixed:
    """A policy of a user's own: stops all samples at one step."""

    def __init__(self, step):
        self.step = step

    def stop(self, logits, step):
        return step >= self.step


class Watched:
    """The reference engine, its session's calls written down."""

    name, summary, streams = "watched", "", True

    def __init__(self, interrupt_at=0):
        self.calls, self.interrupt_at = [], interrupt_at

    def status(self):
        return require_backend("reference").status()

    def open(self, program, inputs, steps):
        self.session = require_backend("reference").open(program, inputs, steps)
        self.calls.append("open")
        return self

    def step(self):
        self.calls.append("step")
        if self.calls.count("step") == self.interrupt_at:
            raise KeyboardInterrupt
        return self.session.step()

    def keep(self, rows):
        self.calls.append(f"keep {int(rows.sum())}")
        self.session.keep(rows)

    def close(self):
        self.calls.append("close")
        self.session.close()


@pytest.fixture
def watched(monkeypatch):
    backend = Watched()
    monkeypatch.setattr(streaming, "require_backend", lambda _: backend)
    return backend


@pytest.mark.parametrize("backend", ["reference", "norse"])
def test_a_stream_is_the_run_step_by_step(program, policy, backend):
    x = images(30)
    trace = sd.run(program, x, backend=backend, exit_policy=policy)
    steps = list(sd.session(program, backend=backend, exit_policy=policy).stream(x))
    assert [now.step for now in steps] == list(range(1, trace.steps + 1))
    for t, now in enumerate(steps):
        np.testing.assert_array_equal(now.logits, trace.logits[:, t])
        np.testing.assert_array_equal(now.predictions, trace.logits[:, t].argmax(axis=1))
        np.testing.assert_array_equal(now.stopped, trace.stop_steps <= t + 1)
        np.testing.assert_array_equal(now.stop_steps, np.minimum(trace.stop_steps, t + 1))
        fired = sum(events[:, : t + 1].sum(axis=1) for events in trace.events.values())
        np.testing.assert_array_equal(now.events, fired)
    assert not steps[-2].stopped.all()
    np.testing.assert_array_equal(steps[-1].settled, trace.settled)


def test_scores_are_the_policys_and_are_held_when_a_sample_stops(program, policy):
    control = policy.controller(program.network)
    before = None
    for now in sd.session(program, exit_policy=policy).stream(images(30)):
        ran = now.stop_steps == now.step
        expected = control.score(now.logits[ran], now.stop_steps[ran])
        np.testing.assert_array_equal(now.scores[ran], expected)
        if before is not None:
            held = before.stopped
            np.testing.assert_array_equal(now.scores[held], before.scores[held])
            assert (now.scores[held & ~now.settled] > control.threshold).all()
        before = now


def test_without_a_policy_it_runs_until_all_have_settled(program):
    x = images(10)
    *_, last = sd.session(program).stream(x)
    assert last.settled.all()
    assert last.scores is None
    settled = sd.integer_ann(program.network, x)
    np.testing.assert_array_equal(last.logits, settled.logits)


def test_a_policy_is_streamed_for_the_steps_that_it_was_calibrated_for():
    program = sd.lower(small_network(mode="rate"))
    x = images(5)
    labels = sd.run(program, x).predictions
    found = sd.calibrate_exit(program, x, labels, steps=5).model_copy(update={"policy": None})
    *_, last = sd.session(program, exit_policy=found).stream(x)
    assert last.stop_steps.tolist() == [5] * 5


def test_a_policy_of_ones_own_on_a_network(program, watched):
    steps = list(sd.session(program.network, exit_policy=Fixed(3)).stream(images(5)))
    assert [now.stopped.all() for now in steps] == [False, False, True]
    assert not steps[-1].settled.any()
    assert steps[0].scores is None
    assert watched.calls == ["open", "step", "step", "step", "close"]


def test_stopped_samples_leave_the_batch(program, policy, watched):
    steps = list(sd.session(program, exit_policy=policy).stream(images(30)))
    left = [int((~now.stopped).sum()) for now in steps]
    kept = [int(call.split()[1]) for call in watched.calls if call.startswith("keep")]
    assert kept == [n for n, before in zip(left, [30, *left], strict=False) if 0 < n < before]
    assert kept


def test_leaving_the_loop_frees_the_session(program, watched):
    for now in sd.session(program).stream(images(3)):
        if now.step == 2:
            break
    assert watched.calls == ["open", "step", "step", "close"]


def test_an_error_in_the_loop_frees_the_session(program, watched):
    with pytest.raises(ZeroDivisionError):
        for _ in sd.session(program).stream(images(3)):
            _ = 1 // 0
    assert watched.calls == ["open", "step", "close"]


def test_closing_the_generator_frees_the_session(program, watched):
    stream = sd.session(program).stream(images(3))
    assert not watched.calls
    next(stream)
    stream.close()
    assert watched.calls == ["open", "step", "close"]


def test_an_interrupt_during_a_step_frees_the_session(program, watched):
    watched.interrupt_at = 2
    with pytest.raises(KeyboardInterrupt):
        list(sd.session(program).stream(images(3)))
    assert watched.calls == ["open", "step", "step", "close"]


def test_a_step_stays_what_it_was(program, policy):
    steps, first = [], []
    for now in sd.session(program, exit_policy=policy).stream(images(20)):
        steps.append(now)
        first.append((now.logits.copy(), now.stopped.copy(), now.events.copy()))
    for now, (logits, stopped, events) in zip(steps, first, strict=True):
        np.testing.assert_array_equal(now.logits, logits)
        np.testing.assert_array_equal(now.stopped, stopped)
        np.testing.assert_array_equal(now.events, events)


def test_what_cannot_be_streamed_is_refused_at_once(program, policy, watched, monkeypatch):
    with pytest.raises(DataError, match="shape"):
        sd.session(program).stream(np.zeros((3, 2)))
    with pytest.raises(InputError, match="0 steps"):
        sd.session(program, steps=0)
    with pytest.raises(InputError, match="calibrated for network"):
        sd.session(sd.lower(small_network(seed=1)), exit_policy=policy)
    monkeypatch.setattr(watched, "most_samples", lambda _: 2, raising=False)
    with pytest.raises(InputError, match="3 samples, it holds 2"):
        sd.session(program).stream(images(3))
    watched.streams = False
    with pytest.raises(InputError, match="does not stream"):
        sd.session(program, exit_policy=policy)
    assert not watched.calls
