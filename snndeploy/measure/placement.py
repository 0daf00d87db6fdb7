"""What a placement uses: shares of each limit, distances, balance of the busiest core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from snndeploy.errors import InputError
from snndeploy.hardware import Limits
from snndeploy.layers import Layer
from snndeploy.measure.activity import activity
from snndeploy.measure.routing import core_of, distances, holdings, route
from snndeploy.measure.synapses import arrivals, presynaptic
from snndeploy.numerics import FloatArray
from snndeploy.program import Program
from snndeploy.trace import Trace


@dataclass(frozen=True)
class Use:
    """How much of one limit a core uses, over the cores in use.

    Attributes:
        busiest: the most on one core.
        mean: over the cores in use.
        limit: of one core; None if it is not known.
    """

    busiest: int
    mean: float
    limit: int | None

    @property
    def share(self) -> float | None:
        """The busiest core's share of the limit."""
        return None if self.limit is None else self.busiest / self.limit


@dataclass(frozen=True)
class PlacementSummary:
    """What a placement uses.

    Attributes:
        cores, chips: in use.
        layers: cores of each layer, by name.
        uses: `compartments`, `synapse bits`, `axons in`, `axons out`.
        hops: mean mesh hops of a packet.
        crossings: the share of the packets that reach another chip.
        balance: the busiest core's work over the mean of all cores in use: `updates`, `synops`.
        traffic: `spikes of the run`, or `one spike a neuron`.
    """

    cores: int
    chips: int
    layers: Mapping[str, int]
    uses: Mapping[str, Use]
    hops: float
    crossings: float
    balance: Mapping[str, float]
    traffic: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def summarize_placement(program: Program, trace: Trace | None = None) -> PlacementSummary:
    """What the placement of a program uses.

    Args:
        program: placed.
        trace: whose spikes make traffic and work; None: one spike for each neuron.

    Raises:
        InputError: the program is not placed.
    """
    tally = _tally(program, trace)
    used = np.array(sorted({part.core for part in program.placement}))
    limits, bounds = _limits(program), _bounds(program)
    packets = max(tally.packets, 1.0)
    return PlacementSummary(
        cores=len(used),
        chips=len({int(core) // limits.cores for core in used}) if limits.cores else 1,
        layers={x.name: _cores(program, x) for x in program.layers[1:]},
        uses={
            name: Use(int(found.max()), float(found.mean()), bounds[name])
            for name, found in ((name, tally.held[name][used]) for name in bounds)
        },
        hops=tally.hops / packets,
        crossings=tally.crossings / packets,
        balance={
            name: float(found.max() / (found.mean() or 1.0))
            for name, found in ((name, tally.held[name][used]) for name in ("updates", "synops"))
        },
        traffic="one spike a neuron" if trace is None else "spikes of the run",
    )


def core_shares(program: Program) -> Mapping[int, tuple[str, float | None]]:
    """For each core in use the limit that it is nearest to, and the share of it that it uses.

    The share is None where the profile gives no limit of a core.

    Raises:
        InputError: the program is not placed.
    """
    tally = _tally(program, None)
    bounds = {name: bound for name, bound in _bounds(program).items() if bound}
    found: dict[int, tuple[str, float | None]] = {}
    for core in sorted({part.core for part in program.placement}):
        shares = {name: float(tally.held[name][core]) / bound for name, bound in bounds.items()}
        nearest = max(shares, key=lambda name: shares[name], default="")
        found[core] = nearest, shares.get(nearest)
    return found


def _limits(program: Program) -> Limits:
    if program.profile is None or not program.placement:
        raise InputError(
            "is not placed", where="program", remedy="lower the network to a spiking profile"
        )
    return program.profile.limits


def _bounds(program: Program) -> dict[str, int | None]:
    """The limits of one core."""
    limits = _limits(program)
    return {
        "compartments": limits.neurons_per_core,
        "synapse bits": limits.synapse_bits_per_core,
        "axons in": limits.axons_in_per_core,
        "axons out": limits.axons_out_per_core,
    }


def _tally(program: Program, trace: Trace | None) -> _Tally:
    _limits(program)
    tally = _Tally(program, trace)
    for layer in program.layers[1:]:
        tally.add(layer)
    return tally


def _cores(program: Program, layer: Layer) -> int:
    return len({part.core for part in program.placement if part.layer == layer.name})


class _Tally:
    """Sums over the layers, by core."""

    def __init__(self, program: Program, trace: Trace | None) -> None:
        self.program = program
        cores = 1 + max(part.core for part in program.placement)
        names = ("compartments", "synapse bits", "axons in", "axons out", "updates", "synops")
        self.held: dict[str, FloatArray] = {name: np.zeros(cores) for name in names}
        self.packets = self.hops = self.crossings = 0.0
        events = None if trace is None else activity(program, trace).events
        self.spikes = {
            x.name: np.ones(x.shape, np.int64) if events is None else events[x.name].sum(axis=0)
            for x in program.spiking
        }
        for part in program.placement:
            self.held["synapse bits"][part.core] += part.synapse_bits

    def add(self, layer: Layer) -> None:
        """What a layer holds, receives and sends."""
        program, profile = self.program, self.program.profile
        assert profile is not None
        network, companions = program.network, 1
        if layer.kind == "neurons":
            companions = profile.compartments(network.mode, network.reset)
        for held in holdings(program, layer):
            count = int(held.targets.sum())
            self.held["compartments"][held.core] += count * companions
            self.held["updates"][held.core] += count * companions
            for source in {p.source for p in layer.projections}:
                mask = presynaptic(layer, program.network.shapes[source], source, held.targets)
                if held.sources is not None:
                    mask &= held.sources
                copies = 1 if source == program.network.input.name else profile.axons(network.mode)
                self.held["axons in"][held.core] += int(mask.sum()) * copies
            for p in layer.projections:
                if p.source in self.spikes and layer.kind != "max_pool":
                    kept = 1 if held.sources is None else held.sources
                    work = arrivals(p, (self.spikes[p.source] * kept)[None])[0]
                    self.held["synops"][held.core] += int(work[held.targets].sum())
        if layer.name in self.spikes:
            self._sent(layer)

    def _sent(self, layer: Layer) -> None:
        program, profile = self.program, self.program.profile
        assert profile is not None
        way, origin = route(program, layer), core_of(program, layer)
        axons = way.reached.sum(axis=0) * profile.axons(program.network.mode)
        np.add.at(self.held["axons out"], origin.ravel(), axons.ravel())
        packets = way.reached * self.spikes[layer.name]
        cores = way.cores.reshape(-1, *(1,) * len(layer.shape))
        apart = distances(profile.limits, origin[None], cores)
        self.packets += int(packets.sum())
        self.hops += int((packets * (apart.east_west + apart.north_south)).sum())
        self.crossings += int((packets * apart.crossing).sum())
