"""One simulator in a process of its own, told by lines of JSON what to do.

    python worker.py spikingjelly THREADS      # requests on stdin, answers on stdout

Requests: `{"do": "about"}`, `{"do": "load", "file", "setting"}`, `{"do": "prepare", "images",
"steps"}`, `{"do": "check"}` (spike counts and hashes, the hash of the readout) and `{"do":
"time"}` (seconds of one run, by both clocks). Whatever a simulator prints goes to stderr.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import description
import numpy as np
from peers.spikes import Simulator, SpikeRecord

LONG = 0.3
"""Seconds that a timing takes at least."""


def answer(simulator: Simulator, request: dict[str, Any]) -> dict[str, Any]:
    """Do what one request asks."""
    match request["do"]:
        case "about":
            return {"settings": list(simulator.settings), "versions": simulator.versions()}
        case "load":
            simulator.load(description.load(Path(request["file"])), request["setting"])
            return {}
        case "prepare":
            simulator.prepare(np.load(request["images"]), request["steps"])
            return {}
        case "check":
            record = SpikeRecord()
            logits = simulator.run(record).astype("<i8")
            digest = hashlib.sha256(np.ascontiguousarray(logits).tobytes()).hexdigest()
            return {"spikes": record.summary(), "readout": digest}
        case "time":
            # Short runs are repeated behind one that warms the caches up.
            once = _timed(simulator, 1)
            return once if once["wall"] > LONG else _timed(simulator, int(LONG / once["wall"]) + 1)
    raise ValueError(f"cannot {request['do']}")


def _timed(simulator: Simulator, runs: int) -> dict[str, float]:
    """Mean seconds of a run, by both clocks."""
    clocks = {"wall": perf_counter, "cpu": process_time}
    started = {name: clock() for name, clock in clocks.items()}
    for _ in range(runs):
        simulator.run(None)
    return {name: (clock() - started[name]) / runs for name, clock in clocks.items()}


def main() -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    name, threads = sys.argv[1:]
    os.environ["OMP_NUM_THREADS"] = threads
    simulator: Simulator = importlib.import_module(f"peers.{name}").Simulator()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(threads))
    for line in sys.stdin:
        try:
            reply = answer(simulator, json.loads(line))
        except Exception as error:  # noqa: BLE001  # told to the parent, which decides
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
