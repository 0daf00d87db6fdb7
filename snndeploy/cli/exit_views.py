"""A calibrated exit policy and its promise, for a reader or as JSON for a machine."""

from __future__ import annotations

from pathlib import Path

from snndeploy.cli import console
from snndeploy.control import ExitPolicy
from snndeploy.control.words import sentences
from snndeploy.units import engineering

LITTLE_SAVED = 0.25
"""Of the steps: below it the reader is told of the policies that were not searched."""


def show_policy(found: ExitPolicy, searched: str, out: Path, json: bool) -> None:
    """The rule, what it does on held-out data, the promise in words, and the front.

    `searched` names the family of policies, or is `all`.
    """
    if json:
        console.as_json(found.model_dump(mode="json"))
        return
    rule = "run every sample to its end" if found.policy is None else f"stop at {found.policy}"
    console.say(f"{rule}\n")
    settled = "until settled" if found.mode == "exact" else "all steps"
    tails = f"p95 {found.p95_steps}, p99 {found.p99_steps}"
    console.table(
        ["", f">{settled}", ">with exit"],
        [
            ("accuracy", f"{found.settled_accuracy:.2%}", f"{found.expected_accuracy:.2%}"),
            ("mean steps", f"{found.settled_steps:.2f}", f"{found.expected_steps:.2f}"),
            ("tail steps", "", tails),
        ],
    )
    console.say()
    for sentence in sentences(found):
        console.paragraph(sentence)
    saved = 1 - found.expected_steps / found.settled_steps
    if searched != "all" and saved < LITTLE_SAVED:
        console.paragraph(
            f"This saves {saved:.0%} of the steps. Other policies may save more: --policy all."
        )
    _show_front(found)
    console.say(f"\nwritten: {out}")


def _show_front(found: ExitPolicy) -> None:
    priced = found.profile is not None
    console.say(
        "\nthe best policies that were searched; drop: against the same samples' last answers\n"
    )
    columns = [">accuracy", ">drop", ">mean steps", ">p95", ">p99", "stop at"]
    rows = []
    for point in found.front:
        row = [
            f"{point.accuracy:.2%}",
            f"{point.accuracy_drop:+.2%}",
            f"{point.mean_steps:.2f}",
            point.p95_steps,
            point.p99_steps,
            *([_joules(point.energy_pj)] if priced else []),
            str(point.policy),
        ]
        rows.append(row)
    if priced:
        columns.insert(-1, ">energy")
    console.table(columns, rows)
    if priced:
        console.say(
            f"\nenergy: mean of {found.energy_samples} samples on {found.profile}, "
            f"{_joules(found.settled_energy_pj)} without stopping"
        )


def _joules(energy_pj: float | None) -> str:
    return "unknown" if energy_pj is None else engineering(energy_pj * 1e-12, "J")
