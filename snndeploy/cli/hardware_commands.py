"""`snndeploy profiles` and `snndeploy backends`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snndeploy import deploy
from snndeploy.backend import Installable, backend_names, find_backend
from snndeploy.cli import console, hardware_views, views
from snndeploy.cli.options import Json
from snndeploy.errors import BackendMissingError, UnsupportedModelError
from snndeploy.hardware import hardware, profile_names, read_profile
from snndeploy.network import Network
from snndeploy.program import Program
from snndeploy.verify.comparison import BackendResult
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
    json: Json = False,
) -> None:
    """Hold a backend to the definition on a tiny network.

    Exit code 1 if any spike differs.
    """
    try:
        results = _held_to_judge(tiny_network(), name)
    except UnsupportedModelError:
        results = _held_to_judge(tiny_chain(), name)
    views.show_comparison(results, json)
    if not results[-1].ran:
        raise BackendMissingError(results[-1].note, where=f"backend '{name}'")
    if not results[-1].spikes_equal:
        raise typer.Exit(1)


def _held_to_judge(network: Network, name: str) -> list[BackendResult]:
    return deploy.compare(Program(network), tiny_inputs(network), ["judge", name])
