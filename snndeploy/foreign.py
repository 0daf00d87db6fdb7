"""Run NIR graphs that other tools wrote: float dynamics, on a backend that knows them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from snndeploy.backend import Response, RunsForeign, require_backend
from snndeploy.errors import DataError, InputError
from snndeploy.nirfile import ForeignGraph, load_foreign
from snndeploy.numerics import FloatArray, Int8Array, Int64Array
from snndeploy.simulate import MAX_STEPS, Progress


@dataclass(frozen=True, eq=False)
class NirTrace:
    """The record of a foreign NIR graph over N samples and T steps.

    Attributes:
        graph: what ran.
        backend: who ran it.
        outputs: float64 (N, T, *output shape): spikes or membranes, as the graph ends in.
        spikes: int8 (N, T, *shape) per node that emits zeros and ones; empty if not recorded.
        events: int64 (N, T) per such node: how many ones.
        seconds: wall-clock time of the simulation.
    """

    graph: ForeignGraph
    backend: str
    outputs: FloatArray
    spikes: Mapping[str, Int8Array]
    events: Mapping[str, Int64Array]
    seconds: float

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def totals(self) -> FloatArray:
        """The outputs added up over the steps, (N, outputs): spike counts, if it ends in spikes."""
        summed: FloatArray = self.outputs.sum(axis=1).reshape(len(self), -1)
        return summed

    @property
    def predictions(self) -> Int64Array:
        """The output with the largest total, (N,)."""
        best: Int64Array = self.totals.argmax(axis=1)
        return best


def run_nir(
    graph: ForeignGraph | str | Path,
    x: ArrayLike,
    *,
    dt: float | None = None,
    steps: int | None = None,
    backend: str = "norse",
    batch: int = 64,
    record: bool = True,
    progress: Progress | None = None,
) -> NirTrace:
    """Simulate a NIR graph that another tool wrote.

    What it means at steps of `dt` is defined in `snndeploy.nirfile.foreign`.

    Args:
        graph: from `load_foreign`, or a path.
        x: (N, T, *input shape) step by step, or (N, *input shape) with `steps`.
        dt: the step, in the unit of the graph's time constants; for a path.
        steps: how often a constant input is given.
        backend: one that knows such graphs, `norse` or `judge`.
        batch: samples simulated together.
        record: keep every spike.
        progress: told (samples done, samples in all).

    Raises:
        FileFormatError, UnsupportedModelError: as `load_foreign`.
        DataError: samples of another shape, or NaN.
        InputError: no `dt`, no `steps`, or a backend that does not know such graphs.
        BackendMissingError: the backend, or a package of it, is not installed.
    """
    if not isinstance(graph, ForeignGraph):
        if dt is None:
            raise InputError(
                "NIR files do not say how long a step is",
                where=str(graph),
                remedy="give dt, in the unit of the time constants: the tool that wrote it has one",
            )
        graph = load_foreign(graph, dt)
    runner = require_backend(backend)
    if not isinstance(runner, RunsForeign):
        raise InputError(
            "runs networks that snndeploy converted, no foreign NIR graphs",
            where=f"backend '{backend}'",
            remedy="use norse, or judge",
        )
    if batch < 1:
        raise InputError(f"{batch} samples", where="batch", remedy="take at least 1 together")
    inputs = _stimulus(graph, np.asarray(x), steps)
    parts: list[Response] = []
    started = time.perf_counter()
    for first in range(0, len(inputs), batch):
        rows = inputs[first : first + batch].astype(np.float64)
        parts.append(runner.respond(graph, rows, record))
        if progress is not None:
            progress(first + len(rows), len(inputs))
    return NirTrace(
        graph=graph,
        backend=runner.name,
        outputs=np.concatenate([part.outputs for part in parts]),
        spikes={k: np.concatenate([part.spikes[k] for part in parts]) for k in parts[0].spikes},
        events={k: np.concatenate([part.events[k] for part in parts]) for k in parts[0].events},
        seconds=time.perf_counter() - started,
    )


def _stimulus(graph: ForeignGraph, x: np.ndarray, steps: int | None) -> np.ndarray:
    """The samples step by step, (N, T, *shape); a constant one is not copied."""
    shape = graph.input_shape
    constant, stepped = x.shape[1:] == shape, x.shape[2:] == shape and x.ndim == len(shape) + 2
    if x.dtype.kind not in "biuf" or not x.size or not (constant or stepped):
        axes = ", ".join(map(str, shape))
        raise DataError(
            f"array of {x.dtype} and shape {x.shape}, the graph takes (N, steps, {axes}), or "
            f"(N, {axes}) with a number of steps",
            where="data",
        )
    if not np.isfinite(x).all():
        raise DataError("holds NaN or infinity", where="data", remedy="clean the data")
    if stepped and steps is not None and not constant:
        if steps > x.shape[1]:
            raise InputError(f"{steps} steps, the samples have {x.shape[1]}", where="steps")
        return x[:, :steps]
    if not constant:
        return x
    if steps is None or not 1 <= steps <= MAX_STEPS:
        raise InputError(
            f"{steps} steps for a constant input", where="steps", remedy=f"1 to {MAX_STEPS:,}"
        )
    return np.broadcast_to(x[:, None], (len(x), steps, *shape))
