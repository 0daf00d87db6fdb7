"""Faults of a max-pool on counts: what other poolings would have emitted.

A pool has no state of its own: all that it should emit follows from its sources' spikes,

    out[t] = max(N[t]) - max(N[t-1]),    N the running counts of its window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from snndeploy import linear_ops
from snndeploy.nodes import MaxPool2d
from snndeploy.numerics import BoolArray, Int64Array
from snndeploy.verify.diagnosis.causes import Cause
from snndeploy.verify.diagnosis.delays import early_by, late_by, shifted
from snndeploy.verify.diagnosis.place import Place, Run


@dataclass(frozen=True, eq=False)
class PoolEvidence:
    """P windows with K sources each, N samples, T steps; the sample that differs comes first.

    Attributes:
        index: of the window that differs, in [0, P).
        step: 1-based, at which it does.
        arriving: int64 (N, T, P, K), the sources' spikes; 0 for padding.
        spikes: int64 (N, T, P), what the pool emitted.
        running: bool (N, T), steps at which the sample had not stopped.
    """

    index: int
    step: int
    arriving: Int64Array
    spikes: Int64Array
    running: BoolArray

    @property
    def counts(self) -> Int64Array:
        """Running counts of the sources after each step, (N, T, P, K)."""
        return np.cumsum(self.arriving, axis=1)

    def only(self, rows: slice, neurons: slice) -> PoolEvidence:
        """The same for some of the samples and windows."""
        return replace(
            self,
            index=self.index - (neurons.start or 0),
            arriving=self.arriving[rows, :, neurons],
            spikes=self.spikes[rows, :, neurons],
            running=self.running[rows],
        )

    def emitted(self) -> PoolEvidence:
        """What was emitted up to the step at which the runs differ."""
        steps = np.arange(self.spikes.shape[1])
        return replace(self, running=np.broadcast_to(steps < self.step, self.running.shape))


@dataclass(frozen=True, eq=False)
class Pooled:
    """What a pool would have emitted, (N, T, P), as far as `known` says; None: at all steps."""

    spikes: Int64Array
    known: int | None = None

    def fits(self, evidence: PoolEvidence) -> bool:
        """Whether the evidence is just that."""
        differs = (self.spikes != evidence.spikes).any(axis=2) & evidence.running
        return not differs[:, : self.known].any()


PoolFault: TypeAlias = tuple[Cause, str, Callable[[PoolEvidence], Pooled]]


def pool_evidence(run: Run, place: Place) -> PoolEvidence:
    """What a run shows of a max-pool."""
    node, trace = place.layer.node, run.trace
    assert isinstance(node, MaxPool2d)
    samples = list(place.samples)
    x = trace.spikes[place.layer.projections[0].source][samples]
    flat = x.reshape(-1, *x.shape[2:]).astype(np.int64)
    view = linear_ops.windows(flat, node.kernel, node.stride, node.padding)
    arriving = view.reshape(*x.shape[:2], -1, node.kernel[0] * node.kernel[1])
    return PoolEvidence(
        index=place.index,
        step=place.step,
        arriving=arriving[:, :, place.kept],
        spikes=place.neurons(trace.spikes[place.layer.name][samples]),
        running=np.arange(trace.steps) < trace.stop_steps[samples][:, None],
    )


def pool_definition(evidence: PoolEvidence) -> Pooled:
    """What the pool should have emitted."""
    return Pooled(_changes(evidence.counts.max(axis=3)))


def pool_faults(evidence: PoolEvidence) -> Iterator[PoolFault]:
    """Every known fault of a pool."""
    steps = evidence.spikes.shape[1]
    for late, how in (*late_by(steps), *early_by(steps, evidence.step)):
        yield "delay", f"does what it should, but {how}", _late(late)
    for does, pooling in _POOLINGS.items():
        yield "pooling", does, _pooled(pooling)


def _pooled(pooling: Callable[[Int64Array], Int64Array]) -> Callable[[PoolEvidence], Pooled]:
    return lambda e: Pooled(pooling(e.arriving))


def _late(late: int) -> Callable[[PoolEvidence], Pooled]:
    return lambda e: Pooled(shifted(pool_definition(e).spikes, late), min(0, late) or None)


def _changes(counts: Int64Array) -> Int64Array:
    """By how much counts (N, T, P) changed at each step; they start from 0."""
    return np.diff(counts, axis=1, prepend=0)


def _gated(step: Int64Array, counts: Int64Array) -> Int64Array:
    """The spikes of the source with the largest count, the first among equals."""
    winner = counts.argmax(axis=3)[..., None]
    gated: Int64Array = np.take_along_axis(step, winner, axis=3)[..., 0]
    return gated


def _never_falling(step: Int64Array) -> Int64Array:
    highest = np.cumsum(step, axis=1).max(3).clip(0)
    return _changes(np.maximum.accumulate(highest, axis=1))


_POOLINGS: dict[str, Callable[[Int64Array], Int64Array]] = {
    "emits the largest spike of the step, not the change of the largest count": (
        lambda step: step.max(3)
    ),
    "emits +1 if any spike of the step is not 0 (an OR), not the change of the largest count": (
        lambda step: (step != 0).any(3).astype(np.int64)
    ),
    "emits the sum of the step's spikes, not the change of the largest count": (
        lambda step: step.sum(3)
    ),
    "emits the sign of the sum of the step's spikes, not the change of the largest count": (
        lambda step: np.sign(step.sum(3))
    ),
    "passes on the spikes of the neuron with the largest count": (
        lambda step: _gated(step, np.cumsum(step, axis=1))
    ),
    "passes on the spikes of the neuron that had the largest count before the step": (
        lambda step: _gated(step, np.cumsum(step, axis=1) - step)
    ),
    "never emits -1, whatever the largest count does": _never_falling,
    "ignores the spikes of -1 that it receives": (
        lambda step: _changes(np.cumsum(step.clip(0), axis=1).max(3))
    ),
}
