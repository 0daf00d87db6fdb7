"""Other people's models with few levels: their accuracy as spiking networks beside the original's.

    python benchmarks/models.py --data FOLDER --models FOLDER [--only NAME] [--fresh] [--smoke]
    python benchmarks/models.py --data FOLDER --models FOLDER --again ROW [--again ROW ...]

Each network is calibrated on 512 training images or fewer, as they are and without their labels,
and tested on others. Of the keywords there is a test set only: it is cut into folds, and each is
tested with a network that was calibrated on the rest. Exact mode with 3 to 63 levels, and at the
model's own levels where it has some; ResNet-20 in rate mode, too.

In exact mode the accuracy is that of the integer network that the spikes settle to, which is proved
on some of the samples. In rate mode it is that of the spikes. Writes `models.json` and the tables
of `docs/models.md`; a run that was broken off goes on where it ended. With `--again` the rows of
the last complete run stay, but for those that begin so, such as `resnet8` or `resnet8 exact 15`.
Folders: see `foreign.py`.
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
from models_page import BEST, METHODS, PUBLISHED, RATE_STEPS, render
from results import Row, Rows

from snndeploy import Network, certify, convert, integer_ann, lower, run
from snndeploy.measure import settle_steps
from snndeploy.nodes import Neuron

CALIBRATION = 512
FOLDS = 3
CERTIFIED, SIMULATED = 4, 16
"""Samples that are certified, and whose steps and spikes are counted."""

MOST_CERTIFIED = 63
"""Membranes of more levels need more than the 32 bits that a certificate proves to be enough."""

JPEG_LEVELS = (7, 15)
OWN_LEVELS = ("resnet8", "dscnn", "tfc_1w2a", "tfc_2w2a")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder with data sets")
    parser.add_argument("--models", type=Path, required=True, help="the folder with models")
    parser.add_argument("--only", choices=sorted(foreign.MODELS), help="one network")
    parser.add_argument("--again", action="append", default=[], help="measure these rows anew")
    parser.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    parser.add_argument("--smoke", action="store_true", help="a tiny run, nothing written")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows("models", fresh=chosen.fresh, keep=not chosen.smoke)
    if chosen.again and not rows.rows:
        rows.rows = kept(rows.path, chosen.again)
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
            render(list(rows.rows.values()))
    rows.rows = in_order(rows.rows)
    if rows.keep and not chosen.only:
        render(list(rows.rows.values()))
        rows.finish(
            command="python benchmarks/models.py --data FOLDER --models FOLDER",
            calibration_images=CALIBRATION,
            folds_of_keywords=FOLDS,
            published=PUBLISHED,
        )


def kept(path: Path, again: list[str]) -> dict[str, Row]:
    """The rows of the last complete run, but for those whose keys begin with a name in `again`."""
    found = json.loads(path.read_text(encoding="utf-8"))["rows"]
    rows = {key_of(*(row[k] for k in ("key", "mode", "levels", "calibrate"))): row for row in found}
    for name in again:
        if not any(f"{key} ".startswith(f"{name} ") for key in rows):
            raise SystemExit(f"--again {name}: there is no such row in {path.name}")
    anew = tuple(f"{name} " for name in again)
    return {key: row for key, row in rows.items() if not f"{key} ".startswith(anew)}


def in_order(rows: dict[str, Row]) -> dict[str, Row]:
    """Rows in the order of a run without a break; those measured again stand where they stood."""
    order = [key_of(name, *choice) for name in foreign.MODELS for choice in choices(name, False)]
    return {key: rows[key] for key in order if key in rows} | rows


def choices(name: str, smoke: bool) -> Iterator[tuple[str, int, str]]:
    """Mode, levels (in rate mode, steps, too; 0: the model's own) and method of each row."""
    if name in OWN_LEVELS:
        yield "exact", 0, "none"
    if name.startswith("tfc"):
        return
    few = BEST if not smoke else {31: "light"}
    yield from (("exact", number, best) for number, best in few.items())
    yield from (("exact", number, "none") for number in few)
    if name == "resnet20" and not smoke:
        for method in METHODS:
            for number in RATE_STEPS:
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
    if on_jpeg is not None and mode == "exact" and number in JPEG_LEVELS and method != "none":
        assert model.jpeg is not None
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
        if not np.array_equal(trace.logits[:, -1], integer_ann(network, x[:SIMULATED]).logits):
            raise SystemExit(f"{network.name}: spikes that do not settle to the integer network")
        if max(n.levels for n in network.nodes if isinstance(n, Neuron)) <= MOST_CERTIFIED:
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
    jpeg = ""
    if "jpeg_accuracy" in row:
        jpeg = f", JPEG {row['jpeg_accuracy']:.2%} of {row['jpeg_original_accuracy']:.2%}"
    return (
        f"{key}: {row['accuracy']:.2%} of {row['original_accuracy']:.2%}, same answer "
        f"{row['agreement']:.2%}{jpeg}, "
        f"{row['mean_steps']:.1f} steps, {row['seconds']} s"
    )


if __name__ == "__main__":
    main()
