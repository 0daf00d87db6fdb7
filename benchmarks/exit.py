"""What exact mode costs over rate mode, and what early exit saves.

    python benchmarks/exit.py [--repeats 3] [--fresh] [--smoke]

Exact and rate mode run the same weights and thresholds for the same number of steps: those after
which exact mode has settled. Early exit is Dynamic Confidence with a threshold at which about a
quarter, a half and three quarters of the steps are saved; its figure is the share of the
wall-clock time saved over the share of the steps saved, both against a run without a controller
on the same samples and at the same batch. The samples are a stream of several batches, the first
of which finds an engine that has not yet learned when samples stop. Writes `exit.json` and two
tables in `README.md`.
"""

from __future__ import annotations

import argparse
from functools import partial

import networks
import numpy as np
import torch
from results import Row, Rows, put, table
from timing import medians

from snndeploy.backend import find_backend
from snndeploy.control import DynamicConfidence, stop_steps
from snndeploy.network import Network
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy.trace import Trace

LEVELS = (4, 16)
RATE_STEPS = 32
SAVINGS = (0.25, 0.5, 0.75)
SAMPLES = {"vgg11": {1: 32, 64: 384}, "resnet18": {1: 32, 64: 256}}
"""Samples of a run with early exit, for each batch."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    parser.add_argument("--smoke", action="store_true", help="small networks, writes nothing")
    chosen = parser.parse_args()
    width, repeats = (8, 1) if chosen.smoke else (64, chosen.repeats)
    rows = Rows("exit", chosen.fresh, keep=not chosen.smoke)
    for make in (networks.vgg11,) if chosen.smoke else (networks.vgg11, networks.resnet18):
        network = make(width)
        for batch, samples in SAMPLES[network.name].items():
            for levels in LEVELS:
                key = f"modes {network.name} {batch} {levels}"
                if rows.get(key) is None:
                    rows.add(key, _modes(network, levels, batch, repeats))
            for mode in ("exact", "rate"):
                key = f"exit {network.name} {batch} {mode}"
                if rows.get(key) is None:
                    found = networks.exact(network, LEVELS[-1]) if mode == "exact" else network
                    count = min(samples, 4) if chosen.smoke else samples
                    rows.add(key, _exits(found, count, batch, repeats))
    rows.finish(threads=torch.get_num_threads())
    if rows.keep:
        found = list(rows.rows.values())
        put("modes", _mode_table([row for row in found if row["figure"] == "modes"]))
        put("exit", _exit_table([row for row in found if row["figure"] == "exit"]))


def _modes(network: Network, levels: int, batch: int, repeats: int) -> Row:
    """Images per second of both modes."""
    inputs, backend = networks.images(network, batch), find_backend("reference")
    exact, rate = Program(networks.exact(network, levels)), Program(network)
    steps = simulate(backend, exact, inputs, batch=batch, record=False).steps
    run = partial(simulate, backend, inputs=inputs, steps=steps, batch=batch, record=False)
    seconds = medians({"exact": partial(run, exact), "rate": partial(run, rate)}, repeats)
    row = {
        "figure": "modes",
        "network": network.name,
        "batch": batch,
        "levels": levels,
        "steps": steps,
        "exact_images_per_s": batch / seconds["exact"],
        "rate_images_per_s": batch / seconds["rate"],
        "exact_over_rate": seconds["rate"] / seconds["exact"],
    }
    print(
        f"{network.name:<9} batch {batch:3} L = {levels:2} {steps:3} steps  exact "
        f"{row['exact_images_per_s']:8.1f} images/s  rate {row['rate_images_per_s']:8.1f}  "
        f"exact over rate {row['exact_over_rate']:.2f}",
        flush=True,
    )
    return row


def _exits(network: Network, samples: int, batch: int, repeats: int) -> Row:
    """Time saved over steps saved at several thresholds."""
    inputs, backend = networks.images(network, samples), find_backend("reference")
    program, steps = Program(network), RATE_STEPS if network.mode == "rate" else None
    run = partial(simulate, backend, program, inputs, steps=steps, batch=batch, record=False)
    full = run()
    temperature = float(full.logits[:, -1].std())
    calls, stops = {"full": run}, {}
    for saving in SAVINGS:
        controller = _controller(network, full, temperature, 1 - saving)
        calls[str(saving)] = partial(run, controller=controller)
        stops[saving] = stop_steps(controller, full)
    seconds = medians(calls, repeats)
    exits = []
    for saving, stopped in stops.items():
        steps_saved = 1 - float(stopped.sum() / full.stop_steps.sum())
        if not steps_saved:
            continue
        time_saved = 1 - seconds[str(saving)] / seconds["full"]
        exits.append(
            {
                "steps_saved": steps_saved,
                "time_saved": time_saved,
                "time_over_steps": time_saved / steps_saved,
            }
        )
        print(
            f"{network.name:<9} batch {batch:3} {network.mode:<6} saves {steps_saved:6.1%} of the "
            f"steps, {time_saved:6.1%} of the time: {time_saved / steps_saved:.2f}",
            flush=True,
        )
    return {
        "figure": "exit",
        "network": network.name,
        "mode": network.mode,
        "batch": batch,
        "mean_steps": float(full.stop_steps.mean()),
        "images_per_s": samples / seconds["full"],
        "exits": exits,
    }


def _controller(
    network: Network, full: Trace, temperature: float, share: float
) -> DynamicConfidence:
    """The threshold at which the mean steps come closest to `share` of the full run's."""
    probe = DynamicConfidence(
        threshold=1.0,
        temperature=temperature,
        scale=network.output.scale,
        window=network.window,
    )
    ages = (np.full(len(full), t + 1) for t in range(full.steps))
    seen = np.stack(
        [probe.confidence(full.logits[:, t], age) for t, age in enumerate(ages)], axis=1
    )
    wanted = share * full.stop_steps.mean()
    candidates = [
        probe.model_copy(update={"threshold": float(threshold)})
        for threshold in np.quantile(seen, np.linspace(0, 1, 201))
    ]
    return min(candidates, key=lambda policy: abs(stop_steps(policy, full).mean() - wanted))


def _mode_table(rows: list[Row]) -> str:
    head = ["network", "batch", "levels", "steps", "exact, images/s", "rate, images/s", "ratio"]
    body = [
        [
            row["network"],
            str(row["batch"]),
            str(row["levels"]),
            str(row["steps"]),
            f"{row['exact_images_per_s']:.1f}",
            f"{row['rate_images_per_s']:.1f}",
            f"{row['exact_over_rate']:.2f}",
        ]
        for row in rows
    ]
    return table(head, body)


def _exit_table(rows: list[Row]) -> str:
    head = ["network", "mode", "batch", "mean steps", "images/s", "steps saved"]
    head += ["images/s with exit", "time saved", "ratio"]
    body = [
        [
            row["network"],
            row["mode"],
            str(row["batch"]),
            f"{row['mean_steps']:.1f}",
            f"{row['images_per_s']:.1f}",
            f"{found['steps_saved']:.1%}",
            f"{row['images_per_s'] / (1 - found['time_saved']):.1f}",
            f"{found['time_saved']:.1%}",
            f"{found['time_over_steps']:.2f}",
        ]
        for row in rows
        for found in row["exits"]
    ]
    return table(head, body)


if __name__ == "__main__":
    main()
