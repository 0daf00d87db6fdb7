"""The charts of early exit: the slider's front, all policies, what is saved, single samples."""

from __future__ import annotations

from math import log10

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from snndeploy import units
from snndeploy.numerics import FloatArray, Int64Array
from snndeploy.report import exit_figures, svg
from snndeploy.report.charts import Chart
from snndeploy.report.choices import ORACLE
from snndeploy.report.data import ReportData
from snndeploy.report.energy_charts import unit_of

PICTURES = 8
TALLEST = 1.5
"""Height over width of the room for a picture; taller ones are drawn smaller."""
_LINES = ("-", "--", "-.", ":")


def front(data: ReportData) -> Chart | None:
    """Accuracy (or else energy) against mean steps for the slider's settings, a ring on each."""
    found = exit_figures.choices(data)
    if found is None:
        return None
    steps = np.array(found.column("mean_steps"))
    if data.labels is not None:
        values, name = np.array(found.column("accuracy")), "accuracy"
    elif None not in found.column("energy_pj"):
        values, name = np.array(found.column("energy_pj")), "energy"
    else:
        values, name = np.array(found.column("spikes_share")), "spikes, share of a settled run"
    unit, factor = unit_of(float(values.max())) if name == "energy" else ("", 1.0)

    def paint(ax: Axes) -> None:
        ax.plot(steps, values * factor, color=svg.ACCENT, alpha=0.5)
        ax.plot(steps, values * factor, "o", color=svg.ACCENT, markersize=5, label="settings")
        for i, chosen in enumerate(found.column("calibrated")):
            at = (steps[i], values[i] * factor)
            if chosen:
                label = "calibrated setting"
                ax.plot(*at, "D", color=svg.CONTRAST, markersize=8, label=label)
            ring = ax.plot(
                *at, "o", markersize=15, fillstyle="none", color=svg.INK, markeredgewidth=2
            )
            ring[0].set_gid(f"{svg.MARKED}{i}")
        ax.set(xlabel="mean steps", ylabel=f"{name}, {unit}" if unit else name)
        ax.margins(0.08)
        ax.grid(axis="y")
        if name != "energy":
            ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))

    label = (
        f"{name.capitalize()} against mean steps for {len(steps)} settings: from "
        f"{units.count(steps.min())} to {units.count(steps.max())} steps"
    )
    caption = "A dot is a setting, the ring that of the slider; measured on these samples."
    if data.exit is not None and True in (choice.chosen for choice in data.choices):
        caption += " The settings were found on others, in calibration."
    return Chart(svg.draw("exit-front", label, paint, 500, 320, 2), caption, found.table())


def policies(data: ReportData) -> Chart | None:
    """Accuracy against mean steps: one line a family of policies, the oracle's bound as a star."""
    found = exit_figures.policies(data)
    if found is None:
        return None
    curves = {
        name: np.array([row[1:] for row in found.rows if row[0] == name], float)
        for name in dict.fromkeys(found.column("policy"))
    }

    def paint(ax: Axes) -> None:
        for i, (name, points) in enumerate(curves.items()):
            colour = svg.SERIES[i % (len(svg.SERIES) - 1)]
            if len(points) == 1:
                bound = name.startswith(ORACLE)
                mark, colour = ("*", svg.INK) if bound else ("o", colour)
                ax.plot(
                    points[:, 0], points[:, 2], mark, color=colour, markersize=13 if bound else 8,
                    label=name,
                )  # fmt: skip
                continue
            order = points[:, 0].argsort()
            line = _LINES[i % len(_LINES)]
            ax.plot(
                points[order, 0], points[order, 2], line, color=colour, label=name, marker="o",
                markersize=3.5,
            )  # fmt: skip
        if data.exit is not None and data.exit.accuracy is not None:
            at = (data.exit.mean_steps, data.exit.accuracy)
            ax.plot(*at, "D", color=svg.CONTRAST, markersize=8, label="calibrated policy")
        shown = np.concatenate([points[:, 2] for points in curves.values()])
        low = max(float(np.quantile(shown, 0.1)), float(shown.max()) - 0.25)
        ax.set(xlabel="mean steps", ylabel="accuracy")
        pad = 0.08 * (shown.max() - low) + 1e-3
        ax.set_ylim(low - pad, shown.max() + pad)
        ax.grid(axis="y")
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))

    label = f"Accuracy against mean steps for {len(curves)} families: {', '.join(curves)}"
    caption = (
        "Each line is one family of policies on these samples, from eager to patient; less "
        "accurate settings are cut off. Top K gap and conformal are fitted to one half of the "
        "samples and shown on the other."
    )
    if any(name.startswith(ORACLE) for name in curves):
        caption += (
            " The oracle knows the labels: nothing keeps the settled accuracy in fewer steps."
        )
    height = 300 + 22 * ((len(curves) + 2) // 2)
    return Chart(svg.draw("exit-policies", label, paint, 500, height, 2), caption, found.table())


def savings(data: ReportData) -> Chart | None:
    """Bars: the share that early exit saves of each figure, against every other run."""
    found = exit_figures.saved(data)
    if found is None:
        return None
    *others, ours = found.rows
    kinds = {
        "steps": "mean_steps", "spikes": "spikes", "synaptic operations": "synops",
        "energy": "energy_pj", "latency": "latency_us", "time of simulation": "wall_clock_s",
    }  # fmt: skip
    shares = {
        str(row[0]): [_saved(found.columns.index(c), row, ours) for c in kinds.values()]
        for row in others
    }
    kept = [
        i for i in range(len(kinds)) if any(values[i] is not None for values in shares.values())
    ]
    names = [list(kinds)[i] for i in kept]

    def paint(ax: Axes) -> None:
        rows, tall = np.arange(len(kept)), 0.76 / len(shares)
        for place, (name, values) in enumerate(shares.items()):
            widths = np.array([np.nan if values[i] is None else values[i] for i in kept], float)
            y = rows + (place - (len(shares) - 1) / 2) * tall
            label = f"against: {name}"
            ax.barh(y, widths, 0.9 * tall, color=svg.SERIES[place], label=label, linewidth=0)
            for at, width in zip(y, widths, strict=True):
                text = "" if np.isnan(width) else _percent(width)
                ax.text(max(width, 0) + 0.01, at, text, va="center", color=svg.INK)
        ax.axvline(0, color=svg.LINE, linewidth=1)
        ax.set_yticks(rows, names)
        ax.set(ylim=(len(kept) - 0.4, -0.6), xlabel="saved by early exit")
        ax.margins(x=0.15)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        ax.grid(axis="x")

    told = [
        f"{name} {units.percent(share, 0)}"
        for name, share in zip(kinds, next(iter(shares.values())), strict=True)
        if share is not None
    ]
    label = f"Saved by early exit against a settled run: {', '.join(told)}"
    caption = (
        "Spikes and operations of work in flight are paid for, so they are saved less than steps. "
        "The time of simulation is this machine's; a settled run needs no step-by-step control."
    )
    return Chart(svg.draw("exit-savings", label, paint, 500, 120 + 46 * len(kept), 1), caption)


def _percent(share: float) -> str:
    """Without a sign where it rounds to 0."""
    return units.percent(round(share, 2) + 0.0, 0).replace("-", "\N{MINUS SIGN}")


def _saved(place: int, row: tuple[object, ...], ours: tuple[object, ...]) -> float | None:
    before, after = row[place], ours[place]
    if not isinstance(before, float | int) or not isinstance(after, float | int) or not before:
        return None
    return 1.0 - after / before


def distributions(data: ReportData) -> tuple[Chart, ...]:
    """Energy and latency of single samples: settled, and with early exit."""
    found = exit_figures.samples(data)
    kinds = (("energy_pj", "Energy", units.PJ, "J"), ("latency_us", "Latency", units.US, "s"))
    charts = []
    for column, title, factor, unit in kinds:
        runs = {"run until settled": column, "early exit": f"exit_{column}"}
        values = {
            name: np.array(found.column(key)) * factor
            for name, key in runs.items()
            if key in found.columns
        }
        if values:
            charts.append(_distribution(title, values, unit))
    return tuple(charts)


def _distribution(title: str, runs: dict[str, FloatArray], unit: str) -> Chart:
    most = max(float(values.max()) for values in runs.values())
    text, scale = _prefix(most, unit)
    everything = np.concatenate(list(runs.values())) * scale
    edges = np.histogram_bin_edges(everything, bins=24)

    def paint(ax: Axes) -> None:
        for (name, values), colour in zip(runs.items(), svg.SERIES, strict=False):
            counts, _ = np.histogram(values * scale, edges)
            ax.stairs(counts, edges, fill=True, color=colour, alpha=0.35, linewidth=0)
            ax.stairs(counts, edges, color=colour, linewidth=1.6, label=name)
        ax.set(xlabel=f"{text} an inference", ylabel="samples", ylim=(0, None))
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        ax.grid(axis="y")

    told = []
    for name, values in runs.items():
        middle, late = (units.engineering(p, unit) for p in np.percentile(values, [50, 95]))
        told.append(f"{name}: p50 {middle}, p95 {late}")
    label = f"{title} of single samples. {'. '.join(told)}"
    caption = f"{'. '.join(told)}. Nominal prices and times."
    return Chart(svg.draw(f"samples-{title.lower()}", label, paint, 500, 280, 2), caption)


def _prefix(value: float, unit: str) -> tuple[str, float]:
    """The unit in which a value has up to three digits, and the factor into it."""
    number, shown = units.engineering(value, unit).split(" ")
    return shown, 10.0 ** (3 * round(log10(float(number) / value) / 3)) if value else 1.0


def pictures(data: ReportData) -> tuple[Chart, ...]:
    """The samples that stop first and last, as pictures; none if the inputs are not images."""
    if not is_image(data):
        return ()
    order = exit_figures.ranked(data)
    shown = min(PICTURES, len(order) // 2)
    if not shown:
        return ()
    parts = (("easiest", order[:shown]), ("hardest", order[::-1][:shown]))
    return tuple(_strip(data, name, rows) for name, rows in parts)


def is_image(data: ReportData) -> bool:
    """Whether the inputs are given, constant, and have 1 or 3 channels of height and width."""
    if data.inputs is None or data.program.network.input.per_step or data.inputs.ndim != 4:
        return False
    _, channels, height, width = data.inputs.shape
    return channels in (1, 3) and min(height, width) >= 4


def _strip(data: ReportData, name: str, rows: Int64Array) -> Chart:
    """Pictures side by side, each with its class, the answer and the step."""
    assert data.inputs is not None
    trace = data.trace if data.exit_trace is None else data.exit_trace
    steps = data.trace.stop_steps if data.exit is None else data.exit.stop_steps
    images = np.asarray(data.inputs[rows], np.float64).transpose(0, 2, 3, 1)
    low, high = float(np.min(data.inputs)), float(np.max(data.inputs))
    images = (images - low) / ((high - low) or 1.0)
    shape = images.shape[1] / images.shape[2]
    tall, wide = min(shape, TALLEST), min(1.0, TALLEST / shape)

    def paint(ax: Axes) -> None:
        for i, (row, image) in enumerate(zip(rows, images, strict=True)):
            x = i * 1.12 + (1 - wide) / 2
            ax.imshow(
                image.squeeze(axis=-1) if image.shape[-1] == 1 else image,
                extent=(x, x + wide, tall, 0), cmap="gray", vmin=0, vmax=1, interpolation="nearest",
            )  # fmt: skip
            said = int(trace.predictions[row])
            text, colour = f"{said}", svg.INK
            if data.labels is not None and said != data.labels[row]:
                text, colour = f"{data.labels[row]}, called {said}", svg.BAD
            ax.text(x + wide / 2, tall + 0.1, text, ha="center", va="top", color=colour)
            step = f"step {int(steps[row])}"
            ax.text(
                x + wide / 2, tall + 0.27, step,
                ha="center", va="top", color=svg.MUTED, fontsize=11,
            )  # fmt: skip
        ax.set(xlim=(0, PICTURES * 1.12 - 0.12), ylim=(tall + 0.45, 0), aspect="equal")
        ax.axis("off")

    told = ", ".join(f"sample {row} after {int(steps[row])}" for row in rows)
    label = f"The {name} samples and the steps after which they stop: {told}"
    height = round(1040 / (PICTURES * 1.12 - 0.12) * (tall + 0.45))
    return Chart(svg.draw(f"pictures-{name}", label, paint, 1040, height))
