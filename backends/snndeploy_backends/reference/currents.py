"""The input currents of a layer, in pieces of time: dense, or by visiting spikes where few fire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snndeploy.numerics import FloatArray, Int64Array, window_share
from snndeploy_backends.reference.plan import LayerPlan
from snndeploy_backends.reference.scan import add_scaled


@dataclass(frozen=True, eq=False)
class Spikes:
    """What a layer emitted until it fell silent.

    Attributes:
        bytes: uint8 (T, n, *shape), channels last: spike + zero.
        rates: (T,), the share of neurons that fired at each step.
    """

    bytes: Tensor
    rates: FloatArray

    def __len__(self) -> int:
        return len(self.bytes)

    def tail(self, rate: float) -> int:
        """The step from which on fewer than `rate` of the neurons fire."""
        busy = np.flatnonzero(self.rates >= rate)
        return int(busy[-1]) + 1 if len(busy) else 0


@dataclass(frozen=True, eq=False)
class Drive:
    """All that reaches one layer in a span of steps.

    Attributes:
        sources: spikes per layer that feeds it.
        constant: (1, n, K), the input's current, or None.
        left: steps of the span during which input and bias are injected.
        start: the step of the run at which the span begins.
        window: steps over which the bias is spread.
        piece: bytes of current computed at a time.
    """

    layer: LayerPlan
    sources: Mapping[str, Spikes]
    constant: Tensor | None
    left: int
    start: int
    window: int
    piece: int
    pool: ThreadPoolExecutor | None

    @property
    def injected(self) -> int:
        """Steps during which anything but spikes reaches the layer."""
        return self.left if self.constant is not None or self.layer.bias is not None else 0

    @property
    def steps(self) -> int:
        """Steps after which nothing reaches the layer any more."""
        return max([self.injected, *(len(self.sources[name]) for name in self.layer.sources)])

    def pieces(self, rows: int) -> Iterator[tuple[int, int]]:
        """Stretches of steps in which each source is dense, sparse or silent throughout."""
        ends = {self.injected}
        for name, linear in self.layer.spiking:
            source = self.sources[name]
            ends |= {len(source), source.tail(linear.below)}
        ends |= {len(self.sources[name]) for name, _ in self.layer.scaled}
        row = rows * self.layer.layer.neurons * self.layer.dtype.itemsize
        most = max(1, self.piece // row)
        a = 0
        for end in sorted(ends):
            moving = any(len(self.sources[name]) > a for name in self.layer.sources)
            step = most if moving else end
            while a < end:
                b = min(a + step, end)
                yield a, b
                a = b

    def current(self, a: int, b: int, rows: int) -> Tensor | None:
        """Sums (b - a, n, K) of steps `a` to `b`; (1, n, K) if constant; None if nothing came."""
        total: Tensor | None = None
        for name, linear in self.layer.spiking:
            source = self.sources[name]
            if a < len(source):
                quiet = linear.sparse is not None and a >= source.tail(linear.below)
                apply = linear.sparse if quiet and linear.sparse is not None else linear.dense
                part = apply(source.bytes[a:b].flatten(0, 1)).view(b - a, rows, -1)
                total = part if total is None else total.add_(part)
        for name, weight in self.layer.scaled:
            if a < len(self.sources[name]):
                if total is None:
                    shape = (b - a, rows, self.layer.layer.neurons)
                    total = torch.zeros(shape, dtype=self.layer.dtype)
                spikes = self.sources[name].bytes[a:b]
                add_scaled(total, spikes, weight, self.layer.zero, self.pool)
        if a < self.left and self.constant is not None:
            total = self.constant if total is None else total.add_(self.constant)
        return total

    def bias(self, a: int, b: int) -> Int64Array | None:
        """The shares of the bias at steps `a` to `b`, (b - a, C), or None if there are none."""
        if self.layer.bias is None or a >= self.left:
            return None
        steps = range(self.start + a, self.start + b)
        return np.stack([window_share(self.layer.bias, t, self.window) for t in steps])
