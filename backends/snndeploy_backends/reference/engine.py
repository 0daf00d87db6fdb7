"""The reference engine: the judge's integers, computed by fast kernels, on CPU or GPU.

Currents are integers held in float32 or float64; membranes, which add them up for many steps, are
int32 in compiled loops, else floats too. Range analysis proves beforehand that no sum leaves the
integers which the type holds exactly, so nothing is rounded and nothing wraps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from snndeploy.backend import BackendStatus, Folded, Probe
from snndeploy.errors import BackendMissingError, InputError
from snndeploy.linear_ops import per_channel
from snndeploy.nodes import Neuron
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy_backends.devices import usable_device
from snndeploy_backends.reference import gather, kernels, scan
from snndeploy_backends.reference.folded import fold
from snndeploy_backends.reference.kernels import LinearKind
from snndeploy_backends.reference.plan import Options, default_memory
from snndeploy_backends.reference.scan import ScanKind
from snndeploy_backends.reference.session import EngineSession

_ALL = 1 << 62
"""No limit but memory on the samples that a GPU takes at a time."""


class Reference:
    """The reference engine, as a backend.

    The arguments leave the spikes as they are; by default each is chosen for this machine.

    Args:
        linear: "int8" or "float" kernels for the synapses, or "matmul": matrix products in the
            narrowest exact type, for a GPU.
        scan: "numba" or "torch" for the loop over time.
        workers: threads; default those of PyTorch; one drives a GPU.
        memory: bytes that a run without a controller may use beside weights, inputs, and spikes
            that are asked for; default the environment's SNNDEPLOY_MEMORY_BYTES, else a quarter
            of what is free, on a GPU half of it.
        below: the share of neurons firing below which spikes are visited one by one, by numba,
            in place of a dense product; 0 for never, infinite for always, default measured.
        ahead: steps times samples that are computed at once, within bounds, where a controller
            drives.
        device: `cpu` or `cuda`; default the environment's SNNDEPLOY_DEVICE, else `cpu`.
    """

    name = "reference"
    summary = "integer-exact PyTorch engine on CPU or GPU, the default"
    streams = True

    def __init__(
        self,
        linear: LinearKind | None = None,
        scan: ScanKind | None = None,
        workers: int | None = None,
        memory: int | None = None,
        below: float | None = None,
        ahead: int = 32,
        device: str | None = None,
    ) -> None:
        self.linear, self.scan, self.workers, self.memory = linear, scan, workers, memory
        self.below, self.ahead, self.device = below, ahead, device

    def status(self) -> BackendStatus:
        """PyTorch's version and the device; PyTorch is there, the device may be missing."""
        versions = {"torch": torch.__version__}
        try:
            return BackendStatus(versions | {"device": usable_device(self.device, self.name)})
        except (BackendMissingError, InputError) as error:
            return BackendStatus(versions, f"{error.problem}; {error.remedy}")

    def open(self, program: Program, inputs: Int64Array, steps: int) -> EngineSession:
        """Start a session that is exact for at most `steps` steps.

        Raises:
            InputError: a device that there is not, or kernels that it does not have.
            BackendMissingError: no GPU is there.
        """
        session = EngineSession(program, steps, self._options())
        session.admit(inputs)
        return session

    def drive(self, program: Program, steps: int, record: bool) -> EngineSession:
        """Start a session that computes as many steps ahead as its driver asks for.

        Raises:
            InputError: a device that there is not, or kernels that it does not have.
            BackendMissingError: no GPU is there.
        """
        return EngineSession(program, steps, self._options(), record)

    def fold(self, program: Program, inputs: Int64Array, steps: int, record: bool) -> list[Folded]:
        """Run layer by layer, without a controller: the same spikes, several times faster."""
        return fold(program, inputs, steps, record, self._options())

    def probe(self, program: Program, inputs: Int64Array, steps: int, layer: str) -> Probe:
        """Step by step, reading the engine's own membranes; currents are what moved them.

        A hard reset leaves no trace of the current, which then is read where it is added.
        """
        hard = program.network.reset == "hard"
        options = replace(self._options(), ahead=1)
        session = EngineSession(program, steps, options, watch=layer if hard else "")
        session.admit(inputs)
        spikes, currents, membranes = [], [], [session.membrane(layer)]
        try:
            for _ in range(steps):
                spikes.append(session.step().spikes[layer])
                membranes.append(session.membrane(layer))
                if hard:
                    currents.append(session.last_current())
        finally:
            session.close()
        fired, held = np.stack(spikes, 1), np.stack(membranes, 1)
        if hard:
            return Probe(np.stack(currents, 1), held, fired)
        node = program.network.by_name[layer]
        assert isinstance(node, Neuron)
        theta = per_channel(node.threshold, held.ndim - 1)[:, None]
        return Probe(np.diff(held, axis=1) + theta * fired, held, fired)

    def _options(self) -> Options:
        device = usable_device(self.device, self.name)
        if device != "cpu":
            return self._gpu_options(device)
        loops = self.scan or scan.available()
        below = self.below
        if below is None:
            below = gather.worthwhile() if loops == "numba" else 0.0
        return Options(
            linear=self.linear or kernels.available(),
            scan=loops,
            workers=self.workers or torch.get_num_threads(),
            memory=self.memory or default_memory(),
            below=below,
            ahead=self.ahead,
        )

    def _gpu_options(self, device: str) -> Options:
        if self.linear == "int8" or self.scan == "numba":
            raise InputError(
                "int8 kernels and numba loops are for the CPU",
                where=f"backend '{self.name}', device '{device}'",
                remedy="leave linear and scan out; int8 matrix products are used where exact",
            )
        memory = self.memory or default_memory(device)
        return Options(
            linear=self.linear or "matmul",
            scan="torch",
            workers=1,
            memory=memory,
            rows=_ALL,
            piece=memory // 8,
            ahead=self.ahead,
            device=device,
        )
