"""`ReportData`: everything that a report can show; only the program and its trace are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from numpy.typing import NDArray

from snndeploy import units
from snndeploy.cost.estimate import Estimate
from snndeploy.measure import EventCounts, count_events, steps_within
from snndeploy.measure.placement import PlacementSummary, summarize_placement
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.report.choices import CurvePoint, ExitChoice
from snndeploy.trace import Trace
from snndeploy.verify.comparison import BackendResult

Verdict: TypeAlias = Literal["good", "bad", "open", ""]


@dataclass(frozen=True, eq=False)
class ExitSummary:
    """How an exit policy fared on samples that it was not calibrated on.

    Attributes:
        policy: the policy's spelling.
        stop_steps: int64 (N,), the step at which each sample stopped.
        accuracy: with the policy; `settled_accuracy` had every sample run to the end. None
            without labels.
        mean_steps: mean of `stop_steps`.
        spike_ratio: spikes with the policy over spikes without it.
        samples: how many samples these figures rest on.
    """

    policy: str
    stop_steps: Int64Array
    accuracy: float | None
    settled_accuracy: float | None
    mean_steps: float
    spike_ratio: float
    samples: int


class Headline(NamedTuple):
    """One tile at the top of the page."""

    label: str
    value: str
    hint: str
    verdict: Verdict = ""


@dataclass(frozen=True, eq=False)
class ReportData:
    """The parts of a report. Whatever is left out is left out of the page.

    Attributes:
        program: what was run.
        trace: of the reference engine; with spikes recorded, the page shows them.
        title: of the page; default is the network's name.
        labels: int64 (N,), the right classes of the trace's samples.
        accuracies: shares of one by name: `float ANN`, `integer quantized ANN`,
            `spiking, settled`, in the order in which they are shown.
        settle_steps: int64 (N,), after which step each sample stayed silent.
        exact: whether the spiking network ended in the quantized ANN's integers.
        certificate_lines: plain sentences on why, or why not.
        backends: of a comparison, the reference first.
        exit: the exit policy's figures.
        estimate: energy and latency on a chip; `exit_estimate` with early exit; `baselines` are
            what they are held against.
        provenance: further (label, value) rows, such as the data set's hash.
        exit_trace: the run under the exit policy.
        choices: settings of the exit policy that the reader can try.
        curves: what families of policies reach, by name; those of oracles begin with `oracle`.
        inputs: (N, *shape), to be shown if they are images.
    """

    program: Program
    trace: Trace
    title: str = ""
    labels: Int64Array | None = None
    accuracies: Mapping[str, float] = field(default_factory=dict)
    settle_steps: Int64Array | None = None
    exact: bool | None = None
    certificate_lines: tuple[str, ...] = ()
    backends: tuple[BackendResult, ...] = ()
    exit: ExitSummary | None = None
    estimate: Estimate | None = None
    baselines: tuple[Estimate, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    exit_estimate: Estimate | None = None
    exit_trace: Trace | None = None
    choices: tuple[ExitChoice, ...] = ()
    curves: Mapping[str, tuple[CurvePoint, ...]] = field(default_factory=dict)
    inputs: NDArray[Any] | None = None

    @property
    def heading(self) -> str:
        """The title, or the network's name."""
        return self.title or self.program.network.name

    @property
    def recorded(self) -> bool:
        """Whether the run holds the spikes of every layer."""
        return all(layer.name in self.trace.spikes for layer in self.program.spiking)

    @property
    def repriceable(self) -> bool:
        """Whether the run can be priced anew had it been stopped elsewhere."""
        priced = self.estimate is not None and self.program.profile is not None
        return priced and self.recorded

    @cached_property
    def counts(self) -> EventCounts | None:
        """Events of the settled run; None if it did not record its spikes."""
        return count_events(self.program, self.trace) if self.recorded else None

    @cached_property
    def placed(self) -> PlacementSummary | None:
        """What the placement uses; None if the network lies on no chip."""
        if not self.program.placement:
            return None
        return summarize_placement(self.program, self.trace if self.recorded else None)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the report lacks and why, in sentences."""
        network = self.program.network
        reasons = {
            "No labels were given: no accuracy, no confusion matrix, no oracle.": self.labels
            is None,
            "The run did not record single spikes: no raster, no histogram of neurons, no "
            "operations, no energy over the steps or of single samples.": not self.recorded,
            "The network lies on no chip: no energy, no latency, no placement.": (
                self.program.profile is None
            ),
            "No estimate was made: no energy, no latency.": (
                self.program.profile is not None and self.estimate is None
            ),
            "No exit policy was given: the slider moves the step at which every sample stops; "
            "nothing is said of what early exit saves.": self.exit is None,
            "No other backend ran: nothing is compared.": not self._compared,
            "The inputs come step by step: no pictures.": network.input.per_step,
            "No certificate was asked for: nothing is claimed about the quantized ANN.": (
                self.exact is None
            ),
        }
        return tuple(reason for reason, holds in reasons.items() if holds)

    @property
    def backends_agree(self) -> bool | None:
        """Whether every backend that was compared had the reference's spikes."""
        compared = self._compared
        return all(row.spikes_equal for row in compared) if compared else None

    @property
    def _compared(self) -> tuple[BackendResult, ...]:
        return tuple(row for row in self.backends[1:] if row.ran)

    @property
    def summary(self) -> tuple[Headline, ...]:
        """The tiles at the top."""
        tiles = (
            self._accuracy_tile(),
            self._exact_tile(),
            self._steps_tile(),
            self._energy_tile(),
            self._backends_tile(),
        )
        return tuple(tile for tile in tiles if tile is not None)

    def _accuracy_tile(self) -> Headline | None:
        known = dict(self.accuracies)
        if not known and self.labels is not None:
            known = {"spiking": self.trace.accuracy(self.labels)}
        if not known:
            return None
        *others, (name, value) = known.items()
        hint = [f"{name}", *(f"{units.percent(v, 2)} {n}" for n, v in reversed(others))]
        return Headline("Accuracy", units.percent(value, 2), "\n".join(hint))

    def _exact_tile(self) -> Headline:
        label = "Exactness"
        if self.exact is None:
            return Headline(label, "Not checked", "no certificate was asked for", "open")
        if self.exact:
            return Headline(
                label, "Exact", "the quantized ANN's integers, neuron by neuron", "good"
            )
        return Headline(label, "Not exact", "see the reasons below", "bad")

    def _steps_tile(self) -> Headline:
        if self.exit is not None:
            steps, name = self.exit.stop_steps, "with early exit"
        else:
            steps, name = self.trace.stop_steps, "until every sample stopped"
        middle, late = (steps_within(steps, share) for share in (0.5, 0.95))
        hint = f"{name}\np50 {units.count(middle)}, p95 {units.count(late)}"
        mean = self.exit.mean_steps if self.exit is not None else float(steps.mean())
        return Headline("Mean steps", units.count(mean), hint)

    def _energy_tile(self) -> Headline | None:
        found = self.estimate
        if found is None:
            return None
        label = "Energy an inference"
        if found.unpriced:
            names = ", ".join(units.event_name(event) for event in found.unpriced)
            return Headline(label, "No total", f"no price for: {names}", "open")
        known = found.energy_pj or found.dynamic_pj
        name = "static included" if found.energy_pj is not None else "dynamic only"
        grade = f"weakest constant: {found.grade or 'none'}"
        hint = f"{units.energy_range(known)}\n{name}; {grade}"
        early = self.exit_estimate
        if early is not None and not early.unpriced:
            hint += f"\n{units.energy(early.energy_pj or early.dynamic_pj)} with early exit"
        return Headline(label, units.energy(known), hint)

    def _backends_tile(self) -> Headline | None:
        if self.backends_agree is None:
            return None
        names = [row.name for row in self._compared]
        if self.backends_agree:
            return Headline("Backends", "Agree", f"same spikes: {', '.join(names)}", "good")
        wrong = [row.name for row in self._compared if not row.spikes_equal]
        return Headline("Backends", "Differ", f"other spikes: {', '.join(wrong)}", "bad")
