"""`snndeploy profiles` and `snndeploy backends`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snndeploy.backend import Installable, backend_names, find_backend, require_backend
from snndeploy.cli import comparison_views, console, hardware_views, views
from snndeploy.cli.options import Json
from snndeploy.conformance import run_suite
from snndeploy.errors import BackendMissingError
from snndeploy.hardware import hardware, profile_names, read_profile
from snndeploy.network import Network
from snndeploy.program import Program
from snndeploy.samples import Samples
from snndeploy.side_by_side import SideBySide, side_by_side
from snndeploy.verify.tiny import tiny_chain, tiny_inputs, tiny_network

profiles_app = typer.Typer(help="Hardware profiles: list, show, check, diff.", no_args_is_help=True)
backends_app = typer.Typer(help="Backends: versions, what is missing, install, check.")


@profiles_app.command("list")
def profiles_list(json: Json = False) -> None:
    """The profiles that ship with snndeploy."""
    hardware_views.show_profiles([hardware(name) for name in profile_names()], json)


@profiles_app.command("show")
def profiles_show(
    name: Annotated[str, typer.Argument(help="A name, or the path of a YAML file.")],
    json: Json = False,
) -> None:
    """A profile's limits and constants, with grades and sources."""
    hardware_views.show_profile(hardware(name), json)


@profiles_app.command("check")
def profiles_check(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="A profile of your own.")],
    json: Json = False,
) -> None:
    """Check a profile of your own."""
    found = read_profile(file)
    if json:
        console.as_json({"file": str(file), "name": found.name, "well_formed": True})
        return
    console.say(f"{file}: profile '{found.name}' is well-formed")


@profiles_app.command("diff")
def profiles_diff(
    left: Annotated[str, typer.Argument(metavar="A", help="A name, or the path of a YAML file.")],
    right: Annotated[str, typer.Argument(metavar="B", help="The profile to hold it against.")],
    json: Json = False,
) -> None:
    """What differs between two profiles, key by key."""
    hardware_views.show_differences(hardware(left), hardware(right), json)


@backends_app.callback(invoke_without_command=True)
def backends_list(context: typer.Context, json: Json = False) -> None:
    """The backends, their versions, and what is missing."""
    if context.invoked_subcommand is None:
        hardware_views.show_backends(backend_names(), json)


@backends_app.command("install")
def backends_install(
    name: Annotated[str, typer.Argument(help="The backend.")],
) -> None:
    """Make the environment that a backend needs."""
    backend = find_backend(name)
    if not isinstance(backend, Installable):
        missing = backend.status().missing
        console.say(f"{name}: {missing or 'nothing to install'}")
        return
    backend.install(console.tell)
    status = backend.status()
    if status.missing:
        raise BackendMissingError(status.missing, where=f"backend '{name}'")
    console.say(f"{name}: ready ({views.versions(status.versions)})")


@backends_app.command("check")
def backends_check(
    name: Annotated[str, typer.Argument(help="The backend.")],
    everything: Annotated[
        bool, typer.Option("--all", help="On the whole conformance suite: every kind of network.")
    ] = False,
    json: Json = False,
) -> None:
    """Hold a backend to the definition.

    On a tiny network, or with --all on the conformance suite; what it refuses by name is listed.
    Exit code 1 if any spike differs.
    """
    if everything:
        _check_on_everything(name, json)
        return
    found = _held_to_judge(tiny_network(), name)
    if any(result.refused for result in found.left_out):
        found = _held_to_judge(tiny_chain(), name)
    comparison_views.show_comparison(found, json)
    if found.left_out:
        raise BackendMissingError(found.left_out[0].note, where=f"backend '{name}'")
    if not found.agree:
        raise typer.Exit(1)


def _check_on_everything(name: str, json: bool) -> None:
    backend = require_backend(name)
    with console.progress(f"checking {name}", json) as tell:
        found = run_suite(backend, progress=tell)
    comparison_views.show_suite(found, dict(backend.status().versions), json)
    if not found.conforms:
        raise typer.Exit(1)


def _held_to_judge(network: Network, name: str) -> SideBySide:
    return side_by_side(Program(network), Samples(tiny_inputs(network), None), ["judge", name])
