"""The command line as a stranger meets it: exit codes, messages, JSON, help."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from models import images, small_net, small_network
from torch import nn

from snndeploy import lower, run, save
from snndeploy.training import QCFS

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A converted network, samples with labels, and the export that the network came from."""
    folder = tmp_path_factory.mktemp("cli")
    network, x = small_network(), images(40)
    save(network, folder / "small.nir")
    save(small_network(mode="rate"), folder / "rate.nir")
    labels = run(lower(network), x).predictions
    np.savez(folder / "x.npz", x=x, y=labels)
    np.savez(folder / "unlabelled.npz", x=x)
    torch.export.save(
        torch.export.export(small_net(), (torch.from_numpy(x[:2]),)), folder / "m.pt2"
    )
    return folder


def test_the_whole_story(snndeploy, files, tmp_path):
    net, policy = tmp_path / "net.nir", tmp_path / "policy.json"
    code, out, err = snndeploy("convert", files / "m.pt2", "-o", net)
    assert (code, err) == (0, "")
    assert "settles to the quantized ANN" in out
    assert snndeploy("inspect", net, "--profile", "loihi1")[0] == 0
    assert snndeploy("certify", net, "--data", files / "x.npz", "--profile", "loihi1")[0] == 0
    assert (
        snndeploy("compare", net, "--data", files / "x.npz", "--backends", "reference,norse")[0]
        == 0
    )
    code, out, _ = snndeploy("calibrate-exit", net, "--data", files / "x.npz", "-o", policy)
    assert code == 0
    code, out, _ = snndeploy("run", net, "--data", files / "x.npz", "--exit", policy, "--json")
    assert code == 0
    assert json.loads(out)["samples"] == 40
    code, out, _ = snndeploy("energy", net, "--data", files / "x.npz", "--json")
    assert code == 0
    assert json.loads(out)["snn"]["profile"] == "loihi1"
    page = tmp_path / "report.html"
    assert snndeploy("report", net, "--data", files / "x.npz", "-o", page)[0] == 0
    assert page.stat().st_size > 10_000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.nir", "policy.json", "report.html"]


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "small.nir"),
        ("inspect", "m.pt2"),
        ("headroom", "small.nir"),
        ("run", "small.nir", "--data", "x.npz"),
        ("compare", "small.nir", "--data", "x.npz", "--backends", "reference,judge"),
        ("certify", "small.nir", "--data", "x.npz"),
        ("energy", "small.nir", "--data", "x.npz"),
        ("profiles", "list"),
        ("profiles", "show", "loihi1"),
        ("profiles", "show", "digital_snn_45nm"),
        ("profiles", "show", "speck"),
        ("profiles", "diff", "loihi1", "loihi2"),
        ("placement", "small.nir", "--data", "x.npz"),
        ("backends",),
    ],
)
def test_every_result_is_there_for_readers_and_for_machines(snndeploy, files, command, monkeypatch):
    monkeypatch.chdir(files)
    code, out, _ = snndeploy(*command)
    assert code == 0
    assert out.strip()
    code, out, _ = snndeploy(*command, "--json")
    assert code == 0
    assert json.loads(out)


def test_a_planted_error_exits_with_1_and_is_named(snndeploy, files):
    code, out, _ = snndeploy(
        "compare", files / "small.nir", "--data", files / "x.npz",
        "--backends", "reference,norse", "--plant", "norse:act1:1:+1",
    )  # fmt: skip
    assert code == 1
    assert "norse differs first at layer 'act1', neuron (1, " in out
    assert "step" in out


def test_a_refused_certificate_exits_with_1(snndeploy, files):
    code, _, err = snndeploy("certify", files / "rate.nir", "--data", files / "x.npz")
    assert code == 1
    assert "rate mode" in err
    assert "mode exact" in err


def _bad_data(folder, case):
    x = images(4)
    arrays = {
        "nan": {"x": np.where(x == x.max(), np.nan, x)},
        "shape": {"x": x[:, :1]},
        "range": {"x": x * 255},
        "no x": {"images": x},
        "labels": {"x": x, "y": np.array([1, 2])},
        "empty": {"x": x[:0]},
    }
    path = folder / f"{case.replace(' ', '-')}.npz"
    np.savez(path, **arrays[case])
    return path


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("nan", "NaN or infinite"),
        ("shape", "takes (N, 2, 8, 8)"),
        ("range", "leave the input grid"),
        ("no x", "no array 'x'"),
        ("labels", "expected integers (4,)"),
        ("empty", "expected (N, ...) with N > 0"),
    ],
)
def test_bad_data_exits_with_2_and_one_message(snndeploy, files, tmp_path, case, words):
    data = _bad_data(tmp_path, case)
    code, out, err = snndeploy("run", files / "small.nir", "--data", data)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("error:") == 1


def test_objects_in_data_are_not_unpickled(snndeploy, files, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    code, _, err = snndeploy("run", files / "small.nir", "--data", tmp_path / "x.npz")
    assert code == 2
    assert "Python objects" in err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.nir", None, "no such file"),
        ("text.nir", b"this is a text file", "HDF5"),
        ("model.h5", b"", "are not read"),
        ("broken.pt2", b"PK\x03\x04", "not a PT2 archive"),
    ],
)
def test_a_bad_model_exits_with_2_and_one_message(snndeploy, files, tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, out, err = snndeploy("run", tmp_path / name, "--data", files / "x.npz")
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("error:") == 1
    assert name in err


def test_an_unsupported_layer_exits_with_2_and_is_named(snndeploy, tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Sigmoid(), QCFS(3), nn.Linear(4, 2))
    exported = torch.export.export(model.eval(), (torch.zeros(2, 1, 2, 2),))
    torch.export.save(exported, tmp_path / "sigmoid.pt2")
    code, _, err = snndeploy("convert", tmp_path / "sigmoid.pt2", "-o", tmp_path / "net.nir")
    assert code == 2
    assert "sigmoid" in err
    assert "QCFS" in err
    assert not (tmp_path / "net.nir").exists()


def test_a_foreign_nir_file_exits_with_2(snndeploy, files, tmp_path):
    with h5py.File(tmp_path / "other.nir", "w") as file:
        file["data"] = np.arange(4)
    code, _, err = snndeploy("run", tmp_path / "other.nir", "--data", files / "x.npz")
    assert code == 2
    assert "other.nir" in err


@pytest.mark.parametrize("command", ["certify", "energy"])
def test_an_unknown_profile_exits_with_2(snndeploy, files, command):
    code, _, err = snndeploy(
        command, files / "small.nir", "--data", files / "x.npz", "--profile", "loihi9"
    )
    assert code == 2
    assert "no hardware profile is called 'loihi9'" in err
    assert "loihi1" in err


def test_an_unknown_backend_exits_with_2(snndeploy, files):
    code, _, err = snndeploy(
        "run", files / "small.nir", "--data", files / "x.npz", "--backend", "nengo"
    )
    assert code == 2
    assert "no backend 'nengo'" in err


def test_a_missing_backend_is_a_line(snndeploy, files, tmp_path, monkeypatch):
    monkeypatch.setenv("SNNDEPLOY_LAVA_ENV", str(tmp_path / "nowhere"))
    code, out, _ = snndeploy("backends")
    assert code == 0
    assert "snndeploy backends install lava" in out
    code, _, err = snndeploy(
        "run", files / "small.nir", "--data", files / "x.npz", "--backend", "lava"
    )
    assert code == 2
    assert "snndeploy backends install lava" in err


def test_calibration_needs_labels(snndeploy, files, tmp_path):
    code, _, err = snndeploy(
        "calibrate-exit", files / "small.nir", "--data", files / "unlabelled.npz",
        "-o", tmp_path / "policy.json",
    )  # fmt: skip
    assert code == 2
    assert "no labels 'y'" in err


def test_an_output_folder_that_is_not_there_exits_with_2(snndeploy, files, tmp_path):
    code, _, err = snndeploy("convert", files / "m.pt2", "-o", tmp_path / "no" / "net.nir")
    assert code == 2
    assert "cannot be written" in err


def test_backends_check_runs_the_tiny_network(snndeploy):
    code, out, _ = snndeploy("backends", "check", "reference")
    assert code == 0
    assert "equal" in out


COMMANDS = [
    "convert", "inspect", "headroom", "rescale", "export", "run", "lint", "compare", "certify",
    "fidelity", "calibrate-exit", "energy", "placement", "report", "demo", "profiles",
    "profiles list", "profiles show", "profiles check", "profiles diff", "backends",
    "backends install", "backends check",
]  # fmt: skip


def test_help_reads_as_in_the_golden_text(snndeploy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("TERMINAL_WIDTH", "90")
    pages = []
    for command in ["", *COMMANDS]:
        code, out, _ = snndeploy(*command.split(), "--help")
        assert code == 0
        pages.append(f"$ snndeploy {command} --help".replace("  ", " ") + f"\n{out.strip()}\n")
    text = "\n".join(pages)
    golden = GOLDEN / "help.txt"
    if os.environ.get("SNNDEPLOY_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def _damaged_npz(folder, case):
    path = folder / "x.npz"
    np.savez(path, x=images(2))
    if case == "deflate":
        np.savez_compressed(path, x=images(20))
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 40] = b"\xff" * 40
        path.write_bytes(bytes(content))
    elif case == "strings":
        np.savez(path, x=np.full((2, 2, 8, 8), "a"))
    elif case == "times":
        np.savez(path, x=np.zeros((2, 2, 8, 8), "m8[s]"))
    elif case == "complex":
        np.savez(path, x=images(2).astype(complex))
    else:
        header = {"shape": b"(True, 2)", "minus": b"-" * 9000 + b"1"}[case]
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': " + header + b", }"
        text += b" " * (-(len(text) + 13) % 64) + b"\n"
        size = len(text).to_bytes(4, "little")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", b"\x93NUMPY\x02\x00" + size + text + bytes(64))
    return path


@pytest.mark.parametrize("case", ["deflate", "strings", "times", "complex", "shape", "minus"])
def test_a_damaged_npz_file_exits_with_2_and_one_message(snndeploy, files, tmp_path, case):
    data = _damaged_npz(tmp_path, case)
    code, out, err = snndeploy("run", files / "small.nir", "--data", data)
    assert (code, out) == (2, "")
    assert err.count("error:") == 1


CALIBRATE = ("calibrate-exit", "small.nir", "--data", "x.npz", "-o", "p.json")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "rate.nir", "--data", "x.npz", "--steps", "9" * 20),
        ("compare", "small.nir", "--data", "x.npz", "--plant", f"reference:act1:0:+{'9' * 20}"),
        (*CALIBRATE, "--temperature", "1e-320"),
        (*CALIBRATE, "--temperature", "nan"),
        ("inspect", "m.pt2", "--profile", "loihi1"),
        ("convert", "m.pt2", "-o", "n.nir", "--calibration", "x.npz"),
        ("report", "small.nir", "--data", "x.npz", "-o", "no/r.html"),
    ],
)  # fmt: skip
def test_impossible_options_exit_with_2_and_one_message(snndeploy, files, arguments, monkeypatch):
    monkeypatch.chdir(files)
    before = sorted(path.name for path in files.iterdir())
    code, out, err = snndeploy(*arguments)
    assert (code, out) == (2, "")
    assert err.count("error:") == 1
    assert sorted(path.name for path in files.iterdir()) == before
