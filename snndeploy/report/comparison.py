"""The page of a comparison: backends side by side in one HTML file that opens offline."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from snndeploy import units
from snndeploy.files import save_text
from snndeploy.report import svg
from snndeploy.report.charts import Chart
from snndeploy.report.data import Headline
from snndeploy.report.energy import notes, totals_table
from snndeploy.report.page import environment
from snndeploy.report.tables import Table, diagnosis_tables
from snndeploy.side_by_side import SideBySide
from snndeploy.verify.comparison import BackendResult

_VERDICTS = {
    True: "✓\N{NO-BREAK SPACE}equal",
    False: "✕\N{NO-BREAK SPACE}differ",
    None: units.NONE,
}


def save_comparison(found: SideBySide, path: str | Path) -> Path:
    """Write the page; a file that was there before stays whole until the new one is."""
    target = Path(path)
    save_text(render_comparison(found), target)
    return target


def render_comparison(found: SideBySide) -> str:
    """The comparison as one self-contained HTML page: no scripts, nothing fetched."""
    ran = [result for result in found.results if result.ran]
    priced = [
        replace(found.estimates[result.name], title=result.name)
        for result in ran
        if result.name in found.estimates
    ]
    known = next(iter(found.estimates.values()), None)
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            found=found,
            network=found.program.network,
            ran=ran,
            tiles=_tiles(found, ran),
            backends=_backend_table(found),
            diagnoses=diagnosis_tables(found.results),
            spikes=_spike_table(found, ran),
            panels=_panels(ran),
            measured=any(result.footprint is not None for result in ran),
            energy=totals_table(priced) if priced else None,
            title="" if known is None else known.title,
            notes=() if known is None else notes(known, ()),
            provenance=_provenance(found),
        )
    )


def _tiles(found: SideBySide, ran: Sequence[BackendResult]) -> list[Headline]:
    reference = found.reference
    tiles = [_verdict_tile(found)]
    if reference.accuracy is not None:
        tiles.append(
            Headline(
                "Accuracy",
                units.percent(reference.accuracy, 2),
                f"{reference.name}, {reference.samples:,} samples",
            )
        )
    neurons = sum(layer.neurons for layer in found.program.spiking)
    each = f"{reference.spikes_per_sample / neurons:.2f} a neuron, " if neurons else ""
    steps = f"{each}{units.count(reference.mean_steps)} steps"
    tiles.append(Headline("Spikes a sample", units.count(reference.spikes_per_sample), steps))
    fast = min(ran, key=lambda result: result.seconds_per_sample)
    slow = max(ran, key=lambda result: result.seconds_per_sample)
    hint = f"a sample on {fast.name}"
    if slow is not fast:
        hint += f"\n{units.seconds(slow.seconds_per_sample)} on {slow.name}"
    tiles.append(Headline("Fastest", units.seconds(fast.seconds_per_sample), hint))
    estimate = found.estimates.get(reference.name)
    if estimate is not None:
        energy = estimate.energy_pj
        grade = estimate.grade or "none"
        hint = f"{units.energy_range(energy)}\n{estimate.profile}, grade {grade}"
        tiles.append(Headline("Energy an inference", units.energy(energy), hint))
    return tiles


def _verdict_tile(found: SideBySide) -> Headline:
    label = "Same spikes"
    if found.agree is None:
        return Headline(label, "Not compared", "no other backend ran", "open")
    equal = [result.name for result in found.compared if result.spikes_equal]
    unlike = [result.name for result in found.compared if not result.spikes_equal]
    if found.agree:
        return Headline(label, "Agree", ", ".join([found.reference.name, *equal]), "good")
    return Headline(label, "Differ", f"other spikes: {', '.join(unlike)}", "bad")


def _backend_table(found: SideBySide) -> Table:
    """One row a backend; columns without a figure are left out."""
    columns: list[tuple[str, str, Callable[[BackendResult], str]]] = [
        ("backend", "l", lambda r: r.name),
        ("samples", "r", lambda r: f"{r.samples:,}" if r.ran else units.NONE),
        ("accuracy", "r", lambda r: _share(r.accuracy)),
        ("agreement", "r", lambda r: _share(r.agreement)),
        ("spikes", "l", lambda r: _verdict(found, r)),
        ("first difference", "l", _first_difference),
        ("time a sample", "r", lambda r: units.seconds(r.seconds_per_sample if r.ran else None)),
        ("start-up", "r", lambda r: units.seconds(r.startup_seconds)),
        ("peak memory", "r", lambda r: units.memory(r.peak_bytes)),
        ("energy", "r", lambda r: _energy(found, r)),
        ("latency", "r", lambda r: _latency(found, r)),
    ]
    told = [(name, align, [show(r) for r in found.results]) for name, align, show in columns]
    kept = [column for column in told if any(cell != units.NONE for cell in column[2])]
    head, align, cells = zip(*kept, strict=True)
    return Table(head, tuple(zip(*cells, strict=True)), "".join(align))


def _share(value: float | None) -> str:
    return units.NONE if value is None else units.percent(value, 2)


def _verdict(found: SideBySide, result: BackendResult) -> str:
    if result is found.reference:
        return "reference"
    return _VERDICTS[result.spikes_equal]


def _first_difference(result: BackendResult) -> str:
    found = result.divergence
    return units.NONE if found is None else f"{found.layer}, step\N{NO-BREAK SPACE}{found.step}"


def _energy(found: SideBySide, result: BackendResult) -> str:
    estimate = found.estimates.get(result.name)
    return units.energy(None if estimate is None else estimate.energy_pj)


def _latency(found: SideBySide, result: BackendResult) -> str:
    estimate = found.estimates.get(result.name)
    return units.latency(None if estimate is None else estimate.latency_us)


def _spike_table(found: SideBySide, ran: Sequence[BackendResult]) -> Table:
    """One row a layer, one column a backend."""
    rows = [
        (
            layer.name,
            f"{layer.neurons:,}",
            *(units.count(result.layer_spikes.get(layer.name, 0.0)) for result in ran),
        )
        for layer in found.program.spiking
    ]
    neurons = sum(layer.neurons for layer in found.program.spiking)
    foot = ("in all", f"{neurons:,}", *(units.count(r.spikes_per_sample) for r in ran))
    head = ("layer", "neurons", *(result.name for result in ran))
    return Table(head, tuple(rows), "l" + "r" * (len(ran) + 1), foot)


def _panels(ran: Sequence[BackendResult]) -> list[Chart]:
    """Bars: time a sample, start-up, peak memory; what was not measured is left out."""
    kinds: list[tuple[str, str, Callable[[BackendResult], float | None]]] = [
        ("time", "Time a sample", lambda r: r.seconds_per_sample),
        ("startup", "Start-up", lambda r: r.startup_seconds),
        ("memory", "Peak memory", lambda r: r.peak_bytes),
    ]
    panels = []
    for name, title, value in kinds:
        bars = {result.name: value(result) for result in ran}
        known = {backend: float(size) for backend, size in bars.items() if size is not None}
        if known:
            panels.append(_bars(name, title, known))
    return panels


def _bars(name: str, title: str, bars: dict[str, float]) -> Chart:
    unit = "B" if name == "memory" else "s"
    values, most = np.array(list(bars.values())), max(bars.values()) or 1.0
    shown = [units.engineering(value, unit) for value in values]

    def paint(ax: Axes) -> None:
        rows = np.arange(len(values))
        ax.barh(rows, values, 0.5, color=svg.ACCENT)
        for row, (value, text) in enumerate(zip(values, shown, strict=True)):
            ax.text(value + 0.02 * most, row, text, va="center", color=svg.INK)
        ax.set_yticks(rows, [units.shorten(each, 16) for each in bars], parse_math=False)
        ax.set(xlim=(0, 1.45 * most), ylim=(len(values) - 0.4, -0.6))
        ax.set_xticks([])
        ax.spines["bottom"].set_visible(False)

    label = f"{title}: " + ", ".join(f"{b} {t}" for b, t in zip(bars, shown, strict=True))
    return Chart(svg.draw(f"compare-{name}", label, paint, 320, 40 + 34 * len(values)), title)


def _provenance(found: SideBySide) -> Table:
    network, profile = found.program.network, found.program.profile
    rows = [
        ("network", network.name),
        ("network hash", f"sha256 {network.hash}"),
        ("mode", f"{network.mode}, window of {network.window} steps"),
    ]
    if found.data_hash:
        rows.append(("samples' hash", f"sha256 {found.data_hash}"))
    if profile is not None:
        rows.append(("hardware profile", profile.name))
    rows += [
        (f"backend {r.name}", ", ".join(f"{k} {v}" for k, v in r.versions.items()) or units.NONE)
        for r in found.results
    ]
    rows.append(("snndeploy", metadata.version("snndeploy")))
    rows.append(("machine", f"{platform.machine()}, Python {platform.python_version()}"))
    return Table(("", ""), tuple(rows), "ll")
