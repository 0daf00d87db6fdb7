"""Constants of a profile: figures with interval, unit, grade and source, and their groups.

Energies are in pJ, powers in mW, times in ns or, where the clock is not fixed, in clock cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Grade: TypeAlias = Literal["measured", "simulated", "derived", "vendor", "assumed"]
GRADES: tuple[Grade, ...] = ("measured", "simulated", "derived", "vendor", "assumed")
"""From the strongest to the weakest."""

Count: TypeAlias = Annotated[int, Field(ge=1, le=1 << 40)]


class Frozen(BaseModel):
    """What cannot change, and has no keys but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Constant(Frozen):
    """A number with its interval, unit, grade and source.

    `low` and `high` are taken as the 5 % and 95 % points of what the figure may be.
    """

    value: float = Field(ge=0, allow_inf_nan=False)
    low: float = Field(ge=0, allow_inf_nan=False)
    high: float = Field(ge=0, allow_inf_nan=False)
    unit: Literal["pJ", "ns", "cycle", "mW", "MHz"]
    grade: Grade
    source: str = Field(min_length=3)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"low {self.low} <= value {self.value} <= high {self.high} fails")
        return self


def _in(*units: str) -> Callable[[Constant], Constant]:
    def check(constant: Constant) -> Constant:
        if constant.unit not in units:
            raise ValueError(f"unit {constant.unit}, expected {' or '.join(units)}")
        return constant

    return check


Picojoules: TypeAlias = Annotated[Constant, AfterValidator(_in("pJ"))]
Duration: TypeAlias = Annotated[Constant, AfterValidator(_in("ns", "cycle"))]
Milliwatts: TypeAlias = Annotated[Constant, AfterValidator(_in("mW"))]
Megahertz: TypeAlias = Annotated[Constant, AfterValidator(_in("MHz"))]


class _Group(Frozen):
    """Constants by name; None means that no figure is known."""

    def constants(self) -> Iterator[tuple[str, Constant]]:
        """The constants that are given, by name."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Constant):
                yield name, value


class Energy(_Group):
    """Energy an event, pJ.

    `synop`: one synaptic operation for a spike of 0 or +-1 (accumulate); `synop_conv`: the same
    in a layer of shared kernels, if its price differs. `mac`: one for a graded input value.
    `update_active`, `update_inactive`: one compartment in one step, with and without a spike.
    `spike`: emitting one. `packet`: one message to one destination core. `hop_ew`, `hop_ns`: one
    mesh hop of a packet along a row or a column. `chip_crossing`: a packet that leaves its chip.
    `bias`: one addition of a bias (or, in an ANN, of a pooled value or a branch). `compare`: one
    value compared in a max-pool. `barrier`: one step's synchronisation of one core. `io_byte`:
    one byte between host and chip. `reset`: clearing one compartment between samples.

    Early exit: `exit_readout`: one logit that the controller reads after a step.
    `exit_arithmetic`: one operation of the controller.

    Memory: `weight_read`: a weight, for each synaptic operation of a spiking chip, once for each
    inference of an ANN accelerator with perfect reuse. `state_access`: reading or writing a
    membrane. `activation_access`: reading or writing an activation of an ANN. On a profile with
    a `memory` section their prices follow from the sizes of what is held.
    """

    synop: Picojoules | None = None
    synop_conv: Picojoules | None = None
    mac: Picojoules | None = None
    update_active: Picojoules | None = None
    update_inactive: Picojoules | None = None
    spike: Picojoules | None = None
    packet: Picojoules | None = None
    hop_ew: Picojoules | None = None
    hop_ns: Picojoules | None = None
    chip_crossing: Picojoules | None = None
    bias: Picojoules | None = None
    compare: Picojoules | None = None
    barrier: Picojoules | None = None
    io_byte: Picojoules | None = None
    reset: Picojoules | None = None
    exit_readout: Picojoules | None = None
    exit_arithmetic: Picojoules | None = None
    weight_read: Picojoules | None = None
    state_access: Picojoules | None = None
    activation_access: Picojoules | None = None


MEMORY_EVENTS = ("weight_read", "state_access", "activation_access")


class Inside(Frozen):
    """An event whose energy another event's price holds already."""

    holder: str
    grade: Grade
    source: str = Field(min_length=3)


class MemoryLevel(Frozen):
    """A memory: `bytes` that fit (None: any number), and the energy of one access of 64 bits."""

    bytes: Count | None = None
    access: Picojoules


class BarrierTime(Frozen):
    """The synchronisation of one step where up to `tiles` tiles are in use."""

    tiles: Count
    time: Duration


class Time(_Group):
    """Time an event, in the busiest core: ns, or clock cycles.

    The events are those of `Energy`. `synop_input`, `synop_readout`, `update_readout`: the same
    at the input layer and at the readout, if they differ. `message`: taking in one packet.
    `hop_ew`, `hop_ns`: of a packet on its way. `barrier`: the synchronisation of one step, or
    `barrier_by_tiles`. `tick`: the shortest step that the chip allows. `io_byte`: between host
    and chip. `exit_arithmetic`: one operation of an early exit's controller. `clock`: without it,
    times in cycles give a number of cycles and no latency.
    """

    synop: Duration | None = None
    synop_conv: Duration | None = None
    synop_input: Duration | None = None
    synop_readout: Duration | None = None
    mac: Duration | None = None
    update_active: Duration | None = None
    update_inactive: Duration | None = None
    update_readout: Duration | None = None
    spike: Duration | None = None
    packet: Duration | None = None
    message: Duration | None = None
    hop_ew: Duration | None = None
    hop_ns: Duration | None = None
    compare: Duration | None = None
    barrier: Duration | None = None
    barrier_by_tiles: Annotated[tuple[BarrierTime, ...], Field(strict=False)] = ()
    tick: Duration | None = None
    io_byte: Duration | None = None
    exit_arithmetic: Duration | None = None
    clock: Megahertz | None = None

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        units = sorted({c.unit for name, c in self.constants() if name != "clock"})
        if len(units) > 1:
            raise ValueError(f"times in {' and '.join(units)}; use one unit for all")
        if self.clock is not None and "ns" in units:
            raise ValueError("clock: only times in cycles need one")
        tiles = [item.tiles for item in self.barrier_by_tiles]
        if tiles != sorted(set(tiles)):
            raise ValueError("barrier_by_tiles: tiles must increase")
        if tiles and self.barrier is not None:
            raise ValueError("barrier and barrier_by_tiles: give one of them")
        return self

    def constants(self) -> Iterator[tuple[str, Constant]]:
        """The constants that are given, by name."""
        yield from super().constants()
        for item in self.barrier_by_tiles:
            yield f"barrier, {item.tiles} tiles", item.time

    @property
    def in_cycles(self) -> bool:
        """Whether the times are clock cycles."""
        return any(constant.unit == "cycle" for _, constant in self.constants())

    def barrier_for(self, tiles: int) -> Constant | None:
        """The barrier of so many tiles: of the smallest number given that is not below it."""
        if not self.barrier_by_tiles:
            return self.barrier
        enough = (item.time for item in self.barrier_by_tiles if item.tiles >= tiles)
        return next(enough, self.barrier_by_tiles[-1].time)


class Power(_Group):
    """Static power, mW: `chip`, `controller`, `host` for each chip, `core` for each core in use."""

    chip: Milliwatts | None = None
    core: Milliwatts | None = None
    controller: Milliwatts | None = None
    host: Milliwatts | None = None
