"""The memory that the worker's processes share. It has no name, so nobody can leave it behind.

Lava forks a process for each layer; all of them inherit these pages. The worker writes to
`control` and `inputs` only between two runs of Lava, when no layer is at work.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snndeploy.layers import Layer
from snndeploy.numerics import BoolArray, Int64Array
from snndeploy_backends.lava.worker.job import Job

PID, STEPS = 0, 1
"""Columns of `Board.progress`: a layer's process, and the physical steps that it has done."""
PROBED = ("current", "before", "after")

_EPOCH, _CHANGE, _COUNT, _FIRST, _ROWS = range(5)


class Board:
    """Progress, orders and records.

    Attributes:
        progress: int64 (layers, 2).
        inputs: int32 (slots, *sample).
        records: what each layer emitted, (ring, slots, neurons) by name: int32 input values, int8
            spikes, int64 membranes of the readout. Logical step t lies at t modulo the ring, which
            is long enough for the steps that the layer is ahead of the readout.
        probed: the same rings, int64, of what a probed layer received and held.
    """

    def __init__(self, job: Job, view: Sequence[Layer]) -> None:
        depth = view[-1].depth
        self.progress: Int64Array = shared((len(view), 2), np.int64)
        self.inputs: NDArray[np.int32] = shared((job.slots, *job.sample), np.int32)
        self.control: Int64Array = shared((_ROWS + job.slots,), np.int64)
        self.records: dict[str, NDArray[Any]] = {}
        self.probed: dict[str, Int64Array] = {}
        for layer in view:
            ring = (1 + depth - layer.depth, job.slots, layer.neurons)
            self.records[layer.name] = shared(ring, emitted_type(layer))
            if layer.name == job.probe:
                self.probed = {name: shared(ring, np.int64) for name in PROBED}

    def begin(self, inputs: NDArray[np.int32], first: int) -> None:
        """Order all layers to start these samples, of which one is number `first`."""
        self.inputs[: len(inputs)] = inputs
        self.control[_EPOCH] += 1
        self.control[_FIRST] = first
        self._run(np.arange(len(inputs)))

    def keep(self, rows: BoolArray) -> None:
        """Order all layers to go on with these of the running samples only."""
        self._run(self.rows[rows])

    @property
    def rows(self) -> Int64Array:
        """The slots of the samples that run, ascending."""
        return self.control[_ROWS : _ROWS + self.control[_COUNT]].copy()

    @property
    def epoch(self) -> int:
        """Counts the orders to begin."""
        return int(self.control[_EPOCH])

    @property
    def change(self) -> int:
        """Counts the orders of both kinds."""
        return int(self.control[_CHANGE])

    @property
    def first(self) -> int:
        """The number of the sample in slot 0."""
        return int(self.control[_FIRST])

    def _run(self, rows: Int64Array) -> None:
        self.control[_CHANGE] += 1
        self.control[_COUNT] = len(rows)
        self.control[_ROWS : _ROWS + len(rows)] = rows


def emitted_type(layer: Layer) -> type[Any]:
    """What a layer's messages consist of."""
    types: dict[str, type[Any]] = {"input": np.int32, "readout": np.int64}
    return types.get(layer.kind, np.int8)


def shared(shape: tuple[int, ...], dtype: type[Any]) -> Any:
    """An array of zeros that a process shares with those that it forks."""
    size = prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), dtype, count=prod(shape)).reshape(shape)
