"""`convert --reset hard` and `export`, as a stranger meets them."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from models import images
from test_stock import Chain

import snndeploy as sd


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("export") / "chain.pt2"
    example = torch.from_numpy(images(2))
    torch.export.save(torch.export.export(Chain().eval(), (example,)), path)
    return path


HARD = ("--mode", "rate", "--reset", "hard")


def test_from_a_model_to_a_file_for_lava_dl(snndeploy, model, tmp_path):
    net, file = tmp_path / "chain.nir", tmp_path / "chain.net"
    options = (*HARD, "--weight-exponent", "0", "--weight-bits", "6")
    code, out, _ = snndeploy("convert", model, "-o", net, *options)
    assert code == 0
    assert "rate mode, hard reset, window 3 steps" in out
    code, out, _ = snndeploy("inspect", net, "--json")
    assert (code, json.loads(out)["reset"]) == (0, "hard")
    code, out, _ = snndeploy("export", net, "--format", "netx", "-o", file)
    assert (code, out.strip()) == (0, f"written: {file}")
    with h5py.File(file) as content:
        assert json.loads(content.attrs["snndeploy"])["hash"] == sd.load(net).hash


def test_what_netx_cannot_hold_is_told_at_once(snndeploy, model, tmp_path):
    net = tmp_path / "chain.nir"
    assert snndeploy("convert", model, "-o", net, "--mode", "rate")[0] == 0
    code, _, err = snndeploy("export", net, "--format", "netx", "-o", tmp_path / "chain.net")
    assert code == 2
    assert "rate mode with soft reset" in err
    assert "weight exponent 0" in err
    assert "expected one for all channels" in err
    assert not (tmp_path / "chain.net").exists()


def test_nir_is_the_default(snndeploy, model, tmp_path):
    net, copy = tmp_path / "chain.nir", tmp_path / "copy.nir"
    snndeploy("convert", model, "-o", net, *HARD)
    code, out, _ = snndeploy("export", net, "-o", copy, "--json")
    assert code == 0
    assert json.loads(out)["hash"] == sd.load(copy).hash == sd.load(net).hash


def test_hard_reset_asks_for_rate_mode(snndeploy, model, tmp_path):
    code, _, err = snndeploy("convert", model, "-o", tmp_path / "x.nir", "--reset", "hard")
    assert code == 2
    assert "use mode rate" in err


def test_an_answer_comes_out(snndeploy, model, tmp_path):
    net, data = tmp_path / "chain.nir", tmp_path / "x.npz"
    snndeploy("convert", model, "-o", net, *HARD)
    np.savez(data, x=images(3))
    code, out, _ = snndeploy("run", net, "--data", data, "--steps", "9", "--json")
    assert code == 0
    assert len(json.loads(out)["predictions"]) == 3
