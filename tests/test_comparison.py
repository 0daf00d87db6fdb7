"""A comparison finds what differs, and can itself be shown to fail."""

from __future__ import annotations

import html
import json

import numpy as np
import pytest
from models import images, small_network
from rich.console import Console

from snndeploy import Planted, compare, lower, report, run
from snndeploy.backend import find_backend
from snndeploy.cli import comparison_views, console
from snndeploy.errors import DataError, InputError, SpikesDifferError
from snndeploy.report.page import render
from snndeploy.side_by_side import SideBySide


@pytest.fixture(scope="module")
def program():
    return lower(small_network())


@pytest.mark.parametrize("backend", ["reference", "norse"])
def test_equal_backends_compare_equal(program, backend):
    results = compare(program, images(8), ["judge", backend], labels=np.zeros(8, np.int64))
    assert [r.spikes_equal for r in results] == [True, True]
    assert results[0].accuracy == results[1].accuracy


@pytest.mark.parametrize("backend", ["reference", "norse"])
def test_a_threshold_changed_by_one_is_found_and_named(program, backend):
    planted = Planted(backend, "act1", 2, 1)
    results = compare(program, images(64), ["judge", backend], planted=planted)
    found = results[1].divergence
    assert found is not None
    assert found.layer == "act1"
    assert found.neuron[0] == 2  # the channel whose threshold was changed
    assert found.step >= 1


@pytest.mark.lava
def test_a_threshold_changed_by_one_in_lava_is_found_and_named(program):
    missing = find_backend("lava").status().missing
    if missing:
        pytest.skip(missing)
    planted = Planted("lava", "act1", 2, 1)
    found = compare(program, images(64), ["reference", "lava"], planted=planted)[1].divergence
    assert found is not None
    assert (found.layer, found.neuron[0]) == ("act1", 2)


def test_the_first_divergence_is_the_first(program):
    x = images(64)
    good = run(program, x)
    bad = run(Planted("reference", "act1", 2, 1).apply(program), x)
    found = good.first_divergence(bad)
    before = slice(None), slice(0, found.step - 1)
    for name, spikes in good.spikes.items():
        np.testing.assert_array_equal(spikes[before], bad.spikes[name][before])
    at = (found.sample, found.step - 1, *found.neuron)
    assert good.spikes["act1"][at] == found.ours != found.theirs == bad.spikes["act1"][at]
    with pytest.raises(SpikesDifferError, match="act1"):
        good.assert_same_spikes(bad)


def test_a_change_of_the_readout_alone_is_found(program):
    x = images(4)
    good = run(program, x)
    nodes = [
        type(n)(n.name, n.bias + 1, n.scale) if n.name == program.network.output.name else n
        for n in program.network.nodes
    ]
    bad = run(program.with_network(program.network.rewrite(nodes)), x)
    assert good.first_divergence(bad).layer == "readout"


@pytest.mark.parametrize("text", ["norse", "norse:act1:2", "norse:act1:x:1"])
def test_a_malformed_plant_is_refused(text):
    with pytest.raises(InputError, match="BACKEND:LAYER:CHANNEL:DELTA"):
        Planted.parse(text)


def test_a_plant_in_no_layer_names_the_layers(program):
    with pytest.raises(InputError, match="act1, act2"):
        Planted.parse("norse:nowhere:0:+1").apply(program)


def test_runs_that_cannot_be_compared_are_refused(program):
    full = run(program, images(4))
    with pytest.raises(DataError, match="4 and 3 samples"):
        full.first_divergence(run(program, images(3)))
    with pytest.raises(DataError, match="record=True"):
        full.assert_same_spikes(run(program, images(4), record=False))
    silent = run(program, images(4), record=False)
    with pytest.raises(DataError, match="record=True"):
        silent.assert_same_spikes(silent)


def test_labels_of_a_comparison_are_checked(program):
    with pytest.raises(DataError, match="3 classes"):
        compare(program, images(4), ["reference"], labels=[0, 1, 2, 3])


@pytest.fixture(scope="module")
def differing(program):
    planted = Planted("norse", "act2", 3, 1)
    return compare(program, images(40), ["reference", "norse", "judge"], planted=planted)


def test_both_sides_and_the_cause_are_shown(program, differing, capsys, monkeypatch):
    monkeypatch.setattr(console, "out", Console(width=80, highlight=False, soft_wrap=True))
    found = differing[1].diagnosis
    comparison_views.show_comparison(SideBySide(program, tuple(differing), {}), json=False)
    text = capsys.readouterr().out
    assert f"norse differs first at {differing[1].divergence}" in text
    threshold = f"membrane with it (threshold {found.threshold})"
    figures = {
        "membrane before the step": (found.ours.membrane, found.theirs.membrane),
        "input current": (found.ours.current, found.theirs.current),
        threshold: (found.ours.raised, found.theirs.raised),
        "spike ": (found.ours.emitted, found.theirs.emitted),
    }
    rows = {line[: len(name)]: line for line in text.splitlines() for name in figures}
    for name, values in figures.items():
        assert [int(cell) for cell in rows[name][len(name) :].split()] == list(values)
    assert "cause: threshold" in text
    assert f"were {found.threshold + 1}, not {found.threshold}" in " ".join(text.split())
    assert max(len(line) for line in text.split("cause:")[1].splitlines()) <= 80


def test_json_carries_all_of_it(program, differing, capsys):
    comparison_views.show_comparison(SideBySide(program, tuple(differing), {}), json=True)
    rows = json.loads(capsys.readouterr().out)["backends"]
    assert [row["first_divergence"] is None for row in rows] == [True, False, True]
    found, told = differing[1].diagnosis, rows[1]["first_divergence"]
    assert (told["layer"], tuple(told["neuron"])) == ("act2", found.divergence.neuron)
    assert (told["step"], told["cause"]) == (found.divergence.step, "threshold")
    assert (told["threshold"], told["explanation"]) == (found.threshold, found.explanation)
    for name, side in (("ours", found.ours), ("theirs", found.theirs)):
        assert told[name]["membrane"] == side.membrane
        assert told[name]["current"] == side.current
        assert told[name]["membrane_before_reset"] == side.membrane + side.current
        assert told[name]["emitted"] == side.emitted
        assert told[name]["backend"] == side.backend
    assert told["theirs"]["probed"]
    assert not told["theirs"]["conforms"]
    assert told["ours"]["probed"]


def test_the_report_tells_it_too(program, differing):
    trace = run(program, images(40))
    text = render(report(program, trace, backends=tuple(differing)).data)
    assert "norse differs from reference: threshold" in text
    assert html.escape(differing[1].diagnosis.explanation) in text
    assert "membrane before the step" in text
