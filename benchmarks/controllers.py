"""Early exit on trained networks: every policy, its guarantee, the published experiment.

    python benchmarks/controllers.py --data FOLDER --models FOLDER --kept FOLDER
                                     [--only NAME] [--fresh] [--smoke]

FOLDERs as in `foreign.py`; in the third, networks that are brought to few levels are kept. The
others were trained by `anytime.py`. For each network and each family of policies, a policy is
chosen on held-out samples, so that accuracy on them falls by no more than 0.1 points, and judged on
test samples. For the networks of `anytime.py` also: accuracy and steps for each cap on the steps in
rate mode (the published experiment of Dynamic Confidence), how often a promise is broken over 200
random splits, and the wall-clock time that early exit saves. Writes `controllers.json` and the
tables of `docs/exit-study.md`; a run that was broken off goes on where it ended.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from controllers_page import render
from exit_subjects import SUBJECTS, TRAINED, Folders, Subject
from results import Row, Rows
from timing import medians

from snndeploy import estimate, lower, run
from snndeploy.control import (
    FAMILIES,
    FamilyName,
    Search,
    calibrate,
    exit_points,
    oct_steps,
    oracle,
    policy_path,
    stop_steps,
)
from snndeploy.control.curve import tail
from snndeploy.control.dynamic_confidence import dynamic_confidence_path
from snndeploy.control.policy import Policy
from snndeploy.errors import SnnDeployError
from snndeploy.network import Network
from snndeploy.samples import Samples
from snndeploy.trace import Trace

MOST_DROP = 0.001
CAPS = (1, 2, 4, 8, 12, 16, 20, 27)
RATE_STEPS = CAPS[-1]
PROFILES = ("loihi2", "digital_snn_45nm")
"""One that is pipelined, and has work in flight when a sample stops, and one that is not."""

PRICED = 100
"""Samples whose spikes are kept, and priced."""

SPLITS, PROMISES = 200, ((0.005, 0.9), (0.01, 0.8))
"""Random splits into held-out and test samples; drops and confidences that are promised."""

BATCH, TIMED = 64, 2_048
COMPARED = {"norse": 256, "lava": 32}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder with data sets")
    parser.add_argument("--models", type=Path, required=True, help="the folder with models")
    parser.add_argument(
        "--kept", type=Path, required=True, help="where converted networks are kept"
    )
    parser.add_argument("--only", choices=sorted(SUBJECTS), help="one network")
    parser.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    parser.add_argument("--smoke", action="store_true", help="few samples, nothing written")
    chosen = parser.parse_args()
    rows = Rows("controllers", chosen.fresh, keep=not chosen.smoke)
    folders = Folders(chosen.data, chosen.models, chosen.kept)
    for name in [chosen.only] if chosen.only else SUBJECTS:
        study(name, partial(SUBJECTS[name], folders), rows, 64 if chosen.smoke else None)
        if rows.keep:
            render(rows.rows)
    if rows.keep and not chosen.only:
        rows.finish(
            command="python benchmarks/controllers.py --data FOLDER --models FOLDER --kept FOLDER",
            most_drop=MOST_DROP,
            profiles=PROFILES,
            priced_samples=PRICED,
            splits=SPLITS,
            threads=torch.get_num_threads(),
        )


def study(name: str, make: Callable[[], Subject], rows: Rows, limit: int | None) -> None:
    """All rows of one network that are not there yet."""
    recorded: list[Recorded] = []

    def record() -> Recorded:
        if not recorded:
            recorded.append(Recorded(make(), limit))
        return recorded[0]

    measures: dict[str, Callable[[Recorded], Row]] = {"policies": policies}
    if name in TRAINED:
        last = caps if name.endswith("rate") else backends
        measures |= {"splits": splits, "speed": speed, last.__name__: last}
    for measure, measured in measures.items():
        key = f"{name} {measure}"
        if rows.get(key) is None:
            found = record()
            rows.add(key, {"key": name, "network": found.subject.title, **measured(found)})
            print(key, rows.rows[key], flush=True)


class Recorded:
    """A subject and its runs without stopping, which decide what any policy would have done."""

    def __init__(self, subject: Subject, limit: int | None) -> None:
        self.subject, self.network = subject, subject.network
        self.held_out, self.test = subject.held_out.first(limit), subject.test.first(limit)
        self.more = {name: samples.first(limit) for name, samples in subject.more.items()}
        self.program = lower(self.network)
        self.steps = RATE_STEPS if self.network.mode == "rate" else None
        self.held_out_trace, self.test_trace = self.run(self.held_out), self.run(self.test)

    def run(self, samples: Samples, record: bool = False) -> Trace:
        """Without stopping."""
        return run(self.program, samples.x, steps=self.steps, record=record)

    def chosen(self, *families: FamilyName) -> Policy | None:
        """The best policy of some families for the held-out samples; None: none saves a step."""
        labels = self.held_out.labels("exit")
        search = Search(MOST_DROP, families=families)
        return calibrate(self.network, self.held_out_trace, labels, "", search).policy


def policies(found: Recorded) -> Row:
    """Each family's policy, and the bound, on the test samples."""
    labels, trace = found.test.labels("exit"), found.test_trace
    samples = found.test.first(PRICED)
    spiking = found.run(samples, record=True)
    others = {name: (found.run(data), data) for name, data in found.more.items()}
    rows = [{"policy": "none", **judged(None, found.network, trace, labels, spiking)}]
    for family in FAMILIES:
        policy = found.chosen(family)
        row: Row = {"policy": family, "rule": "run to the end" if policy is None else str(policy)}
        row |= judged(policy, found.network, trace, labels, spiking)
        for name, (other, data) in others.items():
            row[name] = on_other(policy, other, data)
        rows.append(row)
    bound = oracle(trace, labels)
    stops = oct_steps(trace, labels)
    rows.append(
        {
            "policy": "OCT (knows the labels)",
            "accuracy": bound.accuracy,
            "mean_steps": bound.mean_steps,
            "p95_steps": bound.p95_steps,
            "p99_steps": bound.p99_steps,
            "spike_share": trace.cut(stops).spike_ratio(trace),
        }
    )
    return {
        "held_out": len(found.held_out),
        "test": len(labels),
        "held_out_accuracy": found.held_out_trace.accuracy(found.held_out.labels("exit")),
        "accuracy_by_step": trace.accuracy_by_step(labels)[:32],
        "curves": {family: curve(found, family) for family in FAMILIES},
        "policies": rows,
    }


def curve(found: Recorded, family: str) -> list[list[float]]:
    """Mean steps and accuracy on the test samples along a family's path, at most 40 points."""
    labels = found.held_out.labels("exit")
    path = policy_path(family, found.network, found.held_out_trace, labels)
    points = exit_points(path, found.test_trace, found.test.labels("exit"))
    kept = sorted({(round(p.mean_steps, 2), round(p.accuracy, 4)) for p in points})
    return [list(point) for point in kept[:: max(1, len(kept) // 40)]]


def judged(
    policy: Policy | None, network: Network, trace: Trace, labels: np.ndarray, spiking: Trace
) -> Row:
    """One policy on test samples; its energy on the first of them."""
    stopped = trace if policy is None else trace.cut(stop_steps(policy, trace))
    priced = spiking if policy is None else spiking.cut(stop_steps(policy, spiking))
    p95, p99 = tail(stopped.stop_steps)
    row: Row = {
        "accuracy": stopped.accuracy(labels),
        "mean_steps": float(stopped.stop_steps.mean()),
        "p95_steps": p95,
        "p99_steps": p99,
        "spike_share": stopped.spike_ratio(trace),
        "spikes": stopped.total_events / len(stopped),
    }
    return row | {"energy": {name: energy(network, name, priced, spiking) for name in PROFILES}}


def energy(network: Network, profile: str, stopped: Trace, full: Trace) -> Row:
    """Of one inference, in microjoules, static power left out."""
    try:
        cost = estimate(lower(network, profile), stopped, full)
    except SnnDeployError as error:
        return {"not_priced": str(error)}
    if cost.dynamic_pj is None:
        return {"not_priced": ", ".join(cost.unpriced)}
    found = cost.dynamic_pj
    return {name: 1e-6 * getattr(found, name) for name in ("nominal", "low", "high")}


def on_other(policy: Policy | None, trace: Trace, samples: Samples) -> Row:
    """Accuracy and mean steps on another test set, with the policy and without."""
    labels = samples.labels("exit")
    stopped = trace if policy is None else trace.cut(stop_steps(policy, trace))
    return {
        "samples": len(labels),
        "settled_accuracy": trace.accuracy(labels),
        "accuracy": stopped.accuracy(labels),
        "mean_steps": float(stopped.stop_steps.mean()),
    }


def caps(found: Recorded) -> Row:
    """Fixed steps against Dynamic Confidence with the same cap.

    The threshold is the lowest before the first, from the most careful on, at which an answer of
    the held-out samples is lost that is not gained elsewhere: a lucky one further down would not
    hold on other samples.
    """
    labels, known = found.test.labels("exit"), found.held_out.labels("exit")
    rows = []
    for cap in CAPS:
        held_out, test = capped(found.held_out_trace, cap), capped(found.test_trace, cap)
        path = dynamic_confidence_path(found.network)
        points = exit_points(path, held_out, known)
        safe = [p.policy for p in takewhile(lambda p: p.accuracy_drop <= 0, points)]
        stopped = test.cut(stop_steps(safe[-1], test)) if safe else test
        rows.append(
            {
                "cap": cap,
                "fixed_accuracy": test.accuracy(labels),
                "rule": str(safe[-1]) if safe else "run to the cap",
                "accuracy": stopped.accuracy(labels),
                "mean_steps": float(stopped.stop_steps.mean()),
                "spike_share": stopped.spike_ratio(test),
            }
        )
    return {"caps": rows}


def capped(trace: Trace, cap: int) -> Trace:
    """The run as if it had ended after so many steps."""
    return trace.cut(np.minimum(trace.stop_steps, cap))


def splits(found: Recorded) -> Row:
    """How often the drop on the rest exceeds what was promised from a random half's sample."""
    logits_of = _joined(found.held_out_trace, found.test_trace)
    labels = np.concatenate([found.held_out.labels("exit"), found.test.labels("exit")])
    paths = {
        family: policy_path(family, found.network, logits_of, labels)
        for family in ("dynamic-confidence", "fixed-step")
    }
    held_out = len(found.held_out)
    rows = []
    for drop, confidence in PROMISES:
        broken, drops, steps = 0, [], []
        for seed in range(SPLITS):
            order = np.random.default_rng(seed).permutation(len(labels))
            fit, rest = np.sort(order[:held_out]), np.sort(order[held_out:])
            search = Search(drop, confidence, tuple(paths))
            policy = calibrate(found.network, logits_of[fit], labels[fit], "", search).policy
            if policy is None:
                drops.append(0.0)
                steps.append(float(logits_of.stop_steps[rest].mean()))
                continue
            (point,) = exit_points([policy], logits_of[rest], labels[rest])
            drops.append(point.accuracy_drop)
            steps.append(point.mean_steps)
            broken += point.accuracy_drop > drop
        rows.append(
            {
                "max_accuracy_drop": drop,
                "confidence": confidence,
                "families": list(paths),
                "held_out": held_out,
                "test": len(labels) - held_out,
                "splits": SPLITS,
                "broken": broken,
                "mean_drop": float(np.mean(drops)),
                "largest_drop": float(np.max(drops)),
                "mean_steps": float(np.mean(steps)),
            }
        )
    return {"promises": rows}


def _joined(first: Trace, second: Trace) -> Trace:
    """The logits of two runs, one after the other; spikes are left out."""
    steps = max(first.steps, second.steps)

    def longer(trace: Trace) -> np.ndarray:
        return np.pad(trace.logits, ((0, 0), (0, steps - trace.steps), (0, 0)), "edge")

    return Trace(
        backend=first.backend,
        logits=np.concatenate([longer(first), longer(second)]),
        spikes={},
        events={},
        stop_steps=np.concatenate([first.stop_steps, second.stop_steps]),
        settled=np.concatenate([first.settled, second.settled]),
        seconds=0.0,
    )


def speed(found: Recorded) -> Row:
    """Wall-clock time saved over steps saved, 64 samples at a time."""
    policy = found.chosen(*FAMILIES)
    x = found.test.x[:TIMED]
    whole = partial(run, found.program, x, batch=BATCH, record=False, steps=found.steps)
    early = partial(whole, exit_policy=policy)
    seconds = medians({"whole": whole, "early": early}, 3)
    full, stopped = whole(), early()
    steps_saved = 1 - stopped.stop_steps.sum() / full.stop_steps.sum()
    time_saved = 1 - seconds["early"] / seconds["whole"]
    return {
        "rule": str(policy),
        "samples": len(x),
        "batch": BATCH,
        "whole_images_per_s": len(x) / seconds["whole"],
        "early_images_per_s": len(x) / seconds["early"],
        "steps_saved": float(steps_saved),
        "spikes_saved": 1 - stopped.spike_ratio(full),
        "time_saved": time_saved,
        "time_over_steps": time_saved / float(steps_saved),
    }


def backends(found: Recorded) -> Row:
    """Samples that stop at the same step with the same answer as on the reference engine."""
    policy = found.chosen(*FAMILIES)
    same: Row = {}
    for name, samples in COMPARED.items():
        x = found.test.x[:samples]
        ours, theirs = (
            run(found.program, x, backend=backend, exit_policy=policy, record=False)
            for backend in ("reference", name)
        )
        steps = ours.stop_steps == theirs.stop_steps
        same[name] = {
            "samples": len(x),
            "same_exits": int((steps & (ours.predictions == theirs.predictions)).sum()),
        }
    return {"same_exits": same}


if __name__ == "__main__":
    main()
