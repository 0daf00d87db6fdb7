"""Latency: the busiest core sets the pace of each step.

    T_neuron  = updates * t_update + spikes * t_spike + packets * t_packet + compares * t_compare
    T_message = packets_in * t_message + synops * t_synop + macs * t_mac
    T_noc     = hops of the packet that goes farthest * t_hop
    t_step    = max(max over cores of combine(T_neuron, T_message), T_noc, bytes * t_io, t_tick)
                + t_barrier(tiles)
    latency   = sum over steps of (share of the samples that run) * t_step
                + decisions of an early exit * t_decision

The busiest core is that of the mean sample, which is a lower bound of the mean over the busiest
cores; the sources of contention between cores are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from snndeploy.cost.bootstrap import resampled_means
from snndeploy.cost.estimate import weakest
from snndeploy.cost.quantity import DRAWS, Quantity, draws_of
from snndeploy.hardware import ALL_IN_EVENTS, Constant, Grade, HardwareProfile, Time
from snndeploy.measure.activity import Activity
from snndeploy.measure.events import EXIT_OPERATIONS
from snndeploy.measure.load import CoreLoad, load_of
from snndeploy.numerics import FloatArray
from snndeploy.program import Program

NEURON_EVENTS = ("update_active", "update_inactive", "update_readout", "spike", "packet", "compare")
MESSAGE_EVENTS = ("message", "synop", "synop_conv", "synop_input", "synop_readout", "mac")
BOUNDS = ("cores", "network", "io", "tick")
"""What can set the pace of a step."""

EXIT_OPERATION = Constant(
    value=1.0,
    low=0.1,
    high=10.0,
    unit="ns",
    grade="assumed",
    source="stand-in, for profiles without a time of their own: an operation a cycle at 1 GHz; "
    "low: ten at once; high: at 100 MHz",
)

_CHUNK = 100
_MOST_ROWS = 64

Figures = Callable[[Constant], FloatArray]
"""A constant's figures (n,): its draws, or one of its bounds."""


@dataclass(frozen=True)
class Latency:
    """Mean time to the answer.

    Attributes:
        us: None if an event has no time, the profile has none at all, its clock is not known, or
            the program is not placed.
        cycles: nominal clock cycles, of a profile whose times are cycles.
        grade: the weakest of the times that were used.
        untimed: events that occur but have no time.
        bound: what sets the pace of how many of the nominal time's parts: shares by `BOUNDS`.
        swings: nominal us with one constant at its low and at its high end, by name.
        deciding: whether the time holds the arithmetic of a controller, for which the chip waits.
    """

    us: Quantity | None = None
    cycles: float | None = None
    grade: Grade | None = None
    untimed: tuple[str, ...] = ()
    bound: Mapping[str, float] = field(default_factory=dict)
    swings: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    deciding: bool = False


def latency(program: Program, run: Activity) -> Latency:
    """Mean time to the answer of a placed program."""
    profile = program.profile
    if profile is None or not program.placement or not any(profile.time.constants()):
        return Latency()
    load = load_of(program, run)
    times, missing = _times(profile, load.work)
    if missing:
        return Latency(untimed=missing)
    model = _Model(profile, load, times)
    grade = weakest(constant.grade for constant in model.constants.values())
    nominal, bound = model.nominal()
    if profile.time.in_cycles and profile.time.clock is None:
        return Latency(cycles=nominal, grade=grade, untimed=("the clock",), bound=bound)
    steps = np.arange(len(load.running))
    often = resampled_means((run.steps[:, None] > steps).astype(np.float64))
    drawn = (model.drawn() * often.T).sum(axis=0)
    clock = profile.time.clock
    unit = Quantity.fixed(1e-3) if clock is None else Quantity.fixed(1.0).over(Quantity.of(clock))
    us = Quantity(nominal, drawn).times(unit)
    swings = {
        name: (low * unit.nominal, high * unit.nominal)
        for name, (low, high) in model.swings().items()
    }
    if clock is not None:
        grade = weakest((grade, clock.grade))
        swings["clock"] = (nominal / clock.high, nominal / max(clock.low, 1e-300))
    cycles = nominal if profile.time.in_cycles else None
    found = Latency(us, cycles, grade, bound=bound, swings=swings)
    return _decided(found, profile, unit, run, program.layers[-1].neurons)


def _decided(
    found: Latency, profile: HardwareProfile, unit: Quantity, run: Activity, classes: int
) -> Latency:
    """With the time in which a controller decides after each step, if one did."""
    constant = profile.time.exit_arithmetic
    if constant is None and not profile.time.in_cycles:
        constant = EXIT_OPERATION
    if constant is None or found.us is None or not run.decisions.any():
        return found
    operations = (EXIT_OPERATIONS * classes * run.decisions)[:, None].astype(np.float64)
    count = Quantity(float(operations.mean()), resampled_means(operations)[:, 0]).times(unit)
    us = Quantity.of(constant).times(count)
    ends = (constant.low * count.nominal, constant.high * count.nominal)
    base = found.us.nominal
    swings = {
        name: (low + us.nominal, high + us.nominal) for name, (low, high) in found.swings.items()
    }
    return replace(
        found,
        us=found.us + us,
        grade=weakest((found.grade, constant.grade)),
        swings=swings | {"exit_arithmetic": (base + ends[0], base + ends[1])},
        deciding=True,
    )


def step_times(program: Program, run: Activity) -> FloatArray | None:
    """Nominal time of each physical step, us (P,); None where `latency` has no time."""
    profile = program.profile
    if profile is None or not program.placement or not any(profile.time.constants()):
        return None
    load, clock = load_of(program, run), profile.time.clock
    times, missing = _times(profile, load.work)
    if missing or (profile.time.in_cycles and clock is None):
        return None
    steps = _Model(profile, load, times).steps(_at("value"))[:, 0]
    return steps * (1e-3 if clock is None else 1.0 / clock.value)


def _times(
    profile: HardwareProfile, work: Mapping[str, FloatArray]
) -> tuple[dict[str, Constant], tuple[str, ...]]:
    """The times of the events that occur, and the events that lack one.

    On a chip of an all-in scope, or one that keeps a fixed tick, what has no time is inside.
    """
    times: dict[str, Constant] = {}
    missing: list[str] = []
    for event in (*NEURON_EVENTS, *MESSAGE_EVENTS):
        if event not in work or not work[event].any():
            continue
        time = _time(profile.time, event)
        if time is not None:
            times[event] = time
        elif profile.time.tick is None and (profile.scope == "per_op" or event in ALL_IN_EVENTS):
            missing.append(event)
    return times, tuple(missing)


def _time(time: Time, event: str) -> Constant | None:
    found: Constant | None = getattr(time, event)
    return time.synop if found is None and event == "synop_conv" else found


class _Model:
    """The time of each step, ns or cycles, for any figures of the constants."""

    def __init__(
        self, profile: HardwareProfile, load: CoreLoad, times: Mapping[str, Constant]
    ) -> None:
        time = profile.time
        self.load, self.overlap = load, profile.combine == "max"
        events = (*NEURON_EVENTS, *MESSAGE_EVENTS)
        self.events = [event for event in events if event in times]
        self.split = sum(event in NEURON_EVENTS for event in self.events)
        rest = {
            "hop_ew": time.hop_ew if load.farthest[:, 0].any() else None,
            "hop_ns": time.hop_ns if load.farthest[:, 1].any() else None,
            "io_byte": time.io_byte,
            "tick": time.tick,
            "barrier": time.barrier_for(load.tiles),
        }
        self.constants = dict(times) | {k: v for k, v in rest.items() if v is not None}
        self.rows = [self._rows(step) for step in range(len(load.running))]

    def _rows(self, step: int) -> FloatArray:
        """The work (cores, events) of the cores that can be the busiest of a step.

        A core with at least as much of everything makes another superfluous. Of the rest the
        longest at nominal times are kept.
        """
        if not self.events:
            return np.zeros((1, 0))
        rows = np.unique(np.stack([self.load.work[e][step] for e in self.events], axis=1), axis=0)
        kept: list[FloatArray] = []
        weight = np.array([self.constants[e].value for e in self.events])
        while len(rows) and len(kept) < _MOST_ROWS:
            top = rows[(rows @ weight).argmax()]
            kept.append(top)
            rows = rows[(rows > top).any(axis=1)]
        return np.array(kept)

    def parts(self, step: int, figures: Figures) -> FloatArray:
        """Time that each of `BOUNDS` asks for in a step, (4, n)."""
        found = {name: figures(constant) for name, constant in self.constants.items()}
        size = len(next(iter(found.values()), np.zeros(1)))
        none = np.zeros(size)
        price = np.array([found[e] for e in self.events]).reshape(-1, size)
        rows = self.rows[step]
        neuron = rows[:, : self.split] @ price[: self.split]
        message = rows[:, self.split :] @ price[self.split :]
        busy = np.maximum(neuron, message) if self.overlap else neuron + message
        east_west, north_south = self.load.farthest[step]
        noc = found.get("hop_ew", none) * east_west + found.get("hop_ns", none) * north_south
        moved = found.get("io_byte", none) * self.load.io_bytes[step]
        return np.array([busy.max(axis=0), noc, moved, found.get("tick", none)])

    def steps(self, figures: Figures) -> FloatArray:
        """The time of every step, (P, n)."""
        barrier = self.constants.get("barrier")
        sync: FloatArray | float = 0.0 if barrier is None else figures(barrier)
        found: FloatArray = np.stack(
            [self.parts(p, figures).max(axis=0) + sync for p in range(len(self.rows))]
        )
        return found

    def nominal(self) -> tuple[float, dict[str, float]]:
        """The mean time with every constant at its value, and the share that each bound sets."""
        figures = _at("value")
        steps = self.steps(figures)[:, 0]
        mean = float((self.load.running * steps).sum())
        shares = np.zeros(len(BOUNDS))
        for step, running in enumerate(self.load.running):
            shares[self.parts(step, figures)[:, 0].argmax()] += running * steps[step]
        whole = mean or 1.0
        return mean, {name: float(s / whole) for name, s in zip(BOUNDS, shares, strict=True)}

    def drawn(self) -> FloatArray:
        """The time of every step for every draw, (P, DRAWS)."""
        chunks = range(0, DRAWS, _CHUNK)
        return np.concatenate([self.steps(_draws(i)) for i in chunks], axis=1)

    def swings(self) -> dict[str, tuple[float, float]]:
        """The mean time with one constant at a time at its low and its high end."""
        found = {}
        for name, constant in self.constants.items():
            ends = []
            for bound in (constant.low, constant.high):
                steps = self.steps(_with(constant, bound))[:, 0]
                ends.append(float((self.load.running * steps).sum()))
            found[name] = (ends[0], ends[1])
        return found


def _at(bound: str) -> Figures:
    return lambda constant: np.array([getattr(constant, bound)])


def _with(special: Constant, value: float) -> Figures:
    return lambda constant: np.array([value if constant is special else constant.value])


def _draws(start: int) -> Figures:
    return lambda constant: draws_of(constant)[start : start + _CHUNK]
