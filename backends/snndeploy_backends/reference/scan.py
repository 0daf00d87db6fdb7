"""The scan over time: add the current, fire, reset; by numba, or by PyTorch where that is missing.

Time comes first and channels last: currents are (T, n, K), K the neurons of a sample with the
channels innermost, so that per-channel values repeat with period C along K. Spikes are bytes that
hold `spike + zero`: `zero` is 1 where spikes have signs (exact mode) and 0 where not (rate mode).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snndeploy.nodes import MaxPool2d
from snndeploy.numerics import Int64Array
from snndeploy_backends.reference.kernels import padded
from snndeploy_backends.reference.team import Team, share

ScanKind: TypeAlias = Literal["numba", "torch"]

BLOCK = 2048
"""Neurons whose state stays in the first-level cache while time passes."""


@dataclass(frozen=True, eq=False)
class Population:
    """The neurons of one layer for n samples; membrane and counts change from scan to scan.

    Attributes:
        theta: (block,), `repeated`; int32, float32 or float64, as are the membrane and the counts.
        membrane, count: (n, K).
        levels: the cap on the counts.
        signed: exact mode (cap, negative spikes); otherwise the counts are not used.
        hard: a spike sets the membrane to 0; otherwise it subtracts theta.
    """

    theta: Tensor
    membrane: Tensor
    count: Tensor
    levels: int
    signed: bool
    hard: bool = False

    def begin(self, v0: Tensor) -> None:
        """Put the neurons at rest, each at its own v0 (K,)."""
        self.membrane.copy_(v0)
        self.count.zero_()

    def part(self, rows: slice) -> Population:
        """Some of the samples, in the same memory."""
        return replace(self, membrane=self.membrane[rows], count=self.count[rows])


def repeated(values: Tensor, neurons: int) -> Tensor:
    """Per-channel values (C,) repeated to a block of whole pixels, for a layer of K neurons."""
    return values.repeat(max(1, min(BLOCK, neurons) // len(values)))


def available() -> ScanKind:
    """The fastest scan that can run here."""
    try:
        compiled()
    except (ImportError, RuntimeError):  # absent, or unfit for this NumPy, or nowhere to cache
        return "torch"
    return "numba"


def scan(
    kind: ScanKind,
    population: Population,
    current: Tensor | None,
    bias: Tensor | None,
    out: Tensor,
    team: Team | None = None,
) -> Int64Array:
    """Run the T steps of `out` and fill it.

    Args:
        current: (T, n, K), or (1, n, K) if it is the same at each step, or None for silence; of
            a float type, not a wider one than that of floating-point membranes.
        bias: (T, C) of the membranes' type, added to the current, or None.
        out: uint8 (T, n, K), receives the spikes.
        team: threads that share the work, if it is worth sharing.

    Returns:
        Events, int64 (T, n).
    """
    run = _scan_numba if kind == "numba" else _scan_torch
    return run(population, current, bias, out, team)


def _scan_torch(
    population: Population,
    current: Tensor | None,
    bias: Tensor | None,
    out: Tensor,
    team: Team | None,  # noqa: ARG001
) -> Int64Array:
    v, n = population.membrane, population.count
    width, block = v.shape[1], len(population.theta)
    theta = population.theta.repeat(-(-width // block))[:width]
    for t in range(len(out)):
        if current is not None:
            v += current[t % len(current)]
        if bias is not None:
            v += bias[t].repeat(width // bias.shape[1])
        if population.signed:
            spikes = ((v >= theta) & (n < population.levels)).to(v.dtype)
            spikes -= ((v < 0) & (n > 0)).to(v.dtype)
            n += spikes
        else:
            spikes = (v >= theta).to(v.dtype)
        if population.hard:
            v *= 1 - spikes
        else:
            v -= theta * spikes
        out[t] = spikes + int(population.signed)
    return _events(out, int(population.signed))


def _scan_numba(
    population: Population,
    current: Tensor | None,
    bias: Tensor | None,
    out: Tensor,
    team: Team | None,
) -> Int64Array:
    rows, width = population.membrane.shape
    steps, block, dtype = len(out), len(population.theta), population.theta.dtype
    current = torch.empty((0, rows, width)) if current is None else current
    biases = (
        torch.empty((0, block), dtype=dtype)
        if bias is None
        else bias.repeat(1, block // bias.shape[1])
    )
    units = rows * -(-width // block)
    events = np.zeros((units, steps), np.int64)
    loops, state = compiled(), population
    how: tuple[Any, ...] = (state.count.numpy(), state.levels) if state.signed else (state.hard,)
    kernel = loops.scan_signed if state.signed else loops.scan_unsigned
    arguments = (
        current.numpy(),
        biases.numpy(),
        state.theta.numpy(),
        state.membrane.numpy(),
        *how,
        out.numpy(),
        events,
    )
    share(kernel, arguments, range(units), team, 0.2 * units * steps * block)
    total: Int64Array = events.reshape(rows, -1, steps).sum(axis=1).T
    return total


@dataclass(frozen=True, eq=False)
class PoolState:
    """A max-pool's running counts (n, H, W, C), and their maxima (n, H_out, W_out, C)."""

    count: Tensor
    pooled: Tensor

    def begin(self) -> None:
        """Before the first step."""
        self.count.zero_()
        self.pooled.zero_()

    def part(self, rows: slice) -> PoolState:
        """Some of the samples, in the same memory."""
        return PoolState(self.count[rows], self.pooled[rows])


def scan_pool(
    kind: ScanKind,
    node: MaxPool2d,
    state: PoolState,
    spikes: Tensor,
    zero: int,
    out: Tensor,
    team: Team | None = None,
) -> Int64Array:
    """What the maxima gain at each of the T steps.

    Args:
        spikes: uint8 (T, n, H, W, C), of the layer that is pooled.
        out: uint8 (T, n, H_out, W_out, C), receives change + zero.

    Returns:
        Events, int64 (T, n).
    """
    if kind == "torch":
        return _pool_torch(node, state, spikes, zero, out)
    steps, rows = spikes.shape[:2]
    window = (*node.kernel, *node.stride, *node.pads[:2])
    events = np.zeros((rows, steps), np.int64)
    arrays = (spikes.numpy(), zero, window, state.count.numpy(), state.pooled.numpy(), out.numpy())
    share(compiled().pool_counts, (*arrays, events), range(rows), team, 0.3 * spikes.numel())
    return events.T


def _pool_torch(
    node: MaxPool2d, state: PoolState, spikes: Tensor, zero: int, out: Tensor
) -> Int64Array:
    most = (node.kernel[0] // 2, node.kernel[1] // 2) * 2
    written = len(node.padding) == 4 or any(p > m for p, m in zip(node.pads, most, strict=True))
    for t in range(len(spikes)):
        state.count.add_(spikes[t]).sub_(zero)
        counts = padded(state.count, node.padding, 0) if written else state.count
        counts = counts.permute(0, 3, 1, 2).float()
        pooled = F.max_pool2d(counts, node.kernel, node.stride, 0 if written else node.padding)
        change = pooled.permute(0, 2, 3, 1) - state.pooled
        out[t] = change + zero
        state.pooled.add_(change.to(state.pooled.dtype))
    return _events(out.flatten(2), zero)


def _events(out: Tensor, zero: int) -> Int64Array:
    """How many of (T, n, K) fired, (T, n); counted where they are."""
    events = (out != zero).sum(dim=2, dtype=torch.int32)  # ten times as fast as int64 on a CPU
    return events.cpu().numpy().astype(np.int64)


def add_scaled(total: Tensor, spikes: Tensor, weight: Tensor, zero: int, team: Team | None) -> None:
    """Add `weight * spike` to `total` (T, n, K); weight is `repeated`. Needs numba."""
    rows = total.flatten(0, 1).numpy()
    arguments = (rows, spikes.reshape(rows.shape).numpy(), weight.numpy(), zero)
    share(compiled().add_scaled, arguments, range(len(rows)), team, 0.1 * rows.size)


@cache
def compiled() -> ModuleType:
    """The compiled loops; imported late, since numba takes its time."""
    from snndeploy_backends.reference import scan_numba  # noqa: PLC0415

    return scan_numba
