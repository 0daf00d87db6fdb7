"""The synapses that all PyTorch simulators share; each brings its neurons.

A setting is a string of words:
    layers         layer by layer: one convolution over all steps, then the neurons step by step
    steps          step by step: all layers at each
    channels-last  values lie in memory as (N, H, W, C), which the neurons do not notice
    compiled       one step of the neurons goes through torch.compile
The first layer's current is constant and computed once. Weights are float32, which holds every
sum that occurs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
import torch
import torch._dynamo
import torch.nn.functional as F
from description import Op
from torch import Tensor

from peers.spikes import SpikeRecord

torch._dynamo.config.recompile_limit = 1_000  # type: ignore[attr-defined]

Words = frozenset[str]

SETTINGS = (
    "layers",
    "layers channels-last",
    "layers compiled",
    "layers channels-last compiled",
    "steps",
    "steps channels-last",
    "steps compiled",
    "steps channels-last compiled",
)


class Population(Protocol):
    """A layer's neurons: they fire at `v >= threshold` and subtract that."""

    def rest(self) -> None:
        """Go back to the initial membrane, and free the one there is."""
        ...

    def __call__(self, current: Tensor) -> Tensor:
        """Spikes of currents: of one step (N, *shape), or of all of them in setting `layers`."""
        ...


class TorchSimulator(ABC):
    """A simulator whose neurons work on PyTorch tensors; a subclass brings `population`.

    Attributes:
        packages: those whose versions count.
        time_axis: where the neurons expect the steps in setting `layers`, 0 or 1.
    """

    packages: Sequence[str] = ()
    settings: Sequence[str] = ()
    time_axis = 0

    @abstractmethod
    def population(self, threshold: float, v0: float, words: Words) -> Population:
        """Neurons that start at `v0`."""

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in (*self.packages, "torch")}

    def load(self, ops: list[Op], setting: str) -> None:
        words = frozenset(setting.split())
        self.ops, self.layered, self.last = ops, "layers" in words, "channels-last" in words
        self.last_use = {source: op.name for op in ops for source in op.sources}
        self.synapses = {op.name: _synapses(op, self.last) for op in ops}
        self.neurons = {}
        for op in ops:
            if op.kind == "Neuron":
                theta, v0 = int(op.arrays["threshold"][0]), int(op.arrays["v0"][0])
                if (op.arrays["threshold"] != theta).any() or (op.arrays["v0"] != v0).any():
                    raise ValueError(f"{op.name}: one threshold a layer is all that is handled")
                self.neurons[op.name] = self.population(float(theta), float(v0), words)

    def prepare(self, images: np.ndarray[Any, Any], steps: int) -> None:
        self.steps = steps
        self.x = torch.from_numpy(images).float()
        if self.last:
            self.x = self.x.permute(0, 2, 3, 1).contiguous()

    @torch.inference_mode()
    def run(self, record: SpikeRecord | None) -> np.ndarray[Any, Any]:
        run = self._run_layers if self.layered else self._run_steps
        logits = run(self._constant(), record)
        for neurons in self.neurons.values():
            neurons.rest()
        return logits.numpy()

    def _constant(self) -> dict[str, Tensor]:
        """What depends on the images alone, (N, *shape)."""
        values = {op.name: self.x for op in self.ops if op.kind == "Input"}
        for op in self.ops:
            linear = op.kind not in ("Input", "Neuron", "Output")
            if linear and all(source in values for source in op.sources):
                values[op.name] = self.synapses[op.name](*(values[s] for s in op.sources))
        return values

    def _run_layers(self, constant: dict[str, Tensor], record: SpikeRecord | None) -> Tensor:
        """Values are (T * N, *shape), or (N * T, *shape) if `time_axis` is 1."""
        axis, rows = self.time_axis, len(self.x)
        fold = (rows, self.steps) if axis else (self.steps, rows)
        values: dict[str, Tensor] = {}
        for op in self.ops:
            if op.name in constant:
                continue
            source = op.sources[0]
            if op.kind == "Output":
                return values[source].unflatten(0, fold).sum(axis)
            if op.kind == "Neuron":
                if source in constant:
                    current = constant[source].unsqueeze(axis)
                    current = current.expand(*fold, *current.shape[2:])
                else:
                    current = values[source].unflatten(0, fold)
                spikes = self.neurons[op.name](current)
                if record is not None:
                    record.add(op.name, self._plain(spikes.transpose(0, 1) if axis else spikes))
                values[op.name] = spikes.flatten(0, 1)
                del current, spikes
            else:
                values[op.name] = self.synapses[op.name](*(values[s] for s in op.sources))
            for source in op.sources:
                if self.last_use[source] == op.name:
                    values.pop(source, None)
        raise ValueError("the network has no readout")

    def _run_steps(self, constant: dict[str, Tensor], record: SpikeRecord | None) -> Tensor:
        total = torch.zeros(())
        for _ in range(self.steps):
            values = dict(constant)
            for op in self.ops:
                if op.name in constant:
                    continue
                if op.kind == "Output":
                    total = total + values[op.sources[0]]
                elif op.kind == "Neuron":
                    spikes = self.neurons[op.name](values[op.sources[0]])
                    values[op.name] = spikes
                    if record is not None:
                        record.add(op.name, self._plain(spikes.unsqueeze(0)))
                else:
                    values[op.name] = self.synapses[op.name](*(values[s] for s in op.sources))
        return total

    def _plain(self, spikes: Tensor) -> np.ndarray[Any, Any]:
        """(steps, N, *shape) with the channels first, as bytes."""
        first = spikes.movedim(-1, 2) if self.last and spikes.ndim == 5 else spikes
        return first.to(torch.uint8).numpy()


def _synapses(op: Op, last: bool) -> Any:
    """A function on (n, *shape), the channels where the setting has them."""
    if op.kind == "Flatten":
        return lambda x: (x.permute(0, 3, 1, 2) if last else x).flatten(1)
    if op.kind == "Add":
        return lambda x, *others: sum(others, x)
    if op.kind == "SumPool2d":
        kernel, stride = op.options["kernel"], op.options["stride"]
        return _image(lambda x: F.avg_pool2d(x, kernel, stride, divisor_override=1), last)
    if op.kind in ("Input", "Neuron", "Output"):
        return None
    weight = torch.from_numpy(op.arrays["weight"]).float()
    if op.kind == "Linear":
        return lambda x: F.linear(x, weight)
    if op.kind == "Scale":
        factor = weight if last else weight.view(-1, 1, 1)
        return lambda x: x * factor
    if last:
        weight = weight.contiguous(memory_format=torch.channels_last)
    stride, padding = op.options["stride"], op.options["padding"]
    return _image(lambda x: F.conv2d(x, weight, None, stride, padding), last)


def _image(function: Any, last: bool) -> Any:
    """The function on images, seen with the channels first wherever they lie in memory."""
    if not last:
        return function
    return lambda x: function(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
