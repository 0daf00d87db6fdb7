"""The Lava environment: a virtual environment of its own, because lava-nc 0.10.0 is archived.

It wants NumPy 1 and an older Python than snndeploy; see `PINS`. The environment is made in a
folder beside its place and moved there when it has been checked, so it is whole or absent.
A virtual environment that has moved cannot run its scripts, but `bin/python` works.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import platformdirs

from snndeploy.errors import BackendError, BackendMissingError
from snndeploy_backends.lava.supervisor import worker_command

FOLDER_VARIABLE = "SNNDEPLOY_LAVA_ENV"
PYTHON_VARIABLE = "SNNDEPLOY_LAVA_PYTHON"
INSTALL = "run: snndeploy backends install lava"
PYTHONS = ("3.11", "3.10", "3.12")
"""Versions on which all of it was seen to work, though lava-nc declares 3.10 only."""
LAVA_VERSION = "0.10.0"
STAMP = "snndeploy-lava.json"

PINS = (
    "numpy>=1.24.4,<2",
    "scipy>=1.10.1,<2",
    "networkx<=2.8.7",
    "asteval>=0.9.31,<0.10",
    "h5py<4",
)
"""What lava-nc works with; an environment that was made by hand may have any of these."""
TESTED = ("numpy==1.26.4", "scipy==1.15.3", "networkx==2.8.7", "asteval==0.9.33", "h5py==3.12.1")
"""What `install` takes: the versions that snndeploy is tested with, on each of `PYTHONS`."""
ARCHIVED = (f"lava-nc=={LAVA_VERSION}", "lava-dl==0.6.0")
"""Installed without their dependencies: they declare Python <3.11 and torch."""

_PIP_SECONDS = 1800
_CHECK_SECONDS = 120
_SHOWN_LINES = 12

Say = Callable[[str], None]


def environment_folder() -> Path:
    """Where the environment lies, or will."""
    named = os.environ.get(FOLDER_VARIABLE)
    cache = Path(platformdirs.user_cache_dir("snndeploy"))
    return Path(named).expanduser().absolute() if named else cache / "lava"


def environment_python() -> Path:
    """The environment's interpreter."""
    return environment_folder() / "bin" / "python"


def versions() -> Mapping[str, str]:
    """Installed versions by package, read from the metadata folders without starting Python."""
    found: dict[str, str] = {}
    for info in sorted(environment_folder().glob("lib/python3.*/site-packages/*.dist-info")):
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        if name in ("lava_nc", "numpy"):
            found[name.replace("_", "-")] = version
    return found


def missing() -> str:
    """What keeps Lava from running here, and the remedy; empty if nothing does."""
    if os.name != "posix":
        return "lava-nc runs on Linux and macOS only"
    folder = environment_folder()
    if not environment_python().exists():
        return f"no Lava environment at {folder}; {INSTALL}"
    if versions().get("lava-nc") != LAVA_VERSION or "numpy" not in versions():
        return f"the Lava environment at {folder} is incomplete; {INSTALL}"
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8", errors="replace") != _stamp():
        return f"the Lava environment at {folder} belongs to another snndeploy; {INSTALL}"
    return ""


def install(say: Say) -> None:
    """Make the environment, or mend it; does nothing if it is complete and works.

    Raises:
        BackendMissingError: no fitting Python.
        BackendError: pip failed, or what it installed does not work.
    """
    if os.name != "posix":
        raise BackendMissingError(missing(), where="backend 'lava'")
    folder = environment_folder()
    if not missing():
        say(f"checking the Lava environment at {folder}")
        problem = _broken(environment_python())
        if not problem:
            if not (folder / STAMP).exists():  # made by hand; now it is ours
                (folder / STAMP).write_text(_stamp(), encoding="utf-8")
            say("complete")
            return
        say(f"it does not work, making it anew: {problem}")
    _refuse_foreign(folder)
    python = find_python()
    draft = folder.with_name(f"{folder.name}.making-{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _make(python, draft, say)
        _put(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    say(f"installed at {folder}")


def find_python() -> Path:
    """A Python that lava-nc works with: as named by the user, our own, or one on the path."""
    named = os.environ.get(PYTHON_VARIABLE)
    candidates = [named] if named else [sys.executable, *(f"python{v}" for v in PYTHONS)]
    for candidate in candidates:
        path = shutil.which(candidate)
        if path and _python_version(path) in PYTHONS:
            return Path(path)
    tried = ", ".join(candidates)
    raise BackendMissingError(
        f"no Python {' or '.join(PYTHONS)} with venv found (tried {tried})",
        where="backend 'lava'",
        remedy=f"install one, or name it in {PYTHON_VARIABLE}",
    )


def _python_version(python: str) -> str:
    """`3.11`, or nothing if it does not start or cannot make environments."""
    program = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = _run([python, "-I", "-c", program], 30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _make(python: Path, folder: Path, say: Say) -> None:
    say(f"making a virtual environment with {python}")
    _must([str(python), "-I", "-m", "venv", str(folder)], "venv")
    inside = folder / "bin" / "python"
    pip = [str(inside), "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    say("installing " + ", ".join(TESTED))
    _must([*pip, *TESTED], "pip")
    say("installing " + ", ".join(ARCHIVED))
    _must([*pip, "--no-deps", "--ignore-requires-python", *ARCHIVED], "pip")
    for tests in folder.glob("lib/python3.*/site-packages/tests"):
        shutil.rmtree(tests)  # 110 MB that both wheels put there
    say("checking that Lava can be imported")
    problem = _broken(inside)
    if problem:
        raise BackendError(f"the new environment does not work: {problem}", where="backend 'lava'")
    (folder / STAMP).write_text(_stamp(), encoding="utf-8")


def _put(draft: Path, folder: Path) -> None:
    """Move the draft to its place; what was there is gone only when the new one is."""
    if not folder.exists():
        draft.rename(folder)
        return
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    folder.rename(old)
    try:
        draft.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _refuse_foreign(folder: Path) -> None:
    """Only a virtual environment or an empty folder may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "pyvenv.cfg").is_file():
        raise BackendError(
            f"{folder} exists and is not a virtual environment",
            where=FOLDER_VARIABLE,
            remedy="name a folder that may be replaced",
        )


def _broken(python: Path) -> str:
    """Why the worker cannot start with this interpreter, or nothing."""
    try:
        done = _run(worker_command(python), _CHECK_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else _last_lines(done)


def _stamp() -> str:
    return json.dumps({"pins": [*PINS, *ARCHIVED]})


def _must(command: Sequence[str], what: str) -> None:
    try:
        done = _run(command, _PIP_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(str(error), where=what) from error
    if done.returncode:
        raise BackendError(
            f"failed with exit status {done.returncode}:\n{_last_lines(done)}",
            where=what,
            remedy="check the network and the free space, then try again",
        )


def _run(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - no shell, our own arguments
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )


def _last_lines(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join(done.stdout.strip().splitlines()[-_SHOWN_LINES:])
