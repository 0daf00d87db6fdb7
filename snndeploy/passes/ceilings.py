"""The ceiling of a quantized activation: the largest value, a percentile, or the least error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from snndeploy.numerics import FloatArray
from snndeploy.passes.calibration_options import Thresholds

SAMPLED = 1 << 19
"""Values of a layer that a ceiling is chosen on, evenly spaced among all."""

CANDIDATES = 64
"""Ceilings that are tried: these fractions of the largest value, 1 / CANDIDATES apart."""


def channel_ceilings(
    values: Tensor, levels: int, thresholds: Thresholds, percentile: float
) -> FloatArray:
    """The ceiling that each channel needs by itself, (C,).

    Args:
        values: of a ReLU, (N, C, K).
        levels: counts up to the ceiling.
        thresholds, percentile: how it is found.
    """
    rows = _sample(values, dim=2, most=8 * SAMPLED).transpose(0, 1).flatten(1)
    most = rows.amax(1)
    if thresholds == "max":
        found = most
    elif thresholds == "percentile":
        found = torch.quantile(rows, percentile / 100, dim=1)
    else:

        def error(share: float) -> Tensor:
            step = (most * (share / levels)).clamp(min=1e-30)[:, None]
            return ((rows / step + 0.5).floor_().clamp_(0, levels) * step - rows).square_().mean(1)

        found = most * torch.from_numpy(_best(error)).float()
    return found.numpy().astype(np.float64)


def layer_share(
    quantize: Callable[[Tensor, float], Tensor], arriving: Tensor, goal: Tensor
) -> float:
    """The share of the largest ceiling with the least squared error.

    Args:
        quantize: (what arrives, share) to the value of the activation with that share.
        arriving: at the activation, earlier layers being quantized, (N, ...).
        goal: the value that the float original has there.
    """
    z, y = _sample(arriving.flatten()), _sample(goal.flatten())
    return float(_best(lambda share: (quantize(z, share) - y).square_().mean()[None])[0])


def layer_percentile(values: Tensor, percentile: float) -> float:
    """The percentile of a layer's values."""
    return float(torch.quantile(_sample(values.flatten()), percentile / 100))


def _best(error: Callable[[float], Tensor]) -> FloatArray:
    """The share with the least error, (n,): on a coarse grid, the largest of equals."""
    shares = np.arange(CANDIDATES, 0, -1) / CANDIDATES
    errors = torch.stack([error(float(share)) for share in shares])
    best: FloatArray = shares[errors.argmin(0).numpy()]
    return best


def _sample(values: Tensor, dim: int = 0, most: int = SAMPLED) -> Tensor:
    """About `most` values, evenly spaced along one axis."""
    stride = -(-values.numel() // most)
    count = values.shape[dim]
    if stride == 1:
        return values
    picked = torch.arange(max(count // stride, 1), dtype=torch.int64) * stride
    # an odd offset a row keeps a stride that divides the width from reading few columns only
    picked = (picked + torch.arange(len(picked)) * 7 % stride).clamp(max=count - 1)
    return values.index_select(dim, picked)
