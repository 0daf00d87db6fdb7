"""The words of a target, and what every channel of a network asks of them, for all inputs.

Weights, thresholds and biases are what they are; membranes are bounded by `snndeploy.ranges`,
transients included. Kinds of words:

- `weight`: one synaptic weight. Its word may have an exponent, one for each projection;
- `state`: a membrane, and whatever is added to it or compared with it in one step;
- `threshold`: unsigned, since thresholds are positive;
- `bias`: the share that is injected in one step, the remainder being spread over the window. Its
  word may have an exponent: shares that are multiples of a power of two need fewer bits;
- `bias_total`: what the shares add up to, which is held in a word of state;
- `payload`: what one spike message carries. Signed, unless no value is negative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from snndeploy.errors import ProfileError
from snndeploy.hardware import HardwareProfile
from snndeploy.layers import Layer, layers
from snndeploy.network import Mode, Network
from snndeploy.nodes import Array, Input, Neuron, Output
from snndeploy.numerics import BoolArray, Int64Array, mantissas
from snndeploy.ranges import LayerRange, ranges

Kind: TypeAlias = Literal["weight", "state", "threshold", "bias", "bias_total", "payload"]

DEFAULT_STATE_BITS = 32
"""The word of state where a profile names none, and where there is no profile."""


@dataclass(frozen=True)
class Words:
    """A target's words, in bits; None: no limit is known.

    Attributes:
        weight_exponent: the largest exponent of two that the weights of a projection may have as
            a factor.
        bias_exponent: the largest exponent of two that a bias may have as a factor.
        signed_spikes: one message carries a sign; otherwise each sign has a channel of its own.
        graded_input: an input value is one message; otherwise it is delivered bit by bit.
    """

    weight: int | None = None
    weight_exponent: int = 0
    state: int = DEFAULT_STATE_BITS
    threshold: int | None = None
    bias: int | None = None
    bias_exponent: int = 0
    payload: int | None = None
    signed_spikes: bool = True
    graded_input: bool = True

    @classmethod
    def of(cls, profile: HardwareProfile | None) -> Words:
        """The words of a chip, or of no chip in particular."""
        if profile is None:
            return cls()
        if profile.kind != "spiking":
            raise ProfileError(
                "describes an accelerator for ANNs, which has no words for membranes",
                where=f"profile '{profile.name}'",
                remedy="use a spiking profile",
            )
        limits, can = profile.limits, profile.capability
        return cls(
            weight=limits.weight_bits,
            weight_exponent=limits.weight_exponent or 0,
            state=limits.state_bits or DEFAULT_STATE_BITS,
            threshold=limits.threshold_bits,
            bias=limits.bias_bits,
            bias_exponent=limits.bias_exponent or 0,
            payload=limits.payload_bits,
            signed_spikes=can is None or can.signed_spikes,
            graded_input=can is None or can.graded_spikes,
        )

    def bits(self, kind: Kind) -> int | None:
        """The word that holds values of a kind."""
        sizes = {
            "weight": self.weight,
            "state": self.state,
            "threshold": self.threshold,
            "bias": self.bias,
            "bias_total": self.state,
            "payload": self.payload,
        }
        return sizes[kind]


@dataclass(frozen=True, eq=False)
class Span:
    """The values of one kind, channel by channel: arrays (C,), int64.

    Attributes:
        low, high: the least and the largest value over all inputs and steps.
        step: a power of two that divides every value and need not be held.
    """

    low: Int64Array
    high: Int64Array
    step: Int64Array

    @staticmethod
    def of(low: Array, high: Array) -> Span:
        """Any values in between."""
        return Span(low, high, np.ones_like(low))

    def bits(self, kind: Kind) -> Int64Array:
        """Bits of the narrowest word that holds each channel's values."""
        ends = zip((self.low // self.step).tolist(), (self.high // self.step).tolist(), strict=True)
        return np.array([bits_for(kind, low, high) for low, high in ends])


Spans: TypeAlias = Mapping[Kind, Span]


def spans(
    network: Network, words: Words, steps: int | None = None
) -> Iterator[tuple[Layer, Spans]]:
    """Every layer with the values of its channels, of each kind that it has.

    Args:
        network: an integer network.
        words: decide how messages carry signs, and whether biases have an exponent.
        steps: in rate mode, the number of steps to cover; default: the window.
    """
    bounds = ranges(network, steps)
    duration = steps if steps is not None and network.mode == "rate" else network.window
    for layer in layers(network):
        found: dict[Kind, Span] = {}
        if layer.name in bounds:
            found = _held(layer, bounds[layer.name], words, network.window, duration)
        if layer.kind != "readout":
            found["payload"] = _payload(layer, network.mode, words)
        yield layer, found


def fitting_channels(found: Spans, words: Words) -> BoolArray:
    """Which channels of a layer with membranes fit every word but that of messages."""
    fits = np.ones(len(found["state"].low), np.bool_)
    for kind, span in found.items():
        bits = words.bits(kind)
        if kind != "payload" and bits is not None:
            fits &= span.bits(kind) <= bits
    return fits


def bias_span(total: Int64Array, window: int, words: Words) -> Span:
    """What is injected in one step of biases that add up to `total` over the window."""
    low, high = total // window, -(-total // window)
    step = np.where(low == high, np.gcd(low, 1 << words.bias_exponent), 1)
    return Span(np.minimum(low, 0), np.maximum(high, 0), step)


def bits_for(kind: Kind, low: int, high: int) -> int:
    """Bits of the narrowest word of a kind that holds [low, high]; at least 1."""
    if kind == "threshold" or (kind == "payload" and low >= 0):
        return max(high.bit_length(), 1)
    return max(high.bit_length(), (~low).bit_length() if low < 0 else 0) + 1


def _held(
    layer: Layer, bound: LayerRange, words: Words, window: int, duration: int
) -> dict[Kind, Span]:
    """What a layer with membranes holds."""
    node = layer.node
    assert isinstance(node, Neuron | Output) and node.bias is not None
    found: dict[Kind, Span] = {}
    weights = [p.weighted.weight for p in layer.projections if p.weighted is not None]
    if weights:
        rows = [mantissas(w, words.weight_exponent)[0].reshape(len(w), -1) for w in weights]
        low = np.min(np.broadcast_arrays(*(r.min(axis=1, initial=0) for r in rows)), axis=0)
        high = np.max(np.broadcast_arrays(*(r.max(axis=1, initial=0) for r in rows)), axis=0)
        found["weight"] = Span.of(low, high)
    found["state"] = Span.of(
        np.minimum(bound.membrane_low, -bound.operand),
        np.maximum(bound.membrane_high, bound.operand),
    )
    if isinstance(node, Neuron):
        found["threshold"] = Span.of(node.threshold, node.threshold)
    found["bias"] = bias_span(node.bias, window, words)
    total = node.bias * -(-duration // window)
    found["bias_total"] = Span.of(np.minimum(total, 0), np.maximum(total, 0))
    return found


def _payload(layer: Layer, mode: Mode, words: Words) -> Span:
    """What a message of a layer carries: an input value, or a spike."""
    low, high = (-1, 1) if mode == "exact" else (0, 1)
    if isinstance(layer.node, Input):
        grid = layer.node.grid
        assert grid is not None
        low, high = min(grid.low, 0), max(grid.high, 0)
        if layer.node.per_step:  # the grid bounds the running sums
            low, high = low - high, high - low
    elif not words.signed_spikes:
        low = 0
    return Span.of(np.array([low]), np.array([high]))
