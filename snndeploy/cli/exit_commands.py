"""`snndeploy calibrate-exit`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from snndeploy import deploy
from snndeploy.cli import console, exit_views
from snndeploy.cli.options import Json, NetworkFile, ProfileName
from snndeploy.samples import load_samples

ENERGY_SAMPLES = 128
"""Of the held-out samples, for the energies: their spikes are kept in memory."""


class PolicyName(StrEnum):
    """Families of exit policies."""

    dynamic_confidence = "dynamic-confidence"
    top_k_gap = "top-k-gap"
    conformal = "conformal"
    fixed_step = "fixed-step"
    all = "all"


def calibrate_exit(
    network: NetworkFile,
    data: Annotated[
        Path, typer.Option("--data", metavar="HOLD.npz", help="Held-out samples with labels.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="POLICY.json", help="Where to write.")
    ],
    max_accuracy_drop: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, metavar="SHARE", help="Accuracy that may be given up: 0.002."
        ),
    ] = 0.0,
    confidence: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Guarantee the drop on new data, with this confidence: 0.95. "
            "Without it, the drop is that on the held-out data.",
        ),
    ] = None,
    policy: Annotated[
        PolicyName, typer.Option(help="Which policies to search.")
    ] = PolicyName.dynamic_confidence,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="C", help="Divides the logits; default: the likeliest for the held-out labels."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="T", help="In rate mode, the most steps; default: the window."),
    ] = None,
    profile: ProfileName = None,
    backend: Annotated[str, typer.Option(metavar="NAME", help="Who runs them.")] = "reference",
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of the split into fitted and tested halves.")
    ] = 0,
    json: Json = False,
) -> None:
    """Find how sure to be before stopping, on held-out data.

    Takes the policy with the fewest mean steps that keeps accuracy. With --confidence its drop on
    new data is guaranteed. With --profile, energies are told beside steps.
    """
    program = deploy.lower(deploy.load(network), profile)
    samples = load_samples(data)
    labels = samples.labels("calibrate-exit")
    with console.progress("calibrating the exit", json) as tell:
        found = deploy.calibrate_exit(
            program,
            samples.x,
            labels,
            max_accuracy_drop=max_accuracy_drop,
            confidence=confidence,
            policy=policy.value,
            temperature=temperature,
            seed=seed,
            steps=steps,
            energy_samples=0 if profile is None else ENERGY_SAMPLES,
            backend=backend,
            progress=tell,
        )
    found.save(out)
    exit_views.show_policy(found, policy.value, out, json)
