"""The Norse backend: real Norse cells inside the graph that NIR describes, on CPU or GPU.

Norse and nirtorch are imported when a session opens, so that listing the backends stays quick.
"""

from __future__ import annotations

import importlib
import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from snndeploy.backend import BackendStatus
from snndeploy.errors import BackendMissingError, InputError
from snndeploy.numerics import Int64Array
from snndeploy.program import Program

if TYPE_CHECKING:
    from snndeploy_backends.norse.session import NorseSession

DEVICE_VARIABLE = "SNNDEPLOY_DEVICE"

_PACKAGES = ("norse", "nirtorch", "nir", "torch")


class Norse:
    """Norse, as a backend.

    Args:
        device: `cpu` or `cuda`; default the environment variable SNNDEPLOY_DEVICE, else `cpu`.
    """

    name = "norse"
    summary = "Norse cells in the graph that NIR describes, on CPU or GPU"
    streams = True

    def __init__(self, device: str | None = None) -> None:
        self.device = device

    def status(self) -> BackendStatus:
        """The versions of the installed packages; imports none of them."""
        found = {package: _version(package) for package in _PACKAGES}
        missing = [package for package in _PACKAGES if not found[package]]
        lacking = f"not installed: {', '.join(missing)}; pip install {' '.join(missing)}"
        versions = {package: number for package, number in found.items() if number}
        return BackendStatus(versions, lacking if missing else "")

    def open(self, program: Program, inputs: Int64Array, steps: int) -> NorseSession:
        """Start a session that is exact for at most `steps` steps.

        Raises:
            InputError: a device that this backend does not know.
            BackendMissingError: Norse is not installed, or no GPU is there.
        """
        wanted = self.device or os.environ.get(DEVICE_VARIABLE) or "cpu"
        try:
            session = importlib.import_module("snndeploy_backends.norse.session")
        except ImportError as error:
            raise BackendMissingError(
                f"cannot be imported: {error}",
                where="backend 'norse'",
                remedy=f"pip install {' '.join(_PACKAGES)}",
            ) from error
        device = _usable(wanted)
        opened: NorseSession = session.NorseSession(program, inputs, steps, device)
        return opened


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _usable(device: str) -> str:
    if device not in ("cpu", "cuda"):
        raise InputError(
            f"unknown device '{device}'",
            where="backend 'norse'",
            remedy=f"use cpu or cuda (option device or {DEVICE_VARIABLE})",
        )
    if device == "cuda" and not importlib.import_module("torch").cuda.is_available():
        raise BackendMissingError(
            "PyTorch finds no usable GPU here",
            where="backend 'norse', device 'cuda'",
            remedy=f"install a CUDA build of PyTorch, or set {DEVICE_VARIABLE}=cpu",
        )
    return device
