"""Several backends on the same samples: what `compare` shows in one table and on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from snndeploy import deploy
from snndeploy.cost import Estimate
from snndeploy.program import Program
from snndeploy.samples import Samples
from snndeploy.simulate import Progress
from snndeploy.trace import Trace
from snndeploy.verify.comparison import BackendResult, Planted


@dataclass(frozen=True, eq=False)
class SideBySide:
    """A comparison of backends.

    Attributes:
        program: what was run; placed on a profile if energies are wanted.
        results: one for each backend that was asked for; the first is the reference.
        estimates: cost on the program's profile, from each backend's own spikes, by name.
        data_hash: of the samples.
    """

    program: Program
    results: tuple[BackendResult, ...]
    estimates: Mapping[str, Estimate]
    data_hash: str = ""

    @property
    def reference(self) -> BackendResult:
        """The first backend."""
        return self.results[0]

    @property
    def compared(self) -> tuple[BackendResult, ...]:
        """The backends beside the reference that ran."""
        return tuple(result for result in self.results[1:] if result.ran)

    @property
    def left_out(self) -> tuple[BackendResult, ...]:
        """The backends that are missing here, or refuse the network."""
        return tuple(result for result in self.results if not result.ran)

    @property
    def agree(self) -> bool | None:
        """Whether every spike of every backend that ran is the reference's; None if none ran."""
        return all(result.spikes_equal for result in self.compared) if self.compared else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times in seconds, memory in bytes, energies in pJ, latencies in us."""
        network = self.program.network
        return {
            "network": network.name,
            "hash": network.hash,
            "mode": network.mode,
            "window": network.window,
            "profile": None if self.program.profile is None else self.program.profile.name,
            "data_hash": self.data_hash or None,
            "reference": self.reference.name,
            "agree": self.agree,
            "backends": [self._row(result) for result in self.results],
        }

    def _row(self, result: BackendResult) -> dict[str, Any]:
        estimate = self.estimates.get(result.name)
        return {
            "backend": result.name,
            "versions": result.versions,
            "samples": result.samples,
            "accuracy": result.accuracy,
            "agreement": result.agreement,
            "spikes_equal": result.spikes_equal,
            "first_divergence": _divergence(result),
            "mean_steps": result.mean_steps if result.ran else None,
            "spikes_per_sample": result.spikes_per_sample if result.ran else None,
            "spikes_by_layer": dict(result.layer_spikes),
            "seconds": result.seconds,
            "seconds_per_sample": result.seconds_per_sample if result.ran else None,
            "startup_seconds": result.startup_seconds,
            "peak_bytes": result.peak_bytes,
            "energy": None if estimate is None else _energy(estimate),
            "missing": result.note or None if not result.refused else None,
            "refused": result.note if result.refused else None,
        }


def side_by_side(
    program: Program,
    samples: Samples,
    backends: Sequence[str],
    *,
    limits: dict[str, int] | None = None,
    steps: int | None = None,
    planted: Planted | None = None,
    measure: bool = False,
    progress: Progress | None = None,
) -> SideBySide:
    """Compare backends, and price what each of them did if the program is on a profile.

    Args:
        program: from `lower`.
        samples: inputs, and labels where known.
        backends: names; the first is the reference and must run.
        limits: the most samples for a backend.
        steps: as in `simulate`.
        planted: an error to find.
        measure: run each in a process of its own, and tell its start-up and peak memory.
        progress: told (samples done, samples in all) by each backend.
    """
    estimates: dict[str, Estimate] = {}

    def price(name: str, trace: Trace) -> None:
        if program.profile is not None:
            estimates[name] = deploy.estimate(program, trace)

    results = deploy.compare(
        program,
        samples.x,
        backends,
        labels=samples.y,
        limits=limits,
        steps=steps,
        planted=planted,
        measure=measure,
        observe=price,
        progress=progress,
    )
    return SideBySide(program, tuple(results), estimates, samples.hash)


def _divergence(result: BackendResult) -> dict[str, Any] | None:
    found = result.divergence
    if found is None:
        return None
    return {
        "layer": found.layer,
        "neuron": list(found.neuron),
        "step": found.step,
        "sample": found.sample,
        "reference": found.ours,
        "found": found.theirs,
        **({} if result.diagnosis is None else result.diagnosis.as_dict()),
    }


def _energy(estimate: Estimate) -> dict[str, Any]:
    """Totals only; `snndeploy energy --json` has the terms."""
    found = estimate.as_dict()
    kept = ("dynamic_pj", "static_pj", "energy_pj", "latency_us", "grade", "unpriced")
    return {name: found[name] for name in kept}
