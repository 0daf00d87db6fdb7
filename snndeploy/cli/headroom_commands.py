"""`snndeploy headroom` and `snndeploy rescale`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snndeploy import deploy
from snndeploy.cli import console, headroom_views
from snndeploy.cli.options import DataFile, Json, Limit, NetworkFile, ProfileName
from snndeploy.hardware import hardware
from snndeploy.nirfile import save
from snndeploy.samples import load_samples

Steps = Annotated[
    int | None,
    typer.Option(
        "--steps", min=1, metavar="T", help="In rate mode, steps to cover; default: the window."
    ),
]


def headroom(
    network: NetworkFile,
    profile: ProfileName = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="X.npz", help="Samples: show how far their membranes went, too."),
    ] = None,
    limit: Limit = None,
    steps: Steps = None,
    json: Json = False,
) -> None:
    """Show the bits to spare in every word of every layer.

    Without a profile: in 32 bits of state. Exit code 1 if bits are lacking: the cure is given.
    """
    loaded = deploy.load(network)
    chip = None if profile is None else hardware(profile)
    x = None if data is None else load_samples(data).first(limit).x
    with console.progress("measuring", json) as tell:
        found = deploy.headroom(loaded, chip, steps=steps, x=x, progress=tell)
    chosen = "" if profile is None else f" --profile {profile}"
    apply = f"snndeploy rescale {network}{chosen} --data X.npz -o OUT.nir"
    headroom_views.show_headroom(found, chip, apply, json)
    if found.lacks:
        raise typer.Exit(1)


def rescale(
    network: NetworkFile,
    data: DataFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.nir", help="Where to write.")],
    profile: ProfileName = None,
    limit: Limit = None,
    steps: Steps = None,
    json: Json = False,
) -> None:
    """Make integers smaller where a layer lacks bits.

    The samples tell what that costs: answers and spike counts that change, as integer ANNs.
    """
    before = deploy.load(network)
    chip = None if profile is None else hardware(profile)
    samples = load_samples(data).first(limit)
    found = deploy.headroom(before, chip, steps=steps)
    after = deploy.rescale(before, chip, steps=steps)
    with console.progress("comparing with the network before", json) as tell:
        cost = deploy.agree(before, after, samples.x, samples.y, progress=tell)
    save(after, out)
    headroom_views.show_rescale(found, chip, cost, after, out, json)
