"""`snndeploy placement`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snndeploy import deploy, units
from snndeploy.cli import console, mesh_view
from snndeploy.cli.options import Json, Limit, NetworkFile
from snndeploy.measure.placement import PlacementSummary, summarize_placement
from snndeploy.passes.arrange import arrange
from snndeploy.program import Program
from snndeploy.samples import load_samples
from snndeploy.story import PROFILE


def placement(
    network: NetworkFile,
    profile: Annotated[str, typer.Option(metavar="NAME", help="Chip.")] = PROFILE,
    data: Annotated[
        Path | None,
        typer.Option(metavar="X.npz", help="Samples whose spikes are the traffic."),
    ] = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Show what a network uses of a chip, and how far its packets go.

    In order, and with cores that talk to each other moved together, which is drawn.
    """
    program = deploy.lower(deploy.load(network), profile)
    trace = None
    if data is not None:
        with console.progress("counting spikes", json) as tell:
            trace = deploy.run(program, load_samples(data).first(limit).x, progress=tell)
    found = summarize_placement(program, trace)
    arranged = arrange(program, trace)
    moved = summarize_placement(arranged, trace)
    if json:
        console.as_json({"in_order": found.as_dict(), "by_traffic": moved.as_dict()})
        return
    _show(program, found, moved)
    _draw(arranged)


def _show(program: Program, found: PlacementSummary, moved: PlacementSummary) -> None:
    assert program.profile is not None
    console.say(
        f"{program.network.name} on {program.profile.title}: {found.cores} core(s) on "
        f"{found.chips} chip(s); traffic: {found.traffic}\n"
    )
    letters = mesh_view.legend(program)
    cores = [(letters[k], k, f"{v:,}") for k, v in found.layers.items()]
    console.table(["", "layer", ">cores"], cores)
    console.say()
    rows = []
    for name, use in found.uses.items():
        limit = "" if use.limit is None else f"{use.limit:,}"
        share = "" if use.share is None else units.percent(use.share)
        rows.append((name, f"{use.busiest:,}", units.count(round(use.mean, 1)), limit, share))
    console.table(["a core's", ">busiest", ">mean", ">limit", ">use of it"], rows)
    console.say()
    apart = [
        (f"{name}, busiest core over mean", f"{b:.2f}", f"{moved.balance[name]:.2f}")
        for name, b in found.balance.items()
    ]
    apart.append(("mesh hops a packet", f"{found.hops:.2f}", f"{moved.hops:.2f}"))
    crossings = units.percent(found.crossings), units.percent(moved.crossings)
    apart.append(("packets to another chip", *crossings))
    console.table(["", ">in order", ">by traffic"], apart)


def _draw(program: Program) -> None:
    console.say("\nby traffic: a core's layer, and how full it is, ░▒▓█ by quarters\n")
    for line in mesh_view.draw(program):
        console.out.print(line)
