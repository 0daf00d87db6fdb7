"""`HardwareProfile`: one chip's limits, prices and times, each constant with its source."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from snndeploy.hardware.constants import (
    MEMORY_EVENTS,
    Count,
    Energy,
    Frozen,
    Grade,
    Inside,
    MemoryLevel,
    Power,
    Time,
)
from snndeploy.network import Mode, Reset

ALL_IN_EVENTS = ("synop", "synop_conv", "mac")
"""What a profile of an all-in scope may price."""

PerCore = Annotated[tuple[Count, ...], Field(strict=False)]


class Limits(Frozen):
    """What one chip holds. None means that the limit is not known or not there.

    `neurons_per_core` counts compartments. `chips`: how many chips of the kind work together.
    `cores`: of one chip; one chip of one core holds all layers on it, on others each core holds
    neurons of one layer. `cores_per_tile`, `tile_columns`: the mesh; hops are not counted
    without them. `layers`: of neurons and pools.

    Cores that differ: `core_kernel_words`, `core_neurons`, a figure for each core, which then
    holds one whole layer. `kernel_side`, `map_side`: the largest kernel and feature map.

    Words: `weight_bits`, `state_bits` and `bias_bits` are signed, `threshold_bits` is unsigned.
    The weights of a projection are `weight_bits` times a power of two up to `2**weight_exponent`;
    the bias of one step is `bias_bits` times one up to `2**bias_exponent`. In an ANN accelerator
    `weight_bits` is the width of weights and activations.
    `payload_bits`: what one spike message carries.
    """

    chips: Count | None = None
    cores_per_tile: Count | None = None
    tile_columns: Count | None = None
    cores: Count | None = None
    neurons_per_core: Count | None = None
    synapse_bits_per_core: Count | None = None
    axons_in_per_core: Count | None = None
    axons_out_per_core: Count | None = None
    fan_in: Count | None = None
    layers: Count | None = None
    kernel_side: Count | None = None
    map_side: Count | None = None
    core_kernel_words: PerCore = ()
    core_neurons: PerCore = ()
    weight_bits: Count | None = None
    weight_exponent: Annotated[int, Field(ge=0, le=31)] | None = None
    state_bits: Count | None = None
    threshold_bits: Count | None = None
    bias_bits: Count | None = None
    bias_exponent: Annotated[int, Field(ge=0, le=31)] | None = None
    payload_bits: Count | None = None
    delay_steps: Count | None = None

    @model_validator(mode="after")
    def _each_core(self) -> Self:
        for name in ("core_kernel_words", "core_neurons"):
            given = getattr(self, name)
            if given and len(given) != self.cores:
                raise ValueError(f"{name}: {len(given)} figures for {self.cores} cores")
        return self


class Sourced(Frozen):
    """Where a limit comes from, and how sure it is."""

    grade: Grade
    source: str = Field(min_length=3)


class Capability(Frozen):
    """What one compartment can do by itself; see `HardwareProfile.workarounds` for the rest."""

    signed_spikes: bool
    graded_spikes: bool
    soft_reset: bool
    count_cap: bool


class HardwareProfile(Frozen):
    """One chip.

    Attributes:
        kind: `spiking`, or `ann` for a digital baseline.
        scope: `per_op` prices events apart. `all_in` prices synaptic operations only, with
            everything else inside, static power too; `all_in_dynamic` the same with static power
            beside it. Where a source counted spikes only, `spike` is priced instead.
        combine: whether neuron work and message work of a core overlap in time (`max`) or take
            turns (`sum`).
        pipelined: whether a spike reaches the next layer one step later.
        inside: events without a price of their own, by name, and the event whose price holds
            them. An event that is neither priced nor inside leaves no total.
        memory: levels, smallest first: the prices of memory accesses by the size of what is held.
        limit_sources: for limits by name, where they come from.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    vendor: str
    process: str
    kind: Literal["spiking", "ann"]
    boundary: Literal["core", "chip", "board"]
    scope: Literal["per_op", "all_in", "all_in_dynamic"]
    combine: Literal["max", "sum"] = "max"
    pipelined: bool = True
    notes: str = ""
    energy: Energy
    inside: dict[str, Inside] = Field(default_factory=dict)
    memory: Annotated[tuple[MemoryLevel, ...], Field(strict=False)] = ()
    time: Time = Time()
    power: Power = Power()
    limits: Limits = Limits()
    limit_sources: dict[str, Sourced] = Field(default_factory=dict)
    capability: Capability | None = None

    @model_validator(mode="after")
    def _scope(self) -> Self:
        priced = [name for name, _ in self.energy.constants()]
        if self.scope != "per_op":
            extra = [name for name in priced if name not in ALL_IN_EVENTS]
            if not set(priced) & {"synop", "synop_conv"}:
                extra = [name for name in extra if name != "spike"]
            extra += ["inside"] * bool(self.inside) + ["memory"] * bool(self.memory)
            if self.scope == "all_in":
                extra += [f"power.{name}" for name, _ in self.power.constants()]
            if extra:
                raise ValueError(
                    f"scope {self.scope} prices synaptic operations only, found {extra}"
                )
        if self.kind == "spiking" and self.capability is None:
            raise ValueError("a spiking profile needs a capability section")
        return self

    @model_validator(mode="after")
    def _priced_once(self) -> Self:
        priced = {name for name, _ in self.energy.constants()}
        if self.memory:
            twice = sorted(priced & set(MEMORY_EVENTS))
            if twice:
                raise ValueError(f"memory and energy both price {twice}")
            sizes = [level.bytes for level in self.memory[:-1]]
            ordered = all(a is not None for a in sizes) and sizes == sorted(
                {a for a in sizes if a is not None}
            )
            last = self.memory[-1].bytes
            if not ordered or (last is not None and sizes and last <= (sizes[-1] or 0)):
                raise ValueError("memory: levels must grow, only the last may be without bytes")
            priced |= set(MEMORY_EVENTS)
        for event, held in self.inside.items():
            if event not in Energy.model_fields:
                raise ValueError(f"inside: there is no event '{event}'")
            if event in priced:
                raise ValueError(f"inside.{event}: has a price of its own")
            if held.holder not in priced:
                raise ValueError(f"inside.{event}: its holder '{held.holder}' has no price")
        return self

    @model_validator(mode="after")
    def _sources(self) -> Self:
        given = self.limits.model_dump(exclude_none=True)
        stray = sorted(name for name in self.limit_sources if given.get(name) in (None, ()))
        if stray:
            raise ValueError(f"limit_sources names what limits does not give: {stray}")
        return self

    @property
    def charged(self) -> tuple[str, ...] | None:
        """The events that an all-in price is charged for; None where each has its own price."""
        if self.scope == "per_op":
            return None
        return ("spike", "mac") if self.energy.spike is not None else ALL_IN_EVENTS

    def compartments(self, mode: Mode, reset: Reset = "soft") -> int:
        """Compartments that one neuron takes.

        One; one more that feeds back where the chip lacks soft reset, if that is asked for, or
        (exact mode) the count cap; one more that emits the negative spikes where exact mode has to
        do without them.
        """
        can = self.capability
        if can is None:
            return 1
        exact = mode == "exact"
        lacks_reset = reset == "soft" and not can.soft_reset
        return 1 + (lacks_reset or (exact and not can.count_cap)) + self._paired(exact)

    def axons(self, mode: Mode) -> int:
        """Axons, and copies of each synapse, of one connection: 2 where signs take channels."""
        return 1 + self._paired(mode == "exact")

    def workarounds(self, mode: Mode, reset: Reset = "soft") -> tuple[str, ...]:
        """What the network needs and the chip lacks, and what stands in for it."""
        can, exact = self.capability, mode == "exact"
        if can is None:
            return ()
        lacking = ["soft reset"] * (reset == "soft" and not can.soft_reset)
        lacking += ["count cap"] * (exact and not can.count_cap)
        notes = []
        if lacking:
            notes.append(f"no {' and no '.join(lacking)}: one feedback compartment more a neuron")
        if self._paired(exact):
            notes.append(
                "no signed spikes: paired channels, one compartment more a neuron, axons and "
                "synapses twice, the second copy with the weights negated"
            )
        return tuple(notes)

    def _paired(self, exact: bool) -> bool:
        return exact and self.capability is not None and not self.capability.signed_spikes
