"""Counts times prices: an `Interval` from a profile's low, nominal and high constants."""

from __future__ import annotations

from collections.abc import Mapping

from snndeploy.cost.estimate import Interval, Term
from snndeploy.hardware import ALL_IN_EVENTS, Constant, HardwareProfile

ENVELOPE = (
    "intervals take all constants low, nominal or high together: an envelope, not a confidence "
    "interval; across chips expect an order of magnitude"
)


def interval(constant: Constant) -> Interval:
    """The three figures of a constant."""
    return Interval(constant.low, constant.value, constant.high)


def terms(
    profile: HardwareProfile,
    by_layer: Mapping[str, Mapping[str, float]],
    dense: frozenset[str] = frozenset(),
) -> tuple[Term, ...]:
    """One term for each event that occurs in a layer, in network order.

    A profile of scope `all_in` prices synaptic operations only: all else is inside that price,
    so it makes no terms.

    Args:
        by_layer: mean counts, by layer and event.
        dense: layers whose synapses are dense; the others pay `synop_conv` if there is one.
    """
    found: list[Term] = []
    for layer, events in by_layer.items():
        for event, count in events.items():
            if count == 0 or (profile.scope == "all_in" and event not in ALL_IN_EVENTS):
                continue
            price = energy_price(profile, event, layer in dense)
            if price is None:
                found.append(Term(layer, event, count, None))
            else:
                energy = interval(price).times(count)
                found.append(Term(layer, event, count, energy, price.grade, price.source))
    return tuple(found)


def energy_price(profile: HardwareProfile, event: str, dense: bool) -> Constant | None:
    """The price of an event in a layer, or None."""
    energy = profile.energy
    if event == "synop" and not dense and energy.synop_conv is not None:
        return energy.synop_conv
    price: Constant | None = getattr(energy, event)
    return price
