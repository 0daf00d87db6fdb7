"""The energy section: counts before joules, every price with its source, the baseline beside."""

from __future__ import annotations

from collections.abc import Iterable

from snndeploy import units
from snndeploy.cost import Comparison, compare, tornado
from snndeploy.cost.breakeven import break_even_lines
from snndeploy.cost.comparison import static_inside, static_left_out
from snndeploy.cost.estimate import Estimate, Term, total, weakest_grade
from snndeploy.cost.quantity import Quantity
from snndeploy.measure import steps_within
from snndeploy.numerics import Int64Array
from snndeploy.report.data import Headline, ReportData
from snndeploy.report.tables import Table


def sources(estimate: Estimate) -> tuple[str, ...]:
    """Where the prices come from; the tables refer to them by number, from 1."""
    weight = {event: energy.nominal for event, energy in estimate.by_event().items()}
    terms = sorted(estimate.terms, key=lambda term: -weight[term.event])
    return tuple(dict.fromkeys(t.source for t in terms if t.source and t.count > 0))


def term_table(estimate: Estimate) -> Table:
    """One row a kind of event, the layers summed."""
    known = sources(estimate)
    groups: dict[str, list[Term]] = {}
    for term in estimate.terms:
        groups.setdefault(term.event, []).append(term)
    whole = total(estimate.terms).nominal
    rows = [
        _row((units.event_name(event),), terms, whole, known)
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
        _row((term.layer, units.event_name(term.event)), [term], whole, known)
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
    if all(term.inside for term in priced):
        grade = weakest_grade(priced) or units.NONE
        cited = sorted({known.index(t.source) + 1 for t in priced if t.source in known})
        refs = ", ".join(f"[{number}]" for number in cited)
        return (*name, units.count(number), "inside", *(units.NONE,) * 3, grade, refs)
    sums = total(priced)
    each = sums.times(1.0 / max(sum(term.count for term in priced), 1e-300))
    cited = sorted({known.index(t.source) + 1 for t in priced if t.source in known})
    return (
        *name,
        units.count(number),
        units.span(each, units.PJ, "J"),
        units.energy(sums),
        units.energy_range(sums),
        units.percent(sums.nominal / whole) if whole else units.NONE,
        weakest_grade(priced) or units.NONE,
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
            _static(item),
            units.energy(item.energy_pj),
            units.span(item.latency_us, units.US, "s"),
            item.grade or units.NONE,
        )
        for item in estimates
    ]
    head = ("what", "boundary", "dynamic", "interval", "static", "total", "latency", "grade")
    return Table(head, tuple(rows), "llrrrrrl")


def _static(estimate: Estimate) -> str:
    if static_inside(estimate):
        return "inside"
    return "left out" if static_left_out(estimate) else units.energy(estimate.static_pj)


def facts(estimate: Estimate) -> tuple[tuple[str, str], ...]:
    """Boundary, static share and mapping, as (label, value)."""
    static, whole = estimate.static_pj, estimate.energy_pj
    share = "unknown: the profile has no static power or no times"
    if static_inside(estimate):
        share = "inside the all-in price"
    elif static is not None and static.nominal == 0:
        share = "left out: the profile has no static power"
    elif static is not None and whole is not None and whole.nominal > 0:
        share = f"{units.percent(static.nominal / whole.nominal)} of the total"
    mapping = "not placed"
    if estimate.cores:
        mapping = f"{_plural(estimate.cores, 'core')} on {_plural(estimate.chips, 'chip')}"
    rows = [
        ("Boundary", estimate.boundary),
        ("Static share", share),
        ("Mapping", mapping),
        ("Physical steps, mean", units.count(estimate.steps)),
        ("Latency, mean", _latency(estimate)),
        ("Batch", f"1; means over {estimate.samples:,} samples"),
        ("Grade of the total", estimate.grade or "none"),
        ("Unpriced", ", ".join(units.event_name(e) for e in estimate.unpriced) or "nothing"),
    ]
    return tuple(rows)


def states(estimate: Estimate) -> tuple[Headline, ...]:
    """Idle, dynamic and active apart: what the chip takes at rest, for the work, and in all."""
    static = _static(estimate)
    idle = Headline("Idle (static)", static, _power(estimate.static_pj, estimate))
    if static not in ("inside", "left out"):
        hint = f"{units.energy_range(estimate.static_pj)}\n{idle.hint}".strip()
        idle = idle._replace(hint=hint)
    rows = [("Dynamic", estimate.dynamic_pj), ("Active (both)", estimate.energy_pj)]
    found = [
        Headline(
            name,
            units.energy(energy),
            f"{units.energy_range(energy)}\n{_power(energy, estimate)}".strip()
            if energy is not None
            else "unknown: see the notes",
        )
        for name, energy in rows
    ]
    latency = estimate.latency_us
    if latency is not None:
        hint = f"{units.span(latency, units.US, 's')}\nmean, at batch 1"
        found.append(Headline("Latency", units.latency(latency), hint))
    return (idle, *found)


def _power(energy: Quantity | None, estimate: Estimate) -> str:
    """Mean power over the inference."""
    latency = estimate.latency_us
    if energy is None or latency is None or not latency.nominal:
        return ""
    watts = energy.nominal * units.PJ / (latency.nominal * units.US)
    return f"{units.engineering(watts, 'W')} on average"


def operating_point(data: ReportData) -> tuple[tuple[str, str], ...]:
    """Accuracy and steps of what was priced, as (label, value)."""
    runs = [("settled" if data.exit is not None else "", data.trace.stop_steps, data.labels)]
    rows = []
    for name, steps, labels in runs:
        rows.append((f"Steps {name}".strip(), steps_in_full(steps)))
        if labels is not None:
            accuracy = units.percent(data.trace.accuracy(labels), 2)
            rows.append((f"Accuracy {name}".strip(), accuracy))
    if data.exit is not None:
        rows.append(("Steps, early exit", steps_in_full(data.exit.stop_steps)))
        if data.exit.accuracy is not None:
            rows.append(("Accuracy, early exit", units.percent(data.exit.accuracy, 2)))
    return tuple(rows)


def steps_in_full(steps: Int64Array) -> str:
    """`mean 1.62, p50 1, p95 4`."""
    middle, late = (steps_within(steps, share) for share in (0.5, 0.95))
    mean = units.count(float(steps.mean()))
    return f"mean {mean}, p50 {units.count(middle)}, p95 {units.count(late)}"


def comparisons(
    ours: Iterable[Estimate], baselines: tuple[Estimate, ...]
) -> tuple[Comparison, ...]:
    """Each baseline against the network, on the widest basis that both sides know."""
    return tuple(compare(estimate, baseline) for estimate in ours for baseline in baselines)


def comparison_table(found: Iterable[Comparison]) -> Table:
    """One row a pair."""
    head = ("baseline", "over", "ratio", "energy", "grade", "verdict")
    rows = tuple((c.theirs, c.ours, *_ratio(c), c.grade or units.NONE, c.verdict) for c in found)
    return Table(head, rows, "llllll")


def _ratio(found: Comparison) -> tuple[str, str]:
    if found.ratio is None:
        return units.NONE, units.NONE
    return units.ratio_in_full(found.ratio), found.basis


def tornado_table(estimate: Estimate, most: int = 8) -> Table:
    """What moves the energy most: one row a constant, at its low and at its high end."""
    rows = tuple(
        (swing.name, units.energy_span(swing.low_pj, swing.high_pj))
        for swing in tornado(estimate)[:most]
    )
    return Table(("one at a time", "energy an inference"), rows, "lr")


def break_even(data: ReportData, baselines: Iterable[Estimate]) -> tuple[str, ...]:
    """The spikes a synapse and inference below which the network is cheaper, in sentences."""
    found = data.counts
    if found is None:
        return ()
    return break_even_lines(data.program, baselines, found.spikes_per_synapse, found.steps)


def notes(estimate: Estimate, baselines: Iterable[Estimate]) -> tuple[str, ...]:
    """What the reader must know, each thing once."""
    theirs = dict.fromkeys(note for item in baselines for note in item.notes)
    return (*estimate.notes, *(f"Baseline: {n}" for n in theirs if n not in estimate.notes))


def _latency(estimate: Estimate) -> str:
    found = units.latency_in_full(estimate.latency_us, "unknown: the profile has no times")
    return f"{found}, grade {estimate.latency_grade}" if estimate.latency_grade else found


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
