"""`Estimate`: what one inference costs, by layer and by term."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from snndeploy.cost.quantity import LEVEL, Quantity, summed
from snndeploy.hardware import GRADES, Grade

INSIDE = "inside the price of "
"""How the source of a term begins whose energy another event's price holds."""


@dataclass(frozen=True)
class Term:
    """One kind of event in one layer (or `chip` for what belongs to no layer).

    Attributes:
        count: mean events a sample.
        energy_pj: mean energy a sample; None if the profile has no price for the event; 0 if
            another event's price holds it.
        grade, source: of the price.
        ends_pj: the energy with the price at its low and its high end, and the count as it is.
        counted_pj: the energy with the price as it is, and the count of samples drawn anew.
        parts: the terms that this one is the sum of: of work in flight, whose count is spikes.
    """

    layer: str
    event: str
    count: float
    energy_pj: Quantity | None
    grade: Grade | None = None
    source: str = ""
    ends_pj: tuple[float, float] | None = None
    counted_pj: Quantity | None = None
    parts: tuple[Term, ...] = ()

    @property
    def inside(self) -> bool:
        """Whether another event's price holds the energy."""
        return self.energy_pj is not None and self.source.startswith(INSIDE)


@dataclass(frozen=True)
class Estimate:
    """Mean cost of one inference at batch 1. Quantities have intervals from 5 % to 95 %.

    Attributes:
        profile, title, boundary: of the hardware.
        kind: `snn` or `ann`.
        samples: how many samples the means are over.
        terms: dynamic terms by layer and event.
        static_pj: static power times the latency; None if either is unknown.
        latency_us: mean time to the answer; None if the profile has no times.
        steps: mean physical steps, pipeline depth included; 0 for an ANN.
        cores, chips: what the placement uses; 0 where there is none.
        notes: what the reader must know: assumptions, verdicts.
        static_grade: the weakest grade of the powers and times behind `static_pj`; None if no
            power was used.
        latency_grade: the weakest grade of the times behind `latency_us`.
        static_ends_pj: static energy with one constant at its low and at its high end, by name.
        bound: which shares of the time are set by the cores, the network on the chip, input and
            output, and the shortest step.
        cycles: clock cycles, where the profile counts time in them.
    """

    profile: str
    title: str
    boundary: str
    kind: Literal["snn", "ann"]
    samples: int
    terms: tuple[Term, ...]
    static_pj: Quantity | None
    latency_us: Quantity | None
    steps: float = 0.0
    cores: int = 0
    chips: int = 0
    notes: tuple[str, ...] = ()
    static_grade: Grade | None = None
    latency_grade: Grade | None = None
    static_ends_pj: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    bound: Mapping[str, float] = field(default_factory=dict)
    cycles: float | None = None

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Events that occur but have no price in the profile."""
        return tuple(sorted({t.event for t in self.terms if t.energy_pj is None and t.count > 0}))

    @property
    def dynamic_pj(self) -> Quantity | None:
        """Sum over all terms, or None as soon as one has no price."""
        return None if self.unpriced else total(self.terms)

    @property
    def energy_pj(self) -> Quantity | None:
        """Dynamic and static energy, or None if either is unknown."""
        dynamic = self.dynamic_pj
        if dynamic is None or self.static_pj is None:
            return None
        return dynamic + self.static_pj

    @property
    def grade(self) -> Grade | None:
        """The weakest grade of the dynamic terms, and of static energy that is in the total."""
        dynamic = weakest_grade(self.terms)
        return dynamic if self.energy_pj is None else weakest((dynamic, self.static_grade))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: energies in pJ, times in us, intervals from 5 % to 95 %."""
        return {
            "profile": self.profile,
            "title": self.title,
            "kind": self.kind,
            "boundary": self.boundary,
            "samples": self.samples,
            "steps": self.steps,
            "cores": self.cores,
            "chips": self.chips,
            "interval": LEVEL,
            "dynamic_pj": _dict(self.dynamic_pj),
            "static_pj": _dict(self.static_pj),
            "energy_pj": _dict(self.energy_pj),
            "latency_us": _dict(self.latency_us),
            "latency_bound": dict(self.bound),
            "cycles": self.cycles,
            "grade": self.grade,
            "static_grade": self.static_grade,
            "latency_grade": self.latency_grade,
            "unpriced": list(self.unpriced),
            "notes": list(self.notes),
            "terms": [
                {
                    "layer": term.layer,
                    "event": term.event,
                    "count": term.count,
                    "energy_pj": _dict(term.energy_pj),
                    "grade": term.grade,
                    "source": term.source,
                }
                for term in self.terms
            ],
        }

    def by_layer(self) -> dict[str, Quantity]:
        """Priced dynamic energy of each layer, pJ, in network order."""
        return _grouped((t.layer, t) for t in self.terms)

    def by_event(self) -> dict[str, Quantity]:
        """Priced dynamic energy of each kind of event, pJ."""
        return _grouped((t.event, t) for t in self.terms)


def weakest(grades: Iterable[Grade | None]) -> Grade | None:
    """The weakest of the grades, or None if there is none."""
    return max((g for g in grades if g is not None), key=GRADES.index, default=None)


def weakest_grade(terms: Iterable[Term]) -> Grade | None:
    """The weakest grade of the terms that occur and have a price, or None."""
    return weakest(term.grade for term in terms if term.count > 0)


def total(terms: Iterable[Term]) -> Quantity:
    """The sum of the priced terms."""
    return summed(term.energy_pj for term in terms if term.energy_pj is not None)


def _dict(value: Quantity | None) -> dict[str, float] | None:
    return None if value is None else value.as_dict()


def _grouped(items: Iterable[tuple[str, Term]]) -> dict[str, Quantity]:
    groups: dict[str, list[Term]] = {}
    for key, term in items:
        groups.setdefault(key, []).append(term)
    return {key: total(terms) for key, terms in groups.items()}
