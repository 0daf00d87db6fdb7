"""A report as JSON, CSV or Markdown: the figures of the page, without its drawings."""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import Any

from snndeploy import units
from snndeploy.report import energy, energy_figures, exit_figures, figures
from snndeploy.report.data import ReportData
from snndeploy.report.dataset import Dataset
from snndeploy.report.tables import Table, backend_table, provenance

_GROUPS = {
    "Accuracy": (figures.accuracies, figures.accuracy_by_step, figures.confusion),
    "Steps": (figures.settle_steps,),
    "Early exit": (
        exit_figures.saved,
        exit_figures.exit_steps,
        exit_figures.choices,
        exit_figures.policies,
    ),
    "Spikes and operations": (
        figures.layers,
        figures.operations,
        figures.spikes_by_step,
        figures.spikes_per_neuron,
    ),
    "Energy": (
        energy_figures.terms,
        energy_figures.totals,
        energy_figures.ratios,
        energy_figures.swings,
        energy_figures.energy_by_step,
    ),
    "Placement": (energy_figures.core_use, energy_figures.cores),
    "Constants": (energy_figures.constants,),
    "Samples": (exit_figures.samples,),
}
_LONG = frozenset({"Samples"})
"""Left out of Markdown, which is for readers."""


def groups(data: ReportData) -> dict[str, tuple[Dataset, ...]]:
    """All figures that are known, by chapter."""
    found = {
        title: tuple(each for make in makers if (each := make(data)) is not None)
        for title, makers in _GROUPS.items()
    }
    return {title: sets for title, sets in found.items() if sets}


def to_json(data: ReportData) -> str:
    """Raw figures by name; units end the names."""
    made = {
        "title": data.heading,
        "headlines": [tile._asdict() for tile in data.summary],
        "facts": _facts(data),
        "break_even": list(energy.break_even(data, data.baselines)),
        "notes": _notes(data),
        "left_out": list(data.left_out),
        "provenance": {row[0]: row[1] for row in provenance(data).rows},
        "backends": [dict(zip(backends.head, row, strict=True)) for row in backends.rows]
        if (backends := backend_table(data.backends)).rows
        else [],
        **{each.name: each.records() for sets in groups(data).values() for each in sets},
    }
    return json.dumps(made, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def to_csv(data: ReportData) -> str:
    """One figure a line: the table, its row from 0, the column with its unit, the value."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("table", "row", "column", "value"))
    for sets in groups(data).values():
        for each in sets:
            for number, row in enumerate(each.rows):
                for column, value in zip(each.columns, row, strict=True):
                    if value is not None:
                        writer.writerow((each.name, number, column, value))
    return text.getvalue()


def to_markdown(data: ReportData) -> str:
    """The report to read as text."""
    parts = [f"# {_plain(data.heading)}"]
    tiles = [(t.label, t.value, t.hint.replace("\n", "; ")) for t in data.summary]
    parts.append(_markdown(Table(("", "", ""), tuple(tiles), "lll")))
    for title, sets in groups(data).items():
        if title in _LONG:
            continue
        parts.append(f"## {title}")
        if title == "Energy":
            parts.append(_markdown(Table(("", ""), tuple(_facts(data).items()), "ll")))
        for each in sets:
            parts += [f"### {_plain(each.title)}", _markdown(each.table())]
    if data.backends:
        parts += ["## Backends", _markdown(backend_table(data.backends))]
    lists = {
        "Break-even": energy.break_even(data, data.baselines),
        "Notes": _notes(data),
        "Left out": data.left_out,
    }
    for title, lines in lists.items():
        if lines:
            parts += [f"## {title}", "\n".join(f"- {_plain(line)}" for line in lines)]
    parts += ["## Provenance", _markdown(provenance(data))]
    return "\n\n".join(parts) + "\n"


def _facts(data: ReportData) -> dict[str, str]:
    found = dict(energy.operating_point(data))
    if data.estimate is not None:
        found |= {tile.label: tile.value for tile in energy.states(data.estimate)}
        found |= dict(energy.facts(data.estimate))
    return found


def _notes(data: ReportData) -> list[str]:
    lines = list(data.certificate_lines)
    return lines + (
        [] if data.estimate is None else list(energy.notes(data.estimate, data.baselines))
    )


def _markdown(table: Table) -> str:
    rules = [":--" if letter == "l" else "--:" for letter in table.align]
    lines = [table.head, tuple(rules), *table.rows, *((table.foot,) if table.foot else ())]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(text: Any) -> str:
    """Text that Markdown takes as it is."""
    flat = " ".join(str(text).replace(units.NONE, "-").split())
    for special in "\\|<>`*_[]":
        flat = flat.replace(special, f"\\{special}")
    return flat
