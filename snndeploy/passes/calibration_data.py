"""Calibration samples, as passes take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snndeploy.errors import DataError
from snndeploy.numerics import FloatArray, Int64Array
from snndeploy.samples import array_hash

LEAST = 10
"""The fewest samples of which a fifth can be held out."""


@dataclass(frozen=True, eq=False)
class CalibrationData:
    """Samples on the network's input grid, in the model's units; spelled by their hash.

    Attributes:
        x: (N, *shape).
        labels: (N,), or None.
    """

    x: FloatArray
    labels: Int64Array | None = None

    def __str__(self) -> str:
        return array_hash(self.x)[:16]

    def __len__(self) -> int:
        return len(self.x)

    def split(self, seed: int, share: float = 0.2) -> tuple[CalibrationData, CalibrationData]:
        """To fit on, and held out: a random fifth.

        Raises:
            DataError: too few samples.
        """
        if len(self) < LEAST:
            raise DataError(
                f"{len(self)} samples, at least {LEAST} are needed",
                where="calibration data",
                remedy="a few hundred are a good number",
            )
        order = np.random.default_rng(seed).permutation(len(self))
        held = round(share * len(self))
        return self._rows(np.sort(order[held:])), self._rows(np.sort(order[:held]))

    def some(self, count: int, seed: int) -> CalibrationData:
        """At most `count` of the samples, drawn at random."""
        order = np.random.default_rng(seed).permutation(len(self))
        return self._rows(np.sort(order[:count]))

    def _rows(self, rows: Int64Array) -> CalibrationData:
        labels = None if self.labels is None else self.labels[rows]
        return CalibrationData(self.x[rows], labels)
