"""Why two backends differ: the causes that a comparison can name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Cause: TypeAlias = Literal[
    "tie",
    "reset",
    "pooling",
    "delay",
    "overflow",
    "weight",
    "threshold",
    "cap",
    "sign",
    "unknown",
]

CAUSES: dict[Cause, str] = {
    "tie": "a membrane exactly at the threshold, or at 0 for a spike of -1, is decided otherwise",
    "reset": "a spike leaves the membrane at another value, or the membrane starts from another",
    "pooling": "a max-pool does not emit by how much the largest count of its window changed",
    "delay": "spikes come a constant number of steps late or early",
    "overflow": "a membrane or current does not fit its word: it wraps, saturates or is rounded",
    "weight": "the input current differs though all spikes that cause it agree: weight or bias",
    "threshold": "the decisions are those of another threshold",
    "cap": "the net count is bounded otherwise",
    "sign": "spikes of -1 are missing, or come where they should not",
    "unknown": "no single fault that is known gives what was seen; or it depends on other samples",
}
"""In the words of the documentation."""


@dataclass(frozen=True)
class Finding:
    """A cause that reproduces the evidence, and what the backend does, as a verb phrase."""

    cause: Cause
    does: str
