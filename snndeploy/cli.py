"""The command line: one command a verb, in the order of the story."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from snndeploy import console, deploy, views
from snndeploy.backend import Installable, backend_names, find_backend
from snndeploy.comparison import Planted
from snndeploy.control import load_policy
from snndeploy.cost import estimate_ann
from snndeploy.errors import BackendMissingError, InputError, SnnDeployError
from snndeploy.files import save_json
from snndeploy.hardware import hardware, profile_names, read_profile
from snndeploy.network import Network
from snndeploy.nir_file import save
from snndeploy.program import Program
from snndeploy.samples import Samples, load_samples
from snndeploy.story import tell_story
from snndeploy.tiny import tiny_inputs, tiny_network

app = typer.Typer(
    name="snndeploy",
    help="Deploy quantized neural networks as spiking networks: exact, the same spikes on every "
    "backend, priced on real chips.\n\nExit codes: 0 success, 1 a check failed, 2 bad input.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
profiles_app = typer.Typer(help="Hardware profiles: list, show, check.", no_args_is_help=True)
backends_app = typer.Typer(help="Backends: versions, what is missing, install, check.")
app.add_typer(profiles_app, name="profiles", rich_help_panel=None)
app.add_typer(backends_app, name="backends", invoke_without_command=True)


class ModeName(StrEnum):
    """How a network codes."""

    exact = "exact"
    rate = "rate"


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


def main() -> None:
    """Run the command line; errors become one line and an exit code."""
    try:
        app()
    except SnnDeployError as error:
        console.fail(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.fail("interrupted")
        sys.exit(130)


@app.command()
def convert(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.pt2", help="A quantized model: torch.export.save.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="NET.nir", help="Where to write.")],
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="X.npz", help="Samples that set the input grid, if the model does not."
        ),
    ] = None,
    weight_bits: Annotated[int, typer.Option(min=2, max=16, help="Bits of a weight.")] = 8,
    mode: Annotated[ModeName, typer.Option(help="exact settles to the ANN.")] = ModeName.exact,
    json: Json = False,
) -> None:
    """Turn a quantized model into a spiking network."""
    samples = None if calibration is None else load_samples(calibration).x
    network = deploy.convert(deploy.load(model), samples, weight_bits=weight_bits, mode=mode.value)
    save(network, out)
    views.show_network(Program(network), json)
    if not json:
        console.say(f"\nwritten: {out}")


@app.command()
def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .pt2 or a .nir file.")],
    profile: ProfileName = None,
    json: Json = False,
) -> None:
    """Show layers, shapes, thresholds, ranges and, with --profile, where it lies on the chip."""
    network = deploy.load(model)
    if not network.is_integer:
        views.show_model(network, json)
        return
    views.show_network(_program(network, profile), json)


@app.command()
def run(
    network: NetworkFile,
    data: DataFile,
    backend: Annotated[str, typer.Option(help="A name from `snndeploy backends`.")] = "reference",
    steps: Annotated[
        int | None, typer.Option(min=1, help="The most steps; default: until settled.")
    ] = None,
    exit_policy: PolicyFile = None,
    limit: Limit = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="RUN.npz", help="Write logits, steps, predictions."),
    ] = None,
    json: Json = False,
) -> None:
    """Simulate samples on one backend."""
    program, samples = _loaded(network, data, limit)
    policy = None if exit_policy is None else load_policy(exit_policy)
    with console.progress(f"simulating on {backend}", json) as tell:
        trace = deploy.run(
            program,
            samples.x,
            backend=backend,
            steps=steps,
            exit_policy=policy,
            record=False,
            progress=tell,
        )
    if samples.y is not None:
        deploy.check_labels(samples.y, trace)
    if out is not None:
        views.save_trace(trace, out)
    views.show_trace(program, trace, samples.y, json)


@app.command()
def compare(
    network: NetworkFile,
    data: DataFile,
    backends: Annotated[
        str | None,
        typer.Option(metavar="A,B,..", help="The first is the reference; default: all available."),
    ] = None,
    limit: Limit = None,
    steps: Annotated[int | None, typer.Option(min=1, help="The most steps.")] = None,
    plant: Annotated[
        str | None,
        typer.Option(
            metavar="BACKEND:LAYER:CHANNEL:DELTA",
            help="Change one threshold in one backend, to see the comparison fail.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Run several backends and hold every spike of each to the first. Exit 1 if any differs."""
    program, samples = _loaded(network, data, limit)
    names = _available() if backends is None else [name.strip() for name in backends.split(",")]
    planted = None if plant is None else Planted.parse(plant)
    if planted is not None and planted.backend not in names:
        raise InputError(
            f"'{planted.backend}' is not among {', '.join(names)}", where="planted threshold"
        )
    with console.progress("comparing", json) as tell:
        results = deploy.compare(
            program,
            samples.x,
            names,
            labels=samples.y,
            steps=steps,
            planted=planted,
            progress=lambda name: tell,
        )
    views.show_comparison(results, json)
    missing = [result for result in results if not result.ran]
    if any(result.spikes_equal is False for result in results):
        raise typer.Exit(1)
    if missing:
        raise BackendMissingError(missing[0].note, where=f"backend '{missing[0].name}'")


@app.command()
def certify(
    network: NetworkFile,
    data: DataFile,
    profile: ProfileName = None,
    limit: Limit = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="CERT.json", help="Write it, too.")
    ] = None,
    json: Json = False,
) -> None:
    """Prove that the spiking network is the integer quantized ANN. Exit 1 if refused."""
    program, samples = _loaded(network, data, limit, profile)
    with console.progress("checking every neuron", json) as tell:
        found = deploy.certify(program, samples.x, progress=tell)
    if out is not None:
        save_json(found.as_dict(), out)
    views.show_certificate(found, json)


@app.command("calibrate-exit")
def calibrate_exit(
    network: NetworkFile,
    data: Annotated[
        Path, typer.Option("--data", metavar="HOLD.npz", help="Held-out samples with labels.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="POLICY.json", help="Where to write.")
    ],
    max_accuracy_drop: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Held-out accuracy that may be given up.")
    ] = 0.0,
    temperature: Annotated[float, typer.Option(help="Divides the logits.")] = 1.0,
    json: Json = False,
) -> None:
    """Find how sure the network must be to stop early, on held-out data."""
    program, samples = _loaded(network, data, None)
    with console.progress("calibrating the exit", json) as tell:
        policy = deploy.calibrate_exit(
            program,
            samples.x,
            samples.labels("calibrate-exit"),
            max_accuracy_drop=max_accuracy_drop,
            temperature=temperature,
            progress=tell,
        )
    policy.save(out)
    views.show_policy(policy, json)


@app.command()
def energy(
    network: NetworkFile,
    data: DataFile,
    profile: Annotated[str, typer.Option(metavar="NAME", help="Chip.")] = "loihi1",
    baseline: Annotated[
        str, typer.Option(metavar="NAME", help="Digital baseline for the same network as an ANN.")
    ] = "digital_int8_45nm",
    exit_policy: PolicyFile = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Count events, price them on a chip, and compare with the int8 ANN."""
    program, samples = _loaded(network, data, limit, profile)
    policy = None if exit_policy is None else load_policy(exit_policy)
    with console.progress("counting events", json) as tell:
        full = deploy.run(program, samples.x, progress=tell)
        trace = full
        if policy is not None:
            trace = deploy.run(program, samples.x, exit_policy=policy, progress=tell)
    snn = deploy.estimate(program, trace, full)
    chip = hardware(baseline)
    anns = [
        estimate_ann(program.network, chip),
        estimate_ann(program.network, chip, trace=trace),
    ]
    views.show_energy(snn, anns, json)


@app.command()
def report(
    network: NetworkFile,
    data: DataFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="REPORT.html", help="Where to.")],
    profile: Annotated[str, typer.Option(metavar="NAME", help="Chip.")] = "loihi1",
    backends: Annotated[
        str, typer.Option(metavar="A,B,..", help="Compare these; the first is the reference.")
    ] = "reference",
    exit_policy: PolicyFile = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page on accuracy, spikes, energy and early exit."""
    from snndeploy.report import report_of  # noqa: PLC0415  (the plotting library is slow)

    program, samples = _loaded(network, data, limit, profile)
    policy = None if exit_policy is None else load_policy(exit_policy)
    with console.progress("simulating", json) as tell:
        story = tell_story(program, samples, policy, backends.split(","), progress=tell)
    report_of(story).save(out)
    if json:
        console.as_json(story.summary())
    else:
        console.say(f"written: {out}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where to write.")] = Path(
        "demo-out"
    ),
    json: Json = False,
) -> None:
    """Train, convert, certify, run on every backend, price and report, on handwritten digits."""
    from snndeploy.demo import run_demo  # noqa: PLC0415  (torch is slow to load)

    summary = run_demo(out, quiet=json)
    if json:
        console.as_json(summary)


@profiles_app.command("list")
def profiles_list(json: Json = False) -> None:
    """The profiles that ship with snndeploy."""
    views.show_profiles([hardware(name) for name in profile_names()], json)


@profiles_app.command("show")
def profiles_show(
    name: Annotated[str, typer.Argument(help="A name, or the path of a YAML file.")],
    json: Json = False,
) -> None:
    """A profile's limits and constants, with grades and sources."""
    views.show_profile(hardware(name), json)


@profiles_app.command("check")
def profiles_check(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="A profile of your own.")],
) -> None:
    """Check a profile of your own."""
    found = read_profile(file)
    console.say(f"{file}: profile '{found.name}' is well-formed")


@backends_app.callback(invoke_without_command=True)
def backends_list(context: typer.Context, json: Json = False) -> None:
    """The backends, their versions, and what is missing."""
    if context.invoked_subcommand is None:
        views.show_backends(backend_names(), json)


@backends_app.command("install")
def backends_install(
    name: Annotated[str, typer.Argument(help="The backend.")],
) -> None:
    """Make the environment that a backend needs (Lava has its own)."""
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
) -> None:
    """Run a two-layer network and compare every spike with the definition. Exit 1 if any differs."""
    network = tiny_network()
    results = deploy.compare(Program(network), tiny_inputs(network), ["judge", name])
    views.show_comparison(results, json=False)
    if not results[-1].ran:
        raise BackendMissingError(results[-1].note, where=f"backend '{name}'")
    if not results[-1].spikes_equal:
        raise typer.Exit(1)


def _available() -> list[str]:
    """The reference first, then every other backend that can run here; not the slow judge."""
    others = [n for n in backend_names() if n not in ("judge", "reference")]
    return ["reference", *(n for n in others if find_backend(n).status().available)]


def _loaded(
    path: Path, data: Path, limit: int | None, profile: str | None = None
) -> tuple[Program, Samples]:
    program = _program(deploy.load(path), profile)
    return program, load_samples(data).first(limit)


def _program(network: Network, profile: str | None) -> Program:
    chip: Any = None if profile is None else hardware(profile)
    return deploy.lower(network, chip)


if __name__ == "__main__":
    main()
