"""Peak memory of a long run of many samples under a budget.

    python benchmarks/memory.py [--fresh] [--smoke]

A process of its own reads the network, takes the budget from `SNNDEPLOY_MEMORY_BYTES`, runs one
sample for one step, so that all libraries are loaded, then T = 1,000 steps of 1,024 samples in one
batch, and tells the most memory that it ever held: in all, and beyond what it held before the long
run, results included. Writes `memory.json` and a table in `README.md`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import description
import networks
import torch
from peers.snndeploy import Simulator
from results import Row, Rows, put, table

import snndeploy
from snndeploy.process_memory import own_peak_bytes

BUDGET_BYTES = 2 * 10**9
STEPS, BATCH = 1000, 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    parser.add_argument("--smoke", action="store_true", help="small networks, writes nothing")
    chosen = parser.parse_args()
    rows = Rows("memory", chosen.fresh, keep=not chosen.smoke)
    cases = [(8, 100, 64)] if chosen.smoke else [(64, STEPS, BATCH)]
    for width, steps, batch in cases:
        key = f"vgg11 {width} {steps} {batch}"
        if rows.get(key) is None:
            rows.add(key, _measure(width, steps, batch))
    rows.finish(budget_bytes=BUDGET_BYTES, threads=torch.get_num_threads())
    if rows.keep:
        put("memory", _table(list(rows.rows.values())))


def _measure(width: int, steps: int, batch: int) -> Row:
    """Have a fresh process run it under the budget."""
    network = networks.vgg11(width)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.npz"
        description.save(network, file)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            row = {"network": network.name, **pool.submit(run, file, steps, batch).result()}
    print(
        f"{row['network']} T = {steps:,}, batch {batch:,}: {_gb(row['peak_bytes'])} at most, "
        f"{_gb(_used(row))} for the run, of which {_gb(row['result_bytes'])} results; "
        f"{row['seconds']:.0f} s",
        flush=True,
    )
    return row


def run(file: Path, steps: int, batch: int) -> Row:
    """In the process of its own: run once, and say how much memory that took."""
    os.environ["SNNDEPLOY_MEMORY_BYTES"] = str(BUDGET_BYTES)
    simulator = Simulator()
    simulator.load(description.load(file), "reference")
    inputs = networks.images(simulator.program.network, batch)
    snndeploy.run(simulator.program, inputs[:1], steps=1, record=False)
    before, started = own_peak_bytes() or 0, perf_counter()
    trace = snndeploy.run(simulator.program, inputs, steps=steps, batch=batch, record=False)
    seconds = perf_counter() - started
    return {
        "steps": steps,
        "batch": batch,
        "seconds": seconds,
        "before_bytes": before,
        "peak_bytes": own_peak_bytes() or 0,
        "result_bytes": trace.logits.nbytes + sum(e.nbytes for e in trace.events.values()),
    }


def _used(row: Row) -> int:
    """What the run itself took."""
    used: int = row["peak_bytes"] - row["before_bytes"]
    return used


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def _table(rows: list[Row]) -> str:
    head = [
        "network",
        "steps",
        "batch",
        "budget",
        "the run",
        "of it results",
        "the process",
        "seconds",
    ]
    body = [
        [
            row["network"],
            f"{row['steps']:,}",
            f"{row['batch']:,}",
            _gb(BUDGET_BYTES),
            f"**{_gb(_used(row))}**",
            _gb(row["result_bytes"]),
            _gb(row["peak_bytes"]),
            f"{row['seconds']:.0f}",
        ]
        for row in rows
    ]
    return table(head, body)


if __name__ == "__main__":
    main()
