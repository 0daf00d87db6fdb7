"""One Lava process a layer. The work is in each process's `Stage`; here are ports and phases.

In the spiking phase a process first sends what it computed in the step before, then receives:
so no process ever waits for one that waits for it, and a spike takes one step a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from snndeploy_backends.lava.worker.pipeline import Stage


class _LayerProcess(AbstractProcess):  # type: ignore[misc]
    """A layer with one in-port a projection, `in_0`, `in_1` .., and an out-port unless it ends.

    Args:
        stage: the layer's state and clock.
        sources: the silent message of each projection's source, for its size and type.
    """

    sends = True

    def __init__(self, stage: Stage, sources: Sequence[np.ndarray[Any, Any]]) -> None:
        types = [message.dtype.type for message in sources]
        super().__init__(name=stage.name, stage=stage, types=types)
        self.types = types
        for index, message in enumerate(sources):
            setattr(self, f"in_{index}", InPort(message.shape))
        if self.sends:
            self.out = OutPort(stage.silence.shape)


class SourceProcess(_LayerProcess):
    """Injects the samples."""


class NeuronProcess(_LayerProcess):
    """Integrate-and-fire neurons with soft reset."""


class PoolProcess(_LayerProcess):
    """A max-pool on counts."""


class ReadoutProcess(_LayerProcess):
    """Integrates and never fires."""

    sends = False


class _LayerModel(PyLoihiProcessModel):  # type: ignore[misc]
    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.stage: Stage = proc_params["stage"]
        self.sources = [f"in_{i}" for i in range(len(proc_params["types"]))]
        self.message = self.stage.silence

    def run_spk(self) -> None:
        self.send(self.message)
        self.message = self.stage.advance([getattr(self, name).recv() for name in self.sources])

    def send(self, message: np.ndarray[Any, Any]) -> None:
        self.out.send(message)


@implements(proc=SourceProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SourceModel(_LayerModel):
    """Graded values, as the analog first layer receives them."""

    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)


@implements(proc=NeuronProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class NeuronModel(_LayerModel):
    """Spikes of -1, 0 and +1."""

    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int8)


@implements(proc=PoolProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PoolModel(_LayerModel):
    """Changes of a maximum: -1, 0 and +1."""

    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int8)


@implements(proc=ReadoutProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ReadoutModel(_LayerModel):
    """Sends nothing."""

    def send(self, message: np.ndarray[Any, Any]) -> None:
        """Drop the message."""


class LayerConfig(Loihi2SimCfg):  # type: ignore[misc]
    """Selects the fixed-point models and gives each as many in-ports as its process has.

    Lava reads the ports of a model off its class, and a layer may have any number of them.
    """

    def __init__(self) -> None:
        super().__init__(select_tag="fixed_pt")

    def select(self, proc: _LayerProcess, proc_models: list[type]) -> type:
        """The model of one process, with a port for each of its projections."""
        model = super().select(proc, proc_models)
        ports = {
            f"in_{index}": LavaPyType(PyInPort.VEC_DENSE, kind)
            for index, kind in enumerate(proc.types)
        }
        return type(model.__name__, (model,), ports)
