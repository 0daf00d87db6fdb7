"""What reaches a layer, in pieces of time: the input, the bias, and currents of spikes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from snndeploy.numerics import Int64Array, window_share
from snndeploy_backends.reference.plan import LayerPlan
from snndeploy_backends.reference.scan import add_scaled
from snndeploy_backends.reference.team import Team, is_worth_sharing

MOST_STEPS = 64
"""Steps taken together where no current is computed beforehand."""


@dataclass(frozen=True, eq=False)
class Spikes:
    """What a layer emitted until it fell silent.

    Attributes:
        bytes: uint8 (T, n, *shape), channels last: spike + zero.
        events: int64 (T, n), how many neurons fired.
    """

    bytes: Tensor
    events: Int64Array

    def __len__(self) -> int:
        return len(self.events)

    def between(self, first: int, last: int) -> Spikes:
        """Steps `first .. last-1`, without those after all fell silent."""
        return Spikes(self.bytes[first:last], self.events[first:last])

    def tail(self, rate: float) -> int:
        """The step from which on fewer than `rate` of the neurons fire."""
        neurons = self.bytes[:1].numel()
        busy = np.flatnonzero(self.events.sum(axis=1) >= rate * neurons)
        return int(busy[-1]) + 1 if len(busy) else 0


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of steps `first .. last-1`, treated alike throughout.

    Attributes:
        gathered: whether the layer's `gather` replaces its projection.
    """

    first: int
    last: int
    gathered: bool


@dataclass(frozen=True, eq=False)
class Drive:
    """All that reaches one layer in a span of steps.

    Attributes:
        sources: spikes per layer that feeds it.
        input: the input's current, (1, n, K) if it is constant, else (F, n, K); or None.
        fed: steps of the span during which the input arrives; the bias, for `left` steps.
        start: the step of the run at which the span begins.
        window: steps over which the bias is spread.
        piece: bytes of current computed at a time.
        below: the share of neurons firing below which spikes are gathered, in wide layers.
    """

    layer: LayerPlan
    sources: Mapping[str, Spikes]
    input: Tensor | None
    fed: int
    left: int
    start: int
    window: int
    piece: int
    below: float
    team: Team | None

    @property
    def injected(self) -> set[int]:
        """Where input and bias end."""
        fed = {self.fed} if self.input is not None else set()
        return fed | ({self.left} if self.layer.bias is not None else set())

    @property
    def steps(self) -> int:
        """Steps after which nothing reaches the layer any more."""
        return max([0, *self.injected, *(len(self.sources[name]) for name in self.layer.sources)])

    def pieces(self, rows: int) -> Iterator[Piece]:
        """Stretches of steps in which each source is dense, gathered or silent throughout."""
        ends = self.injected | {len(self.sources[name]) for name in self.layer.sources}
        begin, silent = 0, 0
        if self.layer.gather is not None:
            source = self.sources[self.layer.gather_source]
            begin = source.tail(self.below * self.layer.gather.efficiency)
            silent = len(source)
            ends.add(begin)
        row = rows * self.layer.layer.neurons * self.layer.dtype.itemsize
        first = 0
        for end in sorted(ends):
            gathered = self.layer.gather is not None and begin <= first < silent
            others = len(self.layer.sources) - gathered
            moving = any(len(self.sources[name]) > first for name in self.layer.sources)
            moving |= self.input is not None and len(self.input) > 1
            step = max(1, self.piece // row) if moving and (others or not gathered) else MOST_STEPS
            if self.team is not None and moving and not gathered:
                whole = self.layer.nanoseconds * rows * (end - first)
                if is_worth_sharing(whole):
                    step = min(step, -(-(end - first) // self.team.size))
            while first < end:
                last = min(first + step, end)
                yield Piece(first, last, gathered)
                first = last

    def currents(self, rows: int) -> Iterator[tuple[Piece, Tensor | None]]:
        """The pieces, each with its current; the team computes a few of them at once."""
        pieces = self.pieces(rows)
        while some := list(islice(pieces, self.team.size if self.team else 1)):
            if len(some) > 1 and self.team is not None and self._is_long(some, rows):
                yield from zip(
                    some, self.team.together(lambda x: self._alone(x, rows), some), strict=True
                )
            else:
                yield from ((piece, self.current(piece, rows)) for piece in some)

    def _is_long(self, pieces: list[Piece], rows: int) -> bool:
        """Whether the team should compute the currents of these pieces."""
        steps = sum(piece.last - piece.first for piece in pieces if not piece.gathered)
        return is_worth_sharing(self.layer.nanoseconds * rows * steps)

    def _alone(self, piece: Piece, rows: int) -> Tensor | None:
        """A piece's current, computed by a helper."""
        with torch.inference_mode():
            return self.current(piece, rows)

    def current(self, piece: Piece, rows: int) -> Tensor | None:
        """Sums (steps, n, K), without what is gathered.

        (1, n, K) if they are the same at each step; None if nothing came.
        """
        a, b = piece.first, piece.last
        total: Tensor | None = None
        for index, (name, dense) in enumerate(self.layer.spiking):
            source = self.sources[name]
            skipped = piece.gathered and index == self.layer.gather_index
            if a < len(source) and not skipped:
                part = dense(source.bytes[a:b].flatten(0, 1)).view(b - a, rows, -1)
                total = part if total is None else total.add_(part)
        for name, weight in self.layer.scaled:
            if a < len(self.sources[name]):
                if total is None:
                    shape = (b - a, rows, self.layer.layer.neurons)
                    total = torch.zeros(shape, dtype=self.layer.dtype)
                spikes = self.sources[name].bytes[a:b]
                add_scaled(total, spikes, weight, self.layer.zero, self.team)
        if self.input is not None and a < self.fed:
            arriving = self.input if len(self.input) == 1 else self.input[a:b]
            total = arriving if total is None else total.add_(arriving)
        return total

    def bias(self, piece: Piece) -> Int64Array | None:
        """The shares of the bias, (steps, C), or None if there are none."""
        if self.layer.bias is None or piece.first >= self.left:
            return None
        steps = range(self.start + piece.first, self.start + piece.last)
        return np.stack([window_share(self.layer.bias, t, self.window) for t in steps])
