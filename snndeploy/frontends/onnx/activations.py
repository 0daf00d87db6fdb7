"""Relu, Clip and their like: bounds that wait for a quantizer, or become a real-valued Relu."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from snndeploy.frontends.onnx.builder import Builder
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.quantizers import uniform
from snndeploy.frontends.onnx.signal import Signal
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import Array


def relu(b: Builder, op: Op) -> Signal:
    """Relu."""
    return bounded(op, b.signal(op, stored=True), 0.0, inf)


def leaky_relu(b: Builder, op: Op) -> Signal:
    """LeakyRelu with a slope of zero."""
    if op.number("alpha", 0.01) != 0:
        raise Unsupported("its slope below 0 has no spiking form: use Relu")
    return relu(b, op)


def clip(b: Builder, op: Op) -> Signal:
    """Clip; its bounds are attributes up to opset 10, and operands since."""
    low, high = op.number("min", -inf), op.number("max", inf)
    if op.version >= 11:
        low, high = _bound(b.optional(op, 1), -inf), _bound(b.optional(op, 2), inf)
    if not low < high:
        raise Unsupported(f"clips to {low:g} .. {high:g}")
    return bounded(op, b.signal(op, stored=True), low, high)


def maximum(b: Builder, op: Op) -> Signal:
    """Max of a signal and one stored number."""
    x, bound = _with_number(b, op)
    return bounded(op, x, bound, inf)


def minimum(b: Builder, op: Op) -> Signal:
    """Min of a signal and one stored number."""
    x, bound = _with_number(b, op)
    return bounded(op, x, -inf, bound)


def bounded(op: Op, x: Signal, low: float, high: float) -> Signal:
    """A signal with bounds; those of stored integers are in their units."""
    if x.raw is not None:
        raise Unsupported("computes with integers: put a DequantizeLinear before it")
    if x.stored is not None:
        scale, zero = x.stored.scale, x.stored.zero_point
        low, high = scale * (low - zero), scale * (high - zero)
    if x.pads and not low <= 0 <= high:
        raise Unsupported("moves the zeros that a Pad put around its operand")
    before = x.clip
    clipped = min(max(before[0], low), high), max(min(before[1], high), low)
    return replace(x, clip=clipped, clip_names=op.names)


def _with_number(b: Builder, op: Op) -> tuple[Signal, float]:
    operands = [b.operand(op, i) for i in range(len(op.node.inputs))]
    signals = [x for x in operands if isinstance(x, Signal)]
    constants = [x for x in operands if isinstance(x, np.ndarray)]
    if len(signals) != 1 or len(constants) != 1 or signals[0].stored is not None:
        raise Unsupported("compares values: only a bound that is stored has a spiking form")
    return signals[0], uniform(constants[0], "bound")


def _bound(array: Array | None, default: float) -> float:
    """A stored bound; infinity is one too."""
    if array is None or not array.size:
        return default
    if array.size > 1 or array.dtype.kind not in "iuf" or np.isnan(array).any():
        raise Unsupported(f"a bound {array.ravel()[:4].tolist()}")
    return float(array.item())
