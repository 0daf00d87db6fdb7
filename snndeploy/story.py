"""One network's whole story on one data set: what the report and the demo tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from snndeploy import deploy
from snndeploy.control import ExitPolicy
from snndeploy.cost import Estimate, estimate_ann
from snndeploy.errors import CertificateRefusedError
from snndeploy.hardware import hardware
from snndeploy.inputs import check_labels
from snndeploy.measure import settle_steps
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy.samples import Samples
from snndeploy.simulate import Progress
from snndeploy.trace import Trace
from snndeploy.verify.certificate import Certificate
from snndeploy.verify.comparison import BackendResult

PROFILE, BASELINE, BESIDE = "loihi1", "digital_int8_45nm", "digital_fp32_45nm"
"""The chip and the digital baseline that are taken where none is named, and what is beside it."""


@dataclass(frozen=True, eq=False)
class Story:
    """Everything that was found out about a program on some samples.

    Attributes:
        trace: of the reference engine, until settled, with spikes.
        certificate: or None, with the reason in `refusal`.
        results: one row for each backend compared; empty if none was asked for.
        policy, exit_trace: early exit, if there is a policy.
        estimate, exit_estimate: cost on the program's profile, settled and with early exit.
        baselines: the same network as an int8 ANN, dense and zero-skipping, and as an fp32 ANN.
    """

    program: Program
    samples: Samples
    trace: Trace
    settle: Int64Array
    certificate: Certificate | None
    refusal: str
    results: tuple[BackendResult, ...]
    policy: ExitPolicy | None
    exit_trace: Trace | None
    estimate: Estimate | None
    exit_estimate: Estimate | None
    baselines: tuple[Estimate, ...]

    def summary(self) -> dict[str, Any]:
        """The figures, for JSON."""
        labels = self.samples.y
        found: dict[str, Any] = {
            "samples": len(self.trace),
            "snn_accuracy": None if labels is None else self.trace.accuracy(labels),
            "exact": self.certificate is not None,
            "settle_steps": {"mean": float(self.settle.mean()), "max": int(self.settle.max())},
            "backends": {result.name: _backend_summary(result) for result in self.results},
        }
        if self.exit_trace is not None:
            stop = self.exit_trace.stop_steps
            found["exit"] = {
                "mean_steps": float(stop.mean()),
                "max_steps": int(stop.max()),
                "accuracy": None if labels is None else self.exit_trace.accuracy(labels),
                "spike_ratio": self.exit_trace.spike_ratio(self.trace),
            }
        if self.estimate is not None:
            found["energy"] = {
                "profile": self.estimate.profile,
                "snn_uj": _microjoules(self.estimate),
                "snn_exit_uj": _microjoules(self.exit_estimate),
                "ann_int8_uj": _microjoules(self.baselines[0]),
                "latency_us": _latency(self.estimate),
                "latency_exit_us": _latency(self.exit_estimate),
            }
        return found


def tell_story(
    program: Program,
    samples: Samples,
    policy: ExitPolicy | None = None,
    backends: Sequence[str] = (),
    *,
    limits: dict[str, int] | None = None,
    progress: Progress | None = None,
) -> Story:
    """Run, certify, compare, stop early and price one program on some samples.

    Args:
        program: placed on a profile if energy is wanted.
        samples: inputs, and labels where known.
        policy: for early exit.
        backends: to compare; the first is the reference.
        limits: the most samples for a backend.
        progress: told (samples done, samples in all) by each stage.
    """
    if samples.y is not None:
        check_labels(samples.y, program.network, len(samples))
    trace, stopped = run_both(program, samples, policy, progress)
    certificate, refusal = None, ""
    try:
        certificate = deploy.certify(program, samples.x, trace=trace, progress=progress)
    except CertificateRefusedError as error:
        refusal = str(error)
    results: list[BackendResult] = []
    if backends:
        results = deploy.compare(
            program,
            samples.x,
            backends,
            labels=samples.y,
            limits=limits,
            progress=progress,
            reference=trace if backends[0] == trace.backend else None,
        )
    priced = program.profile is not None
    return Story(
        program=program,
        samples=samples,
        trace=trace,
        settle=settle_steps(trace, program.network.window),
        certificate=certificate,
        refusal=refusal,
        results=tuple(results),
        policy=policy,
        exit_trace=stopped,
        estimate=deploy.estimate(program, trace) if priced else None,
        exit_estimate=deploy.estimate(program, stopped, trace) if priced and stopped else None,
        baselines=ann_baselines(program, trace),
    )


def run_both(
    program: Program,
    samples: Samples,
    policy: ExitPolicy | None,
    progress: Progress | None = None,
    *,
    steps: int | None = None,
    backend: str = "reference",
    record: bool = True,
) -> tuple[Trace, Trace | None]:
    """The run until settled and, if there is a policy, the one that it stops early.

    One sample goes ahead of each, so that neither's time holds the backend's preparation. In rate
    mode both take the policy's steps, unless `steps` are given.
    """
    if steps is None and policy is not None:
        steps = policy.steps

    def timed(chosen: ExitPolicy | None) -> Trace:
        run = partial(
            deploy.run, program, backend=backend, steps=steps, exit_policy=chosen, record=record
        )
        run(samples.x[:1])
        return run(samples.x, progress=progress)

    return timed(None), None if policy is None else timed(policy)


def ann_baselines(program: Program, settled: Trace, name: str = BASELINE) -> tuple[Estimate, ...]:
    """The same network as an int8 ANN: dense, and with zero activations skipped; then as fp32."""
    chip = hardware(name)
    dense = estimate_ann(program.network, chip)
    skipping = estimate_ann(program.network, chip, trace=settled)
    return dense, skipping, estimate_ann(program.network, hardware(BESIDE))


def _backend_summary(result: BackendResult) -> dict[str, Any]:
    if not result.ran:
        return {"missing": result.note}
    return {
        "samples": result.samples,
        "accuracy": result.accuracy,
        "spikes_equal_reference": result.spikes_equal,
        "seconds": round(result.seconds, 3),
    }


def _microjoules(estimate: Estimate | None) -> dict[str, float] | None:
    energy = None if estimate is None else estimate.energy_pj
    return None if energy is None else energy.times(1e-6).as_dict()


def _latency(estimate: Estimate | None) -> dict[str, float] | None:
    latency = None if estimate is None else estimate.latency_us
    return None if latency is None else latency.as_dict()
