"""Traffic-aware placement: cores that talk to each other lie close on the mesh.

A quadratic assignment problem, for which no fast exact method is known: cores, and free places of
the chips in use, swap their places as long as a swap lowers

    cost = sum over pairs of cores (packets between them) * (hops between their places)

which ends in a placement that no single swap improves. What a core holds stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snndeploy.errors import InputError
from snndeploy.measure.activity import activity
from snndeploy.measure.routing import core_of, distances, route
from snndeploy.numerics import FloatArray, Int64Array
from snndeploy.program import Program
from snndeploy.trace import Trace

CROSSING_HOPS = 100.0
"""Hops that a packet to another chip counts as, so that chips come first."""

_MOST_PLACES = 2048
_BUDGET = 1 << 29
"""Of figures compared; each core is tried at least once."""


def arrange(program: Program, trace: Trace | None = None) -> Program:
    """The program with its cores moved to where their packets travel less.

    Args:
        program: placed on a chip with a mesh; on others it comes back as it is.
        trace: whose spikes make the traffic; None: one spike for each neuron.

    Raises:
        InputError: the program is not placed.
    """
    profile = program.profile
    if profile is None or not program.placement:
        raise InputError(
            "is not placed", where="program", remedy="lower the network to a spiking profile"
        )
    limits = profile.limits
    if limits.tile_columns is None or limits.cores_per_tile is None or limits.cores is None:
        return program
    used = 1 + max(part.core for part in program.placement)
    places = -(-used // limits.cores) * limits.cores
    if places > _MOST_PLACES:
        places = used
    between = np.zeros((places, places))
    between[:used, :used] = traffic(program, trace)
    where = np.arange(places)
    apart = distances(limits, where[:, None], where[None, :])
    hops = apart.east_west + apart.north_south + CROSSING_HOPS * apart.crossing
    chosen = _swapped(between + between.T, hops)
    moved = tuple(replace(part, core=int(chosen[part.core])) for part in program.placement)
    return replace(program, placement=moved, arrangement="by_traffic")


def traffic(program: Program, trace: Trace | None = None) -> FloatArray:
    """Packets from core to core, (K, K): of a trace, or of one spike for each neuron."""
    cores = 1 + max(part.core for part in program.placement)
    found = np.zeros((cores, cores))
    fired = None if trace is None else activity(program, trace).events
    for layer in program.spiking:
        way, origin = route(program, layer), core_of(program, layer).reshape(-1)
        spikes = np.ones(layer.neurons) if fired is None else fired[layer.name].sum(axis=0).ravel()
        packets = way.reached.reshape(len(way.cores), -1) * spikes
        for core in np.unique(origin):
            found[core, way.cores] += packets[:, origin == core].sum(axis=1)
    return found


def _swapped(between: FloatArray, hops: FloatArray) -> Int64Array:
    """The place of each core after all swaps that help, both matrices being symmetric."""
    np.fill_diagonal(between, 0.0)
    place, now = np.arange(len(between)), hops.copy()
    busiest = [
        core for core in np.argsort(-between.sum(axis=1), kind="stable") if between[core].any()
    ]
    budget = max(_BUDGET // now.size, len(busiest))
    silent = 0
    while silent < len(busiest) and budget > 0:
        core = busiest[budget % len(busiest)]
        budget -= 1
        own, far = between[core], now[core]
        # The change if `core` and each other swap places; their own pair keeps its distance.
        nearer = now - far
        change = nearer @ own - (between * nearer).sum(axis=1) + 2.0 * own * far
        other = int(change.argmin())
        silent += 1
        if change[other] < -1e-9:
            silent = 0
            place[[core, other]] = place[[other, core]]
            now = hops[np.ix_(place, place)]
    return place
