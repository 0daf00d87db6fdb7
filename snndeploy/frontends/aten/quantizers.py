"""Quantizers: those of snndeploy.training, of PT2E, and of quantization-aware training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snndeploy.frontends.aten.builder import Builder
from snndeploy.frontends.quantizers import staircase
from snndeploy.frontends.reading import MAX_LEVELS, Unsupported
from snndeploy.nodes import Activation, Grid, Input


def qcfs(b: Builder, fx: torch.fx.Node, x: Any, ceiling: Any, levels: int) -> None:
    """The activation of `snndeploy.training`."""
    value = b.tensor(ceiling)
    assert value is not None
    if value.size != 1 or not np.isfinite(value).all() or float(value.item()) <= 0:
        raise Unsupported(f"its ceiling is {value.tolist()}, expected one number above 0")
    if not 1 <= levels <= MAX_LEVELS:
        raise Unsupported(f"it has {levels} levels, expected 1 to {MAX_LEVELS}")
    b.add(fx, lambda name: Activation(name, float(value.item()), levels), x)


def quantize_input(b: Builder, fx: torch.fx.Node, x: Any, s: float, low: int, high: int) -> None:
    """The grid of the model's input."""
    if not (0 < s < float("inf") and low < high and max(-low, high) <= 1 << 32):
        raise Unsupported(f"scale {s}, low {low}, high {high} is not a grid")
    if x.op != "placeholder":
        raise Unsupported("must stand directly on the model's input")
    if any(user.target != fx.target or user.args[1:] != fx.args[1:] for user in x.users):
        raise Unsupported("every use of the input must pass through one and the same grid")
    name = b.source(x)
    for index, node in enumerate(b.nodes):
        if isinstance(node, Input) and node.name == name:
            b.nodes[index] = Input(node.name, node.shape, Grid(s, low, high))
    b.alias(fx, x)


def _grid(b: Builder, scale: Any, zero: Any, low: int, high: int) -> Grid:
    s, z = b.number(scale), int(b.number(zero))
    if not 0 < s < float("inf") or not low <= z <= high or not 0 < high - low <= MAX_LEVELS:
        raise Unsupported(f"scale {s}, zero point {z}, {low} to {high} is not a grid")
    return Grid(s, low - z, high - z)


def _staircase(b: Builder, fx: torch.fx.Node, x: Any, grid: Grid) -> None:
    """The activation that a quantizer and its inverse are."""
    b.put(fx, lambda _: staircase(b.free(f"{b.value(x)}_quantized"), grid), b.value(x))
    b.grids[b.names[fx]] = grid
    if x in b.pads:  # around it zeros are zeros still, since the grid holds zero
        b.pads[fx] = b.pads[x]


def quantize_per_tensor(
    b: Builder, fx: torch.fx.Node, x: Any, scale: Any, zero: Any, low: int, high: int, *_: Any
) -> None:
    """An activation, together with its inverse; of stored values, their integers."""
    grid, stored = _grid(b, scale, zero, low, high), b.stored(x)
    if stored is not None:
        b.parameters[fx.name] = _integers(stored, grid.scale, low - grid.low, low, high)
        return
    for user in fx.users:
        inverse = str(user.target).startswith("quantized_decomposed.dequantize_per_tensor")
        if not inverse or _grid(b, *user.args[1:5]) != grid:  # type: ignore[arg-type]
            raise Unsupported("its integers are not dequantized with the same scale")
    _staircase(b, fx, x, grid)


def dequantize_per_tensor(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    scale: Any,
    zero: Any,
    low: int,
    high: int,
    *_: Any,
    **__: Any,
) -> None:
    """The end of an activation; of stored integers, what they mean."""
    stored, grid = b.stored(x), _grid(b, scale, zero, low, high)
    if stored is None:
        b.alias(fx, x)
    else:
        b.parameters[fx.name] = (stored.double() - (low - grid.low)) * grid.scale


def quantize_per_channel(
    b: Builder, fx: torch.fx.Node, x: Any, scales: Any, zeros: Any, axis: int, *rest: Any
) -> None:
    """Integers of stored weights."""
    stored, s, z = _per_channel(b, x, scales, zeros, axis)
    b.parameters[fx.name] = _integers(stored, s, z, *rest[:2])


def dequantize_per_channel(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    scales: Any,
    zeros: Any,
    axis: int,
    *_: Any,
    **__: Any,
) -> None:
    """What the stored integers of weights mean."""
    stored, s, z = _per_channel(b, x, scales, zeros, axis)
    b.parameters[fx.name] = (stored.double() - z) * s


def fake_quantize(
    b: Builder, fx: torch.fx.Node, x: Any, scale: Any, zero: Any, low: int, high: int
) -> None:
    """A quantizer and its inverse in one, as quantization-aware training uses it."""
    grid, stored = _grid(b, scale, zero, low, high), b.stored(x)
    if stored is None:
        _staircase(b, fx, x, grid)
    else:
        z = low - grid.low
        b.parameters[fx.name] = (_integers(stored, grid.scale, z, low, high) - z) * grid.scale


def fake_quantize_per_channel(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    scales: Any,
    zeros: Any,
    axis: int,
    low: int,
    high: int,
) -> None:
    """What stored weights are worth once they were integers."""
    stored, s, z = _per_channel(b, x, scales, zeros, axis)
    b.parameters[fx.name] = (_integers(stored, s, z, low, high) - z) * s


def _per_channel(
    b: Builder, x: Any, scales: Any, zeros: Any, axis: int
) -> tuple[Tensor, Tensor, Tensor | float]:
    """What is stored, and scales and zero points in a shape that broadcasts to it, float64."""
    stored, s, z = b.stored(x), b.stored(scales), b.stored(zeros)
    if stored is None or s is None or (zeros is not None and z is None):
        raise Unsupported("only weights can have a scale a channel: use one scale for all values")
    shape = [1] * stored.ndim
    shape[axis] = -1
    return stored, s.double().view(shape), 0.0 if z is None else z.double().view(shape)


def _integers(x: Tensor, scale: Any, zero: Any, low: int, high: int) -> Tensor:
    """What a quantizer stores, in float64; it multiplies by the inverse of its float32 scale."""
    inverse = 1.0 / torch.as_tensor(scale, dtype=torch.float32)
    found: Tensor = torch.round(x.float() * inverse).double() + zero
    return found.clamp(low, high)
