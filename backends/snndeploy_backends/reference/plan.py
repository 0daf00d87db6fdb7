"""What the folded engine prepares once per network: packed weights, thresholds, sizes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from snndeploy.errors import InputError
from snndeploy.layers import Layer, Projection
from snndeploy.network import Network
from snndeploy.nodes import Input, MaxPool2d, Neuron, Output, Scale, Shape
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.ranges import LayerRange, ranges
from snndeploy_backends.exact_floats import exact_float, shortened
from snndeploy_backends.reference import kernels, projections, scan
from snndeploy_backends.reference.gather import Gather, gather
from snndeploy_backends.reference.kernels import Map

MEMORY_VARIABLE = "SNNDEPLOY_MEMORY_BYTES"
_MOST_MEMORY = 4 << 30


@dataclass(frozen=True)
class Options:
    """How the folded engine works; none of it changes a spike.

    Attributes:
        linear: integer or floating-point kernels.
        scan: compiled loops over time, or PyTorch's elementwise operations.
        workers: threads.
        memory: bytes that may be used beside weights and inputs.
        rows: the most samples that one thread takes at a time.
        piece: bytes of input current computed before they are scanned.
        below: the share of neurons firing below which spikes are gathered; 0 for never, infinite
            for wherever it can be.
        ahead: steps times samples that a session computes at once, within bounds.
        device: PyTorch's name of where the tensors are.
    """

    linear: kernels.LinearKind
    scan: scan.ScanKind
    workers: int
    memory: int
    rows: int = 16
    piece: int = 2 << 20
    below: float = 0.0
    ahead: int = 32
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer, ready to run.

    Attributes:
        shape: with the channels last.
        dtype: float type of its currents.
        zero: what the bytes of spikes hold for no spike.
        spiking: source and map of each projection from a spiking layer, except
        scaled: source and weights of identity branches, if there is a compiled loop for them.
        gather: in place of one of `spiking`, the one at `gather_index`, where few neurons fire.
        entry: maps of the projections from the input.
        theta: of the membranes' type, per channel, repeated to a block; empty unless neurons.
        v0: likewise, of each neuron.
        bias: int64 (C,), the total over the window; None if it is zero.
        levels: the cap; the largest count that a pool can meet.
        last_use: index of the last layer that reads it.
        nanoseconds: what the sums of one sample and step take one thread, about, if dense.
    """

    layer: Layer
    shape: Shape
    dtype: torch.dtype
    zero: int
    spiking: tuple[tuple[str, Map], ...]
    scaled: tuple[tuple[str, Tensor], ...]
    gather: Gather | None
    gather_index: int
    entry: tuple[Map, ...]
    theta: Tensor
    v0: Tensor
    bias: Int64Array | None
    levels: int
    last_use: int
    nanoseconds: float

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The spiking layers that feed it."""
        return tuple(name for name, _ in (*self.spiking, *self.scaled))

    @property
    def gather_source(self) -> str:
        """The layer whose spikes are gathered."""
        return self.spiking[self.gather_index][0]

    def population(self, rows: int, signed: bool, hard: bool) -> scan.Population:
        """Room for the state of the neurons of so many samples."""
        membrane = self.v0.new_empty((rows, self.layer.neurons))
        count = torch.empty_like(membrane) if signed else membrane[:, :0]
        return scan.Population(self.theta, membrane, count, self.levels, signed, hard)

    def pool(self, rows: int, source: Shape) -> scan.PoolState:
        """Room for the counts of a max-pool, which meets values of shape `source`."""
        dtype = torch.uint8 if self.levels < 256 else torch.int32
        count, pooled = (self.v0.new_empty((rows, *x), dtype=dtype) for x in (source, self.shape))
        return scan.PoolState(count, pooled)


@dataclass(frozen=True, eq=False)
class Plan:
    """A network ready to run for at most `steps` steps.

    Attributes:
        layers: without the input, the readout last.
        signed: exact mode.
        hard: a spike sets its membrane to 0.
        per_step: the input comes step by step.
        state_bytes: membranes and counts of one sample.
        spike_bytes: the most spikes of one sample and step that are alive together.
        listed_bytes: a list of all neurons of one sample, for gathering.
    """

    layers: tuple[LayerPlan, ...]
    signed: bool
    hard: bool
    per_step: bool
    window: int
    steps: int
    state_bytes: int
    spike_bytes: int
    listed_bytes: int


Kinds: TypeAlias = tuple[kernels.LinearKind, scan.ScanKind, str]

_plans: WeakKeyDictionary[Network, dict[Any, Plan]] = WeakKeyDictionary()


def default_memory(device: str = "cpu") -> int:
    """The variable's value, or a quarter of what is free, at most 4 GiB; on a GPU half of it."""
    text = os.environ.get(MEMORY_VARIABLE)
    if text is not None:
        if not text.isdecimal() or int(text) < 1:
            raise InputError(
                f"{text!r} is not a number of bytes", where=MEMORY_VARIABLE, remedy="use digits"
            )
        return int(text)
    if device != "cpu":
        free, _ = torch.cuda.mem_get_info()
        return (free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()) // 2
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        free = 4 << 30
    return min(free // 4, _MOST_MEMORY)


def plan(program: Program, steps: int, options: Options) -> Plan:
    """Prepare a program, or find what was prepared before.

    In rate mode types depend on the steps; only what was prepared last is kept, since a loop over
    them would hold the weights once for each.
    """
    kinds = (options.linear, options.scan, options.device)
    known = _plans.setdefault(program.network, {})
    key = (kinds, shortened())
    found = known.get(key)
    if found is None or (found.steps != steps and not found.signed):
        known[key] = found = _prepare(program, steps, kinds)
    return replace(found, steps=steps)


def _prepare(program: Program, steps: int, kinds: Kinds) -> Plan:
    network = program.network
    signed = network.mode == "exact"
    bounds = ranges(network, steps)
    last_use = {
        p.source: index for index, x in enumerate(program.layers[1:]) for p in x.projections
    }
    levels: dict[str, int] = {}
    found: list[LayerPlan] = []
    for layer in program.layers[1:]:
        node = layer.node
        if isinstance(node, MaxPool2d):
            levels[layer.name] = levels[layer.projections[0].source]
        else:
            levels[layer.name] = node.levels if isinstance(node, Neuron) and signed else steps
        types = _types(bounds.get(layer.name), layer.name, kinds[1])
        most, last = levels[layer.name], last_use.get(layer.name, 0)
        found.append(_layer_plan(network, layer, types, most, last, kinds))
    state = sum(2 * x.v0.itemsize * x.layer.neurons for x in found)
    alive = [
        sum(x.layer.neurons for x in found[: index + 1] if x.last_use >= index)
        for index in range(len(found))
    ]
    return Plan(
        layers=tuple(found),
        signed=signed,
        hard=network.reset == "hard",
        per_step=network.input.per_step,
        window=network.window,
        steps=steps,
        state_bytes=state,
        spike_bytes=max(alive, default=1),
        listed_bytes=max((4 * prod(x.gather.shape) for x in found if x.gather), default=0),
    )


def _types(
    bound: LayerRange | None, name: str, loops: scan.ScanKind
) -> tuple[torch.dtype, torch.dtype]:
    """The types of currents and of membranes; a membrane adds up many currents."""
    if bound is None:
        return torch.float32, torch.float32
    current = exact_float(bound.operand_high, name)
    if loops == "numba" and bound.magnitude < 1 << 31:
        return current, torch.int32
    return current, exact_float(bound.magnitude, name)


def _layer_plan(
    network: Network,
    layer: Layer,
    types: tuple[torch.dtype, torch.dtype],
    levels: int,
    last_use: int,
    kinds: Kinds,
) -> LayerPlan:
    node, zero, (linear, loops, device) = layer.node, int(network.mode == "exact"), kinds
    dtype, state = types
    empty = np.zeros(0, np.int64)
    theta, v0 = (node.threshold, node.v0) if isinstance(node, Neuron) else (empty, empty)
    bias = node.bias if isinstance(node, Neuron | Output) else None
    spiking: list[tuple[str, Map]] = []
    scaled: list[tuple[str, Tensor]] = []
    entry: list[Map] = []
    best: Gather | None = None
    index = 0
    for path in layer.projections if layer.kind != "max_pool" else ():
        only = path.ops[0] if len(path.ops) == 1 else None
        if path.source == network.input.name:
            entry.append(projections.value_map(path, dtype, linear, _most(network.input), device))
            continue
        if isinstance(only, Scale) and loops == "numba":
            weight = torch.from_numpy(only.weight).to(dtype)
            scaled.append((path.source, scan.repeated(weight, layer.neurons)))
            continue
        shape = network.shapes[path.source]
        weights = projections.only_weights(path, shape)
        fits = state == torch.int32 and dtype == torch.float32 and network.reset == "soft"
        if fits and weights is not None and len(theta):
            found = gather(*weights, signed=zero == 1, theta=theta)
            if found is not None and (best is None or found.weight.size > best.weight.size):
                best, index = found, len(spiking)
        dense = projections.spike_map(path, shape, zero, dtype, linear, device)
        spiking.append((path.source, dense))
    return LayerPlan(
        layer=layer,
        shape=kernels.last_shape(layer.shape),
        dtype=dtype,
        zero=zero,
        spiking=tuple(spiking),
        scaled=tuple(scaled),
        gather=best,
        gather_index=index,
        entry=tuple(entry),
        theta=_repeated(theta, layer, state).to(device),
        v0=torch.from_numpy(np.resize(v0, layer.neurons * bool(len(v0)))).to(device, state),
        bias=bias.astype(np.int64) if bias is not None and bias.any() else None,
        levels=levels,
        last_use=last_use,
        nanoseconds=sum(_products(layer, path) for path in layer.projections) / 150,
    )


def _products(layer: Layer, path: Projection) -> int:
    """About how many products of weights and spikes a dense projection computes at a step."""
    return 0 if path.weighted is None else path.weighted.weight.size * prod(layer.shape[1:])


def _most(node: Input) -> int:
    """The largest magnitude of what comes in at one step."""
    assert node.grid is not None
    low, high = min(node.grid.low, 0), max(node.grid.high, 0)
    return high - low if node.per_step else max(high, -low)


def _repeated(values: Int64Array, layer: Layer, dtype: torch.dtype) -> Tensor:
    numbers = torch.from_numpy(values).to(dtype)
    return scan.repeated(numbers, layer.neurons) if len(numbers) else numbers
