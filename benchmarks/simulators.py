"""Time the engines side by side: same network, same inputs, same spikes, in one run.

    python benchmarks/simulators.py [--repeats 5] [--smoke]

Repeats are interleaved, so that a busy moment of the machine hits all alike; figures are medians.
Before anything is timed, every spike of every engine is held to the reference's. Writes
`benchmarks/simulators.json`, unless `--smoke`.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from networks import images, vgg

from snndeploy.backend import find_backend
from snndeploy.program import Program
from snndeploy.simulate import simulate

ENGINES = ("reference", "norse")
BATCHES = (1, 64)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--smoke", action="store_true", help="one small run, nothing written")
    chosen = arguments.parse_args()
    network = vgg(8 if chosen.smoke else 32)
    program = Program(network)
    rows = []
    for batch in (2,) if chosen.smoke else BATCHES:
        inputs = images(network, batch)
        steps = check(program, inputs)
        times = measure(program, inputs, steps, 1 if chosen.smoke else chosen.repeats)
        for engine, seconds in times.items():
            rate = batch / seconds
            ratio = times["norse"] / seconds
            rows.append(
                {
                    "engine": engine,
                    "batch": batch,
                    "steps": steps,
                    "images_per_s": round(rate, 2),
                    "over_norse": round(ratio, 2),
                }
            )
            print(f"batch {batch:3}  {engine:<10} {rate:8.1f} images/s   {ratio:5.2f} x Norse")
    if not chosen.smoke:
        result = {
            "network": "vgg, width 32, 32x32x3, exact mode, L = 3, until settled",
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "torch": torch.__version__,
            "rows": rows,
        }
        path = Path(__file__).with_suffix(".json")
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def check(program, inputs) -> int:
    """Hold every engine to the reference's spikes; return the steps that it took."""
    first = simulate(find_backend(ENGINES[0]), program, inputs)
    for engine in ENGINES[1:]:
        first.assert_same_spikes(simulate(find_backend(engine), program, inputs))
    events = first.total_events / sum(x.neurons for x in program.spiking) / len(first)
    print(f"same spikes on {', '.join(ENGINES)}; {first.steps} steps, {events:.2f} spikes a neuron")
    return first.steps


def measure(program, inputs, steps, repeats) -> dict[str, float]:
    """Median seconds of each engine, repeats interleaved."""
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for _ in range(repeats):
        for engine in ENGINES:
            started = perf_counter()
            simulate(find_backend(engine), program, inputs, steps=steps, record=False)
            times[engine].append(perf_counter() - started)
    return {engine: median(found) for engine, found in times.items()}


if __name__ == "__main__":
    main()
