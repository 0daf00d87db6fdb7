"""Other people's models with few levels: their accuracy as spiking networks beside the original's.

    python benchmarks/models.py --data FOLDER --models FOLDER [--only NAME] [--fresh] [--smoke]

Each network is calibrated on 512 training images or fewer, as they are and without their labels,
and tested on others. Of the keywords there is a test set only: it is cut into folds, and each is
tested with a network that was calibrated on the rest. Exact mode with 3 to 63 levels, and at the
model's own levels where it has some; ResNet-20 in rate mode, too.

In exact mode the accuracy is that of the integer network that the spikes settle to, which is proved
on some of the samples. In rate mode it is that of the spikes. Writes `models.json` and the tables
of `docs/models.md`; a run that was broken off goes on where it ended. Folders: see `foreign.py`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import foreign
import numpy as np
import torch
from foreign import Model, Samples
from results import HERE, Row, Rows, put, table

from snndeploy import Network, certify, convert, lower, run
from snndeploy.measure import settle_steps

CALIBRATION = 512
FOLDS = 4
CERTIFIED, SIMULATED = 8, 64
"""Samples that are certified, and whose steps and spikes are counted."""

EXACT_LEVELS, RATE_STEPS = (3, 7, 15, 31, 63), (8, 16, 32)
METHODS = ("none", "light", "advanced")
OWN_LEVELS = ("resnet8", "dscnn", "tfc_1w2a", "tfc_2w2a")
GOALS = {
    "resnet8": {15: 1.0, 7: 2.5},
    "resnet20": {15: 1.0, 7: 2.5},
    "dscnn": {15: 1.0},
    "mnist8": {15: 0.3},
    "sinabs_mnist": {15: 0.3},
    "tfc_1w2a": {0: 0.3},
    "tfc_2w2a": {0: 0.3},
}
"""Points that may be lost at most, by the number of levels."""

PAGE = HERE.parent / "docs" / "models.md"

PUBLISHED = {
    "source": "Li et al. 2021, SNN Calibration, table 2, CIFAR-10, 32 steps (printed as 16)",
    "ResNet-20": {"ann": 95.68, "none": 67.88, "light": 93.89, "advanced": 94.33},
    "VGG-16": {"ann": 95.76, "none": 64.52, "light": 93.30, "advanced": 93.65},
}
"""Accuracies in per cent."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder with data sets")
    parser.add_argument("--models", type=Path, required=True, help="the folder with models")
    parser.add_argument("--only", choices=sorted(foreign.MODELS), help="one network")
    parser.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    parser.add_argument("--smoke", action="store_true", help="a tiny run, nothing written")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows("models", fresh=chosen.fresh, keep=not chosen.smoke)
    for name in [chosen.only] if chosen.only else foreign.MODELS:
        wanted = list(choices(name, chosen.smoke))
        if all(rows.get(key_of(name, *choice)) for choice in wanted):
            continue
        model = foreign.MODELS[name](chosen.data, chosen.models)
        folds = folds_of(model)[: 1 if chosen.smoke else None]
        if chosen.smoke:
            model, folds = _small(model, folds)
        answers = [model.answers(test) for _, test in folds]
        on_jpeg = None if model.jpeg is None else model.answers(model.jpeg)
        for choice in wanted:
            key = key_of(name, *choice)
            if rows.get(key) is None:
                about = {"key": name, "model": model.title, "runs_in": model.runs_in}
                rows.add(key, {**about, **measured(model, folds, answers, on_jpeg, *choice)})
            print(said(key, rows.rows[key]), flush=True)
    if rows.keep and not chosen.only:
        rows.finish(
            command="python benchmarks/models.py --data FOLDER --models FOLDER",
            calibration_images=CALIBRATION,
            folds_of_keywords=FOLDS,
            published=PUBLISHED,
        )
        render(json.loads(rows.path.read_text(encoding="utf-8"))["rows"])


def choices(name: str, smoke: bool) -> Iterator[tuple[str, int, str]]:
    """Mode, levels (in rate mode, steps, too; 0: the model's own) and method of each row."""
    if name in OWN_LEVELS:
        yield "exact", 0, "none"
    if name.startswith("tfc"):
        return
    for number in (7,) if smoke else EXACT_LEVELS:
        for method in METHODS[:2] if smoke else METHODS:
            yield "exact", number, method
    if name == "resnet20" and not smoke:
        for number in RATE_STEPS:
            for method in METHODS:
                yield "rate", number, method


def key_of(name: str, mode: str, number: int, method: str) -> str:
    """Names a row."""
    return f"{name} {mode} {number} {method}"


def folds_of(model: Model) -> list[tuple[Samples, Samples]]:
    """Samples to calibrate on, and to test on; no sample is in both."""
    if model.training is not None:
        folds = [(model.training.rows(slice(CALIBRATION)), model.test)]
    else:
        fold = np.arange(len(model.test)) % FOLDS
        folds = [
            (model.test.rows(np.flatnonzero(fold != k)), model.test.rows(np.flatnonzero(fold == k)))
            for k in range(FOLDS)
        ]
    for calibration, test in folds:
        known = {sample.tobytes() for sample in calibration.ours}
        if any(sample.tobytes() in known for sample in test.ours):
            raise SystemExit(f"{model.title}: a sample is both calibrated and tested on")
    return folds


def _small(
    model: Model, folds: list[tuple[Samples, Samples]]
) -> tuple[Model, list[tuple[Samples, Samples]]]:
    """For a smoke run."""
    few, least = slice(40), slice(20)
    jpeg = None if model.jpeg is None else model.jpeg.rows(least)
    small = Model(model.title, model.network, model.original, model.runs_in, model.test, jpeg=jpeg)
    return small, [(calibration.rows(few), test.rows(least)) for calibration, test in folds]


def measured(
    model: Model,
    folds: list[tuple[Samples, Samples]],
    answers: list[np.ndarray],
    on_jpeg: np.ndarray | None,
    mode: str,
    number: int,
    method: str,
) -> Row:
    """One row: a network for each fold, each tested on samples that it has not seen."""
    started, calibrated = perf_counter(), 0.0
    found: list[np.ndarray] = []
    for calibration, test in folds:
        before = perf_counter()
        network = converted(model, calibration, mode, number, method)
        calibrated += perf_counter() - before
        found.append(answered(network, test))
    labels = np.concatenate([test.labels for _, test in folds])
    ours, theirs = np.concatenate(found), np.concatenate(answers)
    row: Row = {
        "mode": mode,
        "levels": number,
        "calibrate": method,
        "images": len(labels),
        "calibration_images": len(folds[0][0]),
        "original_accuracy": float((theirs == labels).mean()),
        "accuracy": float((ours == labels).mean()),
        "agreement": float((ours == theirs).mean()),
        "only_original_right": int(((theirs == labels) & (ours != labels)).sum()),
        "only_ours_right": int(((theirs != labels) & (ours == labels)).sum()),
        **spikes_of(network, folds[-1][1]),
    }
    if model.jpeg is not None and on_jpeg is not None:
        again = answered(network, model.jpeg)
        row |= {
            "jpeg_images": len(again),
            "jpeg_original_accuracy": float((on_jpeg == model.jpeg.labels).mean()),
            "jpeg_accuracy": float((again == model.jpeg.labels).mean()),
            "jpeg_agreement": float((again == on_jpeg).mean()),
        }
    return row | {
        "network_hash": network.hash,
        "history": list(network.history),
        "convert_seconds": round(calibrated / len(folds), 1),
        "seconds": round(perf_counter() - started, 1),
    }


def converted(model: Model, calibration: Samples, mode: str, number: int, method: str) -> Network:
    """The spiking network; with the model's own levels if `number` is 0."""
    if number == 0:
        return convert(model.network)
    return convert(model.network, calibration.ours, levels=number, calibrate=method, mode=mode)


def answered(network: Network, samples: Samples) -> np.ndarray:
    """Settled in exact mode; after as many steps as levels in rate mode."""
    if network.mode == "exact":
        return foreign.integer_answers(network, samples)
    return run(lower(network), samples.ours, record=False).predictions


def spikes_of(network: Network, samples: Samples) -> Row:
    """Steps and spikes of some samples, and how many were certified."""
    program, x = lower(network), samples.ours
    trace = run(program, x[:SIMULATED], record=False)
    settle, certified = trace.stop_steps, 0
    if network.mode == "exact":
        settle = settle_steps(trace, network.window)
        certified = certify(program, x[:CERTIFIED]).samples
    neurons = sum(layer.neurons for layer in program.spiking)
    return {
        "neurons": neurons,
        "simulated": len(trace),
        "mean_steps": float(settle.mean()),
        "max_steps": int(settle.max()),
        "spikes": trace.total_events / len(trace),
        "certified": certified,
    }


def said(key: str, row: Row) -> str:
    """A row in words."""
    jpeg = f", JPEG {row['jpeg_accuracy']:.2%} of {row['jpeg_original_accuracy']:.2%}"
    return (
        f"{key}: {row['accuracy']:.2%} of {row['original_accuracy']:.2%}, same answer "
        f"{row['agreement']:.2%}{jpeg if 'jpeg_accuracy' in row else ''}, "
        f"{row['mean_steps']:.1f} steps, {row['seconds']} s"
    )


def render(rows: list[Row]) -> None:
    """Write the tables of the page."""
    put("goals", goals(rows), PAGE)
    put("own levels", own_levels([row for row in rows if row["levels"] == 0]), PAGE)
    few = [row for row in rows if row["mode"] == "exact" and row["levels"]]
    put("few levels", few_levels(few), PAGE)
    put("jpeg", on_jpeg_images([row for row in few if "jpeg_images" in row]), PAGE)
    put("rate", rate(rows), PAGE)


def goals(rows: list[Row]) -> str:
    """What was to be reached, with the most careful calibration."""
    best = {(r["key"], r["levels"]): r for r in rows if r["mode"] == "exact"}  # the last counts
    head = ["model", "levels", "original", "spiking", "loss (points)", "goal", "reached"]
    body = []
    for name, goal in GOALS.items():
        for levels, points in goal.items():
            row = best[name, levels]
            loss = 100 * (row["original_accuracy"] - row["accuracy"])
            body.append(
                [
                    row["model"],
                    str(levels or "its own"),
                    f"{row['original_accuracy']:.2%}",
                    f"{row['accuracy']:.2%}",
                    _loss(row),
                    f"{points}",
                    "yes" if loss <= points + 1e-9 else "no",
                ]
            )
    return table(head, body)


def own_levels(rows: list[Row]) -> str:
    """Converted without calibration."""
    head = ["model", "samples", "original", "spiking", "loss (points)", "same answer", "steps"]
    body = [
        [
            row["model"],
            f"{row['images']:,}",
            f"{row['original_accuracy']:.2%} ({row['runs_in']})",
            f"{row['accuracy']:.2%}",
            _loss(row),
            f"{row['agreement']:.2%}",
            f"{row['mean_steps']:.1f}",
        ]
        for row in rows
    ]
    return table(head, body)


def few_levels(rows: list[Row]) -> str:
    """A heading and a table for each model; a row for each number of levels."""
    parts = []
    for name in dict.fromkeys(row["key"] for row in rows):
        own = [row for row in rows if row["key"] == name]
        first = own[0]
        parts.append(
            f"### {first['model']}\n\n{first['runs_in']}: {first['original_accuracy']:.2%} of "
            f"{first['images']:,} test samples. Calibrated on {first['calibration_images']}.\n\n"
            + table(
                ["levels", *METHODS, "loss (points)", "same answer", "steps", "spikes a neuron"],
                [_few(own, levels) for levels in dict.fromkeys(row["levels"] for row in own)],
            )
        )
    return "\n\n".join(parts)


def _few(rows: list[Row], levels: int) -> list[str]:
    """The accuracies of all methods; the rest of the last, `advanced`."""
    own = {row["calibrate"]: row for row in rows if row["levels"] == levels}
    last = own[METHODS[-1]]
    return [
        str(levels),
        *(f"{own[method]['accuracy']:.2%}" for method in METHODS),
        _loss(last),
        f"{last['agreement']:.2%}",
        f"{last['mean_steps']:.1f}",
        f"{last['spikes'] / last['neurons']:.2f}",
    ]


def on_jpeg_images(rows: list[Row]) -> str:
    """The same networks on more images."""
    head = ["model", "levels", "original", *METHODS, "loss (points)", "same answer"]
    body = []
    for name, levels in dict.fromkeys((row["key"], row["levels"]) for row in rows):
        own = {r["calibrate"]: r for r in rows if (r["key"], r["levels"]) == (name, levels)}
        last = own[METHODS[-1]]
        body.append(
            [
                last["model"],
                str(levels),
                f"{last['jpeg_original_accuracy']:.2%}",
                *(f"{own[method]['jpeg_accuracy']:.2%}" for method in METHODS),
                f"{100 * (last['jpeg_original_accuracy'] - last['jpeg_accuracy']):+.2f}",
                f"{last['jpeg_agreement']:.2%}",
            ]
        )
    return table(head, body)


def rate(rows: list[Row]) -> str:
    """Rate mode beside exact mode and beside what was published."""
    own = [row for row in rows if row["key"] == "resnet20"]
    head = ["network", "steps", "float", *METHODS, "loss of the best (points)"]
    body = []
    for steps in RATE_STEPS:
        at = {r["calibrate"]: r for r in own if (r["mode"], r["levels"]) == ("rate", steps)}
        original = at["none"]["original_accuracy"]
        best = max(row["accuracy"] for row in at.values())
        accuracies = [f"{at[method]['accuracy']:.2%}" for method in METHODS]
        loss = f"{100 * (original - best):+.2f}"
        body.append(["ours, rate", str(steps), f"{original:.2%}", *accuracies, loss])
    for network in ("ResNet-20", "VGG-16"):
        found = PUBLISHED[network]
        accuracies = [f"{found[method]:.2f}%" for method in METHODS]
        loss = f"{found['ann'] - max(found[method] for method in METHODS):+.2f}"
        body.append([f"published {network}", "32", f"{found['ann']:.2f}%", *accuracies, loss])
    return table(head, body)


def _loss(row: Row) -> str:
    """In points, with the standard error of a difference of pairs."""
    error = (row["only_original_right"] + row["only_ours_right"]) ** 0.5 / row["images"]
    return f"{100 * (row['original_accuracy'] - row['accuracy']):+.2f} ± {100 * error:.2f}"


if __name__ == "__main__":
    main()
