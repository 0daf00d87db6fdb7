"""The charts of energy: by layer and term, and against the baselines."""

from __future__ import annotations

from itertools import pairwise
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from snndeploy import units
from snndeploy.cost.estimate import Estimate, total
from snndeploy.cost.quantity import ZERO, Quantity
from snndeploy.numerics import FloatArray
from snndeploy.report import svg
from snndeploy.report.charts import Chart
from snndeploy.report.data import ReportData
from snndeploy.report.energy_figures import IDLE, energy_by_step
from snndeploy.report.figures import operations

MAX_LAYERS = 40
OTHERS, OTHERS_COLOUR = "all else", svg.LINE
STATIC_COLOUR = svg.SERIES[-1]
IN_FLIGHT, IN_FLIGHT_COLOUR = "in_flight", svg.MUTED


def colours(estimate: Estimate) -> dict[str, str]:
    """The colour of each kind of event, the same in every chart: the costliest have their own."""
    energies = {event: energy.nominal for event, energy in estimate.by_event().items()}
    events = (event for event in energies if energies[event] and event != IN_FLIGHT)
    costly = sorted(events, key=lambda event: -energies[event])
    return dict(zip(costly, svg.SERIES[:-1], strict=False)) | {IN_FLIGHT: IN_FLIGHT_COLOUR}


def by_layer(estimate: Estimate, baselines: tuple[Estimate, ...]) -> Chart:
    """Stacked bars: a layer's dynamic energy by kind of event, the baselines as marks."""
    layers = list(estimate.by_layer())[:MAX_LAYERS]
    sums = estimate.by_layer()
    shades = colours(estimate)
    series = _series(estimate, layers, shades)
    unit, factor = unit_of(max((sums[name].high for name in layers), default=1.0))

    def paint(ax: Axes) -> None:
        rows, left = np.arange(len(layers)), np.zeros(len(layers))
        for event, values in series.items():
            colour, name = shades.get(event, OTHERS_COLOUR), units.event_name(event)
            ax.barh(rows, values * factor, 0.5, left * factor, color=colour, label=name)
            left += values
        spread = np.array([_spread(sums[name]) for name in layers]).T * factor
        ax.errorbar(
            left * factor, rows, xerr=spread, fmt="none", color=svg.INK, elinewidth=1, capsize=3
        )
        for place, baseline in enumerate(baselines[:2]):
            theirs = baseline.by_layer()
            values = np.array([theirs.get(name, ZERO).nominal for name in layers])
            label, alpha = units.shorten(baseline.title, 32), 0.85 - 0.4 * place
            y = rows + 0.34 + 0.15 * place
            ax.barh(y, values * factor, 0.13, color=svg.INK, alpha=alpha, label=label)
        ax.set_yticks(rows, units.shorten_all(layers, 18), parse_math=False)
        ax.set(xlabel=f"{unit} an inference", xlim=(0, None), ylim=(len(layers) - 0.3, -0.5))
        ax.grid(axis="x")

    label = "Dynamic energy by layer: " + ", ".join(
        f"{name} {units.energy(sums[name])}" for name in layers
    )
    caption = "Dynamic energy; the whiskers are each layer's interval."
    if any(set(b.by_layer()) & set(layers) for b in baselines):
        caption += " Thin bars: the same layer of the quantized ANN."
    height = 150 + 22 * ((len(series) + len(baselines) + 1) // 2) + 36 * len(layers)
    return Chart(svg.draw("energy-layers", label, paint, 500, min(height, 1400), 2), caption)


def against(everyone: tuple[Estimate, ...]) -> Chart:
    """Bars of dynamic and static energy: the network, then each baseline."""
    dynamic = [total(item.terms) for item in everyone]
    static = [item.static_pj or ZERO for item in everyone]
    whole = [a + b for a, b in zip(dynamic, static, strict=True)]
    unit, factor = unit_of(max(item.high for item in whole) or 1.0)

    def paint(ax: Axes) -> None:
        rows = np.arange(len(everyone))
        low = np.array([item.nominal for item in dynamic]) * factor
        high = np.array([item.nominal for item in static]) * factor
        ax.barh(rows, low, 0.55, color=svg.MUTED, label="dynamic")
        ax.barh(rows, high, 0.55, low, color=STATIC_COLOUR, label="static (idle)")
        spread = np.array([_spread(item) for item in whole]).T * factor
        ax.errorbar(
            low + high, rows, xerr=spread, fmt="none", color=svg.INK, elinewidth=1, capsize=3
        )
        names = ["\n".join(wrap(units.shorten(item.title, 62), 22)) for item in everyone]
        ax.set_yticks(rows, names, parse_math=False)
        ax.set(xlabel=f"{unit} an inference", xlim=(0, None), ylim=(len(everyone) - 0.4, -0.6))
        ax.grid(axis="x")

    named = zip(everyone, whole, strict=True)
    label = "Energy an inference: " + ", ".join(f"{e.title} {units.energy(w)}" for e, w in named)
    unknown = [item.title for item in everyone if not item.static_pj or not item.static_pj.nominal]
    caption = "Whiskers: interval of the sum."
    if any(item.unpriced for item in everyone):
        caption += " Priced terms only: see what has no price above."
    if unknown:
        caption += f" Static energy left out, not zero: {', '.join(unknown)}."
    return Chart(
        svg.draw("energy-against", label, paint, 500, 130 + 52 * len(everyone), 2), caption
    )


def _series(estimate: Estimate, layers: list[str], shades: dict[str, str]) -> dict[str, FloatArray]:
    """Energy in pJ by event and layer; events without a colour of their own are summed."""
    place = {name: i for i, name in enumerate(layers)}
    found = {event: np.zeros(len(layers)) for event in (*shades, OTHERS)}
    for term in estimate.terms:
        if term.energy_pj is not None and term.layer in place:
            event = term.event if term.event in shades else OTHERS
            found[event][place[term.layer]] += term.energy_pj.nominal
    return {event: values for event, values in found.items() if values.any()}


def over_steps(data: ReportData) -> Chart | None:
    """Stacked areas: the energy so far after each step, static below, then each kind of event."""
    found = energy_by_step(data)
    if found is None or data.estimate is None:
        return None
    shades = colours(data.estimate)
    steps = sorted(set(found.column("step")))
    sums: dict[str, FloatArray] = {}
    for step, term, energy in found.rows:
        own = term in shades or term == IDLE
        row = sums.setdefault(str(term) if own else OTHERS, np.zeros(len(steps)))
        row[steps.index(step)] += float(energy or 0.0)
    names = [name for name in (IDLE, *shades, OTHERS) if name in sums and sums[name].any()]
    whole = np.sum([sums[name] for name in names], axis=0)
    unit, factor = unit_of(float(whole.max()))

    def paint(ax: Axes) -> None:
        bottom = np.zeros(len(steps))
        for name in names:
            colour = STATIC_COLOUR if name == IDLE else shades.get(name, OTHERS_COLOUR)
            label = "static (idle)" if name == IDLE else units.event_name(name)
            ax.bar(
                steps, sums[name] * factor, 0.8 * _least_gap(steps), bottom, color=colour,
                linewidth=0, label=label,
            )  # fmt: skip
            bottom += sums[name] * factor
        if data.exit is not None:
            mean = data.exit.mean_steps
            label = f"mean stop, {units.count(mean)}"
            ax.axvline(mean, color=svg.INK, linewidth=1.2, linestyle="--", label=label)
        ax.set(xlabel="steps", ylabel=f"{unit} so far")
        ax.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        ax.grid(axis="y")

    label = (
        f"Energy over the steps: {units.engineering(whole[0] * units.PJ, 'J')} after step "
        f"{steps[0]}, {units.engineering(whole[-1] * units.PJ, 'J')} after step {steps[-1]}"
    )
    caption = (
        "Mean energy of an inference, had every sample stopped after that step; nominal prices."
    )
    if data.program.profile is not None and data.program.profile.pipelined:
        caption += (
            f" The chip is pipelined: step 1 leaves it after {data.program.depth} physical steps; "
            "in flight is what its layers have begun by then for later ones."
        )
    height = 280 + 22 * ((len(names) + 2) // 2)
    return Chart(svg.draw("energy-steps", label, paint, 500, height, 2), caption, found.table())


def operations_chart(data: ReportData) -> Chart | None:
    """Bars by layer: what the ANN multiplies, and what the network adds and multiplies."""
    found = operations(data)
    if found is None:
        return None
    shown = found.rows[:MAX_LAYERS]
    names = [str(row[0]) for row in shown]
    dense, nonzero, synops, macs = (
        np.array([float(row[i] or 0.0) for row in shown]) for i in range(1, 5)
    )
    unit, factor = _thousands(max(dense.max(), (synops + macs).max(), 1.0))

    def paint(ax: Axes) -> None:
        rows = np.arange(len(names))
        ax.barh(rows - 0.26, dense * factor, 0.22, color=svg.INK, alpha=0.85, label="ANN, MACs")
        if nonzero.any():
            label = "ANN, MACs without zeros"
            ax.barh(rows, nonzero * factor, 0.22, color=svg.INK, alpha=0.45, label=label)
        low = rows + (0.26 if nonzero.any() else 0.0)
        label = "SNN, synaptic operations (additions)"
        ax.barh(low, synops * factor, 0.22, color=svg.ACCENT, label=label)
        label = "SNN, MACs of the analog input"
        if macs.any():
            ax.barh(low, macs * factor, 0.22, synops * factor, color=svg.CONTRAST, label=label)
        ax.set_yticks(rows, units.shorten_all(names, 18), parse_math=False)
        ax.set(xlabel=f"{unit}operations an inference", ylim=(len(names) - 0.4, -0.6))
        ax.grid(axis="x")

    total = units.count(float(synops.sum())), units.count(float(dense.sum()))
    caption = (
        f"In all {total[0]} synaptic operations against {total[1]} MACs: "
        f"{units.count(float(synops.sum() / max(dense.sum(), 1)))} for each. An addition is not a "
        "MAC: see the prices under Energy."
    )
    label = f"Operations by layer: {total[0]} synaptic operations of the network, {total[1]} MACs"
    return Chart(
        svg.draw("operations", label, paint, 500, min(1400, 130 + 44 * len(names)), 1),
        caption,
        found.table(),
    )


def _least_gap(steps: list[int]) -> int:
    return min((b - a for a, b in pairwise(steps)), default=1)


def _thousands(most: float) -> tuple[str, float]:
    """What to write before the unit, and the factor that makes the largest bar readable."""
    for word, factor in (("", 1.0), ("thousand ", 1e-3), ("million ", 1e-6)):
        if most * factor < 1000:
            return word, factor
    return "billion ", 1e-9


def _spread(found: Quantity) -> tuple[float, float]:
    return max(found.nominal - found.low, 0.0), max(found.high - found.nominal, 0.0)


def unit_of(picojoules: float) -> tuple[str, float]:
    """The unit in which the largest bar is readable, and what turns pJ into it."""
    for unit, factor in (("pJ", 1.0), ("nJ", 1e-3), ("µJ", 1e-6), ("mJ", 1e-9)):
        if picojoules * factor < 1000:
            return unit, factor
    return "J", 1e-12
