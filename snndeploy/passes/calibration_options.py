"""What can be asked of the passes that give a network few levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from snndeploy.errors import InputError

Thresholds: TypeAlias = Literal["max", "percentile", "mse"]
Calibrate: TypeAlias = Literal["none", "light", "advanced"]

MOST_LEVELS = 1 << 16


@dataclass(frozen=True)
class FewLevels:
    """What is asked for.

    Attributes:
        levels: the largest count of every activation.
        thresholds: how ceilings are found: `max`, `percentile`, or `mse`, the least squared error.
        percentile: of a layer's values, for `percentile`.
        per_channel: scale channels so that one ceiling suits all channels of a layer.
        calibrate: `none`, `light` (biases) or `advanced` (weights, too).
        seed: of the split and of the order of samples.
    """

    levels: int
    thresholds: Thresholds = "mse"
    percentile: float = 99.9
    per_channel: bool = True
    calibrate: Calibrate = "light"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.levels < MOST_LEVELS:
            raise InputError(f"{self.levels}, expected 1 to {MOST_LEVELS - 1:,}", where="levels")
        if not 50 <= self.percentile <= 100:
            raise InputError(f"{self.percentile}, expected 50 to 100", where="percentile")
        for label, value, known in (
            ("thresholds", self.thresholds, ("max", "percentile", "mse")),
            ("calibrate", self.calibrate, ("none", "light", "advanced")),
        ):
            if value not in known:
                raise InputError(f"{value!r}, expected {', '.join(known)}", where=label)
