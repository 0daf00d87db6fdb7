"""The README's story, run as it is written, on the demo's network after a moment of training."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from snndeploy.backend import find_backend
from snndeploy.training.digits import DigitsNet, digits

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the README takes for granted: model.pt2, test.npz, held_out.npz."""
    made = tmp_path_factory.mktemp("readme")
    data = digits()
    np.savez(made / "test.npz", x=data.test.x[:48], y=data.test.y[:48])
    np.savez(made / "held_out.npz", x=data.held_out.x[:64], y=data.held_out.y[:64])
    torch.manual_seed(0)
    example = torch.from_numpy(data.test.x[:2])
    torch.export.save(torch.export.export(DigitsNet().eval(), (example,)), made / "model.pt2")
    return made


def _block(language: str) -> str:
    """The README's one block of code in a language; without Lava where there is none."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    if find_backend("lava").status().missing:
        code = code.replace('backend="lava"', 'backend="norse"').replace("norse,lava", "norse")
    return code


def test_the_ten_lines_run_as_written(folder):
    code = _block("python")
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert (folder / "report.html").exists()
    assert (folder / "model.nir").exists()


def test_the_command_lines_run_as_written(folder):
    program = Path(sys.executable).with_name("snndeploy")
    for line in _block("sh").strip().splitlines():
        command = [str(program), *shlex.split(line)[1:]]
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert found.returncode == 0, (line, found.stdout, found.stderr)
    assert (folder / "policy.json").exists()
