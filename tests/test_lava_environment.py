"""Making, checking and mending the Lava environment, with an interpreter that only pretends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snndeploy.errors import BackendError
from snndeploy_backends.lava import environment
from snndeploy_backends.lava.backend import Lava

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX scripts")

FAKE = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
  *ensurepip*) echo {version} ;;
  *"-m venv"*) for last; do :; done
    mkdir -p "$last/bin" "$last/lib/python{version}/site-packages/tests"
    touch "$last/pyvenv.cfg"; cp "$0" "$last/bin/python" ;;
  *"-m pip"*) echo "$*" >> "{log}"
    cd "$here/../lib/python{version}/site-packages" || exit 9
    for last; do case $last in
      *==*) mkdir -p "$(echo "$last" | sed 's/lava-/lava_/; s/==/-/').dist-info" ;;
    esac; done ;;
  *main.py*) test ! -e "$here/broken" || {{ echo it is broken; exit 1; }} ;;
esac
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the environment will lie; nothing is downloaded on the way there."""
    fake = tmp_path / "python"
    fake.write_text(FAKE.format(version=environment.PYTHONS[0], log=tmp_path / "pip.txt"))
    fake.chmod(0o755)
    monkeypatch.setenv("SNNDEPLOY_LAVA_PYTHON", str(fake))
    monkeypatch.setenv("SNNDEPLOY_LAVA_ENV", str(tmp_path / "env"))
    return tmp_path / "env"


def installed() -> list[str]:
    said: list[str] = []
    Lava().install(said.append)
    return said


def test_one_command_makes_it(place):
    assert "no Lava environment" in Lava().status().missing
    installed()
    status = Lava().status()
    assert status.available
    assert status.versions == {"lava-nc": "0.10.0", "numpy": "1.26.4"}
    assert not list(place.glob("lib/*/site-packages/tests"))
    assert sorted(x.name for x in place.parent.iterdir()) == ["env", "pip.txt", "python"]


def test_every_version_is_pinned_and_pins_agree(place):
    installed()
    asked = (place.parent / "pip.txt").read_text().split()
    packages = [word for word in asked if word[0].isalpha() and word not in ("pip", "install")]
    assert packages == [*environment.TESTED, *environment.ARCHIVED]
    assert all("==" in package for package in packages)
    allowed = [pin.split("<")[0].split(">")[0] for pin in environment.PINS]
    assert [package.split("==")[0] for package in environment.TESTED] == allowed


def test_what_is_complete_is_only_checked(place):
    installed()
    inode = place.stat().st_ino
    assert installed()[-1] == "complete"
    assert place.stat().st_ino == inode


@pytest.mark.parametrize("damage", ["broken", "no numpy", "no python", "other pins"])
def test_what_is_broken_is_mended(place, damage):
    installed()
    site = place / "lib" / f"python{environment.PYTHONS[0]}" / "site-packages"
    if damage == "broken":
        (place / "bin" / "broken").touch()
    elif damage == "no numpy":
        (site / "numpy-1.26.4.dist-info").rmdir()
    elif damage == "no python":
        (place / "bin" / "python").unlink()
        (place / "bin" / "python").symlink_to("/nowhere/python3.11")
    else:
        (place / environment.STAMP).write_text('{"pins": []}')
    if damage != "broken":  # which only starting it can tell
        assert "snndeploy backends install lava" in Lava().status().missing
    said = installed()
    assert said[-1] == f"installed at {place}"
    assert Lava().status().available
    assert installed()[-1] == "complete"
    if damage == "broken":
        assert "it is broken" in said[1]


def test_a_mend_that_fails_leaves_what_was_there(place):
    installed()
    (place / environment.STAMP).write_text('{"pins": []}')
    fake = Path(os.environ["SNNDEPLOY_LAVA_PYTHON"])
    fake.write_text(
        fake.read_text().replace('pip"*) echo', 'pip"*) echo no space left; exit 3; echo')
    )
    with pytest.raises(BackendError, match=r"exit status 3:\nno space left"):
        installed()
    assert (place / "bin" / "python").exists()
    assert sorted(x.name for x in place.parent.iterdir()) == ["env", "pip.txt", "python"]
