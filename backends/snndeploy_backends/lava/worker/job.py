"""The job that the parent hands to the worker: a folder of JSON and plain NumPy arrays.

    job.json      {"protocol": 1, "steps", "state_bits", "probe",
                   "network": {nodes, edges, mode, window, reset}}
    arrays.npz    the nodes' arrays, named "<node>.<field>"
    inputs.npy    int64 (N, *input shape), on the input grid
    layer_<i>.npy written by the worker: int8 (N, steps, *shape) spikes of the i-th layer, or
                  int64 (N, steps, classes), the readout's membrane
    currents.npy, membranes.npy
                  written by the worker if a layer of neurons is probed: int64 (N, steps, *shape)
                  and (N, steps + 1, *shape)
    error.json    written by the worker: the first failure of any process

Both sides use this module, so it keeps to what the worker's Python and NumPy know.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from snndeploy.errors import WorkerError
from snndeploy.network import Network
from snndeploy.nodes import (
    Add,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool2d,
)
from snndeploy.numerics import Int64Array

PROTOCOL = 1

NODES: dict[str, type[Node]] = {
    kind.__name__: kind
    for kind in (
        *(Input, Conv2d, Linear, Scale, MaxPool2d, SumPool2d),
        *(Add, Flatten, Neuron, Output),
    )
}


@dataclass(frozen=True, eq=False)
class Job:
    """What to simulate.

    Attributes:
        inputs: int64 (N, *input shape), on the input grid.
        steps: logical steps for each sample.
        state_bits: the signed word that no membrane may leave.
        probe: the layer of neurons whose currents and membranes are recorded, or none.
    """

    network: Network
    inputs: Int64Array
    steps: int
    state_bits: int
    probe: str = ""

    def physical_steps(self, depth: int) -> int:
        """Steps of the pipeline: the samples one after the other, then `depth` to drain it."""
        return len(self.inputs) * self.steps + depth


def write_job(job: Job, folder: Path) -> None:
    """Put a job into an empty folder."""
    arrays: dict[str, Any] = {}
    network = job.network
    document = {
        "protocol": PROTOCOL,
        "steps": job.steps,
        "state_bits": job.state_bits,
        "probe": job.probe,
        "network": {
            "name": network.name,
            "mode": network.mode,
            "window": network.window,
            "reset": network.reset,
            "edges": network.edges,
            "nodes": [_described(node, arrays) for node in network.nodes],
        },
    }
    (folder / "job.json").write_text(json.dumps(document), encoding="utf-8")
    np.savez(folder / "arrays.npz", **arrays)
    np.save(folder / "inputs.npy", job.inputs, allow_pickle=False)


def read_job(folder: Path) -> Job:
    """Read what `write_job` wrote.

    Raises:
        WorkerError: the folder holds another version of the protocol.
    """
    document = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    if document["protocol"] != PROTOCOL:
        raise WorkerError(
            f"protocol {document['protocol']}, expected {PROTOCOL}",
            where="job.json",
            remedy="run the worker that belongs to this snndeploy",
        )
    described = document["network"]
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        nodes = tuple(_node(entry, arrays) for entry in described["nodes"])
    edges = tuple((source, target) for source, target in described["edges"])
    return Job(
        network=Network(
            described["name"],
            nodes,
            edges,
            described["mode"],
            described["window"],
            reset=described["reset"],
        ),
        inputs=np.load(folder / "inputs.npy", allow_pickle=False),
        steps=document["steps"],
        state_bits=document["state_bits"],
        probe=document["probe"],
    )


def layer_file(folder: Path, index: int) -> Path:
    """Where the worker records the layer with this index in the layer view."""
    return folder / f"layer_{index}.npy"


def probe_files(folder: Path) -> tuple[Path, Path]:
    """Where the worker records the currents and the membranes of the probed layer."""
    return folder / "currents.npy", folder / "membranes.npy"


def record_failure(folder: Path, failure: dict[str, Any]) -> None:
    """Keep a failure in the run folder, whole, unless another process was first."""
    draft = folder / f"error.{os.getpid()}.json"
    draft.write_text(json.dumps(failure), encoding="utf-8")
    with contextlib.suppress(FileExistsError):
        os.link(draft, folder / "error.json")
    draft.unlink()


def read_failure(folder: Path) -> dict[str, Any] | None:
    """The failure that was recorded first, or None."""
    try:
        failure: dict[str, Any] = json.loads((folder / "error.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return failure


def _described(node: Node, arrays: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": type(node).__name__}
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, np.ndarray):
            key = f"{node.name}.{field.name}"
            arrays[key] = value
            value = {"array": key}
        elif isinstance(value, Grid):
            value = {"grid": [value.scale, value.low, value.high]}
        entry[field.name] = value
    return entry


def _node(entry: dict[str, Any], arrays: Any) -> Node:
    def value_of(value: Any) -> Any:
        if isinstance(value, dict):
            return arrays[value["array"]] if "array" in value else Grid(*value["grid"])
        return tuple(value) if isinstance(value, list) else value

    values = {name: value_of(value) for name, value in entry.items()}
    return NODES[values.pop("type")](**values)
