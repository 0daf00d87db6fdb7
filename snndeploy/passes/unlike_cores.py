"""Placement on chips that are not a grid of equal cores: one core for all, or unlike cores."""

from __future__ import annotations

from math import prod

import numpy as np

from snndeploy.hardware import HardwareProfile
from snndeploy.layers import Layer, layers
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, MaxPool2d, SumPool2d
from snndeploy.passes.limits import Misfit
from snndeploy.passes.remedies import synapse_remedy
from snndeploy.passes.tiling import DEFAULT_WEIGHT_BITS, Cutter, Tile, image
from snndeploy.program import CoreAllocation

_WORDS = {
    "neurons_per_core": "compartments",
    "synapse_bits_per_core": "bits of synapses",
    "axons_in_per_core": "axons in",
}


def on_one_core(
    network: Network, profile: HardwareProfile
) -> tuple[tuple[CoreAllocation, ...], list[Misfit]]:
    """All layers on the one core of a chip."""
    parts: list[CoreAllocation] = []
    misfits: list[Misfit] = []
    sums = dict.fromkeys(_WORDS, 0)
    most = dict.fromkeys(_WORDS, ("", 0))
    for layer in layers(network)[1:]:
        cutter = Cutter(network, profile, layer)
        needs = cutter.needs(_whole(layer))
        for name, need in needs.items():
            sums[name] += need
            most[name] = max(most[name], (layer.name, need), key=lambda pair: pair[1])
        misfits += cutter.fan_in_misfits()
        bits = needs["synapse_bits_per_core"]
        parts.append(CoreAllocation(layer.name, 0, 0, layer.neurons, bits))
    for name, words in _WORDS.items():
        limit = getattr(profile.limits, name)
        if limit is not None and sums[name] > limit:
            layer_name, need = most[name]
            remedy = f"this layer takes {need}; use fewer channels, or a chip of more cores"
            if name == "synapse_bits_per_core":
                bits = profile.limits.weight_bits or DEFAULT_WEIGHT_BITS
                remedy = f"this layer takes {need}; {synapse_remedy(bits, sums[name], limit)}"
            text = f"all layers take {sums[name]} {words} on the one core"
            misfits.append(Misfit(layer_name, text, str(limit), remedy))
    return tuple(parts), misfits


def on_unlike_cores(
    network: Network, profile: HardwareProfile
) -> tuple[tuple[CoreAllocation, ...], list[Misfit]]:
    """Each layer, whole, on a core of its own that has the memory for it."""
    limits, mode = profile.limits, network.mode
    kernels, neurons = limits.core_kernel_words, limits.core_neurons
    misfits: list[Misfit] = []
    fits: list[list[int]] = []
    placed = layers(network)[1:]
    for layer in placed:
        cutter = Cutter(network, profile, layer)
        bits = limits.weight_bits or DEFAULT_WEIGHT_BITS
        words = cutter.synapse_bits(np.ones(layer.shape, np.bool_)) // bits
        held = layer.neurons * cutter.compartments
        cores = [
            core
            for core in range(limits.cores or 0)
            if (not kernels or words <= kernels[core]) and (not neurons or held <= neurons[core])
        ]
        fits.append(cores)
        misfits += _sides(layer, profile)
        if not cores:
            text = f"takes {words} words of weights and {held} of neurons ({mode} mode)"
            limit = f"{max(kernels, default=0)} and {max(neurons, default=0)} at most on one core"
            misfits.append(Misfit(layer.name, text, limit, "use fewer channels or smaller maps"))
    if limits.layers is not None and len(placed) > limits.layers:
        text = f"is layer {len(placed)}"
        misfits.append(Misfit(placed[-1].name, text, str(limits.layers), "use fewer layers"))
    chosen = _matched(fits, limits.cores or 0)
    stray = [x.name for x, core in zip(placed, chosen, strict=True) if core < 0]
    if stray and not misfits:
        text = "finds all cores with enough memory taken by other layers"
        misfits.append(Misfit(stray[0], text, f"{limits.cores} cores", "use fewer channels"))
    parts = tuple(
        CoreAllocation(x.name, core, 0, x.neurons)
        for x, core in zip(placed, chosen, strict=True)
        if core >= 0
    )
    return parts, misfits


def _whole(layer: Layer) -> Tile:
    channels, rows, columns = image(layer.shape)
    return Tile((0, channels), (0, rows), (0, columns))


def _sides(layer: Layer, profile: HardwareProfile) -> list[Misfit]:
    """Kernels and maps that are too large for a core's circuits."""
    limits, found = profile.limits, []
    kernel = max((_kernel(op) for p in layer.projections for op in p.ops), default=1)
    if isinstance(layer.node, MaxPool2d):
        kernel = max(layer.node.kernel)
    if limits.kernel_side is not None and kernel > limits.kernel_side:
        text, limit = f"has kernels of side {kernel}", str(limits.kernel_side)
        found.append(Misfit(layer.name, text, limit, "use smaller kernels"))
    side = max((1, *layer.shape[1:]))
    if limits.map_side is not None and side > limits.map_side and prod(layer.shape[1:]) > 1:
        text, limit = f"has maps of side {side}", str(limits.map_side)
        found.append(Misfit(layer.name, text, limit, "use a smaller input or stride"))
    return found


def _kernel(op: object) -> int:
    if isinstance(op, Conv2d):
        return int(max(op.weight.shape[2:]))
    return max(op.kernel) if isinstance(op, SumPool2d) else 1


def _matched(fits: list[list[int]], cores: int) -> list[int]:
    """A core of its own for as many layers as possible, -1 for the others: augmenting paths."""
    owner = [-1] * cores

    def seat(layer: int, tried: set[int]) -> bool:
        for core in fits[layer]:
            if core in tried:
                continue
            tried.add(core)
            if owner[core] < 0 or seat(owner[core], tried):
                owner[core] = layer
                return True
        return False

    for layer in range(len(fits)):
        seat(layer, set())
    return [owner.index(layer) if layer in owner else -1 for layer in range(len(fits))]
