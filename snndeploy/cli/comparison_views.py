"""Backends side by side, and how one fared in the conformance suite: tables, or JSON."""

from __future__ import annotations

from collections.abc import Sequence

from snndeploy import units
from snndeploy.cli import console
from snndeploy.cli.views import versions
from snndeploy.conformance import SuiteReport
from snndeploy.side_by_side import SideBySide
from snndeploy.verify.comparison import BackendResult
from snndeploy.verify.diagnosis import Diagnosis

VERDICTS = {None: "did not run", True: "equal", False: "DIFFERENT"}

WIDE = 110
"""Columns of a screen that shows a backend's figures in one row."""


def show_comparison(found: SideBySide, json: bool) -> None:
    """One row for each backend, spikes of each layer, and where the first difference lies."""
    if json:
        console.as_json(found.as_dict())
        return
    _show_backends(found)
    ran = [result for result in found.results if result.ran]
    if any(result.layer_spikes for result in ran):
        console.say("\nMean spikes a sample\n")
        _show_spikes(found, ran)
    for result in found.results:
        if result.divergence is not None:
            console.say(f"\n{result.name} differs first at {result.divergence}")
            console.say(
                f"  ({found.reference.name} against {result.name}; steps and samples as "
                "simulated, the pipeline's shift removed)"
            )
        if result.diagnosis is not None:
            _show_diagnosis(result.diagnosis)
    for result in found.left_out:
        how = "refuses the network" if result.refused else "not here"
        console.say(f"\n{result.name}: {how}: {result.note}")


def _show_backends(found: SideBySide) -> None:
    """A row a backend; on a narrow screen in two tables, what came out and what it takes."""
    outcome = ["backend", ">samples", ">accuracy", ">agreement", "spikes"]
    differs = any(result.divergence is not None for result in found.results)
    outcome += ["first difference"] * differs
    effort = [">time a sample"]
    measured = any(result.footprint is not None for result in found.results)
    effort += [">start-up", ">peak memory"] * measured
    effort += [">energy", ">latency"] * bool(found.estimates)
    rows = [(_outcome(found, r, differs), _effort(found, r, measured)) for r in found.results]
    if console.out.width >= WIDE:
        console.table([*outcome, *effort], [[*first, *second] for first, second in rows])
    else:
        console.table(outcome, [first for first, _ in rows])
        console.say()
        console.table(["backend", *effort], [[first[0], *second] for first, second in rows])
    if found.estimates:
        assert found.program.profile is not None
        console.say(f"\nenergy and latency: of an inference on {found.program.profile.name}")


def _outcome(found: SideBySide, result: BackendResult, differs: bool) -> list[str]:
    verdict = "reference" if result is found.reference else VERDICTS[result.spikes_equal]
    shares = (result.accuracy, result.agreement)
    told = ["" if share is None else f"{share:.2%}" for share in shares]
    row = [result.name, f"{result.samples:,}", *told, verdict]
    place = result.divergence
    if differs:
        row.append("" if place is None else f"{place.layer}, step {place.step}")
    return row


def _effort(found: SideBySide, result: BackendResult, measured: bool) -> list[str]:
    told = [units.seconds(result.seconds_per_sample if result.ran else None)]
    if measured:
        told += [units.seconds(result.startup_seconds), units.memory(result.peak_bytes)]
    if found.estimates:
        estimate = found.estimates.get(result.name)
        told.append(units.energy(None if estimate is None else estimate.energy_pj))
        told.append(units.latency(None if estimate is None else estimate.latency_us))
    return told


def _show_spikes(found: SideBySide, ran: Sequence[BackendResult]) -> None:
    layers = [layer.name for layer in found.program.spiking]
    rows = [
        (layer, *(units.count(result.layer_spikes.get(layer, 0.0)) for result in ran))
        for layer in layers
    ]
    rows.append(("in all", *(units.count(result.spikes_per_sample) for result in ran)))
    rows.append(("mean steps", *(units.count(result.mean_steps) for result in ran)))
    console.table(["layer", *(f">{result.name}" for result in ran)], rows)


def _show_diagnosis(found: Diagnosis) -> None:
    """Both sides' neuron at the step, and why they differ."""
    names = (found.ours.backend, found.theirs.backend)
    console.say()
    console.table(["", *(f">{name}" for name in names)], found.rows())
    console.say(f"\ncause: {found.cause}")
    console.paragraph(found.explanation)


def show_suite(found: SuiteReport, known: dict[str, str], json: bool) -> None:
    """How a backend fared in the conformance suite: what it refuses, and what failed."""
    if json:
        console.as_json({**found.as_dict(), "versions": known})
        return
    console.say(f"{found.backend} ({versions(known)}): {found.sentence}")
    offered = found.as_dict()["not_offered"]
    if offered:
        console.say(f"not offered: {', '.join(offered)}")
    for finding in (*found.having("refused"), *found.having("failed")):
        where = (
            finding.case if finding.check == "every_step" else f"{finding.case}, {finding.check}"
        )
        how = "refused" if finding.result == "refused" else "FAILED"
        console.say(f"  {how}: {where}: {finding.reason}")
