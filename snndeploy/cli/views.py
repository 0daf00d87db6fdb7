"""Each command's result, as a table for a reader or as JSON for a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snndeploy.cli import console
from snndeploy.files import replacing
from snndeploy.measure import settle_steps, steps_within
from snndeploy.nodes import Neuron
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.ranges import ranges
from snndeploy.simulate import default_steps
from snndeploy.trace import Trace
from snndeploy.units import engineering
from snndeploy.verify.certificate import Certificate
from snndeploy.verify.fidelity import FidelityReport


def show_network(program: Program, json: bool) -> None:
    """An integer network: layers, thresholds, the bits that each membrane needs."""
    network, bounds = program.network, ranges(program.network)
    rows: list[dict[str, Any]] = []
    for layer in program.layers:
        theta = layer.node.threshold if isinstance(layer.node, Neuron) else None
        bound = bounds.get(layer.name)
        rows.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "shape": list(layer.shape),
                "neurons": layer.neurons,
                "threshold": None if theta is None else [int(theta.min()), int(theta.max())],
                "state_bits": None if bound is None else bound.magnitude.bit_length() + 1,
                "cores": len({c.core for c in program.placement if c.layer == layer.name}),
            }
        )
    head = {
        "name": network.name,
        "integer": True,
        "hash": network.hash,
        "mode": network.mode,
        "window": network.window,
        "reset": network.reset,
        "depth": program.depth,
        "settle_bound": program.settle_bound if network.mode == "exact" else None,
        "profile": None if program.profile is None else program.profile.name,
        "arrangement": program.arrangement if program.placement else None,
        "history": list(network.history),
    }
    if json:
        console.as_json({**head, "layers": rows})
        return
    resets = "hard reset, " if network.reset == "hard" else ""
    console.say(
        f"{network.name}: spiking, {network.mode} mode, {resets}window {network.window} steps, "
        f"{program.depth} layers deep"
    )
    if network.mode == "exact":
        console.say(f"settles to the quantized ANN after at most {program.settle_bound} steps")
    console.say(f"hash {network.hash[:16]}\n")
    console.table(
        ["layer", "kind", ">shape", ">neurons", ">threshold", ">state bits", ">cores"],
        [
            (
                row["name"],
                row["kind"],
                _shape(row["shape"]),
                f"{row['neurons']:,}",
                "" if row["threshold"] is None else "{}..{}".format(*row["threshold"]),
                row["state_bits"] or "",
                row["cores"] or "",
            )
            for row in rows
        ],
    )


def show_trace(
    program: Program,
    trace: Trace,
    labels: Int64Array | None,
    json: bool,
    full: Trace | None = None,
    steps: int | None = None,
) -> None:
    """What a run of at most `steps` steps did; what it saved against `full`, without early exit."""
    exact = program.network.mode == "exact"
    settle = settle_steps(trace, program.network.window)[trace.settled]
    neurons = sum(layer.neurons for layer in program.spiking)
    limit = default_steps(program) if steps is None else steps
    early = int((~trace.settled & (trace.stop_steps < limit)).sum()) if trace.controlled else None
    result = {
        "backend": trace.backend,
        "samples": len(trace),
        "accuracy": None if labels is None else trace.accuracy(labels),
        "steps": _steps(trace),
        "stopped_early": early,
        "settled": len(settle) if exact else None,
        "settle_steps": _settled(settle) if exact and len(settle) else None,
        "spikes_per_sample": trace.total_events / len(trace),
        "spikes_per_neuron": trace.total_events / len(trace) / neurons,
        "seconds": trace.seconds,
        "start_seconds": trace.start_seconds,
        "seconds_per_step": trace.seconds_per_step,
        "samples_per_second": trace.samples_per_second,
    }
    if json:
        console.as_json(
            {
                **result,
                "baseline": None if full is None else _saved(trace, full, labels),
                "predictions": trace.predictions.tolist(),
                "stop_steps": trace.stop_steps.tolist(),
            }
        )
        return
    found = _steps(trace)
    on_average = (
        f"{found['mean']:.2f} on average, 95 % within {found['p95']}, at most {found['max']}"
    )
    rows = [("backend", trace.backend), ("samples", f"{len(trace):,}")]
    if labels is not None:
        rows.append(("accuracy", f"{trace.accuracy(labels):.2%}"))
    rows.append(("steps", on_average))
    if early is not None:
        rows.append(("stopped early", f"{early:,} of {len(trace):,} ({early / len(trace):.1%})"))
    if exact:
        after = f", after {settle.mean():.2f} steps (then one silent step)" if len(settle) else ""
        rows.append(("settled", f"{len(settle):,} of {len(trace):,}{after}"))
    rows.append(
        (
            "spikes",
            f"{result['spikes_per_sample']:,.0f} a sample, "
            f"{result['spikes_per_neuron']:.3f} a neuron",
        )
    )
    rows.append(("time", _time(trace)))
    console.table(["", ""], rows)
    if full is not None:
        console.say()
        _show_saved(trace, full, labels)


def _steps(trace: Trace) -> dict[str, float]:
    stops = trace.stop_steps
    p95 = steps_within(stops, 0.95)
    return {"mean": float(stops.mean()), "p95": p95, "max": int(stops.max())}


def _settled(settle: Int64Array) -> dict[str, float]:
    return {"mean": float(settle.mean()), "max": int(settle.max())}


def _saved(trace: Trace, full: Trace, labels: Int64Array | None) -> dict[str, Any]:
    """The run to the end, and the shares of its steps, spikes and time that were saved."""
    return {
        "accuracy": None if labels is None else full.accuracy(labels),
        "steps": _steps(full),
        "spikes_per_sample": full.total_events / len(full),
        "seconds": full.seconds,
        "same_answers": float((trace.predictions == full.predictions).mean()),
        "saved": {
            "steps": 1.0 - float(trace.stop_steps.sum() / full.stop_steps.sum()),
            "spikes": 1.0 - trace.spike_ratio(full),
            "seconds": 1.0 - trace.seconds / max(full.seconds, 1e-9),
        },
    }


def _show_saved(trace: Trace, full: Trace, labels: Int64Array | None) -> None:
    found = _saved(trace, full, labels)
    spikes = (run.total_events / len(run) for run in (full, trace))
    rows = [
        ("steps", *(f"{run.stop_steps.mean():.2f}" for run in (full, trace))),
        ("spikes a sample", *(f"{n:,.0f}" for n in spikes)),
        ("seconds", *(f"{run.seconds:.2f}" for run in (full, trace))),
    ]
    table = [(*row, f"{s:.1%}") for row, s in zip(rows, found["saved"].values(), strict=True)]
    if labels is not None:
        table.insert(0, ("accuracy", *(f"{run.accuracy(labels):.2%}" for run in (full, trace)), ""))
    console.table(["", ">to the end", ">with exit", ">saved"], table)
    console.say(f"\nthe same answer for {found['same_answers']:.2%} of the samples")


def _time(trace: Trace) -> str:
    """Start-up (and shut-down) of the simulator apart from its steps."""
    rates = (
        f"{trace.samples_per_second:,.0f} samples/s",
        f"{engineering(trace.seconds_per_step, 's')} a step",
    )
    start = [f"start-up {trace.start_seconds:.2f} s"] if trace.start_seconds >= 0.05 else []
    return f"{trace.seconds:.2f} s ({', '.join([*start, *rates])})"


def save_trace(trace: Trace, path: Path) -> None:
    """Logits (N, T, classes), predictions, stop steps and settled flags as `.npz`."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            logits=trace.logits,
            predictions=trace.predictions,
            stop_steps=trace.stop_steps,
            settled=trace.settled,
        )


def show_certificate(found: Certificate, json: bool) -> None:
    """The certificate in words, with the hashes that it is bound to."""
    if json:
        console.as_json(found.as_dict())
        return
    console.say("certified\n")
    for sentence in found.sentences():
        console.say(f"  {sentence}")
    console.say(f"\nnetwork {found.network_hash[:16]}, data {found.data_hash[:16]}")
    if found.profile_hash is not None:
        console.say(f"profile {found.profile} {found.profile_hash[:16]}")


def show_fidelity(found: FidelityReport, json: bool) -> None:
    """What rounding cost in all, and each layer's share of it."""
    if json:
        console.as_json(found.as_dict())
        return
    for sentence in found.sentences():
        console.say(sentence)
    if not found.layers:
        return
    console.say(
        "\nCounts that differ, by a layer's own rounding and in all; rounding errors (rms)\n"
    )
    console.table(
        ["layer", ">flipped here", ">in all", ">mean error", ">weights", ">biases"],
        [
            (
                layer.name,
                f"{layer.flipped_here / layer.compared:.3%}",
                f"{layer.different / layer.compared:.3%}",
                f"{layer.mean_error:.4f}",
                "" if layer.kind == "max_pool" else f"{layer.weight_rounding:.2%}",
                "" if layer.kind == "max_pool" else f"{layer.bias_rounding:.2%}",
            )
            for layer in found.layers
        ],
    )


def versions(found: Mapping[str, str]) -> str:
    """`torch 2.13.0, numpy 2.4.6`."""
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _shape(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in shape)
