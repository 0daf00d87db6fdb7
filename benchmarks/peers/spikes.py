"""What a simulator must do here, and a record of spikes that can be compared across processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from description import Op


class SpikeRecord:
    """Counts per layer and step, and one hash per layer over every spike.

    Steps must come in order; layers may come in any.
    """

    def __init__(self) -> None:
        self._digests: dict[str, Any] = {}
        self._counts: dict[str, list[int]] = {}

    def add(self, layer: str, spikes: np.ndarray[Any, Any]) -> None:
        """The layer's next steps: zeros and ones (steps, N, *shape), channels first."""
        digest = self._digests.setdefault(layer, hashlib.sha256())
        for step in spikes:
            digest.update(np.packbits(np.ascontiguousarray(step).reshape(-1) != 0).tobytes())
            self._counts.setdefault(layer, []).append(int(np.count_nonzero(step)))

    def summary(self) -> dict[str, Any]:
        """Per layer the counts and the hash."""
        return {
            layer: {"counts": self._counts[layer], "hash": digest.hexdigest()}
            for layer, digest in self._digests.items()
        }


class Simulator(Protocol):
    """A simulator in some setting.

    Attributes:
        settings: names of the settings that are tried, each described by its words.
    """

    settings: Sequence[str]

    def versions(self) -> dict[str, str]:
        """Of the packages that do the work."""
        ...

    def load(self, ops: list[Op], setting: str) -> None:
        """Build the network anew."""
        ...

    def prepare(self, images: np.ndarray[Any, Any], steps: int) -> None:
        """Take int64 images (N, C, H, W) in; none of this is timed."""
        ...

    def run(self, record: SpikeRecord | None) -> np.ndarray[Any, Any]:
        """Simulate all steps; return the readout's sums (N, classes)."""
        ...
