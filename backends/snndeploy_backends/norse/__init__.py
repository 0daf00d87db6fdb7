"""The Norse backend: real Norse cells inside the graph that NIR describes, on CPU or GPU.

Norse and nirtorch are imported when a session opens, so that listing the backends stays quick.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from snndeploy.backend import BackendStatus, Probe
from snndeploy.errors import BackendMissingError
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy_backends.devices import usable_device

if TYPE_CHECKING:
    from snndeploy_backends.norse.session import NorseSession

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
        try:
            session = importlib.import_module("snndeploy_backends.norse.session")
        except ImportError as error:
            raise BackendMissingError(
                f"cannot be imported: {error}",
                where="backend 'norse'",
                remedy=f"pip install {' '.join(_PACKAGES)}",
            ) from error
        device = usable_device(self.device, self.name)
        opened: NorseSession = session.NorseSession(program, inputs, steps, device)
        return opened

    def probe(self, program: Program, inputs: Int64Array, steps: int, layer: str) -> Probe:
        """Simulate, and keep what the cell of one layer receives and holds."""
        session = self.open(program, inputs, steps)
        try:
            return session.probe(layer, steps)
        finally:
            session.close()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
