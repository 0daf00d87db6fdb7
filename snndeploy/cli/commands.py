"""The verbs of the command line, in the order of the story."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from snndeploy import deploy
from snndeploy.backend import backend_names, find_backend
from snndeploy.cli import (
    comparison_views,
    console,
    exit_commands,
    export_command,
    foreign_views,
    hardware_views,
    headroom_commands,
    model_views,
    placement_commands,
    sweep_commands,
    views,
)
from snndeploy.cli.hardware_commands import backends_app, profiles_app
from snndeploy.cli.options import (
    CalibrateName,
    DataFile,
    Json,
    Limit,
    Mode,
    ModeName,
    NetworkFile,
    Percentile,
    PerChannel,
    PolicyFile,
    ProfileName,
    Reset,
    ResetName,
    Seed,
    Thresholds,
    ThresholdsName,
    WeightBits,
)
from snndeploy.control import load_policy
from snndeploy.cost.breakeven import break_even_lines
from snndeploy.errors import BackendMissingError, DoesNotFitError, InputError, SnnDeployError
from snndeploy.files import save_json
from snndeploy.foreign import run_nir
from snndeploy.inputs import check_labels
from snndeploy.measure import count_events
from snndeploy.nirfile import is_foreign, save
from snndeploy.nirfile import lint as lint_nir
from snndeploy.program import Arrangement, Program
from snndeploy.samples import Samples, load_samples
from snndeploy.side_by_side import SideBySide, side_by_side
from snndeploy.story import BASELINE, PROFILE, ann_baselines, run_both, tell_story
from snndeploy.trace import Trace
from snndeploy.verify.comparison import Planted

app = typer.Typer(
    name="snndeploy",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(profiles_app, name="profiles")
app.add_typer(backends_app, name="backends", invoke_without_command=True)


def _version(asked: bool) -> None:
    if asked:
        console.say(f"snndeploy {version('snndeploy')}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Deploy quantized neural networks as spiking networks.

    Exact, the same spikes on every backend, priced on real chips.

    Exit codes: 0 success, 1 a check failed, 2 bad input.
    """


def main() -> None:
    """Run the command line; errors become one line and an exit code."""
    try:
        app(prog_name="snndeploy")
    except SnnDeployError as error:
        console.fail(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.fail("interrupted")
        sys.exit(130)


@app.command()
def convert(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A trained model: .onnx, or .pt2 (torch.export.save)."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="NET.nir", help="Where to write.")],
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="X.npz", help="Samples for --levels, or for a model without an input grid."
        ),
    ] = None,
    levels: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="L", help="At most so many spikes a neuron; default the model's."
        ),
    ] = None,
    thresholds: Thresholds = ThresholdsName.mse,
    percentile: Percentile = 99.9,
    per_channel: PerChannel = True,
    calibrate: Annotated[
        CalibrateName, typer.Option(help="light: biases; advanced: weights, too (minutes).")
    ] = CalibrateName.light,
    seed: Seed = 0,
    weight_bits: WeightBits = 8,
    weight_exponent: Annotated[
        int,
        typer.Option(
            min=0, max=16, metavar="E", help="Weights may be multiples of 2 to the E; 0: never."
        ),
    ] = deploy.WEIGHT_EXPONENT,
    state_bits: Annotated[
        int,
        typer.Option(min=8, max=32, metavar="B", help="Bits of a membrane; more: fewer flips."),
    ] = deploy.STATE_BITS,
    mode: Mode = ModeName.exact,
    window: Annotated[
        int | None,
        typer.Option(metavar="STEPS", help="Steps with input; default the most levels, up to 32."),
    ] = None,
    per_step: Annotated[
        bool, typer.Option("--per-step", help="Samples are (N, steps, ...): events, frames.")
    ] = False,
    reset: Reset = ResetName.soft,
    json: Json = False,
) -> None:
    """Turn a quantized model into a spiking network."""
    samples = None if calibration is None else load_samples(calibration)
    with console.progress("calibrating", json) as tell:
        network = deploy.convert(
            deploy.load(model),
            None if samples is None else samples.x,
            levels=levels,
            thresholds=thresholds.value,
            percentile=percentile,
            per_channel=per_channel,
            calibrate=calibrate.value,
            labels=None if samples is None or levels is None else samples.y,
            seed=seed,
            weight_bits=weight_bits,
            weight_exponent=weight_exponent,
            state_bits=state_bits,
            mode=mode.value,
            window=window,
            per_step=per_step,
            reset=reset.value,
            progress=tell,
        )
    save(network, out)
    views.show_network(Program(network), json)
    if not json:
        console.say(f"\nwritten: {out}")


@app.command()
def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .onnx, .pt2 or .nir file.")],
    profile: ProfileName = None,
    json: Json = False,
) -> None:
    """Show layers, what they become, thresholds, bits and cores."""
    network = deploy.load(model)
    if not network.is_integer:
        if profile is not None:
            raise InputError(
                "places spiking networks only", where="--profile", remedy="convert the model first"
            )
        model_views.show_model(network, json)
        return
    views.show_network(deploy.lower(network, profile), json)


app.command()(headroom_commands.headroom)
app.command()(headroom_commands.rescale)
app.command()(export_command.export)


@app.command()
def run(
    network: NetworkFile,
    data: DataFile,
    backend: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="From `snndeploy backends`; with options: norse:device=cuda,.."
        ),
    ] = "reference",
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="T", help="The most steps; default: until settled.")
    ] = None,
    dt: Annotated[
        float | None,
        typer.Option(metavar="TIME", help="Step of a NIR file that another tool wrote."),
    ] = None,
    exit_policy: PolicyFile = None,
    baseline: Annotated[
        bool,
        typer.Option("--baseline", help="With --exit: run to the end, too, to tell what it saves."),
    ] = False,
    limit: Limit = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="RUN.npz", help="Write logits, steps, predictions."),
    ] = None,
    json: Json = False,
) -> None:
    """Simulate samples on one backend.

    A NIR file that another tool wrote runs as NIR defines it, on norse or judge, at steps of --dt;
    samples are (N, T, ...), or (N, ...) with --steps.
    """
    if network.suffix == ".nir" and is_foreign(network):
        _run_foreign(network, data, backend, dt, steps, limit, out, exit_policy, baseline, json)
        return
    if dt is not None:
        raise InputError(
            "is for NIR files that other tools wrote", where="--dt", remedy="leave it out"
        )
    program, samples = _loaded(network, data, limit)
    if samples.y is not None:
        check_labels(samples.y, program.network, len(samples))
    policy = None if exit_policy is None else load_policy(exit_policy)
    if baseline and policy is None:
        raise InputError("is for runs with --exit", where="--baseline", remedy="give a policy")
    if policy is not None and steps is None:
        steps = policy.steps  # of the run to the end, too
    full: Trace | None = None
    with console.progress(f"simulating on {backend}", json) as tell:
        if baseline:
            full, stopped = run_both(
                program, samples, policy, tell, steps=steps, backend=backend, record=False
            )
            trace = full if stopped is None else stopped
        else:
            trace = deploy.run(
                program,
                samples.x,
                backend=backend,
                steps=steps,
                exit_policy=policy,
                record=False,
                progress=tell,
            )
    if out is not None:
        views.save_trace(trace, out)
    views.show_trace(program, trace, samples.y, json, full, steps)


@app.command()
def lint(
    file: Annotated[Path, typer.Argument(metavar="FILE.nir", help="Any NIR file.")],
    json: Json = False,
) -> None:
    """Tell what each known reader of NIR would do otherwise than NIR says."""
    foreign_views.show_findings(lint_nir(file), json)


@app.command()
def compare(
    network: NetworkFile,
    data: DataFile,
    backends: Annotated[
        str | None,
        typer.Option(metavar="A,B,..", help="The first is the reference; default: all available."),
    ] = None,
    profile: ProfileName = None,
    limit: Limit = None,
    steps: Annotated[int | None, typer.Option(min=1, metavar="T", help="The most steps.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="OUT.html", help="Write it as a page, too.")
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="Run each in a process of its own: start-up and peak memory.",
        ),
    ] = True,
    plant: Annotated[
        str | None,
        typer.Option(
            metavar="BACKEND:LAYER:CHANNEL:DELTA",
            help="Change one threshold in one backend, to see the comparison fail.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Hold every spike of several backends to the first.

    They are set side by side: accuracy, spikes, time, memory and, with --profile, energy.
    Backends that are missing here are named and left out.

    Exit code 1 if any differs: the first layer, neuron and step are named, and the cause.
    """
    program, samples = _loaded(network, data, limit, profile)
    names = _available() if backends is None else _names(backends)
    planted = None if plant is None else Planted.parse(plant)
    if planted is not None and planted.backend not in names:
        raise InputError(
            f"'{planted.backend}' is not among {', '.join(names)}", where="planted threshold"
        )
    with console.progress("comparing", json) as tell:
        found = side_by_side(
            program,
            samples,
            names,
            steps=steps,
            planted=planted,
            measure=measure,
            progress=tell,
        )
    if html is not None:
        from snndeploy.report.comparison import save_comparison  # noqa: PLC0415  (plots: slow)

        save_comparison(found, html)
    comparison_views.show_comparison(found, json)
    _judge(found)


def _judge(found: SideBySide) -> None:
    """Exit code 1 if spikes differ, 2 if a network is refused or nothing was compared."""
    if found.agree is False:
        raise typer.Exit(1)
    for result in found.left_out:
        if result.refused:
            raise DoesNotFitError(result.note, where=f"backend '{result.name}'")
    if found.left_out and not found.compared:
        result = found.left_out[0]
        raise BackendMissingError(result.note, where=f"backend '{result.name}'")


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
    """Prove that it settles to the integer quantized ANN.

    Exit code 1 if the certificate is refused: the reason and the cure are given.
    """
    program, samples = _loaded(network, data, limit, profile)
    with console.progress("checking every neuron", json) as tell:
        found = deploy.certify(program, samples.x, progress=tell)
    if out is not None:
        save_json(found.as_dict(), out)
    views.show_certificate(found, json)


@app.command()
def fidelity(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The model that was converted.")],
    network: NetworkFile,
    data: DataFile,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Show what rounding to integers cost, layer by layer."""
    before, after = deploy.load(model), deploy.load(network)
    samples = load_samples(data).first(limit)
    with console.progress("comparing every count", json) as tell:
        found = deploy.fidelity(before, after, samples.x, samples.y, progress=tell)
    views.show_fidelity(found, json)


app.command("calibrate-exit")(exit_commands.calibrate_exit)


@app.command()
def energy(
    network: NetworkFile,
    data: DataFile,
    profile: Annotated[str, typer.Option(metavar="NAME", help="Chip.")] = PROFILE,
    baseline: Annotated[
        str, typer.Option(metavar="NAME", help="Digital baseline for the same network as an ANN.")
    ] = BASELINE,
    by_traffic: Annotated[
        bool,
        typer.Option("--by-traffic", help="Move cores together that talk to each other (slow)."),
    ] = False,
    exit_policy: PolicyFile = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Count events, and price them on a chip."""
    arrangement: Arrangement = "by_traffic" if by_traffic else "in_order"
    program = deploy.lower(deploy.load(network), profile, arrangement=arrangement)
    samples = load_samples(data).first(limit)
    policy = None if exit_policy is None else load_policy(exit_policy)
    with console.progress("counting events", json) as tell:
        full, stopped = run_both(program, samples, policy, tell)
    snn = deploy.estimate(program, full if stopped is None else stopped, full)
    found = count_events(program, full)
    beside = ann_baselines(program, full, baseline)
    lines = break_even_lines(program, beside, found.spikes_per_synapse, found.steps)
    hardware_views.show_energy(snn, beside, json, lines)


app.command()(placement_commands.placement)


@app.command()
def report(
    network: NetworkFile,
    data: DataFile,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="REPORT.html", help="Where to: .html, .md, .json or .csv."
        ),
    ],
    profile: Annotated[str, typer.Option(metavar="NAME", help="Chip.")] = PROFILE,
    backends: Annotated[
        str, typer.Option(metavar="A,B,..", help="Compare these; the first is the reference.")
    ] = "reference",
    exit_policy: PolicyFile = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page on all of it, or its figures."""
    from snndeploy.report import check_form, report_of  # noqa: PLC0415  (the plotting library is slow)

    check_form(out)
    program, samples = _loaded(network, data, limit, profile)
    policy = None if exit_policy is None else load_policy(exit_policy)
    with console.progress("simulating", json) as tell:
        story = tell_story(program, samples, policy, _names(backends), progress=tell)
    report_of(story).save(out)
    if json:
        console.as_json(story.summary())
    else:
        console.say(f"written: {out}")


app.command()(sweep_commands.sweep)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where to write.")] = Path(
        "demo-out"
    ),
    json: Json = False,
) -> None:
    """Do all of it on handwritten digits, from training on."""
    from snndeploy.cli.demo import run_demo  # noqa: PLC0415  (torch is slow to load)

    summary = run_demo(out, quiet=json)
    if json:
        console.as_json(summary)
    ran = [row for row in summary["backends"].values() if "missing" not in row]
    if not summary["exact"] or not all(row["spikes_equal_reference"] for row in ran):
        raise typer.Exit(1)


def _names(text: str) -> list[str]:
    """Backends, parted by commas; so are the options of one: `a,b:key=value,key=value,c`."""
    parts = re.split(r",(?!\s*[\w-]+\s*=)", text)
    return [name.strip() for name in parts if name.strip()]


def _run_foreign(
    file: Path,
    data: Path,
    backend: str,
    dt: float | None,
    steps: int | None,
    limit: int | None,
    out: Path | None,
    exit_policy: Path | None,
    baseline: bool,
    json: bool,
) -> None:
    if exit_policy is not None or baseline:
        where = "--baseline" if exit_policy is None else "--exit"
        raise InputError("is for networks that snndeploy converted", where=where)
    samples = load_samples(data).first(limit)
    with console.progress(f"simulating on {backend}", json) as tell:
        trace = run_nir(
            file,
            samples.x,
            dt=dt,
            steps=steps,
            backend=backend,
            record=False,
            progress=tell,
        )
    if out is not None:
        foreign_views.save(trace, out)
    foreign_views.show(trace, samples.y, json)


def _available() -> list[str]:
    """The reference first, then all that can run any network here; not the slow judge."""
    others = [n for n in backend_names() if n not in ("judge", "reference", "lava_stock")]
    return ["reference", *(n for n in others if find_backend(n).status().available)]


def _loaded(
    path: Path, data: Path, limit: int | None, profile: str | None = None
) -> tuple[Program, Samples]:
    program = deploy.lower(deploy.load(path), profile)
    return program, load_samples(data).first(limit)
