"""Grids of values: of the model's input, of an activation, or the one that they have already."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from snndeploy.frontends.onnx.builder import Builder
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.signal import Signal
from snndeploy.frontends.reading import MAX_LEVELS, Unsupported
from snndeploy.nodes import Activation, Grid, Input

_SLACK = 1e-6
"""How far from an integer a shift in units of a grid may lie: what float32 is off."""


def on_grid(b: Builder, op: Op, signal: Signal, grid: Grid, floor: bool = False) -> Signal:
    """What a quantizer gives: nothing new, the grid of the input, or an activation.

    Args:
        op: the quantizer.
        signal: what it reads, real.
        grid: the multiples of its scale that it gives.
        floor: rounds down rather than to the nearest.
    """
    (least, most), s = signal.clip, grid.scale
    low = max(grid.low, _rounded(least / s)) if least > -inf else grid.low
    high = min(grid.high, _rounded(most / s)) if most < inf else grid.high
    if signal.pads and not low <= 0 <= high:
        raise Unsupported("its grid does not hold the zeros of the padding before it")
    before, narrower = signal.grid, Grid(s, low, high)
    if op.ends and not signal.is_clipped:
        b.drop(op)
        return replace(signal, grid=before)
    if before is not None and before.scale == s:
        if low <= before.low and before.high <= high:
            return replace(signal, clip=(-inf, inf))
        if isinstance(b.nodes[signal.node], Activation):
            return narrowed(b, op, replace(signal, clip=(-inf, inf)), low * s, high * s)
    if signal.node == b.input and not signal.is_clipped:
        found = _input_grid(b, signal, narrower)
        if found is not None:
            return found
    if low >= high:
        raise Unsupported(f"leaves only {low} to {high} of its grid")
    signal = b.normed(op, replace(signal, clip=(-inf, inf)))
    return staircase(b, op, signal, narrower, floor)


def staircase(b: Builder, op: Op, signal: Signal, grid: Grid, floor: bool) -> Signal:
    """An activation that gives the values of a grid."""
    levels, s = grid.high - grid.low, grid.scale
    if levels > MAX_LEVELS:
        raise Unsupported(f"it has {levels} levels, expected 1 to {MAX_LEVELS}")
    shift = (0.0 if floor else _half(signal.unit, s)) - grid.low
    where = b.places(signal)
    made = b.add(op, lambda n: Activation(n, s * levels, levels, shift, s * grid.low), signal.node)
    return Signal(made.node, where, grid, pads=signal.pads)


def narrowed(b: Builder, op: Op, signal: Signal, low: float, high: float) -> Signal:
    """A signal on a grid, clipped to multiples of its scale."""
    before, node = signal.grid, b.nodes[signal.node]
    assert before is not None
    s = before.scale
    grid = Grid(
        s,
        before.low if low == -inf else max(before.low, _rounded(low / s)),
        before.high if high == inf else min(before.high, _rounded(high / s)),
    )
    if grid == before:
        return signal
    if grid.low >= grid.high:
        raise Unsupported(f"leaves only {grid.low} to {grid.high} of its grid")
    if signal.node == b.input and signal.affine is None and signal.alone:
        _set_input_grid(b, grid)
        return replace(signal, grid=grid)
    if not isinstance(node, Activation) or node.ceiling != s * node.levels:
        return staircase(b, op, signal, grid, floor=False)
    levels = grid.high - grid.low
    shift = node.shift + round(node.offset / s) - grid.low
    changed = Activation(node.name, s * levels, levels, shift, s * grid.low)
    if signal.alone:
        b.put(changed, *b.sources[node.name])
        return replace(signal, grid=grid)
    made = b.add(op, lambda n: replace(changed, name=n), *b.sources[node.name])
    return Signal(made.node, signal.index, grid, pads=signal.pads)


def holds(grid: Grid, bound: float) -> bool:
    """Whether a bound is a value of a grid, or beyond all of them."""
    counts = bound / grid.scale
    inside = grid.low < counts < grid.high
    return not inside or abs(counts - round(counts)) < _SLACK


def _input_grid(b: Builder, signal: Signal, grid: Grid) -> Signal | None:
    """The grid of the model's input, seen through its affine map; None if it has none.

    g x + h = s k  is  x = (s / g) (k - h / s), a grid where h / s is an integer.
    """
    if signal.affine is not None:
        gain = signal.affine.gain[signal.index]
        shift = signal.affine.shift[signal.index] / grid.scale
        g, m = float(gain.flat[0]), float(shift.flat[0])
        if (gain != g).any() or (shift != m).any() or g <= 0 or abs(m - round(m)) > _SLACK:
            return None
        seen = Grid(grid.scale / g, grid.low - round(m), grid.high - round(m))
    else:
        seen = grid
    node = b.nodes[b.input]
    assert isinstance(node, Input)
    if node.grid is not None and node.grid != seen:
        return None
    _set_input_grid(b, seen)
    return replace(signal, grid=grid, quantized=True)


def _set_input_grid(b: Builder, grid: Grid) -> None:
    node = b.nodes[b.input]
    assert isinstance(node, Input)
    b.nodes[b.input] = replace(node, grid=grid)


def _half(unit: float | None, scale: float) -> float:
    """What is added before rounding down, to round to the nearest.

    ONNX rounds ties to even, which no staircase of even steps does. Exact ties are common where
    values are multiples of a part of the scale, behind an average pool. There they all go down:
    most are at one half, between 0 and 1, and even is down.
    """
    parts = 1 if unit is None else round(scale / unit)
    tied = unit is not None and parts % 2 == 0 and abs(scale - parts * unit) < _SLACK * scale
    return 0.5 - 0.5 / parts if tied else 0.5


def _rounded(x: float) -> int:
    """To the nearest integer, ties to even, as ONNX Runtime does."""
    return int(np.clip(np.round(x), -(1 << 40), 1 << 40))
