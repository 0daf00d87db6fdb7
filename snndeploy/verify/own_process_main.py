"""The process that runs one backend: reads a task from a folder, leaves the trace there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

import numpy as np

from snndeploy.backend import require_backend
from snndeploy.errors import SnnDeployError
from snndeploy.hardware import HardwareProfile
from snndeploy.nirfile import load
from snndeploy.process_memory import own_peak_bytes
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy.trace import Trace


def run(folder: Path, channel: TextIO) -> None:
    """Run the task in `folder`, and tell the progress."""
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    described = task["profile"]
    chip = None if described is None else HardwareProfile.model_validate_json(described)
    program = Program(load(folder / "network.nir"), chip)
    inputs = np.load(folder / "inputs.npy", allow_pickle=False)
    started = perf_counter()
    backend = require_backend(task["backend"])
    simulate(backend, program, inputs[:1], steps=1, record=False)
    startup = perf_counter() - started

    def tell(done: int, total: int) -> None:
        channel.write(f"[{done}, {total}]\n")
        channel.flush()

    trace = simulate(backend, program, inputs, steps=task["steps"], progress=tell)
    about = {
        "backend": trace.backend,
        "startup_seconds": startup,
        "seconds": trace.seconds,
        "peak_bytes": own_peak_bytes(),
        "spikes": list(trace.spikes),
        "events": list(trace.events),
        "input_events": trace.input_events is not None,
    }
    _write(trace, folder)
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _own_channel() -> TextIO:
    """Standard output, for us alone: what a backend prints goes to the errors."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _write(trace: Trace, folder: Path) -> None:
    def write(name: str, values: Any) -> None:
        np.save(folder / f"{name}.npy", values, allow_pickle=False)

    for name in ("logits", "stop_steps", "settled"):
        write(name, getattr(trace, name))
    if trace.input_events is not None:
        write("input_events", trace.input_events)
    records: dict[str, Mapping[str, Any]] = {"spikes": trace.spikes, "events": trace.events}
    for name, layers in records.items():
        for index, values in enumerate(layers.values()):
            write(f"{name}_{index}", values)


def main() -> None:
    """Exit status 0, or 2 with the error in `error.json`."""
    folder = Path(sys.argv[1])
    try:
        run(folder, _own_channel())
    except SnnDeployError as error:
        found = {
            "kind": type(error).__name__,
            "problem": error.problem,
            "where": error.where,
            "remedy": error.remedy,
        }
        (folder / "error.json").write_text(json.dumps(found), encoding="utf-8")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
