"""The search for a cause: the side that left the definition is held to each known fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from snndeploy.verify.diagnosis.causes import Cause, Finding
from snndeploy.verify.diagnosis.evidence import Evidence
from snndeploy.verify.diagnosis.neuron_faults import neuron_faults, rare_faults
from snndeploy.verify.diagnosis.place import Place
from snndeploy.verify.diagnosis.pool_faults import PoolEvidence, pool_faults
from snndeploy.verify.diagnosis.result import NeuronState
from snndeploy.verify.diagnosis.shifts import shifts
from snndeploy.verify.diagnosis.synapses import Synapses

AnyFault: TypeAlias = tuple[Cause, str, Callable[[Any], Any]]

_NAMES = {
    "neurons": ("spike", "neurons"),
    "max_pool": ("spike", "windows"),
    "readout": ("membrane", "neurons"),
}


@dataclass(frozen=True, eq=False)
class Side:
    """One of two runs at the place where they differ.

    Attributes:
        synapses: of the channel; none of a max-pool.
        repeats: whether the sample alone gives the same again.
        note: what went wrong when that was tried, or empty.
    """

    evidence: Evidence | PoolEvidence
    synapses: tuple[Synapses, ...]
    state: NeuronState
    repeats: bool
    note: str


@dataclass(frozen=True)
class Scope:
    """Some neurons, on all samples, and words for what they did."""

    neurons: slice
    words: str


Scoped: TypeAlias = tuple[Finding, Scope]


def explain(place: Place, sides: list[Side]) -> tuple[Cause, str, tuple[Cause, ...]]:
    """The cause, sentences about it, and other causes that would do."""
    suspects = [side for side in reversed(sides) if not side.state.conforms]
    if not suspects:
        return "unknown", "Both backends follow the definition at this neuron.", ()
    side, *others = suspects
    name = side.state.backend
    both = f" {others[0].state.backend} leaves the definition here, too." if others else ""
    if not side.repeats:
        lead = f"{name} does otherwise when it runs this sample alone:"
        return "unknown", f"{lead} its state depends on other samples, or on chance.{both}", ()
    for found in _tiers(place, side):
        if found:
            (first, scope), *rest = found
            also = tuple(dict.fromkeys(x.cause for x, _ in rest if x.cause != first.cause))
            text = f"{name} {first.does}. That gives {scope.words}{_shown(side)}."
            text += f" Other causes would give the same: {', '.join(also)}." * bool(also)
            return first.cause, text + both, also
    left = _unnamed(side.evidence)
    return left.cause, f"{name} {left.does}.{both}", ()


def _shown(side: Side) -> str:
    watched = isinstance(side.evidence, Evidence) and side.evidence.currents is not None
    return ", and the membranes it showed" if watched else ""


def _tiers(place: Place, side: Side) -> Iterator[list[Scoped]]:
    """Faults that give all that was seen of the layer, or else of the neuron, best first.

    A fault of the implementation should show in the whole layer, a wrong number in its channel.
    """
    layer, channel, neuron = _scopes(place, len(side.evidence.spikes))
    narrow = side.evidence.only(slice(1), neuron.neurons)
    usual, rare = (_fitting(narrow, faults) for faults in _faults(narrow))
    yield [
        *_held(side, usual, layer),
        *_numbers(place, side, channel),
        *_held(side, rare, layer),
        *_held(side, usual + rare, channel),
    ]
    yield [
        *_held(side, usual, neuron),
        *_numbers(place, side, neuron),
        *_held(side, rare, neuron),
    ]


def _scopes(place: Place, samples: int) -> tuple[Scope, Scope, Scope]:
    """The layer, the channel and the neuron."""
    what, things = _NAMES[place.layer.kind]
    on = f"on {samples} samples" if samples > 1 else "on this sample"
    one, own = slice(place.index, place.index + 1), place.own
    whole = slice(0, place.kept.stop - place.kept.start)
    neuron = f"every {what} of this neuron {on}"
    channel = f"every {what} of the {own.stop - own.start} {things} of channel {place.channel} {on}"
    layer = f"every {what} of the {whole.stop} {things} of the layer {on}"
    channel = neuron if own == one else channel
    layer = channel if whole == own else layer
    return Scope(whole, layer), Scope(own, channel), Scope(one, neuron)


def _faults(evidence: Evidence | PoolEvidence) -> tuple[Iterable[AnyFault], Iterable[AnyFault]]:
    """The usual ones and the rare ones."""
    if isinstance(evidence, PoolEvidence):
        return pool_faults(evidence), ()
    return neuron_faults(evidence), rare_faults(evidence)


def _fitting(evidence: Evidence | PoolEvidence, faults: Iterable[AnyFault]) -> list[AnyFault]:
    return [fault for fault in faults if fault[2](evidence).fits(evidence)]


def _held(side: Side, faults: list[AnyFault], scope: Scope) -> Iterator[Scoped]:
    """The faults that give all of a scope."""
    for cause, does, _ in _fitting(side.evidence.only(slice(None), scope.neurons), faults):
        yield Finding(cause, does), scope


def _numbers(place: Place, side: Side, scope: Scope) -> Iterator[Scoped]:
    """The wrong numbers that give all of a scope within the channel."""
    if isinstance(side.evidence, PoolEvidence):
        return
    first = place.own.start
    inside = slice(scope.neurons.start - first, scope.neurons.stop - first)
    synapses = [each.only(slice(None), inside) for each in side.synapses]
    for finding in shifts(side.evidence.only(slice(None), scope.neurons), synapses):
        yield finding, scope


def _unnamed(evidence: Evidence | PoolEvidence) -> Finding:
    """What can be said of the neuron that differs where no fault gives all that it did."""
    if isinstance(evidence, PoolEvidence):
        return Finding("pooling", "does not emit by how much the largest count of a window changed")
    at = (0, slice(evidence.step), evidence.index)
    if evidence.membranes is None or not evidence.membranes.where[0, : evidence.step].all():
        return Finding("unknown", "does what no single fault that is known here gives")
    theta, v0 = evidence.threshold[evidence.index], evidence.v0[evidence.index]
    spikes, after = evidence.spikes[at], evidence.membranes.values[at]
    before = np.concatenate([[v0], after[:-1]])
    current = after - before if evidence.currents is None else evidence.currents.values[at]
    wrong = np.flatnonzero(current != evidence.input[at])
    if len(wrong):
        t, right = wrong[0], evidence.input[at]
        does = f"adds a current of {current[t]} at step {t + 1}, its weights and bias {right[t]}"
        return Finding("weight", f"{does}; more than one of them must be wrong")
    wrong = np.flatnonzero(after != before + current - theta * spikes)
    if len(wrong):
        t = wrong[0]
        does = f"leaves a membrane of {after[t]} at step {t + 1}, after {before[t]} {current[t]:+d}"
        return Finding("reset" if spikes[t] else "unknown", f"{does} and a spike of {spikes[t]}")
    raised = before[-1] + current[-1]
    does = f"emits {spikes[-1]} at a membrane of {raised}, and decides otherwise elsewhere"
    return Finding("unknown", does)
