"""Foreign NIR graphs on Norse: its own cells, with parameters that make them mean what NIR says.

`norse.torch.from_nir` drops LI, I, Scale, Threshold, Delay and AvgPool2d without a word, ignores
`r` and `v_reset`, and lets the synapses of a CubaLIF leak as its membranes do. So modules are made
here:

    LIF      LIFBoxCell on r * x
    LI       LIBoxCell on r * x
    CubaLIF  LIBoxCell on w_in * x, LIFBoxCell on r times that
    CubaLI   LIBoxCell on w_in * x, LIBoxCell on r times that
    IF       IAFCell on dt * r * x; it knows no dt itself
    I        an SNNCell that adds up dt * r * x
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snndeploy.backend import Response
from snndeploy.nirfile import ForeignGraph, ForeignNode
from snndeploy.nodes import Array
from snndeploy.numerics import FloatArray
from snndeploy_backends.exact_floats import dtype_named, exact_kernels
from snndeploy_backends.norse.cells import Multiply

with warnings.catch_warnings():
    # Norse 1.1 scripts functions when it is imported, which PyTorch 2.13 deprecates.
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
    from norse.torch import SequentialState
    from norse.torch.functional.heaviside import heaviside
    from norse.torch.module.iaf import IAFCell, IAFFeedForwardState, IAFParameters
    from norse.torch.module.leaky_integrator_box import LIBoxCell, LIBoxParameters, LIBoxState
    from norse.torch.module.lif_box import LIFBoxCell, LIFBoxFeedForwardState, LIFBoxParameters
    from norse.torch.module.snn import SNNCell


@torch.no_grad()
def respond(
    graph: ForeignGraph, inputs: FloatArray, record: bool, device: str, dtype: str
) -> Response:
    """Simulate (n, T, *input shape) in float32 or float64."""
    kind = dtype_named(dtype)
    network = ForeignNetwork(graph, device, kind)
    x = torch.from_numpy(inputs).to(device, kind)
    outputs: list[Tensor] = []
    spikes: dict[str, list[Tensor]] = {node.name: [] for node in graph.spiking}
    events: dict[str, list[Tensor]] = {node.name: [] for node in graph.spiking}
    with exact_kernels():
        for t in range(x.shape[1]):
            now = network.step(x[:, t])
            outputs.append(now[graph.output])
            for name, rows in events.items():
                rows.append(torch.count_nonzero(now[name].flatten(1), dim=1))
                if record:
                    spikes[name].append(now[name].to(torch.int8))
    return Response(
        _stacked(outputs).astype(np.float64),
        {name: _stacked(rows) for name, rows in spikes.items()} if record else {},
        {name: _stacked(rows) for name, rows in events.items()},
    )


class ForeignNetwork:
    """A graph of modules, one a node, advanced step by step.

    Attributes:
        modules: by name; those of neurons are Norse's cells in a `SequentialState`.
    """

    def __init__(self, graph: ForeignGraph, device: str, dtype: torch.dtype) -> None:
        self.graph = graph
        made = {n.name: _made(n, graph.dt, device, dtype) for n in graph.nodes}
        self.modules: dict[str, Any] = {name: module for name, (module, _) in made.items()}
        self.states = {name: state for name, (_, state) in made.items()}
        self.before: dict[str, Tensor] = {}

    def step(self, x: Tensor) -> dict[str, Tensor]:
        """What every node emits, given the input (n, *shape)."""
        self.before = self.before or self._rest(x)
        now: dict[str, Tensor] = {}
        for node in self.graph.nodes:
            if node.kind == "Input":
                now[node.name] = x
            elif node.holds_back:
                now[node.name] = self.modules[node.name].out(len(x))
            else:
                now[node.name] = self._advanced(node, self._received(node, now))
        for node in self.graph.nodes:
            if node.holds_back:
                self.modules[node.name].take(self._received(node, now))
        self.before = now
        return now

    def _rest(self, x: Tensor) -> dict[str, Tensor]:
        """What every node emitted before the first step."""
        now: dict[str, Tensor] = {}
        for node in self.graph.nodes:
            if node.resting is None:
                now[node.name] = self.modules[node.name](self._received(node, now))
            else:
                resting = torch.from_numpy(node.resting.copy()).to(x)
                now[node.name] = resting.expand(len(x), *node.shape)
        return now

    def _received(self, node: ForeignNode, now: dict[str, Tensor]) -> Tensor:
        """The sum of what arrives: of this step, and around a cycle of the one before."""
        terms = [now[source] for source in node.sources]
        terms += [self.before[source] for source in node.feedback if source in self.before]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def _advanced(self, node: ForeignNode, x: Tensor) -> Tensor:
        module, state = self.modules[node.name], self.states[node.name]
        if state is None:
            emitted: Tensor = module(x)
            return emitted
        emitted, self.states[node.name] = module(x, state)
        return emitted


class Accumulated(NamedTuple):
    """The membrane of an `Accumulator`."""

    v: Tensor


class Accumulator(SNNCell):  # type: ignore[misc]  # Norse is untyped
    """Adds up what comes in, without a leak."""

    def __init__(self) -> None:
        super().__init__(_accumulate, lambda x: Accumulated(torch.zeros_like(x)), None)


class DelayLine(nn.Module):
    """What was taken in some steps ago, zeros before; each neuron has a delay of its own."""

    steps: Tensor

    def __init__(self, steps: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("steps", steps)
        self.size, self.time, self.dtype = int(steps.max()) + 1, 0, dtype
        self.held: Tensor | None = None

    def take(self, x: Tensor) -> None:
        """The input (n, *shape) of the next step."""
        self._ring(len(x))[self.time % self.size] = x
        self.time += 1

    def out(self, rows: int) -> Tensor:
        """What comes out at the step whose input has not been taken in yet."""
        ring = self._ring(rows)
        places = ((self.time - self.steps) % self.size).expand(1, rows, *self.steps.shape)
        return ring.gather(0, places)[0]

    def forward(self, x: Tensor) -> Tensor:
        """Take in and let out, at one step."""
        self.take(x)
        self.time -= 1
        emitted = self.out(len(x))
        self.time += 1
        return emitted

    def _ring(self, rows: int) -> Tensor:
        if self.held is None:
            shape = (self.size, rows, *self.steps.shape)
            self.held = torch.zeros(shape, dtype=self.dtype, device=self.steps.device)
        return self.held


class Stateless(nn.Module):
    """A node without a state, as `function(x)`."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """(n, *shape) in and out."""
        y: Tensor = self.function(x)
        return y


def _made(
    node: ForeignNode, dt: float, device: str, dtype: torch.dtype
) -> tuple[nn.Module, list[Any] | None]:
    """A node's module, and the state in which it starts."""
    if node.kind == "Delay":
        return DelayLine(torch.from_numpy(node.values["steps"].copy()).to(device), dtype), None
    p = {name: _tensor(value, device, dtype) for name, value in node.values.items()}
    leaky = node.kind in ("LIF", "LI", "CubaLIF", "CubaLI")
    if node.kind in ("CubaLIF", "CubaLI"):
        zeros = torch.zeros_like(p["v_leak"])
        synapse = LIBoxCell(LIBoxParameters(1 / p["tau_syn"], zeros), dt=dt)
        cell, state = _leaky(p, 1 / p["tau_mem"], dt)
        modules = (Multiply(p["w_in"]), synapse, Multiply(p["r"]), cell)
        return SequentialState(*modules), [None, LIBoxState(zeros), None, state]
    if leaky:
        cell, state = _leaky(p, 1 / p["tau"], dt)
        return SequentialState(Multiply(p["r"]), cell), [None, state]
    if node.kind in ("IF", "I"):
        zeros = torch.zeros_like(p["r"])
        cell, state = Accumulator(), Accumulated(zeros)
        if node.kind == "IF":
            cell = IAFCell(IAFParameters(p["v_threshold"], p["v_reset"]), dt)
            state = IAFFeedForwardState(zeros)
        return SequentialState(Multiply(dt * p["r"]), cell), [None, state]
    return Stateless(_function(node, p)), None


def _leaky(p: dict[str, Tensor], rate: Tensor, dt: float) -> tuple[nn.Module, Any]:
    """A leaky integrator that fires if it has a threshold, at rest."""
    if "v_threshold" not in p:
        return LIBoxCell(LIBoxParameters(rate, p["v_leak"]), dt=dt), LIBoxState(p["v_leak"])
    parameters = LIFBoxParameters(rate, p["v_leak"], p["v_threshold"], p["v_reset"])
    return LIFBoxCell(parameters, dt), LIFBoxFeedForwardState(p["v_leak"])


def _function(node: ForeignNode, p: dict[str, Tensor]) -> Any:
    """What a node without a state does to (n, *shape)."""
    top, left, bottom, right = node.pads
    pads = (left, right, top, bottom)
    match node.kind:
        case "Threshold":
            return lambda x: heaviside(x - p["threshold"])
        case "Scale":
            return lambda x: x * p["scale"]
        case "Linear" | "Affine":
            return lambda x: F.linear(x, p["weight"], p.get("bias"))
        case "Flatten":
            return lambda x: x.reshape(len(x), *node.shape)
        case "SumPool2d" | "AvgPool2d":
            kernel, stride = node.pair("kernel"), node.pair("stride")
            divisor = 1 if node.kind == "SumPool2d" else None
            return lambda x: F.avg_pool2d(F.pad(x, pads), kernel, stride, divisor_override=divisor)
        case "Conv1d" | "Conv2d":
            stride, dilation = node.pair("stride"), node.pair("dilation")
            weights = (p["weight"], p["bias"])
            rest = (stride, 0, dilation, int(node.values["groups"][0]))
            return lambda x: F.conv2d(
                F.pad(x.view(len(x), x.shape[1], -1, x.shape[-1]), pads), *weights, *rest
            ).reshape(len(x), *node.shape)
    return lambda x: x


def _accumulate(x: Tensor, state: Accumulated, _p: None, _dt: float) -> tuple[Tensor, Accumulated]:
    v = state.v + x
    return v, Accumulated(v)


def _tensor(value: Array, device: str, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.array(value)).to(device, dtype)


def _stacked(rows: list[Tensor]) -> Any:
    """(n, ...) each, as (n, T, ...)."""
    return torch.stack(rows, dim=1).cpu().numpy()
