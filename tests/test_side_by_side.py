"""Backends side by side: one table, one page, one document for machines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from models import images, small_network

from snndeploy import lower, run, save
from snndeploy.backend import find_backend
from snndeploy.errors import BackendError, BackendMissingError, DoesNotFitError
from snndeploy.process_memory import descendants_bytes, own_peak_bytes
from snndeploy.report.comparison import render_comparison, save_comparison
from snndeploy.samples import Samples
from snndeploy.side_by_side import side_by_side
from snndeploy.verify import comparison
from snndeploy.verify.comparison import Planted, compare
from snndeploy.verify.own_process import run_in_own_process
from snndeploy_backends.reference.judge import Judge

LINUX = sys.platform == "linux"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("side")
    network, x = small_network(), images(12)
    save(network, folder / "net.nir")
    np.savez(folder / "x.npz", x=x, y=run(lower(network), x).predictions)
    return folder


@pytest.fixture(scope="module")
def samples():
    x = images(12)
    return Samples(x, run(lower(small_network()), x).predictions)


@pytest.fixture(scope="module")
def measured(samples):
    program = lower(small_network(), "loihi1")
    return side_by_side(program, samples, ["reference", "judge"], measure=True)


@pytest.fixture(scope="module")
def differing():
    program, planted = lower(small_network(), "loihi1"), Planted("norse", "act2", 3, 1)
    wide = Samples(images(40), None)
    return side_by_side(program, wide, ["reference", "norse", "judge"], planted=planted)


def test_all_of_it_is_there(measured):
    assert measured.agree
    for result in measured.results:
        assert result.accuracy == result.agreement == 1.0
        assert result.spikes_equal
        assert 0 < result.footprint.startup_seconds < 60
        assert result.seconds_per_sample * 12 == pytest.approx(result.seconds)
        assert result.layer_spikes == measured.reference.layer_spikes
        assert list(result.layer_spikes) == [x.name for x in measured.program.spiking]
        estimate = measured.estimates[result.name]
        assert estimate.profile == "loihi1"
        assert estimate.energy_pj == measured.estimates["reference"].energy_pj


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_memory_is_of_the_process_and_what_it_loads(measured):
    peak = {r.name: r.footprint.peak_bytes for r in measured.results}
    assert peak["judge"] > 20e6
    assert peak["reference"] > peak["judge"] + 50e6  # PyTorch, which the judge does without


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_memory_is_not_that_of_the_parent():
    program = lower(small_network())
    inputs = np.zeros((2, 2, 8, 8), np.int64)
    _, before = run_in_own_process("judge", program, inputs, 3)
    ballast = np.ones(100_000_000)  # 800 MB
    _, after = run_in_own_process("judge", program, inputs, 3)
    assert ballast.nbytes > 4 * abs(after.peak_bytes - before.peak_bytes)
    assert own_peak_bytes() > ballast.nbytes > after.peak_bytes


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_memory_of_descendants_is_added_up():
    import subprocess  # noqa: PLC0415

    grandchild = "import time; x = b'1' * 100_000_000; print(flush=True); time.sleep(60)"
    child = (
        "import subprocess, sys, time;"
        f"p = subprocess.Popen([sys.executable, '-c', {grandchild!r}]); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", child], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        process.stdout.readline()
        assert 100e6 < descendants_bytes(process.pid) < 200e6
        assert descendants_bytes(os.getpid()) > 100e6
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()


def test_a_run_in_a_process_of_its_own_is_the_run():
    program = lower(small_network(), "loihi1")
    inputs = np.random.default_rng(0).integers(0, 17, (5, 2, 8, 8))
    told = []
    trace, _ = run_in_own_process(
        "reference", program, inputs, progress=lambda *done: told.append(done)
    )
    ours = run(program, inputs)
    ours.assert_same_spikes(trace)
    for name in ("logits", "stop_steps", "settled"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(trace, name))
    assert list(trace.spikes) == list(ours.spikes)
    assert told == [(5, 5)]


def test_errors_come_back_as_they_were_raised(tmp_path, monkeypatch):
    monkeypatch.setenv("SNNDEPLOY_LAVA_ENV", str(tmp_path / "none"))
    inputs = np.zeros((1, 2, 8, 8), np.int64)
    with pytest.raises(BackendMissingError, match="snndeploy backends install lava"):
        run_in_own_process("lava", lower(small_network()), inputs)


def _processes(folder):
    """Those that run a task in a folder."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(folder) in stat.read_bytes():
                found.append(int(stat.parent.name))
    return found


def test_a_process_that_dies_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program, inputs = lower(small_network()), np.zeros((200, 2, 8, 8), np.int64)

    def kill():
        while not _processes(tmp_path):
            time.sleep(0.01)
        os.kill(_processes(tmp_path)[0], signal.SIGKILL)

    if not LINUX:
        pytest.skip("needs /proc")
    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(BackendError, match="killed by signal 9"):
        run_in_own_process("judge", program, inputs, 5000)
    thread.join()
    assert not list(tmp_path.glob("snndeploy-*"))


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_what_is_interrupted_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program, inputs = lower(small_network()), np.zeros((300, 2, 8, 8), np.int64)

    def interrupt(*_):
        assert descendants_bytes(os.getpid())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_own_process("judge", program, inputs, 30, interrupt)
    assert not list(tmp_path.glob("snndeploy-*"))
    assert not _processes(tmp_path)


@pytest.mark.lava
@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_memory_of_a_backend_counts_its_workers(samples):
    if find_backend("lava").status().missing:
        pytest.skip(find_backend("lava").status().missing)
    found = side_by_side(lower(small_network()), samples, ["judge", "lava"], measure=True)
    ours, lava = (result.footprint for result in found.results)
    assert found.agree
    assert lava.peak_bytes > ours.peak_bytes + 50e6  # a Python with Lava, at the least
    assert lava.startup_seconds > ours.startup_seconds


ROW = {
    "backend": str,
    "versions": dict,
    "samples": int,
    "accuracy": (float, type(None)),
    "agreement": (float, type(None)),
    "spikes_equal": (bool, type(None)),
    "first_divergence": (dict, type(None)),
    "mean_steps": (float, type(None)),
    "spikes_per_sample": (float, type(None)),
    "spikes_by_layer": dict,
    "seconds": float,
    "seconds_per_sample": (float, type(None)),
    "startup_seconds": (float, type(None)),
    "peak_bytes": (int, type(None)),
    "energy": (dict, type(None)),
    "missing": (str, type(None)),
    "refused": (str, type(None)),
}
HEAD = ["network", "hash", "mode", "window", "profile", "data_hash", "reference", "agree"]
DIVERGENCE = [
    "layer", "neuron", "step", "sample", "reference", "found", "kind", "ours", "theirs",
    "threshold", "cause", "explanation", "also",
]  # fmt: skip


def assert_schema(found):
    assert list(found) == [*HEAD, "backends"]
    for row in found["backends"]:
        assert list(row) == list(ROW)
        for name, kind in ROW.items():
            assert isinstance(row[name], kind), (name, row[name])
        if row["energy"] is not None:
            assert list(row["energy"]) == [
                "dynamic_pj", "static_pj", "energy_pj", "latency_us", "grade", "unpriced",
            ]  # fmt: skip
            assert set(row["energy"]["energy_pj"]) == {"low", "nominal", "high"}
        if row["first_divergence"] is not None:
            assert list(row["first_divergence"]) == DIVERGENCE


def test_the_document_for_machines_is_pinned(measured, differing):
    for found in (measured, differing):
        assert_schema(json.loads(json.dumps(found.as_dict(), allow_nan=False)))
    rows = differing.as_dict()["backends"]
    assert [row["startup_seconds"] for row in rows] == [None] * 3
    assert rows[1]["first_divergence"]["cause"] == "threshold"
    assert [row["agreement"] == 1 for row in (rows[0], rows[2])] == [True, True]


def test_a_difference_changes_agreement_and_energy_of_its_own_row_only(differing):
    ours, theirs, judge = differing.results
    assert theirs.layer_spikes != ours.layer_spikes == judge.layer_spikes
    energies = {name: e.energy_pj.nominal for name, e in differing.estimates.items()}
    assert energies["norse"] != energies["reference"] == energies["judge"]
    assert differing.agree is False


def test_the_command_line(snndeploy, files, tmp_path):
    page = tmp_path / "compare.html"
    code, out, err = snndeploy(
        "compare", files / "net.nir", "--data", files / "x.npz", "--backends", "reference,norse",
        "--profile", "loihi1", "--html", page,
    )  # fmt: skip
    assert (code, err) == (0, "")
    heads = [" ".join(line.split()) for line in out.splitlines() if line.startswith("backend")]
    assert heads == [
        "backend samples accuracy agreement spikes",
        "backend time a sample start-up peak memory energy latency",
    ]
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"^norse +12 +100.00% +100.00% +equal", out, re.MULTILINE)
    assert re.search(r"^in all +[\d.,]+ +[\d.,]+$", out, re.MULTILINE)
    assert "Peak memory" in page.read_text(encoding="utf-8")
    code, out, _ = snndeploy(
        "compare", files / "net.nir", "--data", files / "x.npz", "--backends", "reference,judge",
        "--no-measure", "--json",
    )  # fmt: skip
    assert code == 0
    assert_schema(json.loads(out))
    assert json.loads(out)["backends"][1]["peak_bytes"] is None


def test_what_is_missing_is_named_and_left_out(snndeploy, files, tmp_path, monkeypatch):
    monkeypatch.setenv("SNNDEPLOY_LAVA_ENV", str(tmp_path / "none"))
    data = ("compare", files / "net.nir", "--data", files / "x.npz", "--no-measure")
    code, out, err = snndeploy(*data, "--backends", "reference,lava,judge")
    assert (code, err) == (0, "")
    assert re.search(r"^lava +0 .*did not run", out, re.MULTILINE)
    assert "lava: not here: no Lava environment" in out
    assert "snndeploy backends install lava" in out
    code, out, err = snndeploy(*data, "--backends", "reference,lava")
    assert code == 2
    assert "install lava" in err
    code, out, err = snndeploy(*data, "--backends", "lava,reference")
    assert (code, out) == (2, "")
    assert "install lava" in err


class Refusing(Judge):
    name = "norse"

    def open(self, program, inputs, steps):
        raise DoesNotFitError("too large", where="layer 'x'", remedy="use less")


def test_a_refusal_is_named_and_exits_with_2(snndeploy, files, monkeypatch):
    found = comparison.require_backend
    refusing = {"norse": Refusing()}
    monkeypatch.setattr(comparison, "require_backend", lambda n: refusing.get(n) or found(n))
    data = ("compare", files / "net.nir", "--data", files / "x.npz", "--no-measure")
    code, out, err = snndeploy(*data, "--backends", "reference,norse,judge")
    assert code == 2
    assert "norse: refuses the network: layer 'x': too large; use less" in out
    assert re.search(r"^judge .* equal", out, re.MULTILINE)
    assert "too large" in err
    code, _, err = snndeploy(*data, "--backends", "norse,judge")
    assert code == 2
    assert "too large" in err


def test_nothing_is_measured_unless_asked(monkeypatch):
    def never(*arguments):
        raise AssertionError(arguments)

    monkeypatch.setattr(comparison, "run_in_own_process", never)
    found = compare(lower(small_network()), np.zeros((1, 2, 8, 8), np.int64), ["judge"])
    assert found[0].footprint is None


class _Reader(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_complete_and_alone(measured, differing, tmp_path):
    for found, sections in (
        (measured, ["backends", "spikes", "simulation", "energy", "provenance"]),
        (differing, ["backends", "differences", "spikes", "simulation", "energy", "provenance"]),
    ):
        text = render_comparison(found)
        tags = _Reader(text).tags
        assert [a["id"] for tag, a in tags if tag == "section"] == sections
        assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object"}
        assert not re.search(r"https?://|@import|url\((?!#)", text)
        assert "default-src 'none'" in text
        ids = [a["id"] for _, a in tags if "id" in a]
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'href="#([\w.-]+)', text)) <= set(ids)
    assert "✓ Agree" in render_comparison(measured)
    text = render_comparison(differing)
    assert "✕ Differ" in text
    assert "norse differs from reference: threshold" in text
    place = differing.results[1].divergence
    assert f'<td class="l">{place.layer}, step\N{NO-BREAK SPACE}{place.step}</td>' in text
    assert "Start-up" not in text
    path = save_comparison(measured, tmp_path / "page.html")
    assert path.read_text(encoding="utf-8") == render_comparison(measured)
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_the_page_names_what_is_left_out_and_escapes_names(measured):
    hostile = "<script>alert(1)</script>"
    gone = replace(measured.results[1], name=hostile, samples=0, note=hostile, divergence=None)
    refused = replace(gone, refused=True, footprint=None)
    found = replace(measured, results=(measured.results[0], gone, refused))
    text = render_comparison(found)
    assert "<script" not in text
    assert "Not here: &lt;script&gt;" in text
    assert "Refuses this network: &lt;script&gt;" in text
    assert "No backend&#39;s spikes" in text or "No backend's spikes were compared" in text
