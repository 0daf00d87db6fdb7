"""The benchmark suite: what it hands to other simulators, and how it compares spikes."""

import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = (
    "description",
    "models_page",
    "networks",
    "peers.norse",
    "peers.snndeploy",
    "peers.spikes",
    "results",
)


@pytest.fixture
def suite(monkeypatch):
    """The suite's modules, which import each other as its scripts do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found = {name.replace("peers.", "peers_"): import_module(name) for name in MODULES}
    yield SimpleNamespace(**found)
    for name in [name for name in sys.modules if name.split(".")[0] in {"peers", *MODULES}]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def described(suite, tmp_path):
    """A small residual network and what the other simulators read of it."""
    network = suite.networks.resnet18(4)
    suite.description.save(network, tmp_path / "network.npz")
    return network, suite.description.load(tmp_path / "network.npz")


def recorded(suite, simulator, ops, setting, images, steps):
    simulator.load(ops, setting)
    simulator.prepare(images, steps)
    record = suite.peers_spikes.SpikeRecord()
    return simulator.run(record), record.summary()


def test_thresholds_are_even_and_the_rate_is_about_a_tenth(suite, described):
    network, ops = described
    thresholds = np.concatenate([op.arrays["threshold"] for op in ops if op.kind == "Neuron"])
    assert not (thresholds % 2).any()
    images = suite.networks.images(network, 2)
    _, spikes = recorded(suite, suite.peers_snndeploy.Simulator(), ops, "reference", images, 8)
    assert list(spikes) == [op.name for op in ops if op.kind == "Neuron"]
    for layer, found in spikes.items():
        neurons = int(np.prod(network.shapes[layer])) * len(images)
        assert len(found["counts"]) == 8
        assert 0.08 < sum(found["counts"]) / (8 * neurons) <= 0.12


@pytest.mark.parametrize(
    "setting", ["layers", "layers channels-last", "steps", "steps channels-last"]
)
def test_norse_peer_has_the_same_spikes_in_every_setting(suite, described, setting):
    network, ops = described
    images = suite.networks.images(network, 2)
    ours = recorded(suite, suite.peers_snndeploy.Simulator(), ops, "reference", images, 5)
    theirs = recorded(suite, suite.peers_norse.Simulator(), ops, setting, images, 5)
    assert theirs[1] == ours[1]
    np.testing.assert_array_equal(theirs[0].astype(np.int64), ours[0])


def test_one_spike_elsewhere_changes_the_hash_and_not_the_counts(suite):
    spikes = np.zeros((2, 1, 3, 4, 4), np.uint8)
    spikes[1, 0, 0, 0, 0] = 1
    moved = np.roll(spikes, 1)
    first, second = suite.peers_spikes.SpikeRecord(), suite.peers_spikes.SpikeRecord()
    first.add("layer", spikes)
    second.add("layer", moved[:1])
    second.add("layer", moved[1:])
    a, b = first.summary()["layer"], second.summary()["layer"]
    assert a["counts"] == b["counts"] == [0, 1]
    assert a["hash"] != b["hash"]


def test_a_run_goes_on_where_it_was_broken_off(suite, tmp_path, monkeypatch):
    monkeypatch.setattr(suite.results, "HERE", tmp_path)
    rows = suite.results.Rows("case")
    rows.add("one", {"images_per_s": 3.0})
    assert suite.results.Rows("case").get("one") == {"images_per_s": 3.0}
    assert suite.results.Rows("case", fresh=True).get("one") is None
    rows.finish(note="done")
    assert suite.results.Rows("case").get("one") is None
    assert '"note": "done"' in (tmp_path / "case.json").read_text()


def row(levels: int, accuracy: float, method: str = "advanced") -> dict:
    return {
        "key": "resnet8",
        "mode": "exact",
        "levels": levels,
        "calibrate": method,
        "runs_in": "ONNX Runtime",
        "images": 500,
        "calibration_images": 512,
        "original_accuracy": 0.884,
        "accuracy": accuracy,
        "agreement": 0.95,
        "only_original_right": 9,
        "only_ours_right": 7,
        "mean_steps": 20.5,
        "spikes": 3000.0,
        "neurons": 1000,
    }


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_models_page_tells_what_was_reached_and_leaves_open_what_was_not_measured(suite):
    rows = [row(15, 0.876), row(7, 0.858), row(7, 0.8, "none")]
    goals = [cells(line) for line in suite.models_page.goals(rows).splitlines()[2:]]
    told = {(line[0][:7], line[1]): line[2:] for line in goals}
    assert told["ResNet8", "15"] == ["88.40%", "87.60%", "+0.80 ± 0.80", "1.0", "yes"]
    assert told["ResNet8", "7"] == ["88.40%", "85.80%", "+2.60 ± 0.80", "2.5", "no"]
    assert told["TFC 1W2", "its own"] == ["", "", "", "0.3", "not measured yet"]
    few = [cells(line) for line in suite.models_page.few_levels(rows).splitlines()[6:]]
    assert [line[0] for line in few] == ["3", "7", "15", "31", "63"]
    assert few[1] == ["7", "80.00%", "85.80%", "advanced", "+2.60 ± 0.80", "95.00%", "20.5", "3.00"]
    assert few[2][:3] == ["15", "", "87.60%"]
    assert not any(few[0][1:3])
    assert "ResNet-20" in suite.models_page.rate([])
