"""The demo: handwritten digits from training to an energy report, on every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from snndeploy import deploy
from snndeploy.cli import console
from snndeploy.files import make_folder, save_json
from snndeploy.nirfile import load as load_nir
from snndeploy.nirfile import save
from snndeploy.report import report_of
from snndeploy.story import PROFILE, tell_story
from snndeploy.training import accuracy
from snndeploy.training.digits import HELD_OUT, TEST, digits, tensors, trained_network

LAVA_SAMPLES = 64


def run_demo(folder: Path, quiet: bool = False) -> dict[str, Any]:
    """Write `model.nir`, `report.html` and `summary.json` into `folder`; return the summary.

    The summary is checked, not assumed: `exact` and `spikes_equal_reference` say what was found.
    """
    make_folder(folder)
    tell = console.silent if quiet else console.say
    data = digits()
    test = data.test
    labels = test.labels("the demo")
    tell(f"data       {len(data.training)} digits to train, {HELD_OUT} held out, {TEST} to test")

    with console.progress("training", quiet) as progress:
        model = trained_network(data.training, progress)
    ann = accuracy(model, *tensors(test))
    tell(f"trained    residual CNN, 2-bit activations: {ann:.2%} as a float quantized ANN")

    example = torch.from_numpy(test.x[:2])
    save(deploy.convert(deploy.from_torch(model, example, "digits")), folder / "model.nir")
    network = load_nir(folder / "model.nir")
    program = deploy.lower(network, PROFILE)
    qann = deploy.integer_ann(network, test.x).logits.argmax(axis=1)
    qann_accuracy = float((qann == labels).mean())
    tell(f"converted  8-bit weights, integer thresholds: {qann_accuracy:.2%} as an integer ANN")

    policy = deploy.calibrate_exit(
        program, data.held_out.x, data.held_out.labels("calibration"), max_accuracy_drop=0.0
    )
    tell(f"calibrated early exit on the held-out part: {policy}")

    tell(f"running    reference and Norse on {TEST} images, Lava on {LAVA_SAMPLES}")
    with console.progress("running", quiet) as progress:
        story = tell_story(
            program,
            test,
            policy,
            ("reference", "norse", "lava"),
            limits={"lava": LAVA_SAMPLES},
            progress=progress,
        )
    accuracies = {
        "float ANN": ann,
        "integer quantized ANN": qann_accuracy,
        "spiking, settled": story.trace.accuracy(labels),
    }
    summary = {
        "dataset": "scikit-learn handwritten digits (1,797 images, 8x8)",
        "ann_accuracy": ann,
        "qann_accuracy": qann_accuracy,
        **story.summary(),
    }
    report_of(story, accuracies, "Handwritten digits").save(folder / "report.html")
    save_json(summary, folder / "summary.json")
    if not quiet:
        _show(summary, story.refusal, folder)
    return summary


def _show(summary: dict[str, Any], refusal: str, folder: Path) -> None:
    settle = summary["settle_steps"]
    exact = "every neuron equal to the integer ANN" if summary["exact"] else f"NOT exact: {refusal}"
    console.say(
        f"certified  {exact}; settled after {settle['mean']:.2f} steps, at most {settle['max']}"
    )
    for name, row in summary["backends"].items():
        if "missing" in row:
            console.say(f"{name:<10} did not run: {row['missing']}")
            continue
        same = "same spikes" if row["spikes_equal_reference"] else "DIFFERENT SPIKES"
        console.say(
            f"{name:<10} {row['samples']} images, {row['accuracy']:.2%}, {same}, "
            f"{row['seconds']:.2f} s"
        )
    stop = summary["exit"]
    console.say(
        f"early exit {stop['mean_steps']:.2f} steps on average (at most {stop['max_steps']}), "
        f"{stop['accuracy']:.2%}, {stop['spike_ratio']:.0%} of the spikes"
    )
    energy = summary["energy"]
    console.say(
        f"energy     {_interval(energy['snn_uj'])} µJ settled, "
        f"{_interval(energy['snn_exit_uj'])} µJ with early exit on {energy['profile']}; "
        f"{_interval(energy['ann_int8_uj'])} µJ as an int8 ANN"
    )
    console.say(f"\nopen {folder / 'report.html'}")


def _interval(value: dict[str, float] | None) -> str:
    if value is None:
        return "unknown"
    return f"{value['nominal']:.3g} ({value['low']:.3g} to {value['high']:.3g})"
