"""A backend from a distribution of its own: installed, found, and held to the suite."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tomllib
from models import images, small_network
from test_conformance import run_pytest

from snndeploy import run, save
from snndeploy.program import Program

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "third_party_backend"
README = (ROOT / "backends" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example as pip installs it, without a network; returns the folder."""
    pytest.importorskip("hatchling")
    target = tmp_path_factory.mktemp("installed")
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir"),
        *("--target", str(target), str(EXAMPLE)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_it_conforms(installed, tmp_path):
    done = run_pytest(tmp_path, "sparse", path=[installed])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert re.search(r"(\d+) of \1 networks equal, 0 refused by name", done.stdout)


def test_the_commands_know_it(installed, tmp_path, monkeypatch, snndeploy):
    monkeypatch.syspath_prepend(str(installed))
    network, x = small_network(), images(6)
    save(network, tmp_path / "net.nir")
    np.savez(tmp_path / "x.npz", x=x, y=run(Program(network), x).predictions)
    data = (tmp_path / "net.nir", "--data", tmp_path / "x.npz")
    code, out, _ = snndeploy("backends", "--json")
    assert code == 0
    assert {"name": "sparse", "missing": None, "versions": {"numpy": np.__version__}}.items() <= (
        next(row for row in json.loads(out) if row["name"] == "sparse").items()
    )
    code, out, _ = snndeploy("compare", *data, "--backends", "reference,sparse", "--json")
    assert code == 0
    assert [row["spikes_equal"] for row in json.loads(out)["backends"]] == [True, True]
    assert snndeploy("backends", "check", "sparse")[0] == 0


def test_the_readme_shows_the_example_as_it_is():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (settings,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert code == (EXAMPLE / "snndeploy_sparse.py").read_text(encoding="utf-8")
    assert settings == (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
    assert len(code.splitlines()) < 100
    published = tomllib.loads(settings)["project"]["entry-points"]["snndeploy.backends"]
    assert published == {"sparse": "snndeploy_sparse:Sparse"}
