"""Greedy first partition: each layer on as few cores as the chip's limits allow.

Images are cut into bands of rows over all channels, which share kernels and inputs; where one
row is too much, the channels or the row are split as well. No core holds two layers. A readout
with too many inputs for one core is cut along its inputs. Chips of one core, and of cores that
differ, have placements of their own.
"""

from __future__ import annotations

import numpy as np

from snndeploy.errors import DoesNotFitError, ProfileError
from snndeploy.hardware import HardwareProfile
from snndeploy.layers import Layer, layers
from snndeploy.measure.routing import core_of, route
from snndeploy.network import Network, require_integer
from snndeploy.passes.limits import Misfit, word_misfits
from snndeploy.passes.remedies import chip_remedy
from snndeploy.passes.tiling import Cutter
from snndeploy.passes.unlike_cores import on_one_core, on_unlike_cores
from snndeploy.program import CoreAllocation, Program

_ROUNDS = 16


def place(network: Network, profile: HardwareProfile) -> Program:
    """Check an integer network against a chip and spread it over its cores.

    Raises:
        ProfileError: the profile describes an accelerator for ANNs.
        UnsupportedModelError: the network is not an integer network.
        DoesNotFitError: with every reason at once: layer, what was found, limit and remedy.
    """
    program, misfits = try_place(network, profile)
    if misfits:
        listed = "".join(f"\n  {misfit}" for misfit in misfits)
        raise DoesNotFitError(
            f"does not fit {profile.title}, {len(misfits)} reason(s):{listed}",
            where=f"network '{network.name}'",
        )
    return program


def try_place(network: Network, profile: HardwareProfile) -> tuple[Program, tuple[Misfit, ...]]:
    """Like `place`, but return every reason why the network does not fit, instead of raising.

    The placement is complete only if there is none.
    """
    if profile.kind != "spiking":
        raise ProfileError(
            "describes an accelerator for ANNs, which holds no spiking network",
            where=f"profile '{profile.name}'",
            remedy="place on a spiking profile; use this one as the baseline of an estimate",
        )
    require_integer(network)
    misfits = list(word_misfits(network, profile))
    limits = profile.limits
    if limits.cores == limits.chips == 1 or limits.core_neurons:
        place_all = on_unlike_cores if limits.core_neurons else on_one_core
        parts, unplaced = place_all(network, profile)
        return Program(network, profile, parts), (*misfits, *unplaced)
    caps: dict[str, int] = {}
    program, unplaced = _placed(network, profile, caps)
    if unplaced:
        return program, (*misfits, *unplaced)
    for _ in range(_ROUNDS):
        # A layer sends to more cores when the next is cut finer, so this may take rounds.
        wishes = {x.layer: x.wish for x in _crowded(program)}
        if all(caps.get(name) == wish for name, wish in wishes.items()):
            break
        caps |= wishes
        program, _ = _placed(network, profile, caps)
    return program, (*misfits, *_whole(program))


def _placed(
    network: Network, profile: HardwareProfile, caps: dict[str, int]
) -> tuple[Program, list[Misfit]]:
    """Cut every layer, to at most `caps` neurons a core, and number the cores in order."""
    parts: list[CoreAllocation] = []
    misfits: list[Misfit] = []
    core = 0
    for layer in layers(network)[1:]:
        cutter = Cutter(network, profile, layer, caps.get(layer.name))
        misfits += cutter.misfits()
        if not cutter.tiles:
            parts += _shared(cutter, core)
            core += len(cutter.shares)
        for tile in cutter.tiles:
            # A band's kernels are held once a core: the first range carries their memory.
            bits = cutter.synapse_bits(tile.mask(layer.shape))
            for start, stop in tile.runs(layer.shape):
                parts.append(CoreAllocation(layer.name, core, start, stop, bits))
                bits = 0
            core += 1
    return Program(network, profile, tuple(parts)), misfits


def _shared(cutter: Cutter, core: int) -> list[CoreAllocation]:
    """A readout on several cores, each with a share of its inputs."""
    layer = cutter.layer
    size = cutter.shares[-1][1] if cutter.shares else 1
    bits = cutter.synapse_bits(np.ones(layer.shape, np.bool_))
    return [
        CoreAllocation(
            layer.name, core + i, 0, layer.neurons, -(-bits * (last - first) // size), (first, last)
        )
        for i, (first, last) in enumerate(cutter.shares)
    ]


class _Crowd:
    """A layer with more outgoing axons on a core than the chip has."""

    def __init__(self, layer: Layer, neurons: int, axons: int, limit: int) -> None:
        self.layer, self.neurons, self.axons, self.limit = layer.name, neurons, axons, limit
        self.wish = max(1, min(neurons - 1, neurons * limit // axons))


def _crowded(program: Program) -> list[_Crowd]:
    assert program.profile is not None
    limit = program.profile.limits.axons_out_per_core
    if limit is None:
        return []
    found: list[_Crowd] = []
    copies = program.profile.axons(program.network.mode)
    for layer in program.spiking:
        axons = route(program, layer).reached.sum(axis=0) * copies
        cores = core_of(program, layer)
        per_core = np.bincount(cores.ravel(), weights=axons.ravel())
        worst = int(per_core.argmax())
        if per_core[worst] > limit:
            neurons = int((cores == worst).sum())
            found.append(_Crowd(layer, neurons, int(per_core[worst]), limit))
    return found


def _whole(program: Program) -> list[Misfit]:
    """Limits that only the placement as a whole can break."""
    assert program.profile is not None
    limits = program.profile.limits
    found = [
        Misfit(
            crowd.layer,
            f"{crowd.axons} outgoing axons on a core of {crowd.neurons} neurons",
            str(crowd.limit),
            "its neurons feed too many cores: use fewer channels in the layers behind it, or "
            "smaller kernels",
        )
        for crowd in _crowded(program)
    ]
    cores = len({part.core for part in program.placement})
    if limits.cores is not None and limits.chips is not None:
        most = limits.cores * limits.chips
        if cores > most:
            counts = {
                x.name: len({part.core for part in program.placement if part.layer == x.name})
                for x in program.layers[1:]
            }
            largest = max(counts, key=lambda name: counts[name])
            found.append(
                Misfit(
                    largest,
                    f"takes {counts[largest]} of {cores} cores in all",
                    f"{most} ({limits.chips} chip(s) of {limits.cores})",
                    chip_remedy(cores, limits.cores),
                )
            )
    return found
