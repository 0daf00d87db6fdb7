"""A float network on many samples at once, layer by layer, with bounded memory.

Values are kept where something stops them: at activations, at max-pools, and where several nodes
read them. What lies between is linear and is computed when it is asked for, some samples at a time.
Values that nothing will read any more are dropped; large ones lie in a file.

With `steps` the network is simulated as integrate-and-fire neurons: a value then is what a sample
adds at one step, samples and steps share the first axis, and biases come in parts of `1 / window`.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snndeploy.errors import UnsupportedModelError
from snndeploy.network import Network
from snndeploy.nodes import (
    Activation,
    Add,
    Array,
    AvgPool2d,
    Conv2d,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Output,
    Padded,
    Relu,
)
from snndeploy.numerics import FloatArray

CHUNK_BYTES = 32 << 20
"""Of one node's values that are computed together."""

FILE_BYTES = 1 << 30
"""From this size on a node's values lie in a file."""

Parameters = dict[str, tuple[Tensor, Tensor | None]]
"""Weight and bias by the name of the node."""


def parameters_of(network: Network, dtype: torch.dtype = torch.float32) -> Parameters:
    """The weights and biases of a float network."""
    return {
        node.name: (
            tensor(node.weight, dtype),
            None if node.bias is None else tensor(node.bias, dtype),
        )
        for node in network.nodes
        if isinstance(node, Conv2d | Linear)
    }


class Walk:
    """Walks a folded float network from the input to the readout.

    Args:
        network: folded, max-pools behind activations.
        x: (N, *shape) in the model's units.
        steps: 0 for the network as an ANN, else how many to simulate.
        window: steps over which biases and inputs are spread.
        dtype: of what is computed, float32 or float64.
    """

    def __init__(
        self,
        network: Network,
        x: Array,
        steps: int = 0,
        window: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.network, self.samples = network, len(x)
        self.steps, self.share = max(steps, 1), 1 / window if steps else 1.0
        self._dtype = dtype
        self._parameters = parameters_of(network, dtype)
        self._stations = [node.name for node in network.nodes if _is_station(network, node)]
        value = tensor(x, dtype) * self.share
        self._kept: dict[str, tuple[Tensor, float]] = {network.input.name: (value, 1.0)}
        largest = max(prod(shape) for shape in network.shapes.values())
        self._chunk = max(1, min(64, CHUNK_BYTES // (4 * largest * self.steps)))

    def stations(self) -> Iterator[Node]:
        """Where values are kept, in order; `keep` each before the next one is asked for."""
        needs = {name: self._needs(name) for name in self._stations}
        readers = Counter(source for sources in needs.values() for source in sources)
        for name, sources in needs.items():
            yield self.network.by_name[name]
            readers.subtract(sources)
            for source in sources:
                if not readers[source]:
                    del self._kept[source]

    def _needs(self, station: str) -> set[str]:
        """The stations, or the input, whose values decide what arrives at one."""
        found: set[str] = set()
        for source in self.network.sources[station]:
            ends = source in self._stations or source == self.network.input.name
            found |= {source} if ends else self._needs(source)
        return found

    def arriving(self, node: Node) -> Tensor:
        """What arrives at a station from its source, for all samples (and steps)."""
        source = self.network.sources[node.name][0]
        shape = self.network.shapes[source]
        found = room((self.samples * self.steps, *shape), self._dtype)
        for rows, own in self._chunks():
            found[own] = self._value(source, rows)
        return found

    def keep(
        self, node: Node, arriving: Tensor | None, respond: Callable[[Tensor], Tensor]
    ) -> None:
        """Keep what a station makes of what arrives there.

        Args:
            node: the station.
            arriving: from `arriving`; None: to be computed now.
            respond: maps what arrives, (n, *shape) or, where steps are simulated, (n * steps,
                *shape). Asked for activations and the readout only.
        """
        store, scale = self._room(node)
        source = self.network.sources[node.name][0]
        for rows, own in self._chunks():
            if isinstance(node, Activation | Relu | Output):
                value = respond(self._value(source, rows) if arriving is None else arriving[own])
            else:
                terms = [self._value(name, rows) for name in self.network.sources[node.name]]
                value = linear_value(node, terms, self._parameters, self.share)
            is_count = store.dtype == torch.int8
            store[own] = (value / scale).round_().to(store.dtype) if is_count else value
        self._kept[node.name] = (store, scale)

    def pooled(self, node: MaxPool2d) -> None:
        """Keep what a max-pool makes of spikes: the steps of the running maximum of counts."""
        source, store = self.network.sources[node.name][0], self._room(node)[0]
        for rows, own in self._chunks():
            value = self._value(source, rows)
            counts = over_time(value, self.steps).cumsum(1).flatten(0, 1)
            most = over_time(max_pool(node, counts), self.steps)
            store[own] = torch.cat([most[:, :1], most.diff(dim=1)], 1).flatten(0, 1)
        self._kept[node.name] = (store, 1.0)

    def value(self, name: str) -> Tensor:
        """What is kept of a node, in the model's units."""
        store, scale = self._kept[name]
        return self._real(store, scale)

    def mean(self, name: str) -> Tensor:
        """The mean of each channel of what is kept of a node, (C,), float64; a sum over steps."""
        store, scale = self._kept[name]
        total = torch.zeros(store.shape[1], dtype=torch.float64)
        for _, own in self._chunks():
            values = store[own].float().reshape(-1, len(total), store[0, 0].numel())
            total += values.mean(2).double().sum(0)
        return total * (scale / self.samples)

    def _value(self, name: str, rows: slice) -> Tensor:
        """A node's value for some samples."""
        if name in self._kept:
            store, scale = self._kept[name]
            if name == self.network.input.name:
                return (
                    store[rows].repeat_interleave(self.steps, 0) if self.steps > 1 else store[rows]
                )
            own = store[rows.start * self.steps : rows.stop * self.steps]
            return self._real(own, scale)
        terms = [self._value(source, rows) for source in self.network.sources[name]]
        return linear_value(self.network.by_name[name], terms, self._parameters, self.share)

    def _real(self, kept: Tensor, scale: float) -> Tensor:
        """In the model's units: what is kept may be counts."""
        return kept if kept.dtype == self._dtype else kept.to(self._dtype) * scale

    def _chunks(self) -> Iterator[tuple[slice, slice]]:
        """Samples, and the same times the steps."""
        for first in range(0, self.samples, self._chunk):
            stop = min(first + self._chunk, self.samples)
            yield slice(first, stop), slice(first * self.steps, stop * self.steps)

    def _room(self, node: Node) -> tuple[Tensor, float]:
        """Where the values of a station go, and what an integer there is worth."""
        shape = (self.samples * self.steps, *self.network.shapes[node.name])
        small = isinstance(node, Activation) and node.levels <= 127 and not node.offset
        if small:
            assert isinstance(node, Activation)
            return room(shape, torch.int8), node.ceiling / node.levels
        return room(shape, self._dtype), 1.0


def _is_station(network: Network, node: Node) -> bool:
    stops = isinstance(node, Activation | Relu | MaxPool2d | Output)
    return stops or (not isinstance(node, Input) and len(network.targets[node.name]) > 1)


def linear_value(
    node: Node, terms: Sequence[Tensor], known: Parameters, share: float = 1
) -> Tensor:
    """What a node other than an activation makes of its sources' values.

    Args:
        node: of a folded float network.
        terms: the values of its sources.
        known: weights and biases by the name of the node.
        share: of the bias.
    """
    x = terms[0]
    if isinstance(node, Conv2d | Linear):
        weight, bias = known[node.name]
        bias = bias if bias is None or share == 1 else bias * share
        if isinstance(node, Linear):
            return F.linear(x, weight, bias)
        pads = node.pads
        if pads[:2] == pads[2:]:
            return F.conv2d(x, weight, bias, node.stride, pads[:2], node.dilation, node.groups)
        return F.conv2d(_padded(node, x), weight, bias, node.stride, 0, node.dilation, node.groups)
    if isinstance(node, AvgPool2d):
        return F.avg_pool2d(_padded(node, x), node.kernel, node.stride)
    if isinstance(node, MaxPool2d):
        return max_pool(node, x)
    if isinstance(node, Flatten):
        return x.flatten(1)
    if isinstance(node, Add):
        total = terms[0] + terms[1]
        for term in terms[2:]:
            total = total + term
        return total
    if isinstance(node, Output):
        return x
    raise UnsupportedModelError(
        f"a {type(node).__name__} has no place in a folded float network",
        where=f"{type(node).__name__} '{node.name}'",
        remedy="fold it first",
    )


def max_pool(node: MaxPool2d, x: Tensor) -> Tensor:
    """The maximum over windows; padding never wins."""
    return F.max_pool2d(_padded(node, x, -torch.inf), node.kernel, node.stride)


def room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An array, in a file without a name if it is large."""
    if prod(shape) * dtype.itemsize < FILE_BYTES:
        return torch.empty(shape, dtype=dtype)
    kind = {torch.float32: np.float32, torch.float64: np.float64, torch.int8: np.int8}[dtype]
    with tempfile.TemporaryFile() as file:
        return torch.from_numpy(np.memmap(file, kind, "w+", shape=shape))


def over_time(x: Tensor, steps: int) -> Tensor:
    """(n * steps, ...) as (n, steps, ...)."""
    return x.reshape(-1, steps, *x.shape[1:])


def per_channel(values: Tensor | FloatArray, like: Tensor) -> Tensor:
    """(C,) so that it broadcasts against (N, C, ...)."""
    return torch.as_tensor(values, dtype=like.dtype).reshape(-1, *(1,) * (like.ndim - 2))


def tensor(array: Array, dtype: torch.dtype = torch.float32) -> Tensor:
    """A copy, in float32 or float64."""
    kind = np.float64 if dtype == torch.float64 else np.float32
    return torch.from_numpy(np.array(array, kind))


def _padded(node: Padded, x: Tensor, fill: float = 0.0) -> Tensor:
    top, left, bottom, right = node.pads
    return F.pad(x, (left, right, top, bottom), value=fill) if any(node.pads) else x
