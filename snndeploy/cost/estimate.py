"""`Estimate`: what one inference costs, by layer and by term."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from snndeploy.hardware import GRADES, Grade


@dataclass(frozen=True)
class Interval:
    """A low, a nominal and a high figure."""

    low: float
    nominal: float
    high: float

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.nominal + other.nominal, self.high + other.high)

    def times(self, factor: float) -> Interval:
        """Every bound multiplied by a factor of at least 0."""
        return Interval(self.low * factor, self.nominal * factor, self.high * factor)

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"low": self.low, "nominal": self.nominal, "high": self.high}


ZERO = Interval(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Term:
    """One kind of event in one layer (or `chip` for what belongs to no layer).

    Attributes:
        count: mean events a sample.
        energy_pj: mean energy a sample; None if the profile has no price for the event.
        grade, source: of the price.
    """

    layer: str
    event: str
    count: float
    energy_pj: Interval | None
    grade: Grade | None = None
    source: str = ""


@dataclass(frozen=True)
class Estimate:
    """Mean cost of one inference at batch 1.

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
    """

    profile: str
    title: str
    boundary: str
    kind: Literal["snn", "ann"]
    samples: int
    terms: tuple[Term, ...]
    static_pj: Interval | None
    latency_us: Interval | None
    steps: float = 0.0
    cores: int = 0
    chips: int = 0
    notes: tuple[str, ...] = ()
    static_grade: Grade | None = None
    latency_grade: Grade | None = None

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Events that occur but have no price in the profile."""
        return tuple(sorted({t.event for t in self.terms if t.energy_pj is None and t.count > 0}))

    @property
    def dynamic_pj(self) -> Interval | None:
        """Sum over all terms, or None as soon as one has no price."""
        return None if self.unpriced else total(self.terms)

    @property
    def energy_pj(self) -> Interval | None:
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
        """For JSON: energies in pJ, times in us."""
        return {
            "profile": self.profile,
            "title": self.title,
            "kind": self.kind,
            "boundary": self.boundary,
            "samples": self.samples,
            "steps": self.steps,
            "cores": self.cores,
            "chips": self.chips,
            "dynamic_pj": _dict(self.dynamic_pj),
            "static_pj": _dict(self.static_pj),
            "energy_pj": _dict(self.energy_pj),
            "latency_us": _dict(self.latency_us),
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

    def by_layer(self) -> dict[str, Interval]:
        """Priced dynamic energy of each layer, pJ, in network order."""
        return _grouped((t.layer, t) for t in self.terms)

    def by_event(self) -> dict[str, Interval]:
        """Priced dynamic energy of each kind of event, pJ."""
        return _grouped((t.event, t) for t in self.terms)


def weakest(grades: Iterable[Grade | None]) -> Grade | None:
    """The weakest of the grades, or None if there is none."""
    return max((g for g in grades if g is not None), key=GRADES.index, default=None)


def weakest_grade(terms: Iterable[Term]) -> Grade | None:
    """The weakest grade of the terms that occur and have a price, or None."""
    return weakest(term.grade for term in terms if term.count > 0)


def total(terms: Iterable[Term]) -> Interval:
    """The sum of the priced terms."""
    result = ZERO
    for term in terms:
        if term.energy_pj is not None:
            result += term.energy_pj
    return result


def _dict(value: Interval | None) -> dict[str, float] | None:
    return None if value is None else value.as_dict()


def _grouped(items: Iterable[tuple[str, Term]]) -> dict[str, Interval]:
    groups: dict[str, list[Term]] = {}
    for key, term in items:
        groups.setdefault(key, []).append(term)
    return {key: total(terms) for key, terms in groups.items()}
