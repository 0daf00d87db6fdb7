"""`Trace`: what a backend did, step by step, in logical steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from snndeploy.errors import DataError, SpikesDifferError
from snndeploy.numerics import BoolArray, Int8Array, Int64Array


@dataclass(frozen=True)
class Divergence:
    """The first place where two traces differ: earliest step, then layer, sample, neuron."""

    layer: str
    step: int
    sample: int
    neuron: tuple[int, ...]
    ours: int
    theirs: int

    def __str__(self) -> str:
        return (
            f"layer '{self.layer}', neuron {self.neuron}, step {self.step}, "
            f"sample {self.sample}: {_signed(self.ours)} against {_signed(self.theirs)}"
        )


@dataclass(frozen=True, eq=False)
class Trace:
    """The record of one run over N samples and T steps.

    Attributes:
        backend: who ran it.
        logits: int64 (N, T, classes), the readout's membrane after each step. After a sample
            has stopped or settled its last value is repeated.
        spikes: int8 (N, T, *shape) per layer in topological order; -1, 0 or +1. Empty if the
            run did not record them.
        events: int64 (N, T) per layer: spikes of either sign at each step.
        stop_steps: int64 (N,), steps that each sample ran.
        settled: bool (N,), whether nothing would have changed after that.
        seconds: wall-clock time of the simulation.
        start_seconds: of these, what it took to start the simulator and to end it.
        batch_steps: steps that were simulated, added up over the batches.
        input_events: bool (N, F, *input shape), where a step-by-step input is not 0; None if the
            input is constant.
        controlled: whether a controller read the logits after each step.
    """

    backend: str
    logits: Int64Array
    spikes: Mapping[str, Int8Array]
    events: Mapping[str, Int64Array]
    stop_steps: Int64Array
    settled: BoolArray
    seconds: float
    input_events: BoolArray | None = None
    start_seconds: float = 0.0
    batch_steps: int = 0
    controlled: bool = False

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: slice | Int64Array) -> Trace:
        """The trace of some of the samples, as long as the longest of them ran."""
        stop_steps = self.stop_steps[rows]
        steps = int(stop_steps.max(initial=0))
        return replace(
            self,
            logits=self.logits[rows, :steps],
            spikes={k: v[rows, :steps] for k, v in self.spikes.items()},
            events={k: v[rows, :steps] for k, v in self.events.items()},
            stop_steps=stop_steps,
            settled=self.settled[rows],
            input_events=None if self.input_events is None else self.input_events[rows],
        )

    def cut(self, stop_steps: Int64Array) -> Trace:
        """The trace as if a controller had stopped each sample after that many steps.

        What a network did until then does not depend on when it is stopped, so this equals a
        run with that controller. Wall-clock times stay this run's.

        Args:
            stop_steps: (N,), at least 1. A sample that ended before stays as it is.

        Raises:
            DataError: another number of samples, or a step below 1.
        """
        if stop_steps.shape != self.stop_steps.shape or (stop_steps < 1).any():
            raise DataError(
                f"of shape {stop_steps.shape}, least {stop_steps.min(initial=1)}",
                where="stop steps",
                remedy=f"give one step of at least 1 for each of {len(self)} samples",
            )
        stops = np.minimum(stop_steps, self.stop_steps)
        steps = int(stops.max(initial=0))
        held = np.minimum(np.arange(steps), stops[:, None] - 1)
        ran = np.arange(steps) < stops[:, None]
        return replace(
            self,
            logits=np.take_along_axis(self.logits, held[:, :, None], axis=1),
            spikes={name: _masked(found[:, :steps], ran) for name, found in self.spikes.items()},
            events={name: _masked(found[:, :steps], ran) for name, found in self.events.items()},
            stop_steps=stops,
            settled=self.settled & (stops == self.stop_steps),
            controlled=True,
        )

    @property
    def steps(self) -> int:
        """T, the steps of the sample that ran longest."""
        return int(self.logits.shape[1])

    @property
    def predictions(self) -> Int64Array:
        """The class with the largest logit when each sample stopped, (N,)."""
        best: Int64Array = self.logits[:, -1].argmax(axis=-1)
        return best

    @property
    def counts(self) -> dict[str, Int64Array]:
        """Net spike counts (N, *shape) per recorded layer at the end of the run."""
        return {name: s.sum(axis=1, dtype=np.int64) for name, s in self.spikes.items()}

    @property
    def total_events(self) -> int:
        """Spikes of either sign of all layers, steps and samples."""
        return int(sum(e.sum() for e in self.events.values()))

    @property
    def seconds_per_step(self) -> float:
        """Of one step of a batch, once the simulator has started."""
        return (self.seconds - self.start_seconds) / max(self.batch_steps, 1)

    @property
    def samples_per_second(self) -> float:
        """Once the simulator has started."""
        return len(self) / max(self.seconds - self.start_seconds, 1e-9)

    def spike_ratio(self, full: Trace) -> float:
        """Spikes of this run over those of `full`, the same samples without early exit."""
        return self.total_events / max(full.total_events, 1)

    def accuracy(self, labels: Int64Array) -> float:
        """The share of samples whose final prediction is right."""
        return float((self.predictions == labels).mean())

    def accuracy_by_step(self, labels: Int64Array) -> list[float]:
        """Accuracy had every sample been read out at step 1, 2, .. T."""
        hits = self.logits.argmax(axis=-1) == labels[:, None]
        return [float(x) for x in hits.mean(axis=0)]

    def first_divergence(self, other: Trace) -> Divergence | None:
        """Where `other` first differs, or None. A trace that ended earlier counts as silent.

        Compares the layers' spikes and, where these agree, the readout's membranes.

        Raises:
            DataError: other samples, or layers whose spikes one of the two did not record.
        """
        self._check_comparable(other)
        steps = max(self.steps, other.steps)
        best: tuple[int, int] | None = None
        found: Divergence | None = None
        for order, name in enumerate(self.spikes):
            a, b = padded(self.spikes[name], steps), padded(other.spikes[name], steps)
            hit = _first(name, a, b)
            if hit is not None and (best is None or (hit.step, order) < best):
                best, found = (hit.step, order), hit
        if found is None:
            found = _first(
                "readout", padded(self.logits, steps, "edge"), padded(other.logits, steps, "edge")
            )
        return found

    def _check_comparable(self, other: Trace) -> None:
        where = f"traces of {self.backend} and {other.backend}"
        if len(self) != len(other):
            raise DataError(
                f"{len(self)} and {len(other)} samples", where=where, remedy="slice both alike"
            )
        unlike = sorted(set(self.spikes) ^ set(other.spikes))
        if unlike or set(self.spikes) != set(self.events):
            raise DataError(
                f"not every layer's spikes are recorded on both sides {unlike}",
                where=where,
                remedy="run with record=True",
            )

    def assert_same_spikes(self, other: Trace) -> None:
        """Raise `SpikesDifferError`, naming the first divergence, if there is one."""
        found = self.first_divergence(other)
        if found is not None:
            raise SpikesDifferError(f"{self.backend} and {other.backend} differ first at {found}")


def _masked(array: Any, ran: BoolArray) -> Any:
    """(N, T, ...) where samples ran, else 0."""
    return array * ran.reshape(*ran.shape, *(1,) * (array.ndim - 2))


def _signed(value: int) -> str:
    return f"{value:+d}" if value else "0"


def _first(name: str, a: Int64Array | Int8Array, b: Int64Array | Int8Array) -> Divergence | None:
    differs = a != b
    if not differs.any():
        return None
    step = int(np.argmax(differs.any(axis=(0, *range(2, differs.ndim)))))
    sample, *neuron = (int(i) for i in np.argwhere(differs[:, step])[0])
    at = (sample, step, *neuron)
    return Divergence(name, step + 1, sample, tuple(neuron), int(a[at]), int(b[at]))


def padded(array: Any, steps: int, mode: Literal["constant", "edge"] = "constant") -> Any:
    """(N, T, ...) as (N, steps, ...): silent after T, or its last step held (`edge`)."""
    known = array.shape[1]
    if known == steps:
        return array
    full = np.zeros((len(array), steps, *array.shape[2:]), array.dtype)
    full[:, :known] = array
    if mode == "edge":
        full[:, known:] = array[:, -1:]
    return full
