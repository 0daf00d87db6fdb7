"""The charts of energy: by layer and term, and against the baselines."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes

from snndeploy import units
from snndeploy.cost.estimate import Estimate, total
from snndeploy.cost.quantity import ZERO, Quantity
from snndeploy.report import svg
from snndeploy.report.charts import Chart

MAX_LAYERS = 40
_OTHERS = "all else"


def by_layer(estimate: Estimate, baselines: tuple[Estimate, ...]) -> Chart:
    """Stacked bars: a layer's dynamic energy by kind of event, the baselines as marks."""
    layers = list(estimate.by_layer())[:MAX_LAYERS]
    sums = estimate.by_layer()
    series = _series(estimate, layers)
    unit, factor = _unit(max((sums[name].high for name in layers), default=1.0))

    def paint(ax: Axes) -> None:
        rows, left = np.arange(len(layers)), np.zeros(len(layers))
        for (event, values), colour in zip(series.items(), svg.SERIES, strict=False):
            ax.barh(rows, values * factor, 0.5, left * factor, color=colour, label=event)
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
        ax.set_yticks(rows, [units.shorten(name, 18) for name in layers], parse_math=False)
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
    unit, factor = _unit(max(item.high for item in whole) or 1.0)

    def paint(ax: Axes) -> None:
        rows = np.arange(len(everyone))
        low = np.array([item.nominal for item in dynamic]) * factor
        high = np.array([item.nominal for item in static]) * factor
        ax.barh(rows, low, 0.55, color=svg.ACCENT, label="dynamic")
        ax.barh(rows, high, 0.55, low, color=svg.SERIES[-1], label="static")
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


def _series(estimate: Estimate, layers: list[str]) -> dict[str, np.ndarray]:
    """Energy in pJ by event and layer, largest event first; what exceeds the palette is summed."""
    place = {name: i for i, name in enumerate(layers)}
    found: dict[str, np.ndarray] = {}
    for term in estimate.terms:
        if term.energy_pj is not None and term.layer in place:
            row = found.setdefault(units.event_name(term.event), np.zeros(len(layers)))
            row[place[term.layer]] += term.energy_pj.nominal
    ordered = sorted((kv for kv in found.items() if kv[1].any()), key=lambda kv: -kv[1].sum())
    room = len(svg.SERIES) - 1
    shown = dict(ordered[:room])
    if len(ordered) > room:
        shown[_OTHERS] = np.sum([values for _, values in ordered[room:]], axis=0)
    return shown


def _spread(found: Quantity) -> tuple[float, float]:
    return max(found.nominal - found.low, 0.0), max(found.high - found.nominal, 0.0)


def _unit(picojoules: float) -> tuple[str, float]:
    """The unit in which the largest bar is readable, and what turns pJ into it."""
    for unit, factor in (("pJ", 1.0), ("nJ", 1e-3), ("µJ", 1e-6), ("mJ", 1e-9)):
        if picojoules * factor < 1000:
            return unit, factor
    return "J", 1e-12
