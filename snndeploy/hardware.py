"""`HardwareProfile`: one chip's limits, prices and times, each constant with its source.

Profiles are YAML files, checked on the way in. Energies are in pJ, times in ns, powers in mW.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from snndeploy.errors import ProfileError
from snndeploy.network import Mode, Reset

Grade: TypeAlias = Literal["measured", "simulated", "derived", "vendor", "assumed"]
GRADES: tuple[Grade, ...] = ("measured", "simulated", "derived", "vendor", "assumed")
"""From the strongest to the weakest."""

MAX_PROFILE_BYTES = 1 << 20
Count: TypeAlias = Annotated[int, Field(ge=1, le=1 << 31)]


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few of them, nested, unfold into gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse `*name`."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return super().compose_node(parent, index)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Constant(_Frozen):
    """A number with its interval, unit, grade and source."""

    value: float = Field(ge=0, allow_inf_nan=False)
    low: float = Field(ge=0, allow_inf_nan=False)
    high: float = Field(ge=0, allow_inf_nan=False)
    unit: Literal["pJ", "ns", "mW"]
    grade: Grade
    source: str = Field(min_length=3)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"low {self.low} <= value {self.value} <= high {self.high} fails")
        return self


class _Priced(_Frozen):
    """A group of constants that share one unit; None means that no price is known."""

    @model_validator(mode="after")
    def _units(self) -> Self:
        unit = _UNITS[type(self).__name__]
        for name, constant in self.constants():
            if constant.unit != unit:
                raise ValueError(f"{name}: unit {constant.unit}, expected {unit}")
        return self

    def constants(self) -> Iterator[tuple[str, Constant]]:
        """The constants that are given, by name."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Constant):
                yield name, value


ALL_IN_EVENTS = ("synop", "synop_conv", "mac")
"""What a profile of scope `all_in` may price."""

_UNITS = {"Energy": "pJ", "Time": "ns", "Power": "mW"}


class Energy(_Priced):
    """Energy an event, pJ.

    `synop`: one synaptic operation for a spike of 0 or +-1 (accumulate); `synop_conv`: the same
    in a layer of shared kernels, if its price differs. `mac`: one for a graded input value.
    `update_active`, `update_inactive`: one compartment in one step, with and without a spike.
    `spike`: emitting one. `packet`: one message to one destination core. `hop`: one mesh hop of
    a packet. `chip_crossing`: a packet that leaves its chip. `bias`: one addition of a bias (or,
    in an ANN, of a pooled value or a branch). `compare`: one value compared in a max-pool.
    `barrier`: one step's synchronisation of one core. `io_byte`: one byte between host and chip.
    `reset`: clearing one compartment between samples. `weight_read`, `activation_access`: memory
    traffic of an 8-bit operand in a digital accelerator.
    """

    synop: Constant | None = None
    synop_conv: Constant | None = None
    mac: Constant | None = None
    update_active: Constant | None = None
    update_inactive: Constant | None = None
    spike: Constant | None = None
    packet: Constant | None = None
    hop: Constant | None = None
    chip_crossing: Constant | None = None
    bias: Constant | None = None
    compare: Constant | None = None
    barrier: Constant | None = None
    io_byte: Constant | None = None
    reset: Constant | None = None
    weight_read: Constant | None = None
    activation_access: Constant | None = None


class Time(_Priced):
    """Time an event, ns, in the busiest core.

    The events are those of `Energy`. `message`: taking in one packet. `barrier`: the
    synchronisation of one step. `tick`: the shortest step that the chip allows.
    """

    synop: Constant | None = None
    synop_conv: Constant | None = None
    mac: Constant | None = None
    update_active: Constant | None = None
    update_inactive: Constant | None = None
    spike: Constant | None = None
    packet: Constant | None = None
    message: Constant | None = None
    compare: Constant | None = None
    barrier: Constant | None = None
    tick: Constant | None = None


class Power(_Priced):
    """Static power, mW: `chip` for each chip, `core` for each core in use, `host` beside it."""

    chip: Constant | None = None
    core: Constant | None = None
    host: Constant | None = None


class Limits(_Frozen):
    """What one chip holds. None means that the limit is not known or not there.

    `neurons_per_core` counts compartments. `chips`: how many chips of the kind work together.
    `cores_per_tile`, `tile_columns`: the mesh; hops are not counted without them.

    Words: `weight_bits`, `state_bits` and `bias_bits` are signed, `threshold_bits` is unsigned.
    The weights of a projection are `weight_bits` times a power of two up to `2**weight_exponent`;
    the bias of one step is `bias_bits` times one up to `2**bias_exponent`.
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
    weight_bits: Count | None = None
    weight_exponent: Annotated[int, Field(ge=0, le=31)] | None = None
    state_bits: Count | None = None
    threshold_bits: Count | None = None
    bias_bits: Count | None = None
    bias_exponent: Annotated[int, Field(ge=0, le=31)] | None = None
    payload_bits: Count | None = None
    delay_steps: Count | None = None


class Sourced(_Frozen):
    """Where a limit comes from, and how sure it is."""

    grade: Grade
    source: str = Field(min_length=3)


class Capability(_Frozen):
    """What one compartment can do by itself; see `HardwareProfile.workarounds` for the rest."""

    signed_spikes: bool
    graded_spikes: bool
    soft_reset: bool
    count_cap: bool


class HardwareProfile(_Frozen):
    """One chip.

    Attributes:
        kind: `spiking`, or `ann` for a digital baseline.
        scope: `per_op` prices events apart; `all_in` prices synaptic operations only, with
            everything else inside.
        combine: whether neuron work and message work of a core overlap in time (`max`) or take
            turns (`sum`).
        pipelined: whether a spike reaches the next layer one step later.
        limit_sources: for limits by name, where they come from.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    vendor: str
    process: str
    kind: Literal["spiking", "ann"]
    boundary: Literal["core", "chip", "board"]
    scope: Literal["per_op", "all_in"]
    combine: Literal["max", "sum"] = "max"
    pipelined: bool = True
    notes: str = ""
    energy: Energy
    time: Time = Time()
    power: Power = Power()
    limits: Limits = Limits()
    limit_sources: dict[str, Sourced] = Field(default_factory=dict)
    capability: Capability | None = None

    @model_validator(mode="after")
    def _scope(self) -> Self:
        if self.scope == "all_in":
            extra = [n for n, _ in self.energy.constants() if n not in ALL_IN_EVENTS]
            extra += [f"power.{n}" for n, _ in self.power.constants()]
            if extra:
                raise ValueError(f"scope all_in prices synaptic operations only, found {extra}")
        if self.kind == "spiking" and self.capability is None:
            raise ValueError("a spiking profile needs a capability section")
        return self

    @model_validator(mode="after")
    def _sources(self) -> Self:
        given = self.limits.model_dump(exclude_none=True)
        stray = sorted(set(self.limit_sources) - set(given))
        if stray:
            raise ValueError(f"limit_sources names what limits does not give: {stray}")
        return self

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


def profile_folder() -> Path:
    """Where the profiles that ship with snndeploy lie: in the wheel, or in the checkout."""
    package = Path(__file__).parent
    shipped = package / "hw_profiles"
    return shipped if shipped.is_dir() else package.parent / "hw_profiles"


def profile_names() -> list[str]:
    """The names of the profiles that ship with snndeploy."""
    return sorted(path.stem for path in profile_folder().glob("*.yaml"))


def hardware(name: str) -> HardwareProfile:
    """A profile by name, or by the path of a YAML file of your own.

    Raises:
        ProfileError: there is no such profile, or it is malformed; says which key and why.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in profile_names():
            raise ProfileError(
                f"no hardware profile is called '{name}'",
                where="profile",
                remedy=f"known: {', '.join(profile_names())}; or give the path of a .yaml file",
            )
        path = profile_folder() / f"{name}.yaml"
    return read_profile(path)


def read_profile(path: Path) -> HardwareProfile:
    """Read and check one profile file."""
    where = f"profile {path}"
    try:
        if path.stat().st_size > MAX_PROFILE_BYTES:
            raise ProfileError(f"is larger than {MAX_PROFILE_BYTES} bytes", where=where)
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)  # noqa: S506
    except OSError as error:
        raise ProfileError(f"cannot be read: {error.strerror}", where=where) from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise ProfileError(f"is not valid YAML: {error}", where=where) from error
    if not isinstance(raw, dict):
        raise ProfileError("is not a mapping of keys", where=where)
    try:
        return HardwareProfile.model_validate(raw)
    except ValidationError as error:
        raise ProfileError(_explain(error), where=where) from error


def _explain(error: ValidationError) -> str:
    problems: list[str] = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "the profile"
        found: Any = item["input"]
        shown = f" (found {reprlib.repr(found)})" if not isinstance(found, dict) else ""
        problems.append(f"{key}: {item['msg']}{shown}")
    return "; ".join(problems)
