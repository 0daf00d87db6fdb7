"""Integrate-and-fire neurons as `numerics.fire` defines them, and as a fault may change them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from snndeploy.numerics import Int64Array
from snndeploy.verify.diagnosis.evidence import Evidence, Seen

Word: TypeAlias = Callable[[Int64Array], Int64Array]
Reset: TypeAlias = Callable[["Dynamics", Int64Array, Int64Array], Int64Array]


def subtract(d: Dynamics, v: Int64Array, spike: Int64Array) -> Int64Array:
    """Soft reset."""
    return v - d.threshold * spike


def to_zero(d: Dynamics, v: Int64Array, spike: Int64Array) -> Int64Array:
    """Hard reset, of spikes of +1."""
    return np.where(spike > 0, 0, v - d.threshold * spike)


@dataclass(frozen=True, eq=False)
class Dynamics:
    """A neuron as `numerics.fire` defines it, if no field says otherwise.

    Attributes:
        threshold, v0: int64 (P,).
        fires: whether it fires at all.
        strict: whether +1 asks for `v > threshold`, not `v >= threshold`.
        signed: whether it fires -1.
        falls_at: it fires -1 at `v <= falls_at`.
        any_count: whether it fires -1 at a net count of 0 and below, too.
        cap: the net count at which it does not fire +1; None: it does at any.
        reset: the membrane after the spikes -1, 0, +1.
        word: what a register makes of the membrane.
    """

    threshold: Int64Array
    v0: Int64Array
    fires: bool
    signed: bool
    cap: int | None
    strict: bool = False
    falls_at: int = -1
    any_count: bool = False
    reset: Reset = subtract
    word: Word = lambda v: v

    @staticmethod
    def of(evidence: Evidence) -> Dynamics:
        """The definition of these neurons."""
        signed = evidence.fires and not evidence.rate
        found = Dynamics(evidence.threshold, evidence.v0, evidence.fires, signed, evidence.cap)
        return replace(found, reset=to_zero) if evidence.hard else found

    def run(self, currents: Int64Array) -> Prediction:
        """The spikes and membranes (N, T, P) that input currents (N, T, P) cause."""
        spikes, membranes = np.zeros_like(currents), np.zeros_like(currents)
        v = np.zeros_like(currents[:, 0]) + self.v0
        count = np.zeros_like(v)
        for t in range(currents.shape[1]):
            v = self.word(v + currents[:, t])
            spikes[:, t] = spike = self.spike(v, count)
            membranes[:, t] = v = self.word(self.reset(self, v, spike))
            count = count + spike
        return Prediction(spikes, membranes, currents, self.v0)

    def spike(self, v: Int64Array, count: Int64Array) -> Int64Array:
        """-1, 0 or +1, given the membranes before the reset and the net counts."""
        spike = np.zeros_like(v)
        if self.fires:
            spike += (v >= self.threshold + self.strict) & (self.cap is None or count < self.cap)
        if self.signed:
            spike -= (v <= self.falls_at) & (self.any_count | (count > 0))
        return spike


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a fault would have shown, (N, T, P), and (P,) before the first step.

    `known` is the number of steps from the start that it speaks of; None: all.
    """

    spikes: Int64Array
    membranes: Int64Array
    currents: Int64Array
    start: Int64Array
    known: int | None = None

    def fits(self, evidence: Evidence) -> bool:
        """Whether the evidence is just that."""
        if evidence.start is not None and (evidence.start != self.start).any():
            return False
        known = slice(self.known)
        emitted = Seen(evidence.spikes, evidence.running)
        for predicted, seen in (
            (self.spikes, emitted),
            (self.membranes, evidence.membranes),
            (self.currents, evidence.currents),
        ):
            if seen is None:
                continue
            differs = (predicted[:, known] != seen.values[:, known]).any(axis=2)
            if (differs & seen.where[:, known]).any():
                return False
        return True


def definition(evidence: Evidence) -> Prediction:
    """What the neurons should have shown."""
    return Dynamics.of(evidence).run(evidence.input)
