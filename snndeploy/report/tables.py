"""The tables of a report, as text that is ready to be shown."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from snndeploy import units
from snndeploy.layers import Layer
from snndeploy.nodes import Input, Neuron
from snndeploy.numerics import Int64Array
from snndeploy.report.data import ReportData
from snndeploy.verify.comparison import BackendResult
from snndeploy.verify.diagnosis import Diagnosis

MAX_CLASSES = 20
_KINDS = {
    "input": "input",
    "neurons": "neurons",
    "max_pool": "max-pool",
    "readout": "readout",
}


@dataclass(frozen=True)
class Table:
    """Cells as text. `align` has a letter a column: `l` for words, `r` for numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    foot: tuple[str, ...] = ()


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix: rows are the right classes, columns the predictions.

    `cells` holds (count, shade, title); the shade is a percentage of the accent colour.
    """

    classes: int
    cells: tuple[tuple[tuple[int, int, str], ...], ...]
    worst: Table


def layer_table(data: ReportData) -> Table:
    """One row a layer: what it is and how it fired."""
    rows = [_layer_row(data, layer) for layer in data.program.layers]
    emitting = [layer for layer in data.program.layers if layer.name in data.trace.events]
    neurons = sum(layer.neurons for layer in emitting)
    spikes = sum(_mean_spikes(data, layer) for layer in emitting)
    each = f"{spikes / neurons:.2f}" if neurons else units.NONE
    return Table(
        ("layer", "kind", "shape", "neurons", "threshold", "spikes a sample", "a neuron", "silent"),
        tuple(rows),
        "lllrrrrr",
        ("spiking layers", "", "", f"{neurons:,}", "", units.count(spikes), each, ""),
    )


def _layer_row(data: ReportData, layer: Layer) -> tuple[str, ...]:
    node, threshold = layer.node, units.NONE
    if isinstance(node, Neuron):
        threshold = _range(int(node.threshold.min()), int(node.threshold.max()))
    elif isinstance(node, Input) and node.grid is not None:
        threshold = f"grid {_range(node.grid.low, node.grid.high)}"
    spikes, each, silent = units.NONE, units.NONE, units.NONE
    if layer.name in data.trace.events:
        mean = _mean_spikes(data, layer)
        spikes, each = units.count(mean), f"{mean / layer.neurons:.2f}"
    if layer.name in data.trace.spikes:
        fired = data.trace.spikes[layer.name].any(axis=1)
        silent = units.percent(1.0 - float(fired.mean()))
    shape = "\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}".join(
        map(str, layer.shape)
    )
    kind = _KINDS[layer.kind]
    return layer.name, kind, shape, f"{layer.neurons:,}", threshold, spikes, each, silent


def _mean_spikes(data: ReportData, layer: Layer) -> float:
    return float(data.trace.events[layer.name].sum()) / len(data.trace)


def backend_table(results: tuple[BackendResult, ...]) -> Table:
    """One row a backend, the reference first."""
    return Table(
        ("backend", "versions", "samples", "accuracy", "spikes", "time", "time a sample", "note"),
        tuple(_backend_row(result, result is results[0]) for result in results),
        "llrrlrrl",
    )


def _backend_row(result: BackendResult, is_reference: bool) -> tuple[str, ...]:
    verdicts = {
        True: "✓\N{NO-BREAK SPACE}equal",
        False: "✕\N{NO-BREAK SPACE}differ",
        None: units.NONE,
    }
    difference = "" if result.divergence is None else f"first at {result.divergence}"
    return (
        result.name,
        ", ".join(f"{k} {v}" for k, v in result.versions.items()) or units.NONE,
        f"{result.samples:,}",
        units.NONE if result.accuracy is None else units.percent(result.accuracy, 2),
        "reference" if is_reference else verdicts[result.spikes_equal],
        units.seconds(result.seconds if result.ran else None),
        units.seconds(result.seconds / result.samples if result.ran else None),
        result.note or difference,
    )


def diagnosis_tables(results: tuple[BackendResult, ...]) -> tuple[tuple[Diagnosis, Table], ...]:
    """For each backend that differs, the neuron on both sides where it first does."""
    found = [result.diagnosis for result in results if result.diagnosis is not None]
    return tuple(
        (each, Table(("", each.ours.backend, each.theirs.backend), tuple(each.rows()), "lrr"))
        for each in found
    )


def confusion(data: ReportData) -> Confusion | None:
    """Right classes against predictions; None without labels."""
    if data.labels is None:
        return None
    classes = data.trace.logits.shape[-1]
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (data.labels, data.trace.predictions), 1)
    cells: tuple[tuple[tuple[int, int, str], ...], ...] = ()
    if classes <= MAX_CLASSES:
        cells = tuple(tuple(_cell(matrix, i, j) for j in range(classes)) for i in range(classes))
    return Confusion(classes, cells, _worst(matrix))


def _cell(matrix: Int64Array, right: int, said: int) -> tuple[int, int, str]:
    number, whole = int(matrix[right, said]), max(1, int(matrix[right].sum()))
    shade = round(50 * number / whole) if number == 0 else max(6, round(50 * number / whole))
    return number, shade, f"class {right} called {said}: {number:,} of {whole:,}"


def _worst(matrix: Int64Array, limit: int = 5) -> Table:
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    pairs = [divmod(int(at), len(matrix)) for at in order if wrong.flat[at] > 0]
    rows = tuple((str(i), str(j), f"{wrong[i, j]:,}", f"{matrix[i].sum():,}") for i, j in pairs)
    return Table(("class", "called", "samples", "of"), rows, "rrrr")


def provenance(data: ReportData) -> Table:
    """Hashes and versions."""
    network = data.program.network
    rows = [
        ("network", network.name),
        ("network hash", f"sha256 {network.hash}"),
        ("mode", f"{network.mode}, {network.reset} reset, window of {network.window} steps"),
        ("samples", f"{len(data.trace):,}"),
        ("trace", f"{data.trace.backend}, {data.trace.steps} steps recorded"),
        ("simulation", units.seconds(data.trace.seconds)),
    ]
    if data.program.profile is not None:
        rows.append(("hardware profile", data.program.profile.name))
    rows += [(name, _version(name)) for name in ("snndeploy", "numpy", "torch")]
    rows.append(("python", platform.python_version()))
    return Table(("", ""), (*rows, *data.provenance), "ll")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
