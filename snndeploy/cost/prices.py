"""Counts times prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from snndeploy.cost.bootstrap import resampled_means
from snndeploy.cost.estimate import INSIDE, Term
from snndeploy.cost.quantity import ZERO, Quantity, draws_of
from snndeploy.hardware import Constant, Grade, HardwareProfile
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Linear, Scale
from snndeploy.numerics import FloatArray

INTERVALS = (
    "intervals run from 5 % to 95 %: constants are drawn log-normal from low, nominal and high, "
    "samples with replacement; across chips expect an order of magnitude"
)

ACCESS_BITS = 64
"""Of one access of a profile's memory."""

Counts = Mapping[str, Mapping[str, Quantity]]
"""Mean events a sample, by layer and event."""


@dataclass(frozen=True)
class Held:
    """Bytes that are kept in memory: all weights, all membranes, or one layer's activations."""

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
    held: Held | None = None,
) -> tuple[Term, ...]:
    """One term for each event that occurs in a layer, in network order.

    A profile of an all-in scope is charged for synaptic operations (or spikes) only: all else is
    inside that price, so it makes no terms.

    Args:
        dense: layers whose synapses are dense; the others pay `synop_conv` if there is one.
        held: what is kept in memory, for profiles that price it by size.
    """
    found: list[Term] = []
    for layer, events in counts.items():
        for event, count in events.items():
            if count.nominal == 0:
                continue
            if profile.charged is not None and event not in profile.charged:
                continue
            price = price_of(profile, event, layer in dense, held or Held())
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
    return _memory(profile, event, held)


def _memory(profile: HardwareProfile, event: str, held: Held) -> Price | None:
    """The price of a memory access, from the smallest memory that holds it all."""
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


def weight_words(network: Network) -> int:
    """Weights of a network, kernels counted once."""
    return sum(n.weight.size for n in network.nodes if isinstance(n, Conv2d | Linear | Scale))
