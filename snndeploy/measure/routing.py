"""Where spikes travel: the cores that each neuron's messages go to."""

from __future__ import annotations

from dataclasses import dataclass

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


def core_of(program: Program, layer: Layer) -> Int64Array:
    """The core of each neuron of a placed layer, (*shape)."""
    cores = np.full(layer.neurons, -1, np.int64)
    for part in program.placement:
        if part.layer == layer.name:
            cores[part.start : part.stop] = part.core
    return cores.reshape(layer.shape)


def route(program: Program, source: Layer) -> Route:
    """The destination cores of each neuron of a spiking layer in a placed program."""
    masks: dict[int, BoolArray] = {}
    for target in program.layers:
        if all(p.source != source.name for p in target.projections):
            continue
        placed = core_of(program, target)
        for core in np.unique(placed):
            mask = presynaptic(target, source.shape, source.name, placed == core)
            before = masks.get(int(core))
            masks[int(core)] = mask if before is None else before | mask
    cores = np.array(sorted(masks), np.int64)
    return Route(cores, np.stack([masks[int(core)] for core in cores]))


def distances(limits: Limits, a: Int64Array, b: Int64Array) -> tuple[Int64Array, BoolArray]:
    """Mesh hops between cores `a` (...) and `b` (...), and whether they lie on two chips.

    Tiles are numbered row by row; chips stand side by side. A mesh that the profile does not
    describe has no hops.
    """
    chip = [core // limits.cores if limits.cores else np.zeros_like(core) for core in (a, b)]
    crossing: BoolArray = chip[0] != chip[1]
    if limits.cores_per_tile is None or limits.tile_columns is None:
        return np.zeros(np.broadcast(a, b).shape, np.int64), crossing
    x, y = [], []
    for core, on in zip((a, b), chip, strict=True):
        tile = (core - on * (limits.cores or 0)) // limits.cores_per_tile
        x.append(tile % limits.tile_columns + on * limits.tile_columns)
        y.append(tile // limits.tile_columns)
    return np.abs(x[0] - x[1]) + np.abs(y[0] - y[1]), crossing
