"""Sweeps: points measured, kept, resumed, marked; one that fails loses no other."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import images
from test_calibration import relu_network

from snndeploy import convert, deploy, integer_ann, sweep
from snndeploy.errors import DoesNotFitError, FileFormatError, InputError
from snndeploy.sweep import SweepPoint, _with_fronts

X, CALIBRATION = images(30, 1), images(60, 0)
OPTIONS = {"calibration": CALIBRATION, "levels": (3, 7), "methods": ("none", "light")}


@pytest.fixture(scope="module")
def network():
    return relu_network()


def test_points_are_what_convert_and_run_give(network):
    found = sweep(network, X, **OPTIONS)
    assert [(p.levels, p.calibrate) for p in found.points] == [
        (3, "none"),
        (3, "light"),
        (7, "none"),
        (7, "light"),
    ]
    snn = convert(network, CALIBRATION, levels=7, calibrate="light")
    point = found.points[-1]
    assert point.note == ""
    assert point.network_hash == snn.hash
    assert point.history == snn.history
    answers = integer_ann(snn, X).logits.argmax(1)
    original = deploy.float_predictions(network, X)
    assert point.accuracy == (answers == original).mean()
    assert 7 <= point.mean_steps <= point.max_steps
    assert point.spikes > 0
    assert point.energy_pj > 0
    assert found.original_accuracy is None
    assert any(p.on_energy_front for p in found.points)
    assert any(p.on_steps_front for p in found.points)


def test_labels_count_where_they_are_known(network):
    labels = deploy.float_predictions(network, X)
    labels[:10] = (labels[:10] + 1) % 3
    found = sweep(network, X, labels, calibration=CALIBRATION, levels=[7], methods=["none"])
    assert found.original_accuracy == pytest.approx(2 / 3)
    assert found.points[0].accuracy < 0.9


def test_a_sweep_goes_on_where_it_was_broken_off(network, tmp_path, monkeypatch):
    path, asked = tmp_path / "sweep.json", []
    real = deploy.convert

    def counted(*arguments, **options):
        asked.append((options["levels"], options["calibrate"]))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(deploy, "convert", counted)
    with pytest.raises(KeyboardInterrupt):
        sweep(network, X, **OPTIONS, results=path)
    kept = json.loads(path.read_text())
    assert len(kept["points"]) == 2
    found = sweep(network, X, **OPTIONS, results=path)
    assert asked[3:] == [(7, "none"), (7, "light")]
    assert json.loads(path.read_text()) == json.loads(json.dumps(found.as_dict()))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sweep.json"]
    fewer = sweep(network, X, **{**OPTIONS, "levels": (3,)}, results=path)
    assert len(fewer.points) == 2
    assert len(json.loads(path.read_text())["points"]) == 4  # those not asked for are kept
    with pytest.raises(FileFormatError, match="another mode"):
        sweep(network, X, **OPTIONS, results=path, mode="rate")
    path.write_text("{}")
    with pytest.raises(FileFormatError, match="holds no sweep"):
        sweep(network, X, **OPTIONS, results=path)


def test_a_point_that_fails_loses_no_other_and_is_tried_again(network, tmp_path, monkeypatch):
    path, real = tmp_path / "sweep.json", deploy.convert

    def failing(*arguments, **options):
        if options["levels"] == 3:
            raise InputError("too few", where="levels")
        return real(*arguments, **options)

    monkeypatch.setattr(deploy, "convert", failing)
    found = sweep(network, X, **OPTIONS, results=path)
    assert [p.error for p in found.points] == ["levels: too few"] * 2 + [""] * 2
    assert found.points[0].accuracy is None
    monkeypatch.setattr(deploy, "convert", real)
    assert not any(p.error for p in sweep(network, X, **OPTIONS, results=path).points)


def test_a_network_that_does_not_fit_has_no_energy_and_a_reason(network, monkeypatch):
    def never(*_arguments):
        raise DoesNotFitError("too large", where="layer 'conv1'")

    monkeypatch.setattr(deploy, "lower", never)
    found = sweep(network, X, calibration=CALIBRATION, levels=[3], methods=["none"])
    assert found.points[0].energy_pj is None
    assert "too large" in found.points[0].note
    assert found.points[0].accuracy is not None


def test_rate_mode_runs_the_steps_asked_for(network):
    found = sweep(
        network, X, calibration=CALIBRATION, levels=[4], methods=["light"], mode="rate", steps=6
    )
    assert (found.points[0].mean_steps, found.points[0].max_steps) == (6.0, 6)
    with pytest.raises(InputError, match="exact mode"):
        sweep(network, X, **OPTIONS, steps=6)
    with pytest.raises(InputError, match="no points"):
        sweep(network, X, calibration=CALIBRATION, levels=[])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=8))
def test_a_front_holds_what_no_other_point_dominates(values):
    points = [SweepPoint(3, "none", accuracy=a, mean_steps=c) for a, c in values]
    found = _with_fronts(points)
    best = max(values, key=lambda v: (v[0], -v[1]))
    assert found[values.index(best)].on_steps_front
    for point, (a, c) in zip(found, values, strict=True):
        dominated = any(x >= a and y <= c and (x > a or y < c) for x, y in values)
        assert point.on_steps_front == (not dominated)
        assert not point.on_energy_front  # no energy is known


def test_settings_tell_the_data(network):
    one = sweep(network, X, calibration=CALIBRATION, levels=[3], methods=["none"])
    two = sweep(network, np.flip(X, 0), calibration=CALIBRATION, levels=[3], methods=["none"])
    assert one.settings["data"] != two.settings["data"]
    assert one.settings["calibration"] == two.settings["calibration"]
