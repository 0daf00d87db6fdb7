"""What a signal carries until someone has to build it: an affine map, bounds, zeros around it."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from snndeploy.frontends.onnx.builder import Builder
from snndeploy.frontends.onnx.grids import holds, narrowed
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.signal import Affine, Signal
from snndeploy.frontends.reading import Unsupported, identifier
from snndeploy.nodes import BatchNorm, Conv2d, Linear, Relu
from snndeploy.numerics import FloatArray


def affine(b: Builder, op: Op, signal: Signal, gain: FloatArray, shift: FloatArray) -> Signal:
    """`gain * x + shift`: into the weights that compute x, else a norm of its own.

    Args:
        op: that asks for it.
        signal: x.
        gain, shift: broadcast to the tensor as ONNX does.
    """
    g, h = signal.spread(gain, b.batch), signal.spread(shift, b.batch)
    if (g == 1).all() and (h == 0).all():
        return signal
    if signal.pads and h.any():
        raise Unsupported("adds to a value that is padded with zeros: pad behind it")
    if signal.node == b.input and not signal.is_clipped:
        return _input_affine(b, signal, g, h)
    signal = settled(b, op, signal)
    gains, shifts = b.per_channel(signal, g, 1), b.per_channel(signal, h, 0)
    node = b.nodes[signal.node]
    if signal.alone and isinstance(node, Conv2d | Linear):
        weight = node.weight
        if (gains != 1).any():
            weight = weight * gains.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = shifts if node.bias is None else node.bias * gains + shifts
        b.put(replace(node, weight=weight, bias=bias), *b.sources[node.name])
        return replace(signal, grid=None)
    if signal.alone and isinstance(node, BatchNorm):
        norm = replace(node, gamma=node.gamma * gains, beta=node.beta * gains + shifts)
        b.put(norm, *b.sources[node.name])
        return replace(signal, grid=None)
    return b.same_place(signal, b.norm(op, signal, gains, shifts))


def _input_affine(b: Builder, signal: Signal, g: FloatArray, h: FloatArray) -> Signal:
    size = int(np.prod(b.inside))
    before = signal.affine or Affine(np.ones(size), np.zeros(size))
    gain, shift = before.gain.copy(), before.shift.copy()
    where = signal.index.ravel()
    gain[where] *= g.ravel()
    shift[where] = shift[where] * g.ravel() + h.ravel()
    return replace(signal, affine=Affine(gain, shift), grid=None)


def settled(b: Builder, op: Op, signal: Signal) -> Signal:
    """The signal with its affine map and its bounds built; its pads stay."""
    signal = b.normed(op, signal)
    if not signal.is_clipped:
        return signal
    low, high = signal.clip
    if signal.grid is not None and holds(signal.grid, low) and holds(signal.grid, high):
        return narrowed(b, op, replace(signal, clip=(-inf, inf)), low, high)
    if low != 0:
        raise Unsupported(
            f"its operand is clipped to {low:g} .. {high:g}: only Relu, Clip from 0, or a "
            "quantizer right behind the Clip has a spiking form"
        )
    if (signal.node, high) not in b.relus:
        b.places(signal)
        cap = None if high == inf else high
        spare = f"{signal.node}_relu"
        name = identifier((*signal.clip_names, spare, f"{spare}_{len(b.nodes)}"), b.nodes)
        b.relus[signal.node, high] = b.put(Relu(name, cap), signal.node).node
    return Signal(b.relus[signal.node, high], b.places(signal), pads=signal.pads)


def unpadded(signal: Signal) -> Signal:
    """The signal; raises if zeros around it wait to be built."""
    if signal.pads:
        raise Unsupported("reads a padded value: only a Conv or a pool merges a Pad into it")
    return signal
