"""The smallest edits that make a layer fit a chip, in words."""

from __future__ import annotations

from collections.abc import Mapping

from snndeploy.layers import Layer
from snndeploy.nodes import Linear, Shape


def axon_remedy(layer: Layer, shapes: Mapping[str, Shape], most: int, limit: int) -> str:
    """What lowers the inputs of one neuron from `most` axons to the limit."""
    source = layer.projections[0].source
    shape = shapes[source]
    dense = any(isinstance(p.weighted, Linear) for p in layer.projections)
    channels = max(shape[0] * limit // most, 1)
    if len(layer.projections) > 1:
        return f"one neuron must have {limit} inputs at most: use fewer channels in each branch"
    if dense and len(shape) == 3:
        return (
            f"give '{source}' {channels} of its {shape[0]} channels, or pool before it fires "
            "(a sum pool behind it has all of its neurons as inputs)"
        )
    if dense:
        return f"give '{source}' {channels} of its {shape[0]} features, or split this layer in two"
    return f"give '{source}' {channels} of its {shape[0]} channels, or use groups"


def synapse_remedy(bits: int, most: int, limit: int) -> str:
    """What lowers the synapse memory of one neuron from `most` bits to the limit."""
    fewer = bits * limit // most
    narrower = f"quantize with weight-bits={fewer}, or " if fewer >= 2 else ""
    return f"{narrower}use {max(100 * limit // most, 1)} % of its inputs"


def fan_in_remedy(most: int, limit: int) -> str:
    """What lowers the synapses of one neuron."""
    share = max(100 * limit // most, 1)
    return f"use {share} % of the input channels or features, smaller kernels, or groups"


def chip_remedy(cores: int, per_chip: int) -> str:
    """What holds so many cores."""
    chips = -(-cores // per_chip)
    return f"use {chips} chips (`chips: {chips}` in a profile of your own), or fewer channels"
