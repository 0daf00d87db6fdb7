"""The command that tries several numbers of levels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from snndeploy import deploy, units
from snndeploy.cli import console
from snndeploy.cli.options import (
    CalibrateName,
    DataFile,
    Json,
    Limit,
    Mode,
    ModeName,
    Percentile,
    PerChannel,
    Seed,
    Thresholds,
    ThresholdsName,
    WeightBits,
)
from snndeploy.errors import InputError
from snndeploy.passes.calibration_options import Calibrate
from snndeploy.samples import load_samples
from snndeploy.story import PROFILE
from snndeploy.sweep import LEVELS, METHODS, Sweep, SweepPoint
from snndeploy.sweep import sweep as sweep_of


def sweep(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A float model, as for convert.")],
    data: DataFile,
    calibration: Annotated[
        Path, typer.Option(metavar="C.npz", help="Samples to calibrate on, not those of --data.")
    ],
    levels: Annotated[
        str, typer.Option(metavar="L,L,..", help="The most spikes of a neuron.")
    ] = ",".join(map(str, LEVELS)),
    methods: Annotated[
        str, typer.Option(metavar="M,M,..", help="Of none, light, advanced.")
    ] = ",".join(METHODS),
    thresholds: Thresholds = ThresholdsName.mse,
    percentile: Percentile = 99.9,
    per_channel: PerChannel = True,
    seed: Seed = 0,
    weight_bits: WeightBits = 8,
    mode: Mode = ModeName.exact,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="T", help="In rate mode; default as many as levels."),
    ] = None,
    profile: Annotated[str, typer.Option(metavar="NAME", help="Chip.")] = PROFILE,
    limit: Limit = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="SWEEP.json",
            help="Kept after each point; a rerun goes on there.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Try several numbers of levels.

    Accuracy, steps, spikes and energy of each, with each way to calibrate; and which are best.

    Exit code 1 if a point failed; the others are shown.
    """
    network = deploy.load(model)
    samples, known = load_samples(data).first(limit), load_samples(calibration)
    with console.progress("sweeping", json) as tell:
        found = sweep_of(
            network,
            samples.x,
            samples.y,
            calibration=known.x,
            levels=_levels(levels),
            methods=_methods(methods),
            thresholds=thresholds.value,
            percentile=percentile,
            per_channel=per_channel,
            seed=seed,
            weight_bits=weight_bits,
            mode=mode.value,
            steps=steps,
            profile=profile,
            results=out,
            progress=tell,
        )
    show_sweep(found, json)
    if any(point.error for point in found.points):
        raise typer.Exit(1)


def show_sweep(found: Sweep, json: bool) -> None:
    """One row a point, and what the marks mean."""
    if json:
        console.as_json(found.as_dict())
        return
    against = "the original's answers"
    if found.original_accuracy is not None:
        against = f"labels; the original has {units.percent(found.original_accuracy, 2)}"
    console.say(f"{found.settings['samples']:,} samples, accuracy against {against}\n")
    energy = f">energy on {found.settings['profile']}"
    console.table(
        [">levels", "calibrate", ">accuracy", ">steps", ">most", ">spikes", energy, "best"],
        [_row(point) for point in found.points],
    )
    console.say("\nbest: no other point is as accurate with less energy (E), in fewer steps (S)")
    for point in found.points:
        if point.error or point.note:
            console.say(f"{point.levels} levels, {point.calibrate}: {point.error or point.note}")


def _row(point: SweepPoint) -> tuple[object, ...]:
    head = (point.levels, point.calibrate)
    if point.accuracy is None or point.mean_steps is None or point.spikes is None:
        return (*head, "failed", "", "", "", "", "")
    energy = "" if point.energy_pj is None else units.engineering(point.energy_pj * 1e-12, "J")
    return (
        *head,
        units.percent(point.accuracy, 2),
        f"{point.mean_steps:.1f}",
        point.max_steps,
        units.count(point.spikes),
        energy,
        "E" * point.on_energy_front + "S" * point.on_steps_front,
    )


def _levels(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"'{text}'", where="--levels", remedy="such as 3,7,15")
    return sorted({int(part) for part in parts})


def _methods(text: str) -> list[Calibrate]:
    parts = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not parts or not set(parts) <= set(CalibrateName):
        raise InputError(f"'{text}'", where="--methods", remedy=f"of {', '.join(CalibrateName)}")
    return cast("list[Calibrate]", parts)
