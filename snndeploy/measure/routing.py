"""Where spikes travel: the cores that each neuron's messages go to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from snndeploy.hardware import Limits
from snndeploy.layers import Layer
from snndeploy.measure.synapses import presynaptic
from snndeploy.numerics import BoolArray, Int64Array
from snndeploy.program import Program


@dataclass(frozen=True, eq=False)
class Route:
    """Where one layer's spikes go.

    Attributes:
        cores: int64 (K,), the distinct cores that any of them reaches.
        reached: bool (K, *shape), which neurons reach each of them.
    """

    cores: Int64Array
    reached: BoolArray


class Holding(NamedTuple):
    """What one core holds of a layer.

    Attributes:
        targets: bool (*shape), its neurons.
        sources: bool (*source shape), those whose synapses it holds; None: all of them.
    """

    core: int
    targets: BoolArray
    sources: BoolArray | None


def core_of(program: Program, layer: Layer) -> Int64Array:
    """The core of each neuron of a placed layer, (*shape); of a split readout, the last one."""
    cores = np.full(layer.neurons, -1, np.int64)
    for part in program.placement:
        if part.layer == layer.name:
            cores[part.start : part.stop] = part.core
    return cores.reshape(layer.shape)


def slices(program: Program, layer: Layer) -> int:
    """On how many cores each neuron of a layer lies, with a share of its synapses on each."""
    found = {part.sources for part in program.placement if part.layer == layer.name}
    return max(len(found), 1)


def holdings(program: Program, layer: Layer) -> Iterator[Holding]:
    """What each core holds of a placed layer."""
    masks: dict[tuple[int, tuple[int, int] | None], BoolArray] = {}
    for part in program.placement:
        if part.layer == layer.name:
            key = (part.core, part.sources)
            mask = masks.setdefault(key, np.zeros(layer.neurons, np.bool_))
            mask[part.start : part.stop] = True
    for (core, sources), mask in masks.items():
        kept = None
        if sources is not None:
            shape = program.network.shapes[layer.projections[0].source]
            kept = np.zeros(int(np.prod(shape)), np.bool_)
            kept[slice(*sources)] = True
            kept = kept.reshape(shape)
        yield Holding(core, mask.reshape(layer.shape), kept)


def route(program: Program, source: Layer) -> Route:
    """The destination cores of each neuron of a spiking layer in a placed program."""
    masks: dict[int, BoolArray] = {}
    for target in program.layers:
        if all(p.source != source.name for p in target.projections):
            continue
        for held in holdings(program, target):
            mask = presynaptic(target, source.shape, source.name, held.targets)
            if held.sources is not None:
                mask &= held.sources
            before = masks.get(held.core)
            masks[held.core] = mask if before is None else before | mask
    cores = np.array(sorted(masks), np.int64)
    return Route(cores, np.stack([masks[int(core)] for core in cores]))


class Distance(NamedTuple):
    """Mesh hops along the rows and along the columns, and whether another chip is reached."""

    east_west: Int64Array
    north_south: Int64Array
    crossing: BoolArray


def distances(limits: Limits, a: Int64Array, b: Int64Array) -> Distance:
    """How far cores `a` (...) and `b` (...) lie apart.

    Tiles are numbered row by row; chips stand side by side. A mesh that the profile does not
    describe has no hops.
    """
    chip = [core // limits.cores if limits.cores else np.zeros_like(core) for core in (a, b)]
    crossing: BoolArray = chip[0] != chip[1]
    if limits.cores_per_tile is None or limits.tile_columns is None:
        none = np.zeros(np.broadcast(a, b).shape, np.int64)
        return Distance(none, none, crossing)
    x, y = [], []
    for core, on in zip((a, b), chip, strict=True):
        tile = (core - on * (limits.cores or 0)) // limits.cores_per_tile
        x.append(tile % limits.tile_columns + on * limits.tile_columns)
        y.append(tile // limits.tile_columns)
    return Distance(np.abs(x[0] - x[1]), np.abs(y[0] - y[1]), crossing)
