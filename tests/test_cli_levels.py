"""`convert --levels` and `sweep` on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from models import images
from test_calibration import ReluNet


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An exported model with real-valued ReLUs, calibration samples, labelled test samples."""
    folder = tmp_path_factory.mktemp("levels")
    torch.manual_seed(0)
    exported = torch.export.export(ReluNet().eval(), (torch.from_numpy(images(2)),))
    torch.export.save(exported, folder / "m.pt2")
    np.savez(folder / "c.npz", x=images(60))
    np.savez(folder / "x.npz", x=images(20, 1), y=np.arange(20) % 3)
    return folder


def test_convert_gives_few_levels(snndeploy, files, tmp_path):
    net = tmp_path / "net.nir"
    arguments = ["convert", files / "m.pt2", "-o", net, "--calibration", files / "c.npz"]
    code, _, err = snndeploy(*arguments)
    assert code == 2
    assert "real-valued ReLUs" in err
    asked = ["--levels", 7, "--thresholds", "percentile", "--percentile", 99, "--per-layer"]
    code, out, err = snndeploy(*arguments, *asked, "--calibrate", "none", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["window"] == 7
    assert not any(entry.startswith("equalize-channels") for entry in found["history"])
    assert any("thresholds=percentile percentile=99.0" in entry for entry in found["history"])
    assert snndeploy("certify", net, "--data", files / "x.npz")[0] == 0


def test_sweep_shows_a_table_and_goes_on(snndeploy, files, tmp_path):
    path = tmp_path / "sweep.json"
    arguments = ["sweep", files / "m.pt2", "--data", files / "x.npz", "--limit", 10, "-o", path]
    arguments += ["--calibration", files / "c.npz", "--levels", "3,7", "--methods", "none,light"]
    code, out, err = snndeploy(*arguments)
    assert (code, err) == (0, "")
    assert "energy on loihi1" in out
    assert "10 samples, accuracy against labels" in out
    code, again, _ = snndeploy(*arguments, "--json")
    assert code == 0
    assert json.loads(again) == json.loads(path.read_text())
    assert len(json.loads(again)["points"]) == 4


@pytest.mark.parametrize(
    ("option", "value"), [("--levels", "3,x"), ("--levels", ","), ("--methods", "heavy")]
)
def test_lists_that_cannot_be_read_exit_with_2(snndeploy, files, option, value):
    code, _, err = snndeploy(
        "sweep",
        files / "m.pt2",
        "--data",
        files / "x.npz",
        "--calibration",
        files / "c.npz",
        option,
        value,
    )
    assert code == 2
    assert option in err
