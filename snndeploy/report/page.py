"""The page: the template filled in, and the file written in one piece."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from snndeploy import units
from snndeploy.files import save_text
from snndeploy.report import (
    charts,
    energy,
    energy_charts,
    energy_figures,
    exit_charts,
    exit_figures,
    placement_chart,
    svg,
    tables,
)
from snndeploy.report.data import ReportData
from snndeploy.report.dataset import Dataset


def environment() -> Environment:
    """The templates of pages: self-contained, names escaped."""
    made = Environment(
        loader=PackageLoader("snndeploy.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": units.count,
        "percent": units.percent,
        "energy": units.energy,
        "energy_range": units.energy_range,
        "zip": zip,
    }
    return made


def render(data: ReportData) -> str:
    """The report as one self-contained HTML page: nothing fetched, one script for the slider."""
    script = Markup(files("snndeploy.report").joinpath("report.js").read_text("utf-8"))  # noqa: S704 - ours
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            script=script,
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
            network=data.program.network,
            layers=tables.layer_table(data),
            backends=tables.backend_table(data.backends),
            diagnoses=tables.diagnosis_tables(data.backends),
            confusion=tables.confusion(data),
            provenance=tables.provenance(data),
            accuracy=charts.accuracy(data),
            settle=_settle(data),
            exit=_exit(data),
            panels=charts.layer_panels(data),
            neurons=charts.neuron_histogram(data),
            raster=charts.raster(data),
            signed=bool(data.trace.spikes),
            operations=energy_charts.operations_chart(data),
            energy=_energy(data),
            mesh=placement_chart.mesh(data),
            core_use=_table(energy_figures.core_use(data)),
        )
    )


def save(data: ReportData, path: str | Path) -> Path:
    """Write the report; a file that was there before stays whole until the new one is."""
    target = Path(path)
    save_text(render(data), target)
    return target


def _settle(data: ReportData) -> charts.Chart | None:
    if data.settle_steps is None:
        return None
    steps = data.settle_steps
    caption = (
        f"Steps after which a sample stays silent: mean {units.count(float(steps.mean()))}, "
        f"latest {int(steps.max())}. The bound that holds for every input is "
        f"{data.program.settle_bound}."
    )
    return charts.histogram("settle", steps, "Steps until a sample settles", caption)


def _exit(data: ReportData) -> dict[str, object]:
    stops = None
    if data.exit is not None:
        title = "Steps at which samples stop early"
        stops = charts.histogram("stops", data.exit.stop_steps, title)
    return {
        "stops": stops,
        "slider": slider(data),
        "front": exit_charts.front(data),
        "policies": exit_charts.policies(data),
        "savings": exit_charts.savings(data),
        "saved": _table(exit_figures.saved(data)),
        "distributions": exit_charts.distributions(data),
        "pictures": exit_charts.pictures(data),
    }


def slider(data: ReportData) -> dict[str, object] | None:
    """The settings of the slider as text, and the one that it starts at."""
    found = exit_figures.choices(data)
    if found is None:
        return None
    table = found.table()
    shown = ("setting", "mean_steps", "p50_steps", "p95_steps", "accuracy", "spikes_share",
             "energy_pj", "latency_us")  # fmt: skip
    settings = [dict(zip(found.columns, row, strict=True)) for row in table.rows]
    chosen = [i for i, calibrated in enumerate(found.column("calibrated")) if calibrated]
    return {
        "settings": [{name: setting[name] for name in shown} for setting in settings],
        "start": chosen[0] if chosen else len(settings) - 1,
        "mark": f"exit-front-{svg.MARKED}",
        "pattern": found.column("setting")[-1],
    }


def _table(found: Dataset | None) -> tables.Table | None:
    return None if found is None else found.table()


def _energy(data: ReportData) -> dict[str, object] | None:
    found = data.estimate
    if found is None:
        return None
    early = () if data.exit_estimate is None else (data.exit_estimate,)
    ours = (found, *(replace(e, title=f"{e.title}, early exit") for e in early))
    baselines = data.baselines
    return {
        "estimate": found,
        "terms": energy.term_table(found),
        "layer_terms": energy.layer_term_table(found),
        "totals": energy.totals_table((*ours, *baselines)),
        "unpriced": ", ".join(units.event_name(event) for event in found.unpriced),
        "sources": energy.sources(found),
        "states": energy.states(found),
        "facts": (*energy.operating_point(data), *energy.facts(found)),
        "over_steps": energy_charts.over_steps(data),
        "comparisons": energy.comparison_table(energy.comparisons(ours, baselines)),
        "tornado": energy.tornado_table(found),
        "break_even": energy.break_even(data, baselines),
        "by_layer": energy_charts.by_layer(found, baselines),
        "against": energy_charts.against((*ours, *baselines)),
        "notes": energy.notes(found, baselines),
        "constants": _table(energy_figures.constants(data)),
    }
