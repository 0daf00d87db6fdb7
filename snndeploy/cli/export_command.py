"""`snndeploy export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from snndeploy import deploy
from snndeploy.cli import console
from snndeploy.cli.options import Json, NetworkFile
from snndeploy.export import export as export_network


class FormatName(StrEnum):
    """File formats."""

    nir = "nir"
    netx = "netx"


def export(
    network: NetworkFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write.")],
    format: Annotated[
        FormatName, typer.Option(help="nir, or netx: lava-dl's HDF5, for Lava's own neurons.")
    ] = FormatName.nir,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="T", help="For netx: steps a sample; default: the window."),
    ] = None,
    json: Json = False,
) -> None:
    """Write a spiking network for another tool.

    Exit code 2 if the format cannot hold it: every layer is named, with the reason.
    """
    loaded = deploy.load(network)
    export_network(loaded, out, format.value, steps=steps)
    if json:
        console.as_json({"file": str(out), "format": format.value, "hash": loaded.hash})
        return
    console.say(f"written: {out}")
