"""Layers advanced by visiting spikes: fewer operations than a dense product where few fire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from time import perf_counter
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from snndeploy.nodes import Array, Conv2d, Linear, Shape
from snndeploy.numerics import Int64Array, mantissas
from snndeploy_backends.reference import kernels
from snndeploy_backends.reference.scan import Population, scan
from snndeploy_backends.reference.team import Team, one_thread, share

_WIDTHS = (128, 64, 32, 16, 8, 1)
"""Output channels that are advanced together."""

_AHEAD = 3
"""Entries past the end that the loops may read."""

_ENTRIES = 1 << 19
"""List entries made before they are used, so that they are still in a cache."""


@dataclass(frozen=True, eq=False)
class Gather:
    """A convolution, or a dense layer as one of a single pixel, with its neurons' thresholds.

    Attributes:
        shape: of the source, (H, W, C).
        out: (H_out, W_out, C_out).
        weight: int8 mantissas (blocks, 1 or 2, K_h, K_w, C_in, width), blocks of output channels;
            the second of two, in exact mode, negated.
        exponent: of two, of all weights.
        where: stride, each down and right, and padding at the top and at the left.
        theta: int32 (C_out,).
        limit: how many weights always add up within int16.
    """

    shape: tuple[int, int, int]
    out: tuple[int, int, int]
    weight: Array
    exponent: int
    where: tuple[int, int, int, int]
    theta: Array
    limit: int

    @property
    def efficiency(self) -> float:
        """About how fast it is, against blocks that fill the registers."""
        return min(1.0, float(self.weight.shape[-1] / 32))

    @property
    def reach(self) -> float:
        """About how many neurons a spike reaches."""
        down, right = self.where[:2]
        return float(self.weight[:, 0].size / (self.shape[2] * down * right))

    def advance(
        self,
        population: Population,
        spikes: Tensor,
        events: Int64Array,
        extra: Tensor | None,
        bias: Int64Array | None,
        out: Tensor,
        team: Team | None,
    ) -> Int64Array:
        """Run the T steps of `out` and fill it.

        Args:
            spikes: uint8 (T, n, *shape) of the source, and its `events` (T, n).
            extra: (T, n, K) or (1, n, K), current from elsewhere.
            bias: (T, C_out), or None.
            out: uint8 (T, n, K).

        Returns:
            Events, int64 (T, n).
        """
        loops, signed = compiled(), population.signed
        steps, rows = out.shape[:2]
        pixels, (_, _, channels), lines = prod(self.shape[:2]), self.shape, self.out[0]
        images = spikes.numpy().reshape(steps, rows, pixels, channels)
        width = self.weight.shape[-1]
        lists = (images, int(signed), width, self.weight[0, 0].size)
        state = (
            population.membrane.numpy().reshape(rows, *self.out),
            population.count.numpy().reshape(rows, *(self.out if signed else (0, 0, 0))),
            self.theta,
            population.levels,
            np.empty((0, self.out[2]), np.int32) if bias is None else bias.astype(np.int32),
            _images(extra, rows, self.out),
            out.numpy().reshape(steps, rows, *self.out),
        )
        silence = np.zeros(width, np.int8)
        fixed = (
            signed,
            self.shape[:2],
            self.where,
            self.weight,
            self.exponent,
            silence,
            self.limit,
        )
        found = np.zeros((rows * lines, steps), np.int64)
        for part in _parts(events):
            some = events[:, part.start : part.stop].T
            ends = some.ravel().cumsum().reshape(some.shape)
            starts = np.empty((*some.shape, pixels + 1), np.int32)
            entries = np.empty(int(ends[-1, -1]) + _AHEAD, np.int32)
            made = (part.start, starts, entries)
            listing = (*lists, part.start, ends - some, starts, entries)
            some_images = range(part.start * steps, part.stop * steps)
            nanoseconds = 0.1 * len(some_images) * images[0, 0].size + len(entries)
            share(loops.list_spikes, listing, some_images, team, nanoseconds)
            some_lines = range(part.start * lines, part.stop * lines)
            nanoseconds = len(entries) * self.reach / 50
            share(loops.advance, (*fixed, *made, *state, found), some_lines, team, nanoseconds)
        total: Int64Array = found.reshape(rows, lines, steps).sum(axis=1).T
        return total


def gather(op: Conv2d | Linear, shape: Shape, signed: bool, theta: Int64Array) -> Gather | None:
    """How to gather for a layer whose source has `shape` (channels first); None if it cannot be.

    Raises nothing: what cannot be gathered is computed densely.
    """
    conv = op
    if isinstance(op, Linear):
        conv, shape = Conv2d(op.name, op.weight[:, :, None, None]), (*shape, 1, 1)
    assert isinstance(conv, Conv2d)
    outputs, inputs, *_ = conv.weight.shape
    held, exponent = mantissas(conv.weight)
    largest = max(int(abs(held).max()), 1)
    reach = 2 * prod(shape) * outputs
    if conv.groups > 1 or conv.dilation != (1, 1) or len(shape) != 3:
        return None
    if largest > 127 or int(theta.max()) >= 1 << 31 or reach >= 1 << 31:
        return None
    width = next(width for width in _WIDTHS if outputs % width == 0)
    weight = held.astype(np.int8).reshape(-1, width, *conv.weight.shape[1:])
    weight = weight.transpose(0, 3, 4, 2, 1)[:, None]
    _, height, width = shape
    _, down, right = conv.output_shape([shape])
    return Gather(
        shape=(height, width, inputs),
        out=(down, right, outputs),
        weight=np.ascontiguousarray(
            np.concatenate([weight, -weight], axis=1) if signed else weight
        ),
        exponent=exponent,
        where=(*conv.stride, *conv.pads[:2]),
        theta=theta.astype(np.int32),
        limit=((1 << 15) - 1) // largest,
    )


def _parts(events: Int64Array) -> Iterator[range]:
    """Samples whose lists are made together."""
    totals, first = events.sum(axis=0), 0
    while first < len(totals):
        more = int(np.searchsorted(totals[first:].cumsum(), _ENTRIES))
        last = min(first + max(more, 1), len(totals))
        yield range(first, last)
        first = last


def _images(current: Tensor | None, rows: int, shape: tuple[int, int, int]) -> Array:
    if current is None:
        return np.empty((0, rows, *shape), np.float32)
    return current.numpy().reshape(-1, rows, *shape)


@cache
def worthwhile() -> float:
    """The share of neurons firing below which gathering beats the integer kernels here.

    Measured once, on a small convolution: where the machine has matrix units it is small.
    """
    rng = np.random.default_rng(0)
    rate, rows, (channels, size) = 0.125, 16, (64, 16)
    conv = Conv2d("probe", rng.integers(-127, 128, (channels, channels, 3, 3)), padding=(1, 1))
    theta = np.full(channels, 1000, np.int64)
    op = gather(conv, (channels, size, size), signed=False, theta=theta)
    assert op is not None
    spikes = torch.from_numpy((rng.random((1, rows, size, size, channels)) < rate).astype(np.uint8))
    events = spikes.numpy().reshape(1, rows, -1).sum(axis=2, dtype=np.int64)
    membrane = torch.zeros((rows, size * size * channels), dtype=torch.int32)
    ones = torch.ones(channels, dtype=torch.int32)
    population = Population(ones, membrane, membrane[:, :0], 1, signed=False)
    out = torch.empty((1, rows, membrane.shape[1]), dtype=torch.uint8)
    dense = kernels.int8_conv(conv, 0, (channels, size, size))
    ways = (
        lambda: op.advance(population, spikes, events, None, None, out, None),
        lambda: scan("numba", population, dense(spikes[0]).view(1, rows, -1), None, out),
    )
    with one_thread():
        seconds = [min(_seconds(way) for _ in range(5)) for way in ways]
    return min(0.5, rate * seconds[1] / seconds[0])


def _seconds(way: Callable[[], object]) -> float:
    started = perf_counter()
    way()
    return perf_counter() - started


@cache
def compiled() -> ModuleType:
    """The compiled loops; imported late, since numba takes its time."""
    from snndeploy_backends.reference import gather_numba  # noqa: PLC0415

    return gather_numba
