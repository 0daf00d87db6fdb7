"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
