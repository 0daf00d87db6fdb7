"""The charts of what the network did: accuracy, steps, spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from snndeploy import units
from snndeploy.layers import Layer
from snndeploy.measure import steps_within
from snndeploy.numerics import FloatArray, Int8Array, Int64Array
from snndeploy.report import svg
from snndeploy.report.data import ReportData
from snndeploy.report.tables import Table

MAX_PANELS = 24
"""Layers that get a panel of their own; the table lists them all."""

_RASTER_NEURONS = 48
_DASHES = ((0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1, 2)))


@dataclass(frozen=True)
class Chart:
    """A chart, what it says in words, and its figures."""

    drawing: Markup
    caption: str = ""
    table: Table | None = None


def accuracy(data: ReportData) -> Chart | None:
    """Accuracy had every sample been read out at each step, and what it is held against."""
    if data.labels is None:
        return None
    values = np.array(data.trace.accuracy_by_step(data.labels))
    steps = np.arange(1, len(values) + 1)
    window = data.program.network.window

    def paint(ax: Axes) -> None:
        ax.axvspan(0.5, min(window, len(values)) + 0.5, color=svg.LINE, alpha=0.35, linewidth=0)
        ax.plot(steps, values, color=svg.ACCENT, label="read out at this step")
        for (value, names), dashes in zip(_levels(data).items(), _DASHES, strict=False):
            label = f"{units.shorten(' = '.join(names), 44)}, {units.percent(value, 2)}"
            ax.axhline(value, color=svg.MUTED, linewidth=1.2, linestyle=dashes, label=label)
        if data.exit is not None and data.exit.accuracy is not None:
            point = (data.exit.mean_steps, data.exit.accuracy)
            label = f"early exit, {units.percent(data.exit.accuracy, 2)}"
            ax.plot(*point, "o", color=svg.CONTRAST, markersize=8, label=label)
        ax.set(xlabel="steps", ylabel="accuracy", xlim=(0.5, len(values) + 0.5))
        shown = [*values, *data.accuracies.values()]
        pad = max(0.01, 0.08 * (max(shown) - min(shown)))
        ax.set_ylim(max(0.0, min(shown) - pad), max(shown) + pad)
        ax.set_yticks([tick for tick in ax.get_yticks() if tick <= 1.0])
        ax.set_ylim(max(0.0, min(shown) - pad), max(shown) + pad)
        ax.grid(axis="y")
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))

    caption = (
        f"{len(data.trace):,} samples, each read out after the same number of steps. Shaded: the "
        f"window of {window} steps during which the input is injected."
    )
    if data.exit is not None:
        caption += (
            f" The dot is the exit policy's operating point on {data.exit.samples:,} samples."
        )
    rows = tuple((str(t), units.percent(v, 2)) for t, v in zip(steps, values, strict=True))
    label = (
        f"Accuracy against steps: {units.percent(values[0])} after step 1, "
        f"{units.percent(values[-1], 2)} after step {len(values)}"
    )
    return Chart(
        svg.draw("accuracy", label, paint, 500, 400, 1),
        caption,
        Table(("step", "accuracy"), rows, "rr"),
    )


def _levels(data: ReportData) -> dict[float, list[str]]:
    """The reference accuracies, names of equal ones together."""
    levels: dict[float, list[str]] = {}
    for name, value in data.accuracies.items():
        levels.setdefault(value, []).append(name)
    return levels


def histogram(name: str, values: Int64Array, title: str, caption: str = "") -> Chart:
    """How many samples stopped, or settled, at each step."""
    counts = np.bincount(values)
    first, last = int(values.min()), int(values.max())
    middle, late = (steps_within(values, share) for share in (0.5, 0.95))

    def paint(ax: Axes) -> None:
        ax.bar(range(first, last + 1), counts[first:], width=0.8, color=svg.ACCENT, linewidth=0)
        ax.axvline(middle, color=svg.INK, linewidth=1.2, label=f"p50, {units.count(middle)}")
        ax.axvline(
            late, color=svg.INK, linewidth=1.2, linestyle="--", label=f"p95, {units.count(late)}"
        )
        ax.set(
            xlabel="step", ylabel="samples", xlim=(0.2 if first < 6 else first - 3.8, last + 0.8)
        )
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        ax.grid(axis="y")

    rows = tuple(
        (str(t), f"{counts[t]:,}", units.percent(counts[: t + 1].sum() / len(values)))
        for t in range(first, last + 1)
    )
    label = (
        f"{title}: mean {units.count(float(values.mean()))}, median {units.count(middle)}, "
        f"95th percentile {units.count(late)}, {len(values):,} samples"
    )
    table = Table(("step", "samples", "up to here"), rows, "rrr")
    return Chart(svg.draw(name, label, paint, 500, 280, 2), caption, table)


def layer_panels(data: ReportData) -> list[Chart]:
    """For each spiking layer its mean spikes at each step, positive up and negative down."""
    shown = [layer for layer in data.program.spiking if layer.name in data.trace.events]
    titles = units.shorten_all([layer.name for layer in shown], 30)
    pairs = zip(shown[:MAX_PANELS], titles, strict=False)
    return [_panel(data, layer, title) for layer, title in pairs]


def _panel(data: ReportData, layer: Layer, title: str) -> Chart:
    events = data.trace.events[layer.name].mean(axis=0)
    spikes = data.trace.spikes.get(layer.name)
    up, down = events, np.zeros_like(events)
    if spikes is not None:
        flat = spikes.reshape(*spikes.shape[:2], -1)
        up = np.count_nonzero(flat > 0, axis=2).mean(axis=0)
        down = np.count_nonzero(flat < 0, axis=2).mean(axis=0)
    edges = np.arange(len(events) + 1) + 0.5

    def paint(ax: Axes) -> None:
        ax.stairs(up, edges, fill=True, color=svg.ACCENT, linewidth=0)
        ax.stairs(-down, edges, fill=True, color=svg.CONTRAST, linewidth=0)
        ax.axhline(0, color=svg.MUTED, linewidth=0.8)
        ax.set_title(title, color=svg.INK, parse_math=False)
        ax.set_xlim(0.5, len(events) + 0.5)
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        ax.yaxis.set_major_locator(MaxNLocator(3))
        ax.yaxis.set_major_formatter(lambda y, _: units.count(abs(y)))
        ax.grid(axis="y")

    label = (
        f"Spikes of layer {layer.name} by step: {units.count(up.sum())} positive and "
        f"{units.count(down.sum())} negative a sample"
    )
    return Chart(svg.draw(f"spikes-{layer.name}", label, paint, 320, 170))


def neuron_histogram(data: ReportData) -> Chart | None:
    """How often a neuron fires in one inference."""
    if not data.trace.spikes:
        return None
    layers = [s.reshape(*s.shape[:2], -1) for s in data.trace.spikes.values()]
    fired = np.concatenate([_fired(spikes) for spikes in layers])
    last = int(fired.max())
    share = np.bincount(fired, minlength=last + 1) / len(fired)

    def paint(ax: Axes) -> None:
        ax.bar(range(last + 1), share, width=0.8, color=svg.ACCENT, linewidth=0)
        ax.set(xlabel="spikes of one neuron in one inference", ylabel="share of neurons")
        ax.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        ax.grid(axis="y")

    rows = tuple((str(n), units.percent(value, 2)) for n, value in enumerate(share))
    label = f"Histogram of spikes a neuron: {units.percent(share[0])} never fire in an inference"
    caption = (
        f"{units.percent(share[0])} of the neurons stay silent in an inference; "
        "spikes of either sign count."
    )
    table = Table(("spikes", "share of neurons"), rows, "rr")
    return Chart(svg.draw("neurons", label, paint, 500, 260), caption, table)


def _fired(spikes: Int8Array) -> Int64Array:
    fired: Int64Array = np.abs(spikes).sum(axis=1, dtype=np.int64).ravel()
    return fired


def raster(data: ReportData, sample: int = 0) -> Chart | None:
    """Every spike of one sample: up to 48 neurons a layer, evenly spaced."""
    recorded = dict(list(data.trace.spikes.items())[:MAX_PANELS])
    if not recorded:
        return None
    bands = [(name, _thinned(s[sample])) for name, s in recorded.items()]
    height = sum(band.shape[1] for _, band in bands)
    gap = max(2, height // 60)
    steps = int(data.trace.stop_steps[sample])

    def paint(ax: Axes) -> None:
        base, ticks = 0.0, []
        for _, band in bands:
            for sign, colour in ((1, svg.ACCENT), (-1, svg.CONTRAST)):
                step, row = np.nonzero(band == sign)
                ax.plot(
                    *_dashes(step + 1, row + base + 0.5),
                    color=colour,
                    linewidth=1.7,
                    solid_capstyle="butt",
                )
            ticks.append(base + band.shape[1] / 2)
            base += band.shape[1] + gap
        names = units.shorten_all([name for name, _ in bands], 16)
        ax.set_yticks(ticks, names, parse_math=False)
        ax.set(xlabel="step", xlim=(0.5, max(steps, 2) + 0.5), ylim=(base, -gap))
        ax.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        ax.spines["left"].set_visible(False)

    total = sum(int(np.count_nonzero(s[sample])) for s in recorded.values())
    label = f"Raster of sample {sample}: {total:,} spikes in {steps} steps"
    caption = (
        f"Sample {sample}: {total:,} spikes in {steps} steps; a row is a neuron, at most "
        f"{_RASTER_NEURONS} a layer are drawn."
    )
    tall = min(600, max(220, 60 + 2 * (height + gap * len(bands))))
    return Chart(svg.draw("raster", label, paint, 500, tall), caption)


def _thinned(spikes: Int8Array) -> Int8Array:
    flat = spikes.reshape(len(spikes), -1)
    keep = np.unique(np.linspace(0, flat.shape[1] - 1, _RASTER_NEURONS).round().astype(int))
    return flat[:, keep]


def _dashes(x: Int64Array, y: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """One polyline for all spikes, so that thousands of them stay one small path."""
    gap = np.full(len(x), np.nan)
    return np.stack([x - 0.38, x + 0.38, gap], 1).ravel(), np.stack([y, y, gap], 1).ravel()
