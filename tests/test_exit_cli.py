"""`calibrate-exit` as a stranger meets it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from models import images, small_network

import snndeploy as sd


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network, held-out samples with labels, and the same network in rate mode."""
    folder = tmp_path_factory.mktemp("exit")
    network, x = small_network(seed=7), images(300)
    sd.save(network, folder / "net.nir")
    sd.save(small_network(seed=7, mode="rate"), folder / "rate.nir")
    labels = sd.integer_ann(network, x).logits.argmax(axis=1)
    np.savez(folder / "hold.npz", x=x, y=labels)
    return folder


def test_a_promise_is_told_in_words(snndeploy, files, tmp_path):
    out = tmp_path / "p.json"
    code, said, err = snndeploy(
        "calibrate-exit", files / "net.nir", "--data", files / "hold.npz", "-o", out,
        "--max-accuracy-drop", 0.05, "--confidence", 0.9, "--policy", "all",
        "--profile", "loihi1",
    )  # fmt: skip
    assert (code, err) == (0, "")
    words = " ".join(said.split())
    assert words.startswith("stop at ")
    assert "Promised with 0.9 confidence: on new samples, drawn independently" in words
    assert "at most 5 percentage points below that of the settled network" in words
    assert "Half the drop (2.5 percentage points) could be promised from" in words
    assert "energy: mean of 128 samples on loihi1" in words
    assert f"written: {out}" in said
    assert "Other policies" not in said
    policy = sd.load_policy(out)
    assert policy.promise.drop_bound <= 0.05
    assert all(point.energy_pj > 0 for point in policy.front)


def test_no_promise_is_no_error(snndeploy, files, tmp_path):
    out = tmp_path / "p.json"
    command = ("calibrate-exit", files / "net.nir", "--data", files / "hold.npz", "-o", out)
    asked = ("--max-accuracy-drop", 0.001, "--confidence", 0.95, "--temperature", 1)
    code, said, _ = snndeploy(*command, *asked)
    assert code == 0
    words = " ".join(said.split())
    assert words.startswith("run every sample to its end")
    assert "300 held-out samples cannot show a drop of at most 0.1 percentage points" in words
    needed = sd.load_policy(out).promise.samples_needed
    assert f"About {needed:,} would, of" in words
    assert "This saves 0% of the steps. Other policies may save more: --policy all." in words
    code, said, _ = snndeploy(
        "run", files / "net.nir", "--data", files / "hold.npz", "--exit", out, "--json"
    )
    assert code == 0
    assert json.loads(said)["settled"] == 300


def test_json_is_the_file(snndeploy, files, tmp_path):
    out = tmp_path / "p.json"
    code, said, _ = snndeploy(
        "calibrate-exit", files / "rate.nir", "--data", files / "hold.npz", "-o", out,
        "--policy", "fixed-step", "--max-accuracy-drop", 0.5, "--steps", 9, "--json",
    )  # fmt: skip
    assert code == 0
    found = json.loads(said)
    assert found == json.loads(out.read_text())
    assert found["steps"] == 9
    assert found["policy"]["policy"] == "fixed-step"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--confidence", 1), "between 0 and 1"),
        (("--steps", 5), "for rate mode"),
        (("--backend", "abacus"), "no backend 'abacus'"),
    ],
)
def test_mistakes_are_told(snndeploy, files, tmp_path, options, message):
    code, _, err = snndeploy(
        "calibrate-exit", files / "net.nir", "--data", files / "hold.npz",
        "-o", tmp_path / "p.json", *options,
    )  # fmt: skip
    assert code == 2
    assert message in err
    assert not (tmp_path / "p.json").exists()
