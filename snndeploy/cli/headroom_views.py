"""Headroom, and what a rescale did, for a reader or as JSON for a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from snndeploy.cli import console
from snndeploy.hardware import HardwareProfile
from snndeploy.headroom import Headroom, Word
from snndeploy.network import Network
from snndeploy.verify.agreement import Agreement
from snndeploy.words import DEFAULT_STATE_BITS, Kind

NAMES: Mapping[Kind, str] = {
    "weight": "weight",
    "state": "state",
    "threshold": "threshold",
    "bias": "bias a step",
    "bias_total": "bias in all",
    "payload": "message",
}


def show_headroom(found: Headroom, chip: HardwareProfile | None, apply: str, json: bool) -> None:
    """Every word with its extremes and bits; then what lacks, the cure, and how to `apply` it."""
    if json:
        console.as_json(found.as_dict())
        return
    scope = "any number of steps" if found.steps is None else f"{found.steps} steps"
    console.say(f"{found.network} on {_target(chip)}: over all inputs and {scope}\n")
    console.table(
        ["layer", "word", ">from", ">to", ">bits", ">of", ">spare"],
        [
            (
                word.layer if first else "",
                NAMES[word.kind],
                *(word.low, word.high, word.needed),
                *(("", "") if word.bits is None else (word.bits, word.spare)),
            )
            for word, first in _with_first(found.words)
        ],
    )
    console.say()
    _say_seen(found)
    if found.lacks:
        _say_lacks(found, apply)
    else:
        console.say("everything fits; least to spare:\n")
        console.table(["word", ">spare", "layer"], _tightest(found))
    if found.notes:
        console.say()
    for note in found.notes:
        console.say(f"note: {note}")


def show_rescale(
    found: Headroom,
    chip: HardwareProfile | None,
    cost: Agreement,
    after: Network,
    out: Path,
    json: bool,
) -> None:
    """What was rescaled, what it cost, and where the network went."""
    if json:
        cures = [asdict(cure) for cure in found.cures]
        head = {"network": found.network, "profile": found.profile, "cures": cures}
        console.as_json({**head, "cost": cost.as_dict(), "hash": after.hash, "out": str(out)})
        return
    if found.cures:
        console.say(f"{found.network}, to fit {_target(chip)}\n")
        for cure in found.cures:
            console.say(f"  layer '{cure.layer}': {cure}")
        console.say()
        console.table(
            ["layer", ">counts", ">changed", ">by at most"],
            [
                (x.layer, f"{x.compared:,}", f"{x.changed / x.compared:.2%}", x.largest)
                for x in cost.layers
            ],
        )
    else:
        console.say(f"{found.network} fits {_target(chip)}: nothing to rescale")
    console.say(f"\nthe same answer on {cost.same_answers:,} of {cost.samples:,} samples")
    if cost.accuracy_before is not None:
        console.say(f"accuracy {cost.accuracy_before:.2%} before, {cost.accuracy_after:.2%} after")
    console.say(f"\nwritten: {out}")


def _target(chip: HardwareProfile | None) -> str:
    return f"{DEFAULT_STATE_BITS} bits of state" if chip is None else chip.title


def _with_first(words: tuple[Word, ...]) -> list[tuple[Word, bool]]:
    """Each word, and whether it is the first of its layer."""
    before = (None, *words)
    return [
        (word, last is None or last.layer != word.layer)
        for word, last in zip(words, before, strict=False)
    ]


def _say_seen(found: Headroom) -> None:
    """How far membranes went in a run, beside the bounds."""
    rows = [
        (word.layer, word.low, word.high, *word.seen, _share(word))
        for word in found.words
        if word.seen is not None
    ]
    if rows:
        columns = ["membrane", ">from", ">to", ">seen from", ">seen to", ">of the bound"]
        console.table(columns, rows)
        console.say()


def _share(word: Word) -> str:
    """How much of its bound a run used."""
    assert word.seen is not None
    return f"{max(map(abs, word.seen)) / max(-word.low, word.high, 1):.0%}"


def _say_lacks(found: Headroom, apply: str) -> None:
    """Each lack with its layer and bits, each layer's cure, and the command that applies them."""
    cures = {cure.layer: str(cure) for cure in found.cures}
    for layer in dict.fromkeys(word.layer for word in found.lacks):
        console.say(f"layer '{layer}'")
        for word in found.lacks:
            if word.layer == layer:
                lack = -(word.spare or 0)
                short = f"{lack} {'bit' if lack == 1 else 'bits'} short"
                console.say(f"  {short}: {word}, the word has {word.bits}")
        console.say(f"  cure: {cures.get(layer, 'none: use a coarser input grid')}")
    if found.curable:
        console.say(f"\napply: {apply}")


def _tightest(found: Headroom) -> list[tuple[object, ...]]:
    """Of each kind with a limit, the bits to spare and the first layer with so few."""
    limited = [word for word in found.words if word.spare is not None]
    kinds = dict.fromkeys(word.kind for word in limited)
    least = [
        min((word for word in limited if word.kind == kind), key=lambda word: word.spare or 0)
        for kind in kinds
    ]
    return [(NAMES[word.kind], word.spare, word.layer) for word in least]
