"""The figures of early exit: what each setting costs, what is saved, each sample's own cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snndeploy.cost.estimate import Estimate
from snndeploy.cost.latency import step_times
from snndeploy.measure import count_events, steps_within
from snndeploy.measure.activity import activity
from snndeploy.measure.events import events_of
from snndeploy.numerics import FloatArray, Int64Array
from snndeploy.report.data import ReportData
from snndeploy.report.dataset import Dataset
from snndeploy.report.energy_figures import estimated
from snndeploy.report.figures import histogram
from snndeploy.trace import Trace


def exit_steps(data: ReportData) -> Dataset | None:
    """At which step samples stopped."""
    if data.exit is None:
        return None
    return histogram("exit_steps", "Steps at which samples stop early", data.exit.stop_steps)


def choices(data: ReportData) -> Dataset | None:
    """What each setting of the slider would have meant on these samples."""
    if not data.choices:
        return None
    rows = []
    for choice in data.choices:
        steps = choice.stop_steps
        middle, late = (steps_within(steps, share) for share in (0.5, 0.95))
        cut = data.trace.cut(steps)
        accuracy = None if data.labels is None else cut.accuracy(data.labels)
        cost: tuple[float | str | None, ...] = (None,) * 5
        if data.repriceable:
            cost = _cost(estimated(data, steps, choice.decides))
        rows.append(
            (choice.setting, "yes" if choice.chosen else "", steps.mean(), middle, late, accuracy,
             cut.spike_ratio(data.trace), *cost)
        )  # fmt: skip
    columns = (
        "setting calibrated mean_steps p50_steps p95_steps accuracy spikes_share "
        "energy_pj energy_low_pj energy_high_pj latency_us grade"
    )
    return Dataset.of("exit_choices", "Settings of the exit policy", columns, rows)


def _cost(found: Estimate) -> tuple[float | str | None, ...]:
    energy = found.energy_pj or found.dynamic_pj
    bounds = (None, None, None) if energy is None else (energy.nominal, energy.low, energy.high)
    latency = None if found.latency_us is None else found.latency_us.nominal
    return (*bounds, latency, found.grade)


def policies(data: ReportData) -> Dataset | None:
    """Accuracy against mean steps: every family of policies, fixed steps, and the oracle."""
    if data.labels is None or not data.curves:
        return None
    rows = [
        (name, point.mean_steps, point.p95_steps, point.accuracy)
        for name, points in data.curves.items()
        for point in points
    ]
    columns = "policy mean_steps p95_steps accuracy"
    return Dataset.of("exit_policies", "Accuracy against mean steps", columns, rows)


def fixed_match(data: ReportData) -> int | None:
    """The first step at which all samples together are as accurate as with early exit."""
    if data.labels is None or data.exit is None or data.exit.accuracy is None:
        return None
    enough = np.array(data.trace.accuracy_by_step(data.labels)) >= data.exit.accuracy
    return int(enough.argmax()) + 1 if enough.any() else None


def saved(data: ReportData) -> Dataset | None:
    """Settled, all stopped at one step of matched accuracy, and with early exit."""
    stopped = data.exit_trace
    if data.exit is None or stopped is None:
        return None
    runs: dict[str, tuple[Trace, Estimate | None, float | None]] = {
        "run until settled": (data.trace, data.estimate, _seconds(data.trace))
    }
    match = fixed_match(data)
    if match is not None:
        steps = np.full(len(data.trace), match)
        cost = estimated(data, steps, decides=False) if data.repriceable else None
        runs[f"all stopped after {match}, no less accurate"] = (data.trace.cut(steps), cost, None)
    runs["early exit"] = (stopped, data.exit_estimate, _seconds(stopped))
    rows = [(name, *_run(data, *run)) for name, run in runs.items()]
    columns = "run accuracy mean_steps spikes synops energy_pj latency_us wall_clock_s"
    return Dataset.of("exit_saved", "What early exit saves", columns, rows)


def _seconds(trace: Trace) -> float:
    """Of the simulation, once the simulator has started."""
    return trace.seconds - trace.start_seconds


def _run(
    data: ReportData, trace: Trace, cost: Estimate | None, seconds: float | None
) -> tuple[float | str | None, ...]:
    synops: float | None = None
    energy: float | str | None = None
    latency: float | str | None = None
    if data.recorded:
        synops = count_events(data.program, trace, data.trace).total("synop")
    if cost is not None:
        energy, _, _, latency, _ = _cost(cost)
    return (
        None if data.labels is None else trace.accuracy(data.labels),
        float(trace.stop_steps.mean()),
        trace.total_events / len(trace),
        synops,
        energy,
        latency,
        None if seconds is None else seconds / len(trace),
    )


class SampleCosts(NamedTuple):
    """Nominal energy, pJ, and latency, us, of each sample; (N,)."""

    energy_pj: FloatArray
    latency_us: FloatArray | None


def sample_costs(data: ReportData, trace: Trace, cost: Estimate) -> SampleCosts:
    """Each sample's own counts at nominal prices, and static power over its own time.

    A step takes what it takes the settled run's mean sample. What has no price is left out.
    """
    program = data.program
    run = activity(program, trace, data.trace)
    each = events_of(program, run.recorded).each
    late = np.sum(
        [found.reshape(len(trace), -1).sum(axis=1) for found in run.late.values()], axis=0
    )
    energy = np.zeros(len(trace))
    for term in cost.terms:
        if term.energy_pj is None or not term.count:
            continue
        counted = late if term.event == "in_flight" else each[term.layer][term.event]
        energy += term.energy_pj.nominal * counted / term.count
    times = step_times(program, activity(program, data.trace))
    if times is None or cost.latency_us is None:
        return SampleCosts(energy, None)
    latency = np.cumsum(times)[run.steps - 1]
    if cost.static_pj is not None:
        energy += cost.static_pj.nominal * latency / cost.latency_us.nominal
    return SampleCosts(energy, latency)


def samples(data: ReportData) -> Dataset:
    """Each sample: what it is, what was answered, after how many steps, at what cost."""
    count = len(data.trace)
    none = [None] * count
    columns = {
        "sample": range(count),
        "class": none if data.labels is None else data.labels,
        "prediction": data.trace.predictions,
        "steps": data.trace.stop_steps,
        **_costs(data, data.trace, data.estimate, ""),
    }
    if data.exit_trace is not None:
        columns |= {
            "exit_prediction": data.exit_trace.predictions,
            "exit_steps": data.exit_trace.stop_steps,
            **_costs(data, data.exit_trace, data.exit_estimate, "exit_"),
        }
    known = {name: column for name, column in columns.items() if column is not none}
    return Dataset.of("samples", "Each sample", " ".join(known), zip(*known.values(), strict=True))


def _costs(
    data: ReportData, trace: Trace, cost: Estimate | None, prefix: str
) -> dict[str, FloatArray]:
    if cost is None or not data.repriceable:
        return {}
    found = sample_costs(data, trace, cost)
    made = {f"{prefix}energy_pj": found.energy_pj}
    if found.latency_us is not None:
        made[f"{prefix}latency_us"] = found.latency_us
    return made


def ranked(data: ReportData) -> Int64Array:
    """Samples from the easiest to the hardest: by the step they stop, then by their margin.

    The margin is that of the two largest logits after the first step.
    """
    steps = data.trace.stop_steps if data.exit is None else data.exit.stop_steps
    top = np.sort(data.trace.logits[:, 0], axis=1)
    margin = top[:, -1] - top[:, -2] if top.shape[1] > 1 else top[:, -1]
    order: Int64Array = np.lexsort((-margin, steps))
    return order
