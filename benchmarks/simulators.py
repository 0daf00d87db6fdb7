"""Time the engines side by side: same networks, same inputs, same spikes, in one run.

    python benchmarks/simulators.py [--repeats 5] [--seconds 6] [--smoke]

Repeats are interleaved, so that a busy moment of the machine hits all alike; figures are medians.
Before anything is timed, every spike of every engine is held to the reference's. Writes
`benchmarks/simulators.json` and the table in `benchmarks/README.md`, unless `--smoke`.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from networks import images, resnet18, vgg, vgg11

from snndeploy.backend import Backend, find_backend
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference


class StepByStep:
    """The reference engine as a controller drives it: one step after another."""

    name, summary, streams = "step by step", "the reference engine without its fast path", True

    def status(self):
        return Reference().status()

    def open(self, program, inputs, steps):
        return Reference().open(program, inputs, steps)


CASES = ((vgg, 32, (1, 64)), (vgg11, 64, (1, 16)), (resnet18, 64, (1, 16)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=6, help="begin no repeat after these")
    arguments.add_argument("--smoke", action="store_true", help="small runs, nothing written")
    chosen = arguments.parse_args()
    rows = []
    for make, width, batches in CASES[:1] if chosen.smoke else CASES:
        network = make(8 if chosen.smoke else width)
        for batch in (2,) if chosen.smoke else batches:
            inputs = images(network, batch)
            program = Program(network)
            engines = [find_backend("reference"), StepByStep(), find_backend("norse")]
            found = check(engines, program, inputs)
            repeats = 1 if chosen.smoke else chosen.repeats
            times = measure(engines, program, inputs, found["steps"], repeats, chosen.seconds)
            rows += report(network.name, batch, found, times)
    if not chosen.smoke:
        write(rows)


def check(engines: list[Backend], program, inputs) -> dict[str, float]:
    """Hold every engine to the reference's spikes; return the steps and the rate of spikes."""
    first = simulate(engines[0], program, inputs)
    for engine in engines[1:]:
        first.assert_same_spikes(simulate(engine, program, inputs))
    neurons = sum(layer.neurons for layer in program.spiking)
    rate = first.total_events / (neurons * len(first) * first.steps)
    return {"steps": first.steps, "spikes_per_neuron_step": round(rate, 3)}


def measure(engines, program, inputs, steps, repeats, seconds) -> dict[str, float]:
    """Median seconds of each engine, repeats interleaved."""
    times: dict[str, list[float]] = {engine.name: [] for engine in engines}
    begun = perf_counter()
    for _ in range(repeats):
        for engine in engines:
            started = perf_counter()
            simulate(engine, program, inputs, steps=steps, record=False)
            times[engine.name].append(perf_counter() - started)
        if perf_counter() - begun > seconds:
            break
    return {engine: median(found) for engine, found in times.items()}


def report(network, batch, found, times) -> list[dict]:
    """Print and return a row for each engine."""
    rows = []
    for engine, seconds in times.items():
        rate, ratio = batch / seconds, times["norse"] / seconds
        print(
            f"{network:<9} batch {batch:3} {found['steps']:3} steps  "
            f"{engine:<13}{rate:8.1f} images/s {ratio:6.2f} x Norse",
            flush=True,
        )
        figures = {"images_per_s": round(rate, 2), "over_norse": round(ratio, 2)}
        rows.append({"network": network, "engine": engine, "batch": batch} | found | figures)
    return rows


def write(rows: list[dict]) -> None:
    """`simulators.json`, and the table between the marks in `README.md`."""
    here = Path(__file__)
    machine = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    result = {
        "machine": f"{machine}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "mode": "exact, L = 3, until settled",
        "rows": rows,
    }
    here.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    lines = [
        "| network | batch | steps | engine | images/s | over Norse |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r['network']} | {r['batch']} | {r['steps']} | {r['engine']} "
            f"| {r['images_per_s']:.1f} | {r['over_norse']:.2f} |"
            for r in rows
        ),
    ]
    readme = here.with_name("README.md")
    table = "<!-- table -->\n" + "\n".join(lines) + "\n<!-- end -->"
    text = readme.read_text(encoding="utf-8")
    text = re.sub(r"<!-- table -->.*<!-- end -->", table, text, flags=re.DOTALL)
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
