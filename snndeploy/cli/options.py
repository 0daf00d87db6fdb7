"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ModeName(StrEnum):
    """How a network codes."""

    exact = "exact"
    rate = "rate"


class ResetName(StrEnum):
    """What a spike leaves of a membrane."""

    soft = "soft"
    hard = "hard"


class ThresholdsName(StrEnum):
    """How ceilings are found."""

    mse = "mse"
    max = "max"
    percentile = "percentile"


class CalibrateName(StrEnum):
    """How much is corrected."""

    none = "none"
    light = "light"
    advanced = "advanced"


NetworkFile = Annotated[Path, typer.Argument(metavar="NET.nir", help="A converted network.")]
DataFile = Annotated[
    Path, typer.Option("--data", metavar="X.npz", help="Samples 'x' and, if known, labels 'y'.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Use the first N samples only.")
]
ProfileName = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Chip: a name from `profiles list`, or a file."),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--exit", metavar="POLICY.json", help="Stop early, as calibrate-exit found."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

Mode = Annotated[ModeName, typer.Option(help="exact settles to the ANN.")]
Reset = Annotated[
    ResetName, typer.Option(help="hard: spikes reset to 0, as Lava's own neurons; for mode rate.")
]
Thresholds = Annotated[ThresholdsName, typer.Option(help="How the ceiling of L counts is found.")]
Percentile = Annotated[
    float, typer.Option(min=50, max=100, metavar="P", help="For --thresholds percentile.")
]
PerChannel = Annotated[
    bool,
    typer.Option("--per-channel/--per-layer", help="Let each channel have a range of its own."),
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of the calibration's held-out split.")]
WeightBits = Annotated[int, typer.Option(min=2, max=16, metavar="BITS", help="Of a weight.")]
