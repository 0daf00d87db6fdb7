"""The Lava backend: real lava-nc processes with Loihi's fixed point and timing."""

from __future__ import annotations

from collections.abc import Callable

from snndeploy.backend import BackendStatus, Probe
from snndeploy.errors import BackendMissingError
from snndeploy.inputs import on_grid
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy_backends.lava import environment
from snndeploy_backends.lava.limits import check_fits, most_samples
from snndeploy_backends.lava.recorded import RecordedSession
from snndeploy_backends.lava.settings import Settings
from snndeploy_backends.lava.streaming import LavaSession

__all__ = ["Lava", "RecordedSession"]


class Lava:
    """Lava's simulator, one process a layer, in workers with an environment of their own.

    Args:
        workers: side by side, at most one a sample; default: SNNDEPLOY_LAVA_WORKERS, or as many as
            there are cores, with 32 samples or more to each.
        memory_bytes: what all of them may hold together; default: SNNDEPLOY_LAVA_MEMORY_BYTES, or
            three quarters of the machine's.
        timeout_s: seconds that a session may spend computing; default: SNNDEPLOY_LAVA_TIMEOUT, or
            as many as its steps need, with a wide margin.
    """

    name = "lava"
    summary = "Intel's Lava: fixed point, Loihi timing, one process a layer"
    streams = True

    def __init__(
        self,
        workers: int | None = None,
        memory_bytes: int | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.options = (workers, memory_bytes, timeout_s)

    def status(self) -> BackendStatus:
        """The versions in the Lava environment, or how to make it."""
        try:
            return BackendStatus(environment.versions(), environment.missing())
        except OSError as error:
            return BackendStatus(missing=f"the Lava environment cannot be read: {error}")

    def install(self, say: Callable[[str], None]) -> None:
        """Make or mend the Lava environment."""
        environment.install(say)

    def most_samples(self, program: Program) -> int:
        """As many as the free shared memory and the memory limit hold; `open` refuses more."""
        return most_samples(program, Settings.of(*self.options).memory_bytes)

    def open(self, program: Program, inputs: Int64Array, steps: int) -> LavaSession:
        """Start workers that hold all samples, ready for the first step.

        Raises:
            DataError: inputs of another shape, or off the input grid.
            DoesNotFitError: weights or membranes exceed the chip's words.
            BackendMissingError: there is no Lava environment.
            WorkerError: a worker did not start.
            InputError: the channels would not fit into the shared memory.
        """
        return self._session(program, inputs, steps)

    def probe(self, program: Program, inputs: Int64Array, steps: int, layer: str) -> Probe:
        """Run all samples, and keep what the neurons of one layer receive and hold.

        Raises:
            As `open` does, and as the steps of its session do.
        """
        session = self._session(program, inputs, steps, layer)
        try:
            return session.probe(layer)
        finally:
            session.close()

    def _session(
        self, program: Program, inputs: Int64Array, steps: int, probe: str = ""
    ) -> LavaSession:
        settings = Settings.of(*self.options)
        missing = environment.missing()
        if missing:
            raise BackendMissingError(missing, where=f"backend '{self.name}'")
        check_fits(program, steps)
        if len(inputs):
            inputs = on_grid(program.network, inputs, "inputs")
        python = environment.environment_python()
        return LavaSession(program, inputs, steps, settings, python, probe)
