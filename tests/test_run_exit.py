"""`snndeploy run --exit`: steps, answers, and what stopping saves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from models import images, small_network

import snndeploy as sd
from snndeploy.control import DynamicConfidence


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("exit")
    network, x = small_network(levels=7), images(60)
    program = sd.lower(network)
    sd.save(network, made / "net.nir")
    labels = sd.integer_ann(network, x).logits.argmax(axis=1)
    np.savez(made / "x.npz", x=x, y=labels)
    sure = DynamicConfidence(threshold=0.7, scale=network.output.scale, window=network.window)
    policy = sd.calibrate_exit(program, x, labels).model_copy(update={"policy": sure})
    policy.save(made / "policy.json")
    return made


def test_answers_and_steps_of_each_sample_and_what_was_saved(snndeploy, folder, monkeypatch):
    monkeypatch.chdir(folder)
    command = ("run", "net.nir", "--data", "x.npz", "--exit", "policy.json")
    code, out, _ = snndeploy(*command, "--baseline", "--json")
    assert code == 0
    found = json.loads(out)
    program, x = sd.lower(sd.load("net.nir")), np.load("x.npz")["x"]
    early = sd.run(program, x, exit_policy=sd.load_policy("policy.json"))
    full = sd.run(program, x)
    assert found["predictions"] == early.predictions.tolist()
    assert found["stop_steps"] == early.stop_steps.tolist()
    assert found["stopped_early"] == int((~early.settled).sum()) > 0
    assert found["steps"]["mean"] == pytest.approx(early.stop_steps.mean())
    assert (early.stop_steps <= found["steps"]["p95"]).mean() >= 0.95
    assert (early.stop_steps < found["steps"]["p95"]).mean() < 0.95
    baseline = found["baseline"]
    assert baseline["accuracy"] == 1.0
    assert baseline["same_answers"] == pytest.approx(found["accuracy"])
    saved = baseline["saved"]
    assert saved["steps"] == pytest.approx(1 - early.stop_steps.mean() / full.stop_steps.mean())
    assert saved["spikes"] == pytest.approx(1 - early.total_events / full.total_events)
    assert saved["seconds"] == pytest.approx(1 - found["seconds"] / baseline["seconds"])
    code, out, _ = snndeploy(*command, "--baseline")
    assert code == 0
    assert "stopped early" in out
    assert "with exit" in out
    assert "the same answer for" in out


def test_only_settled_samples_tell_when_they_settled(snndeploy, folder, monkeypatch):
    monkeypatch.chdir(folder)
    command = ("run", "net.nir", "--data", "x.npz", "--steps", 2)
    code, out, _ = snndeploy(*command)
    assert code == 0
    assert "settled   0 of 60" in out
    assert "silent step" not in out
    found = json.loads(snndeploy(*command, "--json")[1])
    assert (found["settled"], found["settle_steps"]) == (0, None)
    found = json.loads(snndeploy("run", "net.nir", "--data", "x.npz", "--json")[1])
    assert found["settled"] == 60
    assert found["settle_steps"]["mean"] <= found["steps"]["mean"] - 1


def test_without_a_policy_nothing_stops_early(snndeploy, folder, monkeypatch):
    monkeypatch.chdir(folder)
    code, out, _ = snndeploy("run", "net.nir", "--data", "x.npz", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["stopped_early"], found["baseline"]) == (None, None)
    code, out, err = snndeploy("run", "net.nir", "--data", "x.npz", "--baseline")
    assert (code, out) == (2, "")
    assert "--baseline: is for runs with --exit" in err
