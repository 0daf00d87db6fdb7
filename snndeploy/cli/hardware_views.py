"""Results about hardware and backends, for a reader or as JSON for a machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from snndeploy import units
from snndeploy.backend import find_backend
from snndeploy.cli import console
from snndeploy.cli.views import versions
from snndeploy.cost import Estimate, Term, compare, tornado
from snndeploy.cost.comparison import static_inside
from snndeploy.cost.estimate import weakest_grade
from snndeploy.errors import BackendMissingError
from snndeploy.hardware import Constant, HardwareProfile, differences

UNKNOWN = "unknown"
_SWINGS = 5


def show_energy(
    snn: Estimate, baselines: Sequence[Estimate], json: bool, break_even: Sequence[str] = ()
) -> None:
    """Counts before joules, then totals, then the ANN, verdicts and doubts."""
    if json:
        console.as_json(
            {
                "snn": snn.as_dict() | {"tornado": [swing.as_dict() for swing in tornado(snn)]},
                "ann": [estimate.as_dict() for estimate in baselines],
                "comparisons": [compare(snn, theirs).as_dict() for theirs in baselines],
                "break_even": list(break_even),
            }
        )
        return
    console.say(f"{snn.title}: mean of {snn.samples:,} samples, boundary {snn.boundary}\n")
    groups: dict[str, list[Term]] = {}
    for term in snn.terms:
        groups.setdefault(term.event, []).append(term)
    rows = []
    energies = snn.by_event()
    for event, terms in groups.items():
        if any(term.energy_pj is None and term.count > 0 for term in terms):
            energy = "no price"
        elif all(term.inside for term in terms):
            energy = "inside another price"
        else:
            energy = units.energy_in_full(energies[event])
        count = sum(term.count for term in terms)
        rows.append((event, units.count(count), energy, weakest_grade(terms) or ""))
    console.table(["event", ">count", ">energy (low to high)", "grade"], rows)
    console.say(f"\nsources: snndeploy profiles show {snn.profile}")
    console.say()
    totals = [
        ("dynamic", units.energy_in_full(snn.dynamic_pj, UNKNOWN), weakest_grade(snn.terms)),
        (
            "static",
            "inside" if static_inside(snn) else units.energy_in_full(snn.static_pj, UNKNOWN),
            snn.static_grade,
        ),
        ("total", units.energy_in_full(snn.energy_pj, UNKNOWN), snn.grade),
        ("latency", units.latency_in_full(snn.latency_us, UNKNOWN), snn.latency_grade),
        ("steps", units.count(snn.steps), None),
        ("cores", units.count(snn.cores), None),
    ]
    totals += [(b.title, units.energy_in_full(b.energy_pj, UNKNOWN), b.grade) for b in baselines]
    console.table(
        ["mean an inference", ">nominal (low to high)", "grade"],
        [(name, value, grade or "") for name, value, grade in totals],
    )
    _show_doubts(snn, baselines)
    for line in break_even:
        console.say(f"break-even: {line}")
    if snn.unpriced:
        console.say(f"\nno total: the profile has no price for {', '.join(snn.unpriced)}")
    console.say(f"\ngrade {snn.grade}: the weakest constant in the total")
    for note in snn.notes:
        console.say(f"note: {note}")
    for note in dict.fromkeys(note for baseline in baselines for note in baseline.notes):
        if note not in snn.notes:
            console.say(f"note (ANN): {note}")


def _show_doubts(snn: Estimate, baselines: Sequence[Estimate]) -> None:
    """Verdicts against the baselines, and what moves the energy most."""
    console.say()
    for theirs in baselines:
        found = compare(snn, theirs)
        basis = (
            "" if found.ratio is None else f" {units.ratio_in_full(found.ratio)}, {found.basis}:"
        )
        console.say(f"{found.theirs} over the network:{basis} {found.verdict}")
    swings = [(s.name, units.energy_span(s.low_pj, s.high_pj)) for s in tornado(snn)[:_SWINGS]]
    if swings:
        console.say()
        console.table(["what moves it most, one at a time", ">energy"], swings)
        console.say()


def show_profiles(found: Sequence[HardwareProfile], json: bool) -> None:
    """The list of profiles."""
    if json:
        console.as_json([{"name": p.name, "title": p.title, "kind": p.kind} for p in found])
        return
    console.table(
        ["name", "kind", "scope", "title"], [(p.name, p.kind, p.scope, p.title) for p in found]
    )


def show_profile(found: HardwareProfile, json: bool) -> None:
    """One profile's constants."""
    if json:
        console.as_json(found.model_dump(mode="json"))
        return
    console.say(f"{found.name}: {found.title} ({found.vendor}, {found.process})")
    console.say(f"boundary {found.boundary}, scope {found.scope}\n")
    rows = [
        (group, name, *_figures(c))
        for group in ("energy", "time", "power")
        for name, c in getattr(found, group).constants()
    ]
    rows += [
        ("memory", f"{level.bytes:,} bytes" if level.bytes else "beyond", *_figures(c))
        for level in found.memory
        for c in (level.access,)
    ]
    rows += [
        ("inside", event, "", f"in {held.holder}", "", held.grade, held.source)
        for event, held in found.inside.items()
    ]
    console.table(["", "constant", ">value", ">range", "unit", "grade", "source"], rows)
    console.say()
    limits = {k: v for k, v in found.limits.model_dump(exclude_none=True).items() if v != ()}
    sources = [found.limit_sources.get(name) for name in limits]
    console.table(
        ["limit", ">value", "grade", "source"],
        [
            (name, _amount(value), *(("", "") if known is None else (known.grade, known.source)))
            for (name, value), known in zip(limits.items(), sources, strict=True)
        ],
    )
    if found.notes:
        console.say(f"\n{found.notes.strip()}")


def _figures(c: Constant) -> tuple[str, str, str, str, str]:
    return f"{c.value:g}", f"{c.low:g} to {c.high:g}", c.unit, c.grade, c.source


def _amount(value: int | tuple[int, ...]) -> str:
    return f"{value:,}" if isinstance(value, int) else " ".join(f"{v:,}" for v in value)


def show_differences(left: HardwareProfile, right: HardwareProfile, json: bool) -> None:
    """What differs between two profiles."""
    found = differences(left, right)
    if json:
        console.as_json([item._asdict() for item in found])
        return
    if not found:
        console.say(f"{left.name} and {right.name} do not differ")
        return
    text = [tuple("" if v is None else str(v) for v in item) for item in found]
    console.table(["key", left.name, right.name], text)


def show_backends(names: Sequence[str], json: bool) -> None:
    """The backends and their state. One that cannot be imported is a line, not an error."""
    rows: list[dict[str, Any]] = []
    for name in names:
        try:
            backend = find_backend(name)
        except BackendMissingError as error:
            rows.append({"name": name, "versions": {}, "missing": str(error), "summary": ""})
            continue
        status = backend.status()
        rows.append(
            {
                "name": name,
                "versions": dict(status.versions),
                "missing": status.missing or None,
                "summary": backend.summary,
            }
        )
    if json:
        console.as_json(rows)
        return
    console.table(
        ["backend", "state", "versions", "what it is"],
        [
            (
                row["name"],
                "missing" if row["missing"] else "ready",
                versions(row["versions"]),
                row["summary"],
            )
            for row in rows
        ],
    )
    for row in rows:
        if row["missing"]:
            console.say(f"\n{row['name']}: {row['missing']}")
