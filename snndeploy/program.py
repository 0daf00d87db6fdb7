"""`Program`: an integer network placed on a chip and checked against its limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from snndeploy.hardware import HardwareProfile
from snndeploy.layers import Layer, layers
from snndeploy.network import Network, require_integer
from snndeploy.nodes import Neuron

Arrangement = Literal["in_order", "by_traffic"]


@dataclass(frozen=True)
class CoreAllocation:
    """Neurons `start .. stop-1` of a layer, row-major, on core number `core`.

    A readout integrates only, so it may be cut along its inputs: then the core holds synapses
    from the neurons `sources` (first, last + 1) of its one source layer, and the host adds up
    what the cores read out.
    """

    layer: str
    core: int
    start: int
    stop: int
    synapse_bits: int = 0
    sources: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """What a backend runs.

    Attributes:
        network: an integer network.
        profile: the chip that it was checked against, or None for no chip in particular.
        placement: which neurons lie on which core; empty without a profile.
        arrangement: `in_order`, layer after layer, or `by_traffic`, cores that talk to each other
            moved together.
    """

    network: Network
    profile: HardwareProfile | None = None
    placement: tuple[CoreAllocation, ...] = ()
    arrangement: Arrangement = "in_order"

    def __post_init__(self) -> None:
        require_integer(self.network)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layer view, computed once."""
        return layers(self.network)

    @property
    def depth(self) -> int:
        """Steps by which a pipelined target's readout runs late, plus one."""
        return self.layers[-1].depth

    @property
    def spiking(self) -> tuple[Layer, ...]:
        """The layers that emit spikes: neurons and pools, in topological order."""
        return tuple(x for x in self.layers if x.kind in ("neurons", "max_pool"))

    @property
    def settle_bound(self) -> int:
        """Steps after which an exact network has settled for certain: `window + L * depth`.

        The input lasts one window; each layer settles at most L steps after the one before, L
        being the most levels of any layer. With L equal to the window: `L * (depth + 1)`.
        """
        levels = [x.node.levels for x in self.layers if isinstance(x.node, Neuron)]
        return self.network.window + max(levels, default=0) * self.depth

    def with_network(self, network: Network) -> Program:
        """The same placement for a network of the same shape."""
        return replace(self, network=network)
