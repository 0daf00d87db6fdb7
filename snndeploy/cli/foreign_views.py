"""What the command line shows of a NIR graph that another tool wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from snndeploy.cli import console
from snndeploy.errors import DataError
from snndeploy.files import replacing
from snndeploy.foreign import NirTrace
from snndeploy.nirfile import Finding
from snndeploy.numerics import Int64Array

MOST_NAMES = 4
"""Nodes that a finding names in full."""


def show(trace: NirTrace, labels: Int64Array | None, json: bool) -> None:
    """Spikes node by node, and what the outputs add up to."""
    graph = trace.graph
    accuracy = None
    if labels is not None:
        accuracy = float((trace.predictions == _known(labels, trace)).mean())
    steps = trace.outputs.shape[1]
    rows: list[dict[str, Any]] = [
        {
            "node": node.name,
            "kind": node.kind,
            "neurons": int(np.prod(node.shape)),
            "spikes_per_sample": float(trace.events[node.name].sum() / len(trace)),
        }
        for node in graph.spiking
    ]
    if json:
        found = {
            "backend": trace.backend,
            "samples": len(trace),
            "steps": steps,
            "dt": graph.dt,
            "accuracy": accuracy,
            "nodes": rows,
            "seconds": trace.seconds,
            "predictions": trace.predictions.tolist(),
        }
        console.as_json(found)
        return
    kinds = sorted({node.kind for node in graph.nodes if node.kind not in ("Input", "Output")})
    console.say(f"a NIR graph from elsewhere: {', '.join(kinds)}; NIR's equations, dt {graph.dt:g}")
    console.say(f"{len(trace):,} samples, {steps:,} steps, {trace.seconds:.2f} s ({trace.backend})")
    if accuracy is not None:
        console.say(f"accuracy {accuracy:.2%}, by the largest sum of an output over the steps")
    console.say()
    console.table(
        ["node", "kind", ">neurons", ">spikes a sample", ">a neuron and step"],
        [
            (
                row["node"],
                row["kind"],
                f"{row['neurons']:,}",
                f"{row['spikes_per_sample']:,.1f}",
                f"{row['spikes_per_sample'] / row['neurons'] / steps:.4f}",
            )
            for row in rows
        ],
    )


def show_findings(findings: Sequence[Finding], json: bool) -> None:
    """What each reader would do otherwise."""
    if json:
        console.as_json([asdict(finding) for finding in findings])
        return
    if not findings:
        console.say("the known readers take it as NIR says")
    for reader in dict.fromkeys(finding.reader for finding in findings):
        console.say(reader)
        for finding in findings:
            if finding.reader == reader:
                names = ", ".join(finding.nodes[:MOST_NAMES])
                more = len(finding.nodes) - MOST_NAMES
                names += f" and {more} more" if more > 0 else ""
                console.say(f"  {finding.effect} {names}: {finding.text}")


def save(trace: NirTrace, path: Path) -> None:
    """Outputs (N, T, *shape), their totals over the steps, predictions, as `.npz`."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, outputs=trace.outputs, totals=trace.totals, predictions=trace.predictions
        )


def _known(labels: Int64Array, trace: NirTrace) -> Int64Array:
    classes = trace.totals.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"labels from {labels.min()} to {labels.max()}, the graph has {classes} outputs",
            where="data",
        )
    return labels
