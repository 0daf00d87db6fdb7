"""The energy section: counts before joules, every price with its source, the baseline beside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from snndeploy.cost.estimate import Estimate, Interval, Term, total
from snndeploy.hardware import GRADES
from snndeploy.report import units
from snndeploy.report.tables import Table

EVENTS = {
    "synop": "synaptic operation",
    "mac": "multiply-accumulate",
    "update_active": "neuron update, firing",
    "update_inactive": "neuron update, silent",
    "spike": "spike emitted",
    "packet": "packet to a core",
    "hop": "mesh hop",
    "bias": "bias addition",
    "compare": "comparison",
    "barrier": "barrier of a core",
    "io_byte": "byte between host and chip",
    "reset": "neuron reset",
    "weight_read": "weight read",
    "activation_access": "activation access",
}


@dataclass(frozen=True)
class Comparison:
    """The network against one baseline: who uses less, on what basis."""

    title: str
    ratio: str
    verdict: str


def event_name(event: str) -> str:
    """An event in words."""
    return EVENTS.get(event, event.replace("_", " "))


def sources(estimate: Estimate) -> tuple[str, ...]:
    """Where the prices come from; the tables refer to them by number, from 1."""
    return tuple(dict.fromkeys(t.source for t in estimate.terms if t.source and t.count > 0))


def term_table(estimate: Estimate) -> Table:
    """One row a kind of event, the layers summed."""
    known = sources(estimate)
    groups: dict[str, list[Term]] = {}
    for term in estimate.terms:
        groups.setdefault(term.event, []).append(term)
    whole = total(estimate.terms).nominal
    rows = [
        _row((event_name(event),), terms, whole, known)
        for event, terms in sorted(groups.items(), key=lambda g: -total(g[1]).nominal)
        if any(term.count > 0 for term in terms)
    ]
    dynamic = total(estimate.terms)
    name = "dynamic, priced terms only" if estimate.unpriced else "dynamic"
    foot = (name, "", "", units.energy(dynamic), units.energy_range(dynamic), "", "", "")
    return Table(("event", *_HEAD), tuple(rows), "lrrrrrll", foot)


def layer_term_table(estimate: Estimate) -> Table:
    """One row a layer and kind of event."""
    whole, known = total(estimate.terms).nominal, sources(estimate)
    rows = [
        _row((term.layer, event_name(term.event)), [term], whole, known)
        for term in estimate.terms
        if term.count > 0
    ]
    return Table(("layer", "event", *_HEAD), tuple(rows), "llrrrrrll")


_HEAD = ("count a sample", "price each", "energy", "interval", "share", "grade", "source")


def _row(
    name: tuple[str, ...], terms: list[Term], whole: float, known: tuple[str, ...]
) -> tuple[str, ...]:
    number = sum(term.count for term in terms)
    priced = [term for term in terms if term.energy_pj is not None]
    if not priced:
        return (*name, units.count(number), "no price", *(units.NONE,) * 5)
    sums = total(priced)
    each = sums.times(1.0 / max(sum(term.count for term in priced), 1e-300))
    grades = [term.grade for term in priced if term.grade is not None]
    grade = max(grades, key=GRADES.index) if grades else units.NONE
    cited = sorted({known.index(t.source) + 1 for t in priced if t.source in known})
    return (
        *name,
        units.count(number),
        units.span(each, units.PJ, "J"),
        units.energy(sums),
        units.energy_range(sums),
        units.percent(sums.nominal / whole) if whole else units.NONE,
        grade,
        ", ".join(f"[{number}]" for number in cited) or units.NONE,
    )


def totals_table(estimates: Iterable[Estimate]) -> Table:
    """One row an estimate: the network first, then its baselines."""
    rows = [
        (
            item.title,
            item.boundary,
            units.energy(item.dynamic_pj),
            units.energy_range(item.dynamic_pj),
            units.energy(item.static_pj),
            units.energy(item.energy_pj),
            units.span(item.latency_us, units.US, "s"),
            item.grade or units.NONE,
        )
        for item in estimates
    ]
    head = ("what", "boundary", "dynamic", "interval", "static", "total", "latency", "grade")
    return Table(head, tuple(rows), "llrrrrrl")


def facts(estimate: Estimate) -> tuple[tuple[str, str], ...]:
    """Boundary, static share and mapping, as (label, value)."""
    static, whole = estimate.static_pj, estimate.energy_pj
    share = "unknown: the profile has no static power or no times"
    if static is not None and whole is not None and whole.nominal > 0:
        share = f"{units.percent(static.nominal / whole.nominal)} of the total"
    mapping = "not placed"
    if estimate.cores:
        mapping = f"{_plural(estimate.cores, 'core')} on {_plural(estimate.chips, 'chip')}"
    rows = [
        ("Boundary", estimate.boundary),
        ("Static share", share),
        ("Mapping", mapping),
        ("Physical steps, mean", units.count(estimate.steps)),
        ("Latency, mean", _latency(estimate.latency_us)),
        ("Batch", f"1; means over {estimate.samples:,} samples"),
        ("Grade of the total", estimate.grade or "none"),
        ("Unpriced", ", ".join(event_name(e) for e in estimate.unpriced) or "nothing"),
    ]
    return tuple(rows)


def comparisons(estimate: Estimate, baselines: Iterable[Estimate]) -> tuple[Comparison, ...]:
    """Each baseline's energy over the network's, on the widest basis that both sides know."""
    return tuple(_compare(estimate, baseline) for baseline in baselines)


def _compare(ours: Estimate, theirs: Estimate) -> Comparison:
    basis, a, b = "total", ours.energy_pj, theirs.energy_pj
    if a is None or b is None:
        basis, a, b = "dynamic", ours.dynamic_pj, theirs.dynamic_pj
    if a is None or b is None or min(a.low, b.low) <= 0:
        return Comparison(theirs.title, units.NONE, "cannot be compared: a term has no price")
    ratio = Interval(b.low / a.high, b.nominal / a.nominal, b.high / a.low)
    figures = f"{ratio.nominal:.2g} times ({ratio.low:.2g} to {ratio.high:.2g}), {basis} energy"
    if ratio.low <= 1.0 <= ratio.high:
        return Comparison(theirs.title, figures, "inconclusive: the interval spans 1")
    word = "less" if ratio.low > 1.0 else "more"
    verdict = f"the spiking network uses {word}"
    if ours.boundary != theirs.boundary:
        verdict += f", but boundaries differ ({ours.boundary} against {theirs.boundary})"
    return Comparison(theirs.title, figures, verdict)


def break_even(estimate: Estimate, baselines: Iterable[Estimate]) -> str:
    """The spikes a synapse and inference at which the network would cost what the ANN does."""
    events = sum(t.count for t in estimate.terms if t.event == "synop")
    for baseline in baselines:
        synapses = sum(t.count for t in baseline.terms if t.event == "mac")
        ours, theirs = estimate.dynamic_pj, baseline.dynamic_pj
        if not events or not synapses or ours is None or theirs is None or ours.nominal <= 0:
            continue
        rate = events / synapses
        even = rate * theirs.nominal / ours.nominal
        return (
            f"The network makes {rate:.2g} synaptic operations for each multiply-accumulate of "
            f"“{baseline.title}”; at about {even:.2g} the dynamic energies would be equal, if "
            "energy were in proportion to spikes."
        )
    return ""


def _latency(latency: Interval | None) -> str:
    if latency is None:
        return "unknown: the profile has no times"
    nominal = units.engineering(latency.nominal * units.US, "s")
    return f"{nominal} ({units.span(latency, units.US, 's')})"


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
