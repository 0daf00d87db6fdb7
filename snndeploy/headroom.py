"""Headroom: the bits that a network leaves to spare in each word of a target, for all inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from snndeploy.errors import InputError
from snndeploy.hardware import HardwareProfile
from snndeploy.network import Mode, Network, require_integer
from snndeploy.words import Kind, Words, spans

_TITLES: Mapping[Kind, str] = {
    "weight": "weights",
    "state": "membranes",
    "threshold": "thresholds",
    "bias": "biases a step",
    "bias_total": "biases in all",
    "payload": "messages",
}


@dataclass(frozen=True)
class Word:
    """What one layer asks of one kind of word.

    Attributes:
        low, high: the least and the largest value over all inputs and steps.
        needed: bits of the narrowest word that holds both.
        bits: of the target's word; None: no limit is known.
        seen: the least and the largest value in a run, where one was measured (state only,
            membranes alone).
    """

    layer: str
    kind: Kind
    low: int
    high: int
    needed: int
    bits: int | None
    seen: tuple[int, int] | None = None

    @property
    def spare(self) -> int | None:
        """Bits to spare; negative: bits lacking; None: no limit is known."""
        return None if self.bits is None else self.bits - self.needed

    @property
    def fits(self) -> bool:
        """Whether the target's word holds every value."""
        return self.bits is None or self.needed <= self.bits

    def __str__(self) -> str:
        return f"{_TITLES[self.kind]} from {self.low} to {self.high} need {self.needed} bits"


@dataclass(frozen=True)
class Cure:
    """What makes one layer fit.

    Attributes:
        channels: how many channels are rescaled, `of` so many.
        factor: the smallest and the largest of their factors, by which a channel's weights,
            threshold and bias are multiplied and rounded; 1 if none is rescaled.
        shift: the least right shift that is as strong as the smallest factor.
        biases: how many biases are rounded to shares that are multiples of a power of two.
        bias_multiple: the largest of these powers.
        refusal: why nothing makes the layer fit; empty if something does.
    """

    layer: str
    channels: int
    of: int
    factor: tuple[float, float] = (1.0, 1.0)
    shift: int = 0
    biases: int = 0
    bias_multiple: int = 1
    refusal: str = ""

    def __str__(self) -> str:
        if self.refusal:
            return f"none: {self.refusal}"
        parts = []
        if self.channels:
            low, high = (f"{factor:.3g}" for factor in self.factor)
            span = low if low == high else f"{low} to {high}"
            parts.append(f"rescale {self.channels} of {self.of} channels by {span}")
        if self.biases:
            multiples = f"multiples of up to {self.bias_multiple} a step"
            parts.append(f"round {self.biases} of {self.of} biases to {multiples}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Headroom:
    """Every layer's words against a target's.

    Attributes:
        profile: its name, or None.
        steps: the number of steps that the bounds cover in rate mode; None: any number.
        words: in network order, one for each layer and kind that it has.
        cures: one for each layer that lacks bits.
        notes: what the target does beside its words.
    """

    network: str
    network_hash: str
    profile: str | None
    mode: Mode
    steps: int | None
    words: tuple[Word, ...]
    cures: tuple[Cure, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def lacks(self) -> tuple[Word, ...]:
        """The words that are too narrow."""
        return tuple(word for word in self.words if not word.fits)

    @property
    def curable(self) -> bool:
        """Whether a rescale cures everything that lacks bits."""
        cured = {cure.layer for cure in self.cures if not cure.refusal}
        return all(word.layer in cured and word.kind != "payload" for word in self.lacks)

    def of(self, layer: str, kind: Kind) -> Word:
        """One layer's word of one kind. Raises `InputError` if it has none."""
        for word in self.words:
            if (word.layer, word.kind) == (layer, kind):
                return word
        raise InputError(f"has no {kind} word", where=f"layer '{layer}'")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for row, word in zip(found["words"], self.words, strict=True):
            row["spare"] = word.spare
        return {**found, "fits": not self.lacks, "curable": self.curable}


def headroom(
    network: Network,
    profile: HardwareProfile | None = None,
    steps: int | None = None,
    seen: Mapping[str, tuple[int, int]] | None = None,
) -> Headroom:
    """Compare what every layer needs with the words of a target.

    Args:
        network: an integer network.
        profile: the target; None: 32 bits of state and no other limit.
        steps: in rate mode, the number of steps to cover; default: the window.
        seen: the least and the largest membrane of each layer in a run.

    Raises:
        UnsupportedModelError: the network is not integer.
        ProfileError: the profile describes an accelerator for ANNs.
        InputError: steps are given in exact mode, where the bounds hold for any number.
    """
    require_integer(network)
    if steps is not None and network.mode == "exact":
        raise InputError(
            "are for rate mode; in exact mode the bounds hold for any number",
            where="steps",
            remedy="leave them out",
        )
    words = Words.of(profile)
    duration = (steps or network.window) if network.mode == "rate" else None
    rows: list[Word] = []
    for layer, found in spans(network, words, steps):
        for kind, span in found.items():
            graded = layer.kind == "input" and not words.graded_input
            rows.append(
                Word(
                    layer=layer.name,
                    kind=kind,
                    low=int(span.low.min()),
                    high=int(span.high.max()),
                    needed=int(span.bits(kind).max()),
                    bits=None if graded else words.bits(kind),
                    seen=(seen or {}).get(layer.name) if kind == "state" else None,
                )
            )
    return Headroom(
        network=network.name,
        network_hash=network.hash,
        profile=None if profile is None else profile.name,
        mode=network.mode,
        steps=duration,
        words=tuple(rows),
        notes=_notes(network, words),
    )


def _notes(network: Network, words: Words) -> tuple[str, ...]:
    notes = []
    if not words.graded_input:
        notes.append("no graded spikes: the values of the input are delivered bit by bit")
    if not words.signed_spikes and network.mode == "exact":
        notes.append("no signed spikes: each sign has a channel of its own")
    return tuple(notes)
