"""Norse cells with our semantics: `SNNCell`s whose activation is one integer step.

Norse's own integrate-and-fire cells reset to zero, ignore NIR's `r` and `v_reset`, and know
neither signed spikes nor a bias over a window.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snndeploy.nodes import Padding, Pair, Sides, sides
from snndeploy.numerics import Int64Array, window_share

with warnings.catch_warnings():
    # Norse 1.1 scripts functions when it is imported, which PyTorch 2.13 deprecates.
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
    from norse.torch.module.snn import SNNCell


class NeuronState(NamedTuple):
    """Membrane, net spike count (kept in exact mode only), and the steps done."""

    v: Tensor
    n: Tensor
    t: int


class IntegratorState(NamedTuple):
    """Membrane and the steps done."""

    v: Tensor
    t: int


class PoolState(NamedTuple):
    """Running counts of the neurons that are pooled, and their maxima so far."""

    n: Tensor
    pooled: Tensor


class Bias(nn.Module):
    """A layer's bias, spread over the window; in exact mode it ends with the window.

    `shares` has one row a step of the window; the shares of any later window are the same.
    """

    shares: Tensor

    def __init__(self, total: Int64Array, window: int, ends: bool, dims: int) -> None:
        super().__init__()
        rows = [torch.from_numpy(window_share(total, t, window)) for t in range(window)]
        shares = torch.stack(rows).to(torch.float64)
        self.window, self.ends, self.any = window, ends, bool(total.any())
        self.register_buffer("shares", shares.view(window, -1, *(1,) * (dims - 1)))

    def inject(self, v: Tensor, t: int) -> Tensor:
        """The membrane plus the share of step `t`."""
        if not self.any or (self.ends and t >= self.window):
            return v
        share: Tensor = self.shares[t % self.window]
        return v + share


class NeuronParameters(nn.Module):
    """Threshold (1, *shape), v0 (C, ...), cap (None: unsigned spikes, no cap), bias, reset."""

    theta: Tensor
    v0: Tensor

    def __init__(
        self, theta: Tensor, v0: Tensor, cap: int | None, bias: Bias, hard: bool = False
    ) -> None:
        super().__init__()
        self.register_buffer("theta", theta)
        self.register_buffer("v0", v0)
        self.cap, self.bias, self.hard = cap, bias, hard


class SoftResetCell(SNNCell):  # type: ignore[misc]  # Norse is untyped
    """Integrate and fire at `v >= theta`: soft reset or hard; signed and capped in exact mode."""

    def __init__(self, p: NeuronParameters) -> None:
        super().__init__(_fire, self._rest, p)

    def _rest(self, x: Tensor) -> NeuronState:
        return NeuronState(self.p.v0.expand_as(x), torch.zeros_like(x), 0)


class IntegratorCell(SNNCell):  # type: ignore[misc]  # Norse is untyped
    """Integrates and never fires; its output is its membrane."""

    def __init__(self, p: Bias) -> None:
        super().__init__(_integrate, self._rest, p)

    def _rest(self, x: Tensor) -> IntegratorState:
        return IntegratorState(torch.zeros_like(x), 0)


class CountMaxPool(nn.Module):
    """Max-pool on counts: `out[t] = max(N[t]) - max(N[t-1])` over each window."""

    def __init__(self, kernel: Pair, stride: Pair, padding: Padding) -> None:
        super().__init__()
        self.kernel, self.stride, self.sides = kernel, stride, sides(padding)

    def forward(self, x: Tensor, state: PoolState | None = None) -> tuple[Tensor, PoolState]:
        """Spikes in, spikes out."""
        n = x if state is None else state.n + x
        pooled = F.max_pool2d(_padded(n, self.sides), self.kernel, self.stride)
        return (pooled if state is None else pooled - state.pooled), PoolState(n, pooled)


class SumPool(nn.Module):
    """Sum over windows, padded with zeros."""

    def __init__(self, kernel: Pair, stride: Pair, padding: Padding) -> None:
        super().__init__()
        self.kernel, self.stride, self.sides = kernel, stride, sides(padding)

    def forward(self, x: Tensor) -> Tensor:
        """Sums of (N, C, H, W)."""
        x = _padded(x, self.sides)
        return F.avg_pool2d(x, self.kernel, self.stride, divisor_override=1)


class Multiply(nn.Module):
    """Elementwise integer weights."""

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        """Products."""
        return x * self.weight


def _padded(x: Tensor, around: Sides) -> Tensor:
    """Zeros around the pixels; counts are never below them."""
    top, left, bottom, right = around
    return F.pad(x, (left, right, top, bottom)) if any(around) else x


def _fire(
    x: Tensor, state: NeuronState, p: NeuronParameters, _dt: float
) -> tuple[Tensor, NeuronState]:
    v = p.bias.inject(state.v + x, state.t)
    z, n = _where(torch.ge, v, p.theta), state.n
    if p.cap is not None:
        z *= _where(torch.lt, n, p.cap)
        z.addcmul_(_where(torch.lt, v, 0), _where(torch.gt, n, 0), value=-1)
        n = n + z
    rest = v * (1 - z) if p.hard else torch.addcmul(v, p.theta, z, value=-1)
    return z, NeuronState(rest, n, state.t + 1)


def _integrate(
    x: Tensor, state: IntegratorState, p: Bias, _dt: float
) -> tuple[Tensor, IntegratorState]:
    v = p.inject(state.v + x, state.t)
    return v, IntegratorState(v, state.t + 1)


def _where(compare: Callable[..., Tensor], a: Tensor, b: Tensor | float) -> Tensor:
    """Ones where the comparison holds, else zeros; as bools first, they take ten times as long."""
    return compare(a, b, out=torch.empty_like(a))
