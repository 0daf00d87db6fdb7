"""One Lava process a layer. The work is in each process's `Stage`; here are ports and phases.

In the spiking phase a process first sends what it computed in the step before, then receives:
so no process ever waits for one that waits for it, and a spike takes one step a layer.

A signed spike is one graded message of -1, 0 or +1; or, where the target has no signs, one of two
spikes without a sign, on a channel each. The second channel's synapses have the first one's weights
negated: `W p + (-W) m`, which the receiver computes as `W (p - m)`.
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

from snndeploy_backends.lava.worker.stage import Stage


class _LayerProcess(AbstractProcess):  # type: ignore[misc]
    """A layer with its in-ports, `in_0`, `in_1` .., one a source, and its out-port `out`.

    Where signs are paired, `out` and `in_0` carry +1, and `out_minus` and `in_0_minus` -1.

    Args:
        stage: the layer's state and clock.
        sources: the processes that send to this one.
        paired: whether each sign has a channel of its own.
    """

    signed, sends = True, True

    def __init__(self, stage: Stage, sources: Sequence[_LayerProcess], paired: bool) -> None:
        self.stage = stage
        self.types: dict[str, Any] = {}
        self.sent = _names("out", paired and self.signed) if self.sends else []
        self.heard = {
            source.stage.name: _names(f"in_{index}", len(source.sent) > 1)
            for index, source in enumerate(sources)
        }
        super().__init__(name=stage.name, stage=stage, sent=self.sent, heard=self.heard)
        for name in self.sent:
            self._add(name, OutPort, PyOutPort, stage.silence)
        for source in sources:
            for name in self.heard[source.stage.name]:
                self._add(name, InPort, PyInPort, source.stage.silence)

    def connect(self, sources: Sequence[_LayerProcess]) -> None:
        """Connect the in-ports to those processes."""
        for source in sources:
            for theirs, ours in zip(source.sent, self.heard[source.stage.name], strict=True):
                getattr(source, theirs).connect(getattr(self, ours))

    def _add(self, name: str, port: Any, model_port: Any, message: np.ndarray[Any, Any]) -> None:
        setattr(self, name, port(message.shape))
        self.types[name] = LavaPyType(model_port.VEC_DENSE, message.dtype.type)


class SourceProcess(_LayerProcess):
    """Injects the samples, as graded values."""

    signed = False


class NeuronProcess(_LayerProcess):
    """Integrate-and-fire neurons."""


class PoolProcess(_LayerProcess):
    """A max-pool on counts."""


class ReadoutProcess(_LayerProcess):
    """Integrates and never fires."""

    sends = False


class _LayerModel(PyLoihiProcessModel):  # type: ignore[misc]
    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.stage: Stage = proc_params["stage"]
        self.sent: list[str] = proc_params["sent"]
        self.heard: dict[str, list[str]] = proc_params["heard"]

    def run_spk(self) -> None:
        """One physical step."""
        message = self.stage.outgoing()
        parts = [message > 0, message < 0] if len(self.sent) > 1 else [message][: len(self.sent)]
        for name, part in zip(self.sent, parts, strict=True):
            getattr(self, name).send(part)
        self.stage.advance({name: self._received(ports) for name, ports in self.heard.items()})

    def _received(self, names: list[str]) -> Any:
        first, *second = (getattr(self, name).recv() for name in names)
        return first - second[0] if second else first


@implements(proc=SourceProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SourceModel(_LayerModel):
    """Graded values, as the analog first layer receives them."""


@implements(proc=NeuronProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class NeuronModel(_LayerModel):
    """Spikes of -1, 0 and +1."""


@implements(proc=PoolProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PoolModel(_LayerModel):
    """Changes of a maximum: -1, 0 and +1."""


@implements(proc=ReadoutProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ReadoutModel(_LayerModel):
    """Sends nothing."""


class LayerConfig(Loihi2SimCfg):  # type: ignore[misc]
    """Selects the fixed-point models and gives each the ports that its process has.

    Lava reads the ports of a model off its class, and a layer may have any number of them.
    """

    def __init__(self) -> None:
        super().__init__(select_tag="fixed_pt")

    def select(self, proc: _LayerProcess, proc_models: list[type]) -> type:
        """The model of one process, with a port for each of its own."""
        model = super().select(proc, proc_models)
        return type(model.__name__, (model,), dict(proc.types))


def _names(port: str, pairs: bool) -> list[str]:
    return [port, f"{port}_minus"] if pairs else [port]
