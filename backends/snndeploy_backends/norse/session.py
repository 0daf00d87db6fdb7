"""A batch on Norse: the graph module called once a step, spikes collected by hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snndeploy.backend import Probe, Step
from snndeploy.numerics import BoolArray, Int64Array
from snndeploy.program import Program
from snndeploy_backends.exact_floats import chosen_dtype, exact_kernels
from snndeploy_backends.norse.mapping import PREFIX, to_torch


class NorseSession:
    """One batch, one logical step at a time.

    Attributes:
        module: the graph module that nirtorch built; its neurons are Norse `SNNCell`s.
    """

    def __init__(
        self, program: Program, inputs: Int64Array, steps: int, device: str, dtype: str | None
    ) -> None:
        self.program, self.time = program, 0
        chosen = chosen_dtype(program.network, steps, dtype)
        self.module = to_torch(program.network, chosen, device)
        self.inputs = torch.from_numpy(inputs).to(device=device, dtype=chosen)
        self.state: dict[str, Any] | None = None
        self.spikes: dict[str, Tensor] = {}
        for layer in program.spiking:
            cell = self.module.get_submodule(PREFIX + layer.name)
            cell.register_forward_hook(self._collector(layer.name))

    @torch.inference_mode()
    def step(self) -> Step:
        """Advance by one logical step."""
        x = self._stimulus()
        with exact_kernels():
            membrane, self.state = self.module(x, self.state)
        self.time += 1
        spikes = {
            layer.name: self.spikes[layer.name].to(torch.int8).cpu().numpy()
            for layer in self.program.spiking
        }
        return Step(membrane.cpu().numpy().astype(np.int64), spikes)

    def _stimulus(self) -> Tensor:
        """As `Network.stimulus`, on the device."""
        network, t = self.program.network, self.time
        if network.input.per_step:
            frames = self.inputs.shape[1]
            return self.inputs[:, t] if t < frames else torch.zeros_like(self.inputs[:, 0])
        return self.inputs if network.injects(t) else torch.zeros_like(self.inputs)

    def probe(self, layer: str, steps: int) -> Probe:
        """From the start, advance by `steps` steps and keep what one layer's cell holds."""
        cell: Any = self.module.get_submodule(PREFIX + layer)
        currents: list[Tensor] = []
        membranes: list[Tensor] = []

        def collect(_module: nn.Module, inputs: Any, output: Any) -> None:
            state = output[1]
            if not membranes:
                membranes.append(cell.p.v0.expand_as(state.v))
            currents.append(cell.p.bias.inject(inputs[0], state.t - 1))
            membranes.append(state.v)

        handle = cell.register_forward_hook(collect)
        spikes = [self.step().spikes[layer] for _ in range(steps)]
        handle.remove()
        return Probe(_stacked(currents), _stacked(membranes), np.stack(spikes, axis=1))

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of the samples; the others leave every state."""
        mask = torch.from_numpy(rows).to(self.inputs.device)
        self.inputs = self.inputs[mask]
        self.state = _kept(self.state, mask)

    def close(self) -> None:
        """Drop the state and the last spikes."""
        self.state, self.spikes = None, {}

    def _collector(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def collect(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self.spikes[name] = output[0]

        return collect


def _stacked(rows: list[Tensor]) -> Int64Array:
    """(n, *shape) each, as (n, T, *shape)."""
    stacked: Int64Array = torch.stack(rows, dim=1).cpu().numpy().astype(np.int64)
    return stacked


def _kept(state: Any, mask: Tensor) -> Any:
    """The rows of every tensor in nested dictionaries and named tuples."""
    if isinstance(state, Tensor):
        return state[mask]
    if isinstance(state, dict):
        return {name: _kept(value, mask) for name, value in state.items()}
    if isinstance(state, tuple):
        return type(state)(*(_kept(value, mask) for value in state))
    return state
