"""Projections for a few samples at a time, faster than `linear_ops` and just as exact.

Weighted sums run in floating point BLAS: in float32 where no partial sum can reach 2**24 times
the power of two that all weights share, else in float64, where range analysis has bounded them by
the state word (24 bits on Loihi). A convolution is a matrix product over the columns that its
windows cover, gathered into a buffer that stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from snndeploy import linear_ops
from snndeploy.layers import Layer, Projection
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Input, Linear, Node, Scale, Shape, SumPool2d
from snndeploy.numerics import mantissas

Values: TypeAlias = NDArray[Any]
Operation: TypeAlias = Callable[[Values], Values]

FLOAT32_EXACT = 1 << 24


class CompiledProjection:
    """One projection, ready to be applied to messages (n, neurons) of its source.

    Attributes:
        source: the layer at its other end.
        bound: no partial sum of a current has a larger magnitude.
        columns: the most numbers that one sample's windows or currents hold.
    """

    def __init__(self, projection: Projection, network: Network) -> None:
        self.source = projection.source
        self.shape = shape = network.shapes[projection.source]
        self.operations: list[Operation] = []
        self.columns = prod(shape)
        self.bound = peak(network, projection.source)
        for op in projection.ops:
            operation = _compiled(op, shape, self.bound)
            self.bound *= _gain(op)
            shape = op.output_shape([shape])
            self.operations.append(operation)
            held = operation.held if isinstance(operation, Convolution) else 0
            self.columns = max(self.columns, held, prod(shape))
        self.none = np.zeros((1, *shape), np.int32)

    def __call__(self, message: Values) -> Values:
        """The current that messages cause: (n, *shape), or (1, *shape) if all are silent."""
        if not message.any():
            return self.none
        x = message.reshape(-1, *self.shape)
        for operation in self.operations:
            x = operation(x)
        return x


class Convolution:
    """A cross-correlation with buffers that are made once.

    Attributes:
        held: how many numbers one sample's columns hold.
    """

    def __init__(self, op: Conv2d, shape: Shape, real: type[Any]) -> None:
        self.op, self.shape, self.real = op, shape, real
        out, height, width = op.output_shape([shape])
        self.kernel = (op.weight.shape[2], op.weight.shape[3])
        self.weight = op.weight.astype(real).reshape(op.groups, out // op.groups, -1)
        self.positions = (height, width)
        self.held = shape[0] * prod(self.kernel) * height * width
        self.rows = 0

    def __call__(self, x: Values) -> Values:
        """Integers (n, C, H, W) in, integers in floating point (n, C_out, H_out, W_out) out."""
        n, op = len(x), self.op
        if n > self.rows:
            self._make_room(n)
        self.inside[:n] = x
        np.copyto(self.columns[:n], self.windows[:n])
        columns = self.columns[:n].reshape(n, op.groups, self.weight.shape[2], -1)
        currents: Values = np.matmul(self.weight, columns)
        return currents.reshape(n, -1, *self.positions)

    def _make_room(self, rows: int) -> None:
        channels, height, width = self.shape
        top, left, bottom, right = self.op.pads
        padded = np.zeros((rows, channels, top + height + bottom, left + width + right), self.real)
        self.inside = padded[:, :, top : top + height, left : left + width]
        stride, dilation = self.op.stride, self.op.dilation
        span = tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, dilation, strict=True))
        view = sliding_window_view(padded, span, axis=(2, 3))
        view = view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
        self.windows = view.transpose(0, 1, 4, 5, 2, 3)
        self.columns = np.empty((rows, channels, *self.kernel, *self.positions), self.real)
        self.rows = rows


def sources(layer: Layer) -> dict[str, int]:
    """The layers that send to this one, and how many steps their messages have to wait."""
    return {projection.source: projection.delay for projection in layer.projections}


def compiled(layer: Layer, network: Network) -> list[CompiledProjection]:
    """The projections into a layer; identity branches from one source become one."""
    identities: dict[str, Scale] = {}
    others = []
    for projection in layer.projections:
        source, ops = projection.source, projection.ops
        if len(ops) == 1 and isinstance(ops[0], Scale):
            weight = ops[0].weight.astype(np.int64)
            if source in identities:
                weight = weight + identities[source].weight
            identities[source] = Scale(ops[0].name, weight)
        else:
            others.append(projection)
    merged = [Projection(source, (op,)) for source, op in identities.items()]
    return [CompiledProjection(projection, network) for projection in (*others, *merged)]


def total_current(
    projections: Sequence[CompiledProjection],
    messages: Mapping[str, Values],
    integer: type[Any],
) -> Values:
    """The sum over all projections into a layer, (n, *shape) or (1, *shape)."""
    terms = (p(messages[p.source]).astype(integer) for p in projections)
    total = next(terms)
    for term in terms:
        total = total + term
    return total


def peak(network: Network, layer: str) -> int:
    """The largest magnitude that a layer emits in one step."""
    node = network.by_name[layer]
    if not isinstance(node, Input):
        return 1
    assert node.grid is not None
    low, high = min(node.grid.low, 0), max(node.grid.high, 0)
    return high - low if node.per_step else max(high, -low)


def _gain(op: Node) -> int:
    """How much larger than its largest input an output of a linear node can be."""
    if isinstance(op, Conv2d | Linear):
        return max(int(np.abs(op.weight).reshape(len(op.weight), -1).sum(axis=1).max()), 1)
    if isinstance(op, Scale):
        return max(int(np.abs(op.weight).max()), 1)
    return prod(op.kernel) if isinstance(op, SumPool2d) else 1


def _compiled(op: Node, shape: Shape, bound: int) -> Operation:
    if isinstance(op, Conv2d):
        return Convolution(op, shape, _exact_type(op, bound))
    if isinstance(op, Linear):
        real = _exact_type(op, bound)
        weight = np.ascontiguousarray(op.weight.T.astype(real))
        return lambda x: x.astype(real) @ weight
    if isinstance(op, Scale):
        integer = np.int32 if bound * _gain(op) < 1 << 31 else np.int64
        factors = linear_ops.per_channel(op.weight.astype(np.int64), 1 + len(shape)).astype(integer)
        return lambda x: x * factors
    return lambda x: linear_ops.apply(op, x.astype(np.int64))


def _exact_type(op: Conv2d | Linear, bound: int) -> type[Any]:
    """The narrowest floating point that holds every partial sum.

    All weights may have a power of two as a factor; then so have the sums.
    """
    _, exponent = mantissas(op.weight)
    return np.float32 if bound * _gain(op) >> exponent < FLOAT32_EXACT else np.float64
