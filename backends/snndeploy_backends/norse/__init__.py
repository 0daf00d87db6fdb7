"""The Norse backend: real Norse cells inside the graph that NIR describes, on CPU or GPU.

Norse and nirtorch are imported when a session opens, so that listing the backends stays quick.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from snndeploy.backend import BackendStatus, Folded, Probe, Response
from snndeploy.errors import BackendMissingError, InputError
from snndeploy.nirfile import ForeignGraph
from snndeploy.numerics import FloatArray, Int64Array
from snndeploy.program import Program
from snndeploy_backends.devices import usable_device

if TYPE_CHECKING:
    from snndeploy_backends.norse.session import NorseSession

_PACKAGES = ("norse", "nirtorch", "nir", "torch")


class Norse:
    """Norse, as a backend.

    With a controller it runs step by step; without one, layer by layer, which is faster.

    Args:
        device: `cpu` or `cuda`; default the environment variable SNNDEPLOY_DEVICE, else `cpu`.
        dtype: of the membranes, `float32` or `float64`, refused where range analysis cannot prove
            it exact; default the narrowest that is.
        workers: threads of a run without a controller; default those of PyTorch; one on a GPU.
        memory: bytes that such a run may use beside weights, inputs and results; default the
            environment variable SNNDEPLOY_MEMORY_BYTES, else as the reference engine does.
    """

    name = "norse"
    summary = "Norse cells in the graph that NIR describes, on CPU or GPU"
    streams = True

    def __init__(
        self,
        device: str | None = None,
        dtype: str | None = None,
        workers: int | None = None,
        memory: int | None = None,
    ) -> None:
        self.device, self.dtype, self.workers, self.memory = device, dtype, workers, memory

    def status(self) -> BackendStatus:
        """The versions of the installed packages; imports none, unless a GPU is asked for."""
        found = {package: _version(package) for package in _PACKAGES}
        missing = [package for package in _PACKAGES if not found[package]]
        lacking = f"not installed: {', '.join(missing)}; pip install {' '.join(missing)}"
        versions = {package: number for package, number in found.items() if number}
        if missing:
            return BackendStatus(versions, lacking)
        try:
            usable_device(self.device, self.name)
        except (BackendMissingError, InputError) as error:
            return BackendStatus(versions, f"{error.problem}; {error.remedy}")
        return BackendStatus(versions)

    def open(self, program: Program, inputs: Int64Array, steps: int) -> NorseSession:
        """Start a session that is exact for at most `steps` steps.

        Raises:
            InputError: a device or a type that this backend does not know.
            BackendMissingError: Norse is not installed, or no GPU is there.
            DoesNotFitError: the type that was asked for is not exact, or none is.
        """
        device = usable_device(self.device, self.name)
        session = _module("session")
        opened: NorseSession = session.NorseSession(program, inputs, steps, device, self.dtype)
        return opened

    def fold(self, program: Program, inputs: Int64Array, steps: int, record: bool) -> list[Folded]:
        """Run layer by layer, without a controller: the same spikes, faster. Raises as `open`."""
        device = usable_device(self.device, self.name)
        folded = _module("folded")
        options = folded.run_options(device, self.workers, self.memory)
        parts: list[Folded] = folded.fold(program, inputs, steps, record, options, self.dtype)
        return parts

    def probe(self, program: Program, inputs: Int64Array, steps: int, layer: str) -> Probe:
        """Simulate, and keep what the cell of one layer receives and holds."""
        session = self.open(program, inputs, steps)
        try:
            return session.probe(layer, steps)
        finally:
            session.close()

    def respond(self, graph: ForeignGraph, inputs: FloatArray, record: bool) -> Response:
        """Run a NIR graph that another tool wrote, in float64 if not said otherwise."""
        device = usable_device(self.device, self.name)
        foreign = _module("foreign")
        found: Response = foreign.respond(graph, inputs, record, device, self.dtype or "float64")
        return found


def _module(name: str) -> Any:
    """A module of this package that needs Norse."""
    try:
        return importlib.import_module(f"snndeploy_backends.norse.{name}")
    except ImportError as error:
        raise BackendMissingError(
            f"cannot be imported: {error}",
            where="backend 'norse'",
            remedy=f"pip install {' '.join(_PACKAGES)}",
        ) from error


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
