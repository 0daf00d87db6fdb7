"""The reference engine: the same integers as the judge, in PyTorch floating point.

Every value is an integer held in float32 or float64. Range analysis proves beforehand that no
sum leaves the integers which the type holds exactly, so rounding cannot occur.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snndeploy.backend import BackendStatus, Folded, Step
from snndeploy.layers import Projection
from snndeploy.nodes import (
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool2d,
)
from snndeploy.numerics import BoolArray, Int64Array, window_share
from snndeploy.program import Program
from snndeploy_backends.exact_floats import exact_dtype, exact_kernels
from snndeploy_backends.reference import kernels, scan
from snndeploy_backends.reference.folded import fold
from snndeploy_backends.reference.kernels import LinearKind
from snndeploy_backends.reference.plan import Options, default_memory
from snndeploy_backends.reference.scan import ScanKind


class EngineSession:
    """A batch on the reference engine, one logical step at a time."""

    def __init__(self, program: Program, inputs: Int64Array, steps: int) -> None:
        self.layers, self.network = program.layers, program.network
        self.exact, self.time = self.network.mode == "exact", 0
        self.dtype = exact_dtype(self.network, steps)
        self.paths = {
            layer.name: [(p.source, _linear(p, self.dtype)) for p in layer.projections]
            for layer in self.layers
        }
        rows = len(inputs)
        self.theta: dict[str, Tensor] = {}
        self.membrane: dict[str, Tensor] = {}
        self.count: dict[str, Tensor] = {}
        for layer in self.layers[1:]:
            zeros = torch.zeros((rows, *layer.shape), dtype=self.dtype)
            self.count[layer.name], self.membrane[layer.name] = zeros, zeros.clone()
            if isinstance(layer.node, Neuron):
                self.theta[layer.name] = self._channels(layer.node.threshold, zeros.ndim)
                self.membrane[layer.name] += self._channels(layer.node.v0, zeros.ndim)
        self.constant = self._constant_currents(torch.from_numpy(inputs).to(self.dtype))

    @torch.inference_mode()
    @exact_kernels()
    def step(self) -> Step:
        """Advance by one logical step."""
        injecting = not self.exact or self.time < self.network.window
        spikes: dict[str, Tensor] = {}
        for layer in self.layers[1:]:
            name, node = layer.name, layer.node
            if isinstance(node, MaxPool2d):
                spikes[name] = self._pool(name, node, layer.projections[0].source)
                continue
            current = torch.zeros_like(self.membrane[name])
            for source, linear in self.paths[name]:
                if source in spikes:
                    current += linear(spikes[source])
            if injecting:
                current += self._injected(name, node)
            v = self.membrane[name].add_(current)
            if isinstance(node, Neuron):
                spikes[name] = self._fire(name, v, node.levels)
        self.time += 1
        logits = self.membrane[self.layers[-1].name].numpy().astype(np.int64)
        return Step(logits, {k: v.to(torch.int8).numpy() for k, v in spikes.items()})

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of the samples; the others leave the batch."""
        mask = torch.from_numpy(rows)
        for state in (self.membrane, self.count, self.constant):
            for name, value in state.items():
                state[name] = value[mask]

    def close(self) -> None:
        """Drop the state."""
        self.membrane, self.count, self.constant = {}, {}, {}

    def _fire(self, name: str, v: Tensor, levels: int) -> Tensor:
        n, theta = self.count[name], self.theta[name]
        if self.exact:
            up = (v >= theta) & (n < levels)
            spikes = up.to(self.dtype) - ((v < 0) & (n > 0)).to(self.dtype)
        else:
            spikes = (v >= theta).to(self.dtype)
        v -= theta * spikes
        n += spikes
        return spikes

    def _pool(self, name: str, node: MaxPool2d, source: str) -> Tensor:
        pooled = F.max_pool2d(self.count[source], node.kernel, node.stride, node.padding)
        spikes = pooled - self.count[name]
        self.count[name] = pooled
        return spikes

    def _injected(self, name: str, node: Node) -> Tensor:
        """The analog input's current, constant, and this step's share of the bias."""
        assert isinstance(node, Neuron | Output) and node.bias is not None
        share = window_share(node.bias, self.time, self.network.window)
        bias = self._channels(share, self.membrane[name].ndim)
        return bias + self.constant[name] if name in self.constant else bias

    @torch.inference_mode()
    @exact_kernels()
    def _constant_currents(self, inputs: Tensor) -> dict[str, Tensor]:
        source_name = self.layers[0].name
        currents: dict[str, Tensor] = {}
        for name, paths in self.paths.items():
            for source, linear in paths:
                if source == source_name:
                    value = linear(inputs)
                    currents[name] = currents[name] + value if name in currents else value
        return currents

    def _channels(self, values: Int64Array, ndim: int) -> Tensor:
        return torch.from_numpy(values).to(self.dtype).view(1, -1, *(1,) * (ndim - 2))


def _linear(projection: Projection, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The projection as one function on tensors (N, *shape)."""
    stages = [_stage(op, dtype) for op in projection.ops]

    def apply(x: Tensor) -> Tensor:
        for stage in stages:
            x = stage(x)
        return x

    return apply


def _stage(op: Node, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    if isinstance(op, Flatten):
        return lambda x: x.flatten(1)
    if isinstance(op, SumPool2d):
        return lambda x: F.avg_pool2d(x, op.kernel, op.stride, op.padding, divisor_override=1)
    assert isinstance(op, Conv2d | Linear | Scale)
    weight = torch.from_numpy(op.weight).to(dtype)
    if isinstance(op, Linear):
        return lambda x: F.linear(x, weight)
    if isinstance(op, Scale):
        return lambda x: x * weight.view(1, -1, *(1,) * (x.ndim - 2))
    return lambda x: F.conv2d(x, weight, None, op.stride, op.padding, op.dilation, op.groups)


class Reference:
    """The reference engine, as a backend.

    The arguments leave the spikes as they are; by default each is chosen for this machine.

    Args:
        linear: "int8" or "float" kernels for the synapses.
        scan: "numba" or "torch" for the loop over time.
        workers: threads; default those of PyTorch.
        memory: bytes that a run without a controller may use beside weights, inputs and results;
            default the environment's SNNDEPLOY_MEMORY_BYTES, else a quarter of what is free.
    """

    name = "reference"
    summary = "integer-exact PyTorch engine, the default"
    streams = True

    def __init__(
        self,
        linear: LinearKind | None = None,
        scan: ScanKind | None = None,
        workers: int | None = None,
        memory: int | None = None,
    ) -> None:
        self.linear, self.scan, self.workers, self.memory = linear, scan, workers, memory

    def status(self) -> BackendStatus:
        """Always available: PyTorch is a dependency."""
        return BackendStatus({"torch": torch.__version__})

    def open(self, program: Program, inputs: Int64Array, steps: int) -> EngineSession:
        """Start a session that is exact for at most `steps` steps."""
        return EngineSession(program, inputs, steps)

    def fold(self, program: Program, inputs: Int64Array, steps: int, record: bool) -> list[Folded]:
        """Run layer by layer, without a controller: the same spikes, several times faster."""
        options = Options(
            linear=self.linear or kernels.available(),
            scan=self.scan or scan.available(),
            workers=self.workers or torch.get_num_threads(),
            memory=self.memory or default_memory(),
        )
        return fold(program, inputs, steps, record, options)
