"""What stands at both ends of a stock network: the samples, and the records of what happened.

Records are files in memory that parent and worker share. `late` is the step at which a process
sees what belongs to the first step of the first sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort, RefPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class Frames(AbstractProcess):  # type: ignore[misc]
    """Sends each sample at each of its steps, one sample after the other; then zeros.

    Args:
        samples: (N, *shape), or step by step (N, F, *shape) with F up to `steps`.
        steps: of a sample.
        per_step: whether samples come step by step.
    """

    def __init__(self, samples: np.ndarray[Any, Any], steps: int, per_step: bool) -> None:
        super().__init__(samples=samples, steps=steps, per_step=per_step)
        self.s_out = OutPort(samples.shape[1 + per_step :])


@implements(proc=Frames, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FramesModel(PyLoihiProcessModel):  # type: ignore[misc]
    """Graded values."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.samples: np.ndarray[Any, Any] = proc_params["samples"]
        self.steps, self.per_step = proc_params["steps"], proc_params["per_step"]

    def run_spk(self) -> None:
        """The frame of this step."""
        self.s_out.send(self.frame(*divmod(self.time_step - 1, self.steps)))

    def frame(self, sample: int, step: int) -> Any:
        """What comes in at 0-based `step` of a sample."""
        if sample < len(self.samples):
            if not self.per_step:
                return self.samples[sample]
            if step < self.samples.shape[1]:
                return self.samples[sample, step]
        return np.zeros_like(self.samples[0, 0] if self.per_step else self.samples[0])


class Spikes(AbstractProcess):  # type: ignore[misc]
    """Keeps what a layer emits in `record`, (steps, *shape)."""

    def __init__(self, record: np.ndarray[Any, Any], late: int) -> None:
        super().__init__(record=record, late=late)
        self.a_in = InPort(record.shape[1:])


@implements(proc=Spikes, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SpikesModel(PyLoihiProcessModel):  # type: ignore[misc]
    """In the step in which the layer sends them."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.record, self.late = proc_params["record"], proc_params["late"]

    def run_spk(self) -> None:
        """Take in one step."""
        spikes, step = self.a_in.recv(), self.time_step - self.late
        if 0 <= step < len(self.record):
            self.record[step] = spikes


class Membranes(AbstractProcess):  # type: ignore[misc]
    """Keeps the membranes of a layer in `record`, (steps, *shape)."""

    def __init__(self, record: np.ndarray[Any, Any], late: int, watched: Var) -> None:
        super().__init__(record=record, late=late)
        self.state = RefPort(watched.shape)
        self.state.connect_var(watched)
        self._post_init()


@implements(proc=Membranes, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class MembranesModel(PyLoihiProcessModel):  # type: ignore[misc]
    """Read when all spikes of a step have been dealt with."""

    state: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.record, self.late = proc_params["record"], proc_params["late"]

    def post_guard(self) -> bool:
        """At each step."""
        return True

    def run_post_mgmt(self) -> None:
        """Read one step."""
        membranes, step = self.state.read(), self.time_step - self.late
        if 0 <= step < len(self.record):
            self.record[step] = membranes
