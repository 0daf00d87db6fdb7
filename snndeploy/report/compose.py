"""Reports from what the rest of snndeploy found out: a run and its estimates, or a whole story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snndeploy.control import ExitPolicy, Policy
from snndeploy.cost import Estimate
from snndeploy.errors import InputError
from snndeploy.files import save_text
from snndeploy.measure import settle_steps
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.report.choices import choices_of, curves_of
from snndeploy.report.data import ExitSummary, ReportData
from snndeploy.stopping import Controller
from snndeploy.story import Story
from snndeploy.trace import Trace
from snndeploy.verify.certificate import Certificate
from snndeploy.verify.comparison import BackendResult


@dataclass(frozen=True, eq=False)
class Report:
    """A report that can be looked at or saved."""

    data: ReportData

    @property
    def html(self) -> str:
        """The page."""
        from snndeploy.report.page import render  # noqa: PLC0415  (the plotting library is slow)

        return render(self.data)

    def text(self, form: str) -> str:
        """The report in one of `FORMS`."""
        from snndeploy.report import outputs  # noqa: PLC0415

        if form == ".html":
            return self.html
        make = {".md": outputs.to_markdown, ".json": outputs.to_json, ".csv": outputs.to_csv}
        return make[form](self.data)

    def save(self, path: str | Path) -> Path:
        """Write it in the form that the name ends in: one of `FORMS`. Returns where.

        A file that was there before stays whole until the new one is.

        Raises:
            InputError: the name ends otherwise.
        """
        target = Path(path)
        form = check_form(target)
        save_text(self.text(form), target)
        return target


FORMS = (".html", ".md", ".json", ".csv")
"""What the name of a report can end in."""


def check_form(path: Path) -> str:
    """The form of a report's file; raises `InputError` if its name ends otherwise."""
    form = path.suffix.lower()
    if form not in FORMS:
        raise InputError(
            f"'{path.name}' ends in none of {', '.join(FORMS)}",
            where="report",
            remedy="name it report.html, or with another of these endings",
        )
    return form


def report(
    program: Program,
    trace: Trace,
    *,
    labels: Int64Array | None = None,
    accuracies: Mapping[str, float] | None = None,
    certificate: Certificate | None = None,
    backends: tuple[BackendResult, ...] = (),
    policy: ExitPolicy | Controller | None = None,
    exit_trace: Trace | None = None,
    estimate: Estimate | None = None,
    exit_estimate: Estimate | None = None,
    baselines: tuple[Estimate, ...] = (),
    inputs: NDArray[Any] | None = None,
    title: str = "",
) -> Report:
    """A report on one run; whatever is left out is left out of the page.

    Args:
        program: what was run.
        trace: of the reference engine, until settled.
        labels: the right classes of its samples.
        accuracies: further accuracies, such as the float ANN's, best known first.
        certificate: of exactness.
        backends: of a comparison, the reference first.
        policy: of early exit: a calibrated one, or any controller.
        exit_trace: the run of the same samples under it.
        estimate: cost of the settled run.
        exit_estimate: cost of the one with early exit.
        baselines: what it is held against.
        inputs: the samples (N, *shape), shown if they are images.
        title: of the page; default is the network's name.
    """
    known = dict(accuracies or {})
    if labels is not None and not known:
        known = {"spiking, settled": trace.accuracy(labels)}
    network = program.network
    exact_mode = network.mode == "exact"
    return Report(
        ReportData(
            program=program,
            trace=trace,
            title=title,
            labels=labels,
            accuracies=known,
            settle_steps=settle_steps(trace, network.window) if exact_mode else None,
            exact=None if certificate is None else True,
            certificate_lines=() if certificate is None else certificate.sentences(),
            backends=backends,
            exit=None if exit_trace is None else _exit(policy, trace, exit_trace, labels),
            estimate=estimate,
            exit_estimate=exit_estimate,
            baselines=baselines,
            exit_trace=exit_trace,
            choices=choices_of(policy, trace),
            curves={} if labels is None else curves_of(network, trace, labels),
            inputs=inputs,
        )
    )


def report_of(
    story: Story, accuracies: Mapping[str, float] | None = None, title: str = ""
) -> Report:
    """The report of a whole story."""
    made = report(
        story.program,
        story.trace,
        labels=story.samples.y,
        accuracies=accuracies,
        certificate=story.certificate,
        backends=story.results,
        policy=story.policy,
        exit_trace=story.exit_trace,
        estimate=story.estimate,
        exit_estimate=story.exit_estimate,
        baselines=story.baselines,
        inputs=story.samples.x,
        title=title,
    )
    provenance = [("samples' hash", f"sha256 {story.samples.hash}")]
    if story.certificate is not None and story.certificate.profile_hash is not None:
        provenance.append(("profile hash", f"sha256 {story.certificate.profile_hash}"))
    refused = story.certificate is None
    return Report(
        replace(
            made.data,
            exact=not refused,
            certificate_lines=(story.refusal,) if refused else made.data.certificate_lines,
            provenance=tuple(provenance),
        )
    )


def _exit(
    policy: ExitPolicy | Controller | None, trace: Trace, stopped: Trace, labels: Int64Array | None
) -> ExitSummary:
    name = "not given"
    if isinstance(policy, ExitPolicy):
        name = f"{policy}, calibrated on {policy.held_out_samples:,} held-out samples"
    elif policy is not None:
        name = str(policy) if isinstance(policy, Policy) else type(policy).__name__
    return ExitSummary(
        policy=name,
        stop_steps=stopped.stop_steps,
        accuracy=None if labels is None else stopped.accuracy(labels),
        settled_accuracy=None if labels is None else trace.accuracy(labels),
        mean_steps=float(np.mean(stopped.stop_steps)),
        spike_ratio=stopped.spike_ratio(trace),
        samples=len(stopped),
    )
