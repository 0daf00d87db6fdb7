"""The figures of what the network did: accuracy, steps, spikes, operations. None: not known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from snndeploy.connectivity import dense_operations
from snndeploy.layers import Layer
from snndeploy.numerics import Int64Array
from snndeploy.report.data import ReportData
from snndeploy.report.dataset import Dataset


def accuracies(data: ReportData) -> Dataset | None:
    """Each known accuracy."""
    rows = data.accuracies.items()
    return Dataset.of("accuracies", "Accuracy", "what accuracy", rows) if rows else None


def accuracy_by_step(data: ReportData) -> Dataset | None:
    """Accuracy had every sample been read out at each step."""
    if data.labels is None:
        return None
    rows = enumerate(data.trace.accuracy_by_step(data.labels), start=1)
    return Dataset.of("accuracy_by_step", "Accuracy against steps", "step accuracy", rows)


def confusion(data: ReportData) -> Dataset | None:
    """How many samples of each class were called what; pairs that do not occur are left out."""
    if data.labels is None:
        return None
    matrix = confusion_matrix(data.labels, data.trace.predictions, data.trace.logits.shape[-1])
    rows = [(i, j, matrix[i, j]) for i, j in np.argwhere(matrix)]
    return Dataset.of("confusion", "Confusion matrix", "class called samples", rows)


def confusion_matrix(labels: Int64Array, predictions: Int64Array, classes: int) -> Int64Array:
    """Samples by right class and prediction, (classes, classes)."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, predictions), 1)
    return matrix


def settle_steps(data: ReportData) -> Dataset | None:
    """After how many steps samples stayed silent."""
    if data.settle_steps is None:
        return None
    return histogram("settle_steps", "Steps until a sample settles", data.settle_steps)


def histogram(name: str, title: str, values: Int64Array) -> Dataset:
    """How many samples have each step."""
    first, counts = int(values.min()), np.bincount(values)
    upto = counts.cumsum() / len(values)
    rows = ((step, counts[step], upto[step]) for step in range(first, len(counts)))
    return Dataset.of(name, title, "step samples cumulative_share", rows)


def layers(data: ReportData) -> Dataset:
    """What each layer is and how it fired."""
    return Dataset.of(
        "layers",
        "Layers",
        "layer kind neurons spikes_a_sample spikes_a_neuron silent_share",
        (_layer(data, layer) for layer in data.program.layers),
    )


def _layer(data: ReportData, layer: Layer) -> Iterable[object]:
    spikes, silent = None, None
    if layer.name in data.trace.events:
        spikes = float(data.trace.events[layer.name].sum()) / len(data.trace)
    if layer.name in data.trace.spikes:
        silent = 1.0 - float(data.trace.spikes[layer.name].any(axis=1).mean())
    each = None if spikes is None else spikes / layer.neurons
    return layer.name, layer.kind.replace("_", "-"), layer.neurons, spikes, each, silent


def spikes_by_step(data: ReportData) -> Dataset:
    """Mean spikes a sample of each layer at each step; signs only where spikes were recorded."""
    rows: list[tuple[object, ...]] = []
    for layer in data.program.spiking:
        if layer.name not in data.trace.events:
            continue
        either = data.trace.events[layer.name].mean(axis=0)
        spikes = data.trace.spikes.get(layer.name)
        if spikes is None:
            rows += [(layer.name, t, n, None, None) for t, n in enumerate(either, start=1)]
            continue
        flat = spikes.reshape(*spikes.shape[:2], -1)
        up = np.count_nonzero(flat > 0, axis=2).mean(axis=0)
        down = np.count_nonzero(flat < 0, axis=2).mean(axis=0)
        signed = zip(either, up, down, strict=True)
        rows += [(layer.name, t, *found) for t, found in enumerate(signed, start=1)]
    return Dataset.of(
        "spikes_by_step", "Spikes at each step", "layer step spikes positive negative", rows
    )


def spikes_per_neuron(data: ReportData) -> Dataset | None:
    """How often a neuron fires in one inference."""
    if not data.trace.spikes:
        return None
    counts = np.zeros(1, np.int64)
    for spikes in data.trace.spikes.values():
        found = np.bincount(np.abs(spikes).sum(axis=1, dtype=np.int64).ravel())
        longer = max(len(counts), len(found))
        counts = np.pad(counts, (0, longer - len(counts))) + np.pad(found, (0, longer - len(found)))
    rows = enumerate(counts / counts.sum())
    return Dataset.of("spikes_per_neuron", "Spikes a neuron", "spikes neuron_share", rows)


def operations(data: ReportData) -> Dataset | None:
    """Operations a sample in each layer: the ANN's MACs, the network's synaptic operations.

    The ANN's with zeros skipped come from a baseline of that kind, if there is one.
    """
    counts = data.counts
    if counts is None:
        return None
    skipping = next((b for b in data.baselines if "zeros skipped" in b.title), None)
    sparse = {}
    if skipping is not None:
        sparse = {t.layer: t.count for t in skipping.terms if t.event == "mac"}
    network, rows = data.program.network, []
    for layer in data.program.layers[1:]:
        if layer.kind == "max_pool":
            continue
        dense = sum(dense_operations(p, network.shapes[p.source]) for p in layer.projections)
        found = counts.by_layer[layer.name]
        rows.append((layer.name, dense, sparse.get(layer.name), found["synop"], found["mac"]))
    return Dataset.of(
        "operations",
        "Operations by layer",
        "layer ann_macs ann_macs_without_zeros snn_synops snn_macs",
        rows,
    )
