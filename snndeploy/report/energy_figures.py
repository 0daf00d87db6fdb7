"""The figures of energy, latency and placement. None: not known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from snndeploy.cost import Estimate, compare, estimate, tornado
from snndeploy.cost.quantity import Quantity
from snndeploy.measure.placement import core_shares
from snndeploy.numerics import Int64Array
from snndeploy.report.data import ReportData
from snndeploy.report.dataset import Dataset

IDLE = "static"
"""The name of static energy among the terms."""

MOST_CUTS = 24
"""Steps at which a longer run is priced anew."""

_BOUNDS = ("energy_pj", "low_pj", "high_pj")


def terms(data: ReportData) -> Dataset | None:
    """Counts before joules: each event of each layer, its price, grade and source."""
    if data.estimate is None:
        return None
    rows = (
        (t.layer, t.event, t.count, *_price(t.energy_pj, t.count), *_bounds(t.energy_pj), t.grade,
         t.source)
        for t in data.estimate.terms
        if t.count > 0
    )  # fmt: skip
    columns = " ".join(("layer event count price_pj", *_BOUNDS, "grade source"))
    return Dataset.of("energy_terms", "Events, prices, energy", columns, rows)


def totals(data: ReportData) -> Dataset | None:
    """Idle, dynamic and both, and the latency: the network, with early exit, the baselines."""
    if data.estimate is None:
        return None
    parts = ("dynamic", "static", "energy")
    columns = ["what", "boundary"]
    columns += [f"{part}{end}_pj" for part in parts for end in ("", "_low", "_high")]
    columns += ["latency_us", "latency_low_us", "latency_high_us", "grade", "latency_grade"]
    rows = []
    for name, found in priced(data).items():
        sums = (found.dynamic_pj, found.static_pj, found.energy_pj, found.latency_us)
        figures = [bound for quantity in sums for bound in _bounds(quantity)]
        rows.append((name, found.boundary, *figures, found.grade, found.latency_grade))
    return Dataset.of("energy_totals", "Energy and latency an inference", " ".join(columns), rows)


def priced(data: ReportData) -> dict[str, Estimate]:
    """Every estimate by its name, the network first."""
    if data.estimate is None:
        return {}
    found = {data.estimate.title: data.estimate}
    if data.exit_estimate is not None:
        found[f"{data.exit_estimate.title}, early exit"] = data.exit_estimate
    return found | {baseline.title: baseline for baseline in data.baselines}


def ratios(data: ReportData) -> Dataset | None:
    """The baselines' energy over the network's."""
    if data.estimate is None or not data.baselines:
        return None
    early = () if data.exit_estimate is None else (data.exit_estimate,)
    found = [
        (name, compare(ours, theirs))
        for ours, name in zip((data.estimate, *early), ("settled", "early exit"), strict=False)
        for theirs in data.baselines
    ]
    rows = (
        (c.theirs, name, *_bounds(c.ratio), c.basis if c.ratio else None, c.grade, c.verdict)
        for name, c in found
    )
    columns = "baseline network ratio low high basis grade verdict"
    return Dataset.of("baselines", "The baseline's energy over the network's", columns, rows)


def swings(data: ReportData) -> Dataset | None:
    """What moves the energy most."""
    if data.estimate is None:
        return None
    rows = ((s.name, s.low_pj, s.high_pj) for s in tornado(data.estimate))
    return Dataset.of("tornado", "What moves the energy", "one_at_a_time low_pj high_pj", rows)


def constants(data: ReportData) -> Dataset | None:
    """Every constant of the profile."""
    profile = data.program.profile
    if profile is None:
        return None
    rows = (
        (group, name, c.value, c.low, c.high, c.unit, c.grade, c.source)
        for group in ("energy", "time", "power")
        for name, c in getattr(profile, group).constants()
    )
    columns = "group constant value low high unit grade source"
    return Dataset.of("constants", f"Constants of {profile.title}", columns, rows)


def core_use(data: ReportData) -> Dataset | None:
    """What the placement uses of each limit of a core."""
    if data.placed is None:
        return None
    rows = ((name, u.busiest, u.mean, u.limit, u.share) for name, u in data.placed.uses.items())
    columns = "limit_of_a_core busiest mean limit busiest_share"
    return Dataset.of("core_use", "Use of the cores", columns, rows)


def cores(data: ReportData) -> Dataset | None:
    """Which layer lies on each core, and how full the core is."""
    program = data.program
    if not program.placement or program.profile is None:
        return None
    per_chip, order = (
        program.profile.limits.cores,
        {x.name: i for i, x in enumerate(program.layers)},
    )
    held: dict[int, dict[str, int]] = {}
    for part in program.placement:
        layer = held.setdefault(part.core, {})
        layer[part.layer] = layer.get(part.layer, 0) + part.stop - part.start
    rows = []
    for core, (nearest, share) in core_shares(program).items():
        most = max(held[core], key=lambda name: (held[core][name], -order[name]))
        chip = core // per_chip if per_chip else 0
        rows.append((core, chip, most, sum(held[core].values()), nearest, share))
    return Dataset.of("cores", "Cores", "core chip layer neurons nearest_limit used_share", rows)


def energy_by_step(data: ReportData) -> Dataset | None:
    """Energy so far, had every sample stopped after each step: static, and each kind of event.

    Nominal figures of what has a price; on a pipelined chip with the work that is in flight.
    """
    if not data.repriceable:
        return None
    last = data.trace.steps
    cuts = np.unique(np.linspace(1, last, min(last, MOST_CUTS)).round().astype(int))
    rows: list[tuple[object, ...]] = []
    for step in cuts:
        found = estimated(data, np.full(len(data.trace), step), decides=False)
        rows.append((step, IDLE, 0.0 if found.static_pj is None else found.static_pj.nominal))
        rows += [(step, event, energy.nominal) for event, energy in found.by_event().items()]
    kept = [row for row in rows if row[2] or row[1] == IDLE]
    return Dataset.of("energy_by_step", "Energy over the steps", "step term energy_pj", kept)


def estimated(data: ReportData, stop_steps: Int64Array, decides: bool) -> Estimate:
    """What it costs to stop each sample after so many steps, a controller's work included."""
    cut = replace(data.trace.cut(stop_steps), controlled=decides)
    return estimate(data.program, cut, data.trace)


def _price(energy: Quantity | None, count: float) -> Iterable[float | None]:
    return (None if energy is None else energy.nominal / count,)


def _bounds(found: Quantity | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if found is None else (found.nominal, found.low, found.high)
