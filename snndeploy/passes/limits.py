"""What a chip's words and delays must hold, whatever the placement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from snndeploy.hardware import HardwareProfile
from snndeploy.layers import Layer, layers
from snndeploy.network import Network
from snndeploy.nodes import Neuron
from snndeploy.numerics import word_limits
from snndeploy.ranges import ranges


@dataclass(frozen=True)
class Misfit:
    """One reason why a network does not fit a chip."""

    layer: str
    found: str
    limit: str
    remedy: str

    def __str__(self) -> str:
        return f"layer '{self.layer}': {self.found}, limit {self.limit}; {self.remedy}"


def word_misfits(network: Network, profile: HardwareProfile) -> Iterator[Misfit]:
    """Weights, states, thresholds and delays that a word of the chip cannot hold."""
    limits = profile.limits
    bounds = ranges(network)
    for layer in layers(network):
        yield from _weights(layer, limits.weight_bits)
        yield from _delays(layer, limits.delay_steps)
        bound = bounds.get(layer.name)
        if bound is not None and limits.state_bits is not None:
            found = _bits(*bound.extent)
            if found > limits.state_bits:
                yield Misfit(
                    layer.name,
                    f"membranes from {bound.low} to {bound.high} and operands up to "
                    f"{bound.operand_high} need {found} bits",
                    f"{limits.state_bits} bits",
                    "use fewer levels, narrower weights or a smaller fan-in",
                )
        node = layer.node
        if isinstance(node, Neuron) and limits.threshold_bits is not None:
            found = _bits(0, int(node.threshold.max()))
            if found > limits.threshold_bits:
                yield Misfit(
                    layer.name,
                    f"a threshold of {int(node.threshold.max())} needs {found} bits",
                    f"{limits.threshold_bits} bits",
                    "quantize with fewer weight bits",
                )


def _weights(layer: Layer, limit: int | None) -> Iterator[Misfit]:
    for projection in layer.projections:
        weighted = projection.weighted
        if limit is None or weighted is None or weighted.weight.size == 0:
            continue
        low, high = int(np.min(weighted.weight)), int(np.max(weighted.weight))
        found = _bits(low, high)
        if found > limit:
            yield Misfit(
                layer.name,
                f"weights of '{weighted.name}' from {low} to {high} need {found} bits",
                f"{limit} bits",
                f"quantize with weight-bits={limit}",
            )


def _delays(layer: Layer, limit: int | None) -> Iterator[Misfit]:
    for projection in layer.projections:
        if limit is not None and projection.delay > limit:
            yield Misfit(
                layer.name,
                f"the branch from '{projection.source}' waits {projection.delay} steps",
                f"{limit} steps",
                "shorten the branch beside it",
            )


def _bits(low: int, high: int) -> int:
    """The narrowest signed word that holds [low, high]."""
    bits = 1
    while word_limits(bits)[0] > low or word_limits(bits)[1] < high:
        bits += 1
    return bits
