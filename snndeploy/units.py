"""Numbers and events for readers: engineering prefixes, percentages, intervals, plain words."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, log10
from typing import Protocol

_PREFIXES = {
    -18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T",
}  # fmt: skip

PJ = 1e-12
US = 1e-6
NONE = "\N{EN DASH}"
"""What a table shows where there is no figure."""

EVENTS = {
    "synop": "synaptic operation",
    "synop_conv": "synaptic operation, convolution",
    "mac": "multiply-accumulate",
    "update_active": "neuron update, firing",
    "update_inactive": "neuron update, silent",
    "spike": "spike emitted",
    "packet": "packet to a core",
    "hop_ew": "mesh hop, east or west",
    "hop_ns": "mesh hop, north or south",
    "chip_crossing": "packet to another chip",
    "bias": "bias addition",
    "compare": "comparison",
    "barrier": "barrier of a core",
    "io_byte": "byte between host and chip",
    "reset": "neuron reset",
    "weight_read": "weight read",
    "state_access": "membrane access",
    "activation_access": "activation access",
    "in_flight": "work in flight, by spikes",
    "exit_readout": "logit read by the controller",
    "exit_arithmetic": "operation of the controller",
}
"""Events in words."""


class Bounds(Protocol):
    """A low, a nominal and a high figure, such as `snndeploy.cost.Quantity`."""

    @property
    def low(self) -> float:
        """The least that is likely."""

    @property
    def nominal(self) -> float:
        """The most likely."""

    @property
    def high(self) -> float:
        """The most that is likely."""


def engineering(value: float, unit: str) -> str:
    """Three significant digits with a metric prefix: `12.3 nJ`."""
    number, prefix = _split(value)
    return f"{number} {prefix}{unit}"


def energy(picojoules: Bounds | None) -> str:
    """The nominal energy, or a dash."""
    return NONE if picojoules is None else engineering(picojoules.nominal * PJ, "J")


def energy_range(picojoules: Bounds | None) -> str:
    """The energy's interval, or a dash."""
    return span(picojoules, PJ, "J")


def energy_in_full(picojoules: Bounds | None, unknown: str = NONE) -> str:
    """`743 nJ (183 nJ to 2.20 µJ)`, or what stands for an unknown energy."""
    return unknown if picojoules is None else _in_full(picojoules, PJ, "J")


def energy_span(low_pj: float, high_pj: float) -> str:
    """From one energy to another."""
    return f"{engineering(low_pj * PJ, 'J')} to {engineering(high_pj * PJ, 'J')}"


def ratio_in_full(ratio: Bounds) -> str:
    """`3.2 times (1.4 to 7.9)`."""
    return f"{ratio.nominal:.2g} times ({ratio.low:.2g} to {ratio.high:.2g})"


def latency_in_full(microseconds: Bounds | None, unknown: str = NONE) -> str:
    """`12.3 µs (10.1 to 15.2 µs)`, or what stands for an unknown latency."""
    return unknown if microseconds is None else _in_full(microseconds, US, "s")


def span(bounds: Bounds | None, factor: float, unit: str) -> str:
    """`0.8 to 2.1 µJ`; the unit is written twice only where the prefixes differ."""
    if bounds is None:
        return NONE
    low, low_prefix = _split(bounds.low * factor)
    high, high_prefix = _split(bounds.high * factor)
    if low_prefix == high_prefix or float(low) == 0.0:
        return f"{low} to {high} {high_prefix}{unit}"
    return f"{low} {low_prefix}{unit} to {high} {high_prefix}{unit}"


def count(value: float) -> str:
    """Events or steps: `1,234`, `12.3`, `0.05`; whole numbers stay whole."""
    if not isfinite(value):
        return str(value)
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.2g}"


def percent(share: float, digits: int = 1) -> str:
    """A share of one as a percentage."""
    return f"{100 * share:.{digits}f} %"


def latency(microseconds: Bounds | None) -> str:
    """The nominal latency, or a dash."""
    return NONE if microseconds is None else engineering(microseconds.nominal * US, "s")


def memory(size: int | None) -> str:
    """Bytes: `412 MB`, or a dash."""
    return NONE if size is None else engineering(size, "B")


def seconds(value: float | None) -> str:
    """Wall-clock time, or a dash."""
    return NONE if value is None else engineering(value, "s")


def shorten(text: str, limit: int = 22) -> str:
    """The text, its middle cut out where it is longer than `limit`."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[-(limit - 1 - head) :]}"


def shorten_all(names: Sequence[str], limit: int = 22) -> list[str]:
    """Names cut to `limit`; where cuts look alike, without the parts that all long ones share.

    Where they still do, their places, from 1, are put before them.
    """
    cut = [shorten(name, limit) for name in names]
    if len(set(cut)) == len(set(names)):
        return cut
    long = [set(name.split("_")) for name in names if len(name) > limit]
    shared = set.intersection(*long)
    apart = [
        "_".join(part for part in name.split("_") if part not in shared) or name
        if len(name) > limit
        else name
        for name in names
    ]
    cut = [shorten(name, limit) for name in apart]
    if len(set(cut)) == len(set(names)):
        return cut
    return [
        short if short == name else shorten(f"{place} {name}", limit)
        for place, (name, short) in enumerate(zip(apart, cut, strict=True), start=1)
    ]


def event_name(event: str) -> str:
    """An event in words."""
    return EVENTS.get(event, event.replace("_", " "))


def _in_full(bounds: Bounds, factor: float, unit: str) -> str:
    return f"{engineering(bounds.nominal * factor, unit)} ({span(bounds, factor, unit)})"


def _split(value: float) -> tuple[str, str]:
    if value == 0 or not isfinite(value):
        return f"{value:.0f}", ""
    exponent = 3 * floor(log10(abs(value)) / 3)
    if float(f"{abs(value) / 10.0**exponent:.3g}") >= 1000:
        exponent += 3
    exponent = min(max(exponent, min(_PREFIXES)), max(_PREFIXES))
    scaled = value / 10.0**exponent
    rounded = float(f"{abs(scaled):.3g}")
    digits = min(max(0, 2 - floor(log10(rounded))), 3)
    return f"{scaled:.{digits}f}", _PREFIXES[exponent]
