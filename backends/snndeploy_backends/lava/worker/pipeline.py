"""All stages of a network, advanced by logical steps of the readout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snndeploy.layers import layers
from snndeploy.numerics import BoolArray
from snndeploy_backends.lava.worker.board import PROBED, Board
from snndeploy_backends.lava.worker.job import Job
from snndeploy_backends.lava.worker.populations import populations
from snndeploy_backends.lava.worker.stage import Stage

SPIKES, PROBE = "spikes.", "probe."
"""What the names of arrays begin with in a `step` frame."""


class Pipeline:
    """The layers of a job, each at its own logical step.

    Args:
        job: what to run.
        folder: where a layer that fails records why.

    Attributes:
        advance: has every stage do that many physical steps; set by whoever drives them.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.view = job, layers(job.network)
        self.board = Board(job, self.view)
        members = zip(self.view, populations(job, self.view, self.board), strict=True)
        self.stages = [
            Stage(population, layer, index, self.board, folder)
            for index, (layer, population) in enumerate(members)
        ]
        self.time = -self.view[-1].depth
        self.advance: Callable[[int], None]

    def begin(self, inputs: NDArray[np.int32], first: int) -> None:
        """Start these samples; one of them is number `first`."""
        self.board.begin(inputs, first)
        self.time = -self.view[-1].depth

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of the running samples."""
        self.board.keep(rows)

    def step(self) -> None:
        """Advance the readout by a logical step; its first one waits until the pipeline is full."""
        self.advance(1 - min(self.time, 0))
        self.time = max(self.time, 0) + 1

    def results(self, spikes: bool) -> dict[str, NDArray[Any]]:
        """The arrays of a `step` frame."""
        *spiking, readout = (layer.name for layer in self.view[1:])
        logits = self._last(readout)
        counts = [np.count_nonzero(self._last(name), axis=1) for name in spiking]
        arrays = {
            "logits": logits,
            "events": np.array(counts, np.int64).reshape(len(spiking), len(logits)),
        }
        if spikes:
            arrays |= self.spikes()
        if self.job.probe:
            shape = self.job.network.shapes[self.job.probe]
            for name in PROBED:
                values = self._row(self.board.probed[name])
                arrays[PROBE + name] = values.reshape(-1, *shape)
        return arrays

    def spikes(self) -> dict[str, NDArray[Any]]:
        """Of each layer at the last step."""
        return {
            SPIKES + layer.name: self._last(layer.name).reshape(-1, *layer.shape)
            for layer in self.view[1:-1]
        }

    def _last(self, layer: str) -> NDArray[Any]:
        """What a layer emitted at the readout's last step, (n, neurons)."""
        return self._row(self.board.records[layer])

    def _row(self, ring: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = ring[(self.time - 1) % len(ring), self.board.rows]
        return found
