"""What a rewrite of an integer network costs: its settled counts and answers, before and after."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from snndeploy.errors import InputError
from snndeploy.integer_ann import IntegerAnnResult, integer_ann
from snndeploy.network import Network
from snndeploy.numerics import Int64Array
from snndeploy.simulate import Progress

CHUNK = 32


@dataclass(frozen=True)
class LayerChange:
    """Counts of one layer, over all samples.

    Attributes:
        compared: how many.
        changed: how many of them differ, the layers before having changed too.
        largest: the largest difference of a count.
    """

    layer: str
    compared: int
    changed: int
    largest: int


@dataclass(frozen=True)
class Agreement:
    """Two integer networks on the same samples.

    Attributes:
        same_answers: samples whose largest logit is of the same class.
        accuracy_before, accuracy_after: shares of right answers; None without labels.
        layers: in network order, the readout left out.
    """

    samples: int
    same_answers: int
    accuracy_before: float | None
    accuracy_after: float | None
    layers: tuple[LayerChange, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def agreement(
    before: Network,
    after: Network,
    inputs: Int64Array,
    labels: Int64Array | None = None,
    progress: Progress | None = None,
) -> Agreement:
    """Evaluate two networks of the same layers as integer ANNs, and compare them.

    Args:
        before: integer networks of the same layers.
        after: likewise.
        inputs: grid integers (N, *input shape), or (N, F, *input shape) if `per_step`.
        labels: the right classes, int64 (N,).
        progress: told (samples done, samples in all).

    Raises:
        InputError: the networks have other layers.
    """
    if before.shapes != after.shapes:
        raise InputError(
            "have other layers or shapes",
            where=f"networks '{before.name}' and '{after.name}'",
            remedy="compare a network with a rewrite of itself",
        )
    changes: dict[str, LayerChange] = {}
    answers: list[Int64Array] = []
    for start in range(0, len(inputs), CHUNK):
        rows = inputs[start : start + CHUNK]
        old, new = integer_ann(before, rows), integer_ann(after, rows)
        _add_changes(changes, old, new)
        answers.append(np.stack([old.logits.argmax(1), new.logits.argmax(1)]))
        if progress is not None:
            progress(start + len(rows), len(inputs))
    was, now = np.concatenate(answers, axis=1)
    return Agreement(
        samples=len(inputs),
        same_answers=int((was == now).sum()),
        accuracy_before=None if labels is None else float((was == labels).mean()),
        accuracy_after=None if labels is None else float((now == labels).mean()),
        layers=tuple(changes.values()),
    )


def _add_changes(
    changes: dict[str, LayerChange], old: IntegerAnnResult, new: IntegerAnnResult
) -> None:
    for name, counts in old.counts.items():
        gap = np.abs(counts - new.counts[name])
        found = changes.get(name, LayerChange(name, 0, 0, 0))
        changes[name] = LayerChange(
            layer=name,
            compared=found.compared + gap.size,
            changed=found.changed + int(np.count_nonzero(gap)),
            largest=max(found.largest, int(gap.max())),
        )
