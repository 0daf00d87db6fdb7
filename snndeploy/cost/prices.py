"""Counts times prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from snndeploy.cost.bootstrap import resampled_means
from snndeploy.cost.estimate import INSIDE, Term, total, weakest
from snndeploy.cost.quantity import ZERO, Quantity, draws_of, summed
from snndeploy.hardware import Constant, Grade, HardwareProfile
from snndeploy.layers import layers
from snndeploy.measure.events import CHIP, RESULT_BYTES
from snndeploy.network import Network
from snndeploy.numerics import FloatArray

INTERVALS = (
    "intervals run from 5 % to 95 %: constants are drawn log-normal from low, nominal and high, "
    "samples with replacement; across chips expect an order of magnitude"
)

ACCESS_BITS = 64
"""Of one access of a profile's memory."""

EXIT_EVENTS = ("exit_readout", "exit_arithmetic")
"""Of the controller that stops samples, which no chip's all-in price holds."""

EXIT_OPERATION = Constant(
    value=1.1,
    low=0.1,
    high=70.0,
    unit="pJ",
    grade="assumed",
    source="stand-in, for profiles without a host or a price of their own: 45 nm, Horowitz 2014, "
    "ISSCC, four int32 additions of 0.1 and two multiplications of 3.1 in six operations; low: an "
    "addition; high: an instruction of a processor",
)

Counts = Mapping[str, Mapping[str, Quantity]]
"""Mean events a sample, by layer and event."""


@dataclass(frozen=True)
class Held:
    """Bytes that one layer keeps: weights (kernels once), membranes, activations in and out."""

    weights: int = 0
    states: int = 0
    activations: int = 0


@dataclass(frozen=True)
class Price:
    """The price of an event: a constant times a factor. Without one it is inside another's."""

    constant: Constant | None
    factor: float = 1.0
    grade: Grade | None = None
    source: str = ""

    @classmethod
    def of(cls, constant: Constant, factor: float = 1.0) -> Price:
        """A constant's price."""
        return cls(constant, factor, constant.grade, constant.source)

    @property
    def nominal_pj(self) -> float:
        """The nominal figure, 0 if it is inside another's."""
        return 0.0 if self.constant is None else self.constant.value * self.factor


def resampled(each: Mapping[str, Mapping[str, FloatArray]]) -> Counts:
    """Counts of each sample (N,), by layer and event, as means whose samples are drawn anew."""
    keys = [(layer, event) for layer, events in each.items() for event in events]
    if not keys:
        return {}
    values = np.stack([each[layer][event] for layer, event in keys], axis=1)
    draws, means = resampled_means(values), values.mean(axis=0)
    found: dict[str, dict[str, Quantity]] = {}
    for i, (layer, event) in enumerate(keys):
        found.setdefault(layer, {})[event] = Quantity(float(means[i]), draws[:, i])
    return found


def fixed(by_layer: Mapping[str, Mapping[str, float]]) -> Counts:
    """Counts that are known."""
    return {
        layer: {event: Quantity.fixed(float(n)) for event, n in events.items()}
        for layer, events in by_layer.items()
    }


def terms(
    profile: HardwareProfile,
    counts: Counts,
    dense: frozenset[str] = frozenset(),
    held: Mapping[str, Held] | None = None,
) -> tuple[Term, ...]:
    """One term for each event that occurs in a layer, in network order.

    A profile of an all-in scope is charged for synaptic operations (or spikes) only: all else on
    the chip is inside that price, so it makes no terms. The controller of an early exit is not.

    Args:
        dense: layers whose synapses are dense; the others pay `synop_conv` if there is one.
        held: what each layer keeps in memory, for profiles that price it by size.
    """
    found: list[Term] = []
    for layer, events in counts.items():
        kept = (held or {}).get(layer, Held())
        for event, count in events.items():
            if count.nominal == 0:
                continue
            charged = profile.charged
            if charged is not None and event not in (*charged, *EXIT_EVENTS):
                continue
            price = price_of(profile, event, layer in dense, kept)
            found.append(_term(layer, event, count, price))
    return tuple(found)


def _term(layer: str, event: str, count: Quantity, price: Price | None) -> Term:
    if price is None:
        return Term(layer, event, count.nominal, None)
    term = Term(layer, event, count.nominal, ZERO, price.grade, price.source)
    if price.constant is None:
        return term
    draws = count.draws * draws_of(price.constant) * price.factor
    ends = (price.constant.low, price.constant.high)
    return replace(
        term,
        energy_pj=Quantity(count.nominal * price.nominal_pj, draws),
        ends_pj=(
            count.nominal * ends[0] * price.factor,
            count.nominal * ends[1] * price.factor,
        ),
        counted_pj=count.times(price.nominal_pj),
    )


def price_of(profile: HardwareProfile, event: str, dense: bool, held: Held) -> Price | None:
    """The price of an event in a layer, or None."""
    energy = profile.energy
    if event == "synop" and energy.synop_conv is not None and not dense:
        return Price.of(energy.synop_conv)
    inside = profile.inside.get(event)
    if inside is not None:
        source = f"{INSIDE}{inside.holder}: {inside.source}"
        return Price(None, 0.0, inside.grade, source)
    constant: Constant | None = getattr(energy, event)
    if constant is not None:
        return Price.of(constant)
    if event == "exit_arithmetic":
        return _exit_arithmetic(profile)
    if event == "exit_readout":
        return _exit_readout(profile)
    return _memory(profile, event, held)


def _exit_arithmetic(profile: HardwareProfile) -> Price:
    """The price of an operation of the controller: the host does it, or a stand-in is paid."""
    host = profile.power.host
    if host is None:
        return Price.of(EXIT_OPERATION)
    return Price(None, 0.0, host.grade, f"{INSIDE}power.host: {host.source}")


def _exit_readout(profile: HardwareProfile) -> Price | None:
    """The price of one logit: its bytes where the boundary is the board, else one packet."""
    if profile.charged is not None:
        holder = profile.charged[0]
        return Price(None, 0.0, "assumed", f"{INSIDE}{holder}: messages are in an all-in price")
    if profile.boundary == "board" and profile.energy.io_byte is not None:
        return Price.of(profile.energy.io_byte, RESULT_BYTES)
    return price_of(profile, "packet", False, Held())


def in_flight(
    profile: HardwareProfile,
    spikes: Quantity,
    counts: Counts,
    dense: frozenset[str] = frozenset(),
    held: Mapping[str, Held] | None = None,
) -> Term:
    """One term for the work in flight when samples stopped, from its counts by layer and event.

    Without a price if one of its events has none.
    """
    parts = terms(profile, counts, dense, held)
    whole = Term(CHIP, "in_flight", spikes.nominal, None, parts=parts)
    if any(part.energy_pj is None for part in parts):
        return whole
    return replace(
        whole,
        energy_pj=total(parts),
        grade=weakest(part.grade for part in parts),
        source="the prices of its events",
        counted_pj=summed(part.counted_pj for part in parts if part.counted_pj is not None),
    )


def _memory(profile: HardwareProfile, event: str, held: Held) -> Price | None:
    """The price of a memory access: of the smallest memory that holds all that the layer keeps."""
    limits = profile.limits
    sizes = {
        "weight_read": (held.weights, limits.weight_bits),
        "state_access": (held.states, limits.state_bits),
        "activation_access": (held.activations, limits.weight_bits),
    }
    size, bits = sizes.get(event, (0, None))
    if bits is None:
        return None
    for level in profile.memory:
        if level.bytes is None or level.bytes >= size:
            return Price.of(level.access, bits / ACCESS_BITS)
    return None


def held_by(network: Network, profile: HardwareProfile) -> dict[str, Held]:
    """What each layer keeps, in the profile's words; an activation is as wide as a weight."""
    width, state = profile.limits.weight_bits or 0, profile.limits.state_bits or 0
    found = {}
    for layer in layers(network)[1:]:
        words = sum(p.weighted.weight.size for p in layer.projections if p.weighted is not None)
        sources = {p.source for p in layer.projections}
        values = layer.neurons + sum(prod(network.shapes[name]) for name in sources)
        found[layer.name] = Held(
            weights=_bytes(words * width),
            states=_bytes(layer.neurons * state),
            activations=_bytes(values * width),
        )
    return found


def _bytes(bits: int) -> int:
    return -(-bits // 8)
