"""Faults of a neuron, each a change of the definition, and whether it reproduces what was seen.

A fault is believed if the definition, changed in this one way, gives every spike of the evidence
and every current and membrane that the backend showed, from the currents of its own spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from snndeploy.numerics import Int64Array, word_limits
from snndeploy.verify.diagnosis.causes import Cause
from snndeploy.verify.diagnosis.delays import early_by, late_by, shifted
from snndeploy.verify.diagnosis.dynamics import (
    Dynamics,
    Prediction,
    Word,
    definition,
    subtract,
    to_zero,
)
from snndeploy.verify.diagnosis.evidence import Evidence

WORDS = (8, 16, 24, 32)
"""Bits of the registers that chips and number formats have."""

Run: TypeAlias = Callable[[Evidence], Prediction]
Fault: TypeAlias = tuple[Cause, str, Run]
Change: TypeAlias = tuple[Cause, str, Callable[[Dynamics], Dynamics]]
Share: TypeAlias = Callable[[Evidence, Int64Array], Int64Array]

_PLAIN = "is a plain integrate-and-fire neuron: it resets to 0 and knows neither -1 nor a cap"


def _to_v0(d: Dynamics, v: Int64Array, spike: Int64Array) -> Int64Array:
    return np.where(spike > 0, d.v0, v - d.threshold * spike)


def _plain(d: Dynamics) -> Dynamics:
    return replace(d, signed=False, cap=None, reset=to_zero)


_CHANGES: tuple[Change, ...] = (
    ("unknown", "never fires", lambda d: replace(d, fires=False, signed=False)),
    (
        "tie",
        "fires +1 only at a membrane above the threshold, not at one that equals it",
        lambda d: replace(d, strict=True),
    ),
    (
        "tie",
        "fires -1 at a membrane of 0, not only below it",
        lambda d: replace(d, falls_at=0),
    ),
    (
        "tie",
        "fires +1 only above the threshold, and -1 already at a membrane of 0",
        lambda d: replace(d, strict=True, falls_at=0),
    ),
    (
        "reset",
        "sets the membrane to 0 when it fires +1, where the threshold is to be subtracted",
        lambda d: replace(d, reset=to_zero),
    ),
    (
        "reset",
        "subtracts the threshold when it fires, where the membrane is to be set to 0",
        lambda d: replace(d, reset=subtract),
    ),
    (
        "reset",
        "sets the membrane to 0 at any spike, where the threshold is to be subtracted or added",
        lambda d: replace(d, reset=lambda d, v, spike: np.where(spike != 0, 0, v)),  # noqa: ARG005
    ),
    (
        "reset",
        "sets the membrane to v0 when it fires +1, where the threshold is to be subtracted",
        lambda d: replace(d, reset=_to_v0),
    ),
    (
        "reset",
        "sets the membrane to v0 at any spike, where the threshold is to be subtracted or added",
        lambda d: replace(d, reset=lambda d, v, spike: np.where(spike != 0, d.v0, v)),
    ),
    (
        "reset",
        "does not add the threshold to the membrane when it fires -1",
        lambda d: replace(d, reset=lambda d, v, spike: v - d.threshold * np.maximum(spike, 0)),
    ),
    (
        "reset",
        "does not reset the membrane when it fires",
        lambda d: replace(d, reset=lambda d, v, spike: v),  # noqa: ARG005
    ),
    (
        "reset",
        "starts from a membrane of 0, not from v0",
        lambda d: replace(d, v0=np.zeros_like(d.v0)),
    ),
    ("reset", _PLAIN, _plain),
    (
        "reset",
        f"{_PLAIN}, and fires above the threshold only",
        lambda d: _plain(replace(d, strict=True)),
    ),
    ("cap", "fires on when its net count has reached the levels", lambda d: replace(d, cap=None)),
    (
        "cap",
        "stops at a net count one above the levels",
        lambda d: replace(d, cap=None if d.cap is None else d.cap + 1),
    ),
    (
        "cap",
        "stops at a net count one below the levels",
        lambda d: replace(d, cap=None if d.cap is None else d.cap - 1),
    ),
    (
        "overflow",
        "holds the membrane at 0 where it should be negative",
        lambda d: replace(d, word=lambda v: np.maximum(v, 0)),
    ),
    ("sign", "never fires -1", lambda d: replace(d, signed=False)),
    (
        "sign",
        "never fires -1, and fires on when its net count has reached the levels",
        lambda d: replace(d, signed=False, cap=None),
    ),
    ("sign", "fires -1 at any net count, 0 included", lambda d: replace(d, any_count=True)),
    (
        "sign",
        "fires -1 at a negative membrane, which rate mode does not",
        lambda d: replace(d, signed=d.fires),
    ),
)


def neuron_faults(evidence: Evidence) -> Iterator[Fault]:
    """Faults that have no free number; the evidence gives steps and sources."""
    if evidence.fires:
        for cause, does, change in _CHANGES:
            yield cause, does, _changed(change)
    yield from _words(WORDS)
    yield from _delays(evidence, late_by(evidence.spikes.shape[1]))


def rare_faults(evidence: Evidence) -> Iterator[Fault]:
    """Faults to be thought of last: early spikes, odd words, a bias out of time."""
    yield from _delays(evidence, early_by(evidence.spikes.shape[1], evidence.step))
    yield from _words(bits for bits in range(4, 33) if bits not in WORDS)
    for name, bits in (("float32", 24), ("float16", 11), ("bfloat16", 8)):
        yield from _in_register(_rounded(bits), f"in {name}, which rounds beyond {bits} bits")
    for does, share in _SHARES.items():
        yield "weight", does, _with_bias(share)


def _changed(change: Callable[[Dynamics], Dynamics]) -> Run:
    return lambda e: change(Dynamics.of(e)).run(e.input)


def _words(widths: Iterable[int]) -> Iterator[Fault]:
    """Registers too narrow for the membrane, or for the current of one step."""
    for bits in widths:
        low, high = word_limits(bits)
        size = 1 << bits
        signed, unsigned = f"in a signed {bits}-bit word", f"in an unsigned {bits}-bit word"
        yield from _in_register(_wrapped(low, size), f"{signed}, which wraps around")
        yield from _in_register(_clipped(low, high), f"{signed}, which saturates")
        yield from _in_register(_wrapped(0, size), f"{unsigned}, which wraps around")
        yield from _in_register(_clipped(0, size - 1), f"{unsigned}, which saturates")


def _in_register(word: Word, how: str) -> Iterator[Fault]:
    yield (
        "overflow",
        f"holds the membrane {how}",
        lambda e: replace(Dynamics.of(e), word=word).run(e.input),
    )
    yield "overflow", f"holds the input current {how}", lambda e: Dynamics.of(e).run(word(e.input))


def _wrapped(low: int, size: int) -> Word:
    return lambda v: (v - low) % size + low


def _clipped(low: int, high: int) -> Word:
    return lambda v: np.clip(v, low, high)


def _rounded(bits: int) -> Word:
    def rounded(v: Int64Array) -> Int64Array:
        fraction, exponent = np.frexp(v.astype(np.float64))
        kept = np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits)
        integers: Int64Array = kept.astype(np.int64)
        return integers

    return rounded


def _delays(evidence: Evidence, shifts: Iterable[tuple[int, str]]) -> Iterator[Fault]:
    """All that the neurons emit or do, or the spikes of one source, or of all."""
    sources = range(len(evidence.terms))
    for late, how in shifts:
        yield "delay", f"emits what it should, but {how}", _late_spikes(late)
        yield "delay", f"does all that it should, but {how}", _late_neurons(late)
        for source in sources:
            does = f"receives what '{evidence.sources[source]}' emits {how}"
            yield "delay", does, _late_input([source], late)
        if len(sources) > 1:
            does = f"receives what its sources emit {how}"
            yield "delay", does, _late_input(sources, late)


def _late_spikes(late: int) -> Run:
    def run(e: Evidence) -> Prediction:
        right = definition(e)
        return replace(right, spikes=shifted(right.spikes, late), known=min(0, late) or None)

    return run


def _late_neurons(late: int) -> Run:
    def run(e: Evidence) -> Prediction:
        right = definition(e)
        spikes, currents = (shifted(x, late) for x in (right.spikes, right.currents))
        membranes = shifted(right.membranes, late, e.v0)
        return Prediction(spikes, membranes, currents, right.start, min(0, late) or None)

    return run


def _late_input(sources: Sequence[int], late: int) -> Run:
    def run(e: Evidence) -> Prediction:
        changes = [shifted(e.terms[source], late) - e.terms[source] for source in sources]
        moved = Dynamics.of(e).run(e.input + sum(changes))
        return replace(moved, known=min(0, late) or None)

    return run


def _with_bias(share: Share) -> Run:
    def run(e: Evidence) -> Prediction:
        steps = np.arange(e.spikes.shape[1])[:, None]
        return Dynamics.of(e).run(e.input - e.bias_share + share(e, steps))

    return run


_SHARES: dict[str, Share] = {
    "receives the whole bias at the first step, not spread over the window": (
        lambda e, steps: np.where(steps == 0, e.bias, 0)
    ),
    "receives the bias rounded down at every step, its remainder never": (
        lambda e, steps: np.where(e.rate | (steps < e.window), e.bias // e.window, 0)
    ),
    "receives the bias after the window, too": (
        lambda e, steps: e.bias_share[steps[:, 0] % e.window]
    ),
    "receives no bias": lambda e, steps: 0 * e.bias * steps,
}
