"""Run a job: read it, build one Lava process a layer, run the pipeline, report."""

from __future__ import annotations

import mmap
import multiprocessing.process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snndeploy.layers import Layer, layers
from snndeploy_backends.lava.worker.heart import Heart
from snndeploy_backends.lava.worker.job import (
    Job,
    layer_file,
    probe_files,
    read_failure,
    read_job,
)
from snndeploy_backends.lava.worker.mends import import_lava
from snndeploy_backends.lava.worker.pipeline import Stage, silent_message
from snndeploy_backends.lava.worker.populations import WatchedNeurons, populations

CHANNEL_SLOTS = 4
"""Messages that a channel holds. The phases keep at most two under way."""


def run(folder: Path, heart: Heart) -> None:
    """Simulate the job in `folder`; leave the records, or an error, there.

    Lava's sockets go to the working directory, which is `folder`.
    """
    # Else its sockets lie in a folder of their own that outlives a worker that is killed.
    multiprocessing.process.current_process()._config["tempdir"] = "."  # type: ignore[attr-defined]
    job = read_job(folder)
    view = layers(job.network)
    board = np.frombuffer(mmap.mmap(-1, 16 * len(view)), np.int64).reshape(-1, 2)
    stages = _stages(job, view, board, folder)
    import_lava()
    readout = _connected(job, view, stages)
    actors = _started(readout)
    steps = job.physical_steps(view[-1].depth)
    heart.watch(board, [layer.name for layer in view], actors, steps)
    _run_steps(readout, steps)
    heart.rest()
    heart.tell("done" if read_failure(folder) is None else "error")
    readout.stop()


def _stages(job: Job, view: Sequence[Layer], board: Any, folder: Path) -> list[Stage]:
    stages = []
    for index, (layer, population) in enumerate(zip(view, populations(job, view), strict=True)):
        record = None
        if layer.kind != "input":
            dtype = np.int64 if layer.kind == "readout" else np.int8
            record = _record(layer_file(folder, index), dtype, layer, job, job.steps)
        neurons = _watched(layer, job, folder) if layer.name == job.probe else population
        stages.append(Stage(neurons, layer, job, record, board[index], folder))
    return stages


def _watched(layer: Layer, job: Job, folder: Path) -> WatchedNeurons:
    currents, membranes = probe_files(folder)
    return WatchedNeurons(
        layer,
        job,
        _record(currents, np.int64, layer, job, job.steps),
        _record(membranes, np.int64, layer, job, job.steps + 1),
    )


def _record(file: Path, dtype: type[Any], layer: Layer, job: Job, steps: int) -> Any:
    shape = (len(job.inputs), steps, *layer.shape)
    return np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)


def _connected(job: Job, view: Sequence[Layer], stages: Sequence[Stage]) -> Any:
    """One process a layer, wired; returns the readout's."""
    from snndeploy_backends.lava.worker.processes import layers as processes  # noqa: PLC0415

    kinds = {
        "input": processes.SourceProcess,
        "neurons": processes.NeuronProcess,
        "max_pool": processes.PoolProcess,
        "readout": processes.ReadoutProcess,
    }
    made: dict[str, Any] = {}
    for layer, stage in zip(view, stages, strict=True):
        sources = [silent_message(job.network, p.source) for p in layer.projections]
        made[layer.name] = kinds[layer.kind](stage, sources)
        for index, projection in enumerate(layer.projections):
            made[projection.source].out.connect(getattr(made[layer.name], f"in_{index}"))
    return made[view[-1].name]


def _started(readout: Any) -> list[multiprocessing.process.BaseProcess]:
    """Compile and start the network; returns its operating system processes."""
    from snndeploy_backends.lava.worker.processes.layers import LayerConfig  # noqa: PLC0415

    readout.create_runtime(
        run_cfg=LayerConfig(), compile_config={"pypy_channel_size": CHANNEL_SLOTS}
    )
    return list(readout.runtime._messaging_infrastructure.actors)


def _run_steps(readout: Any, steps: int) -> None:
    from lava.magma.core.run_conditions import RunSteps  # noqa: PLC0415

    readout.run(RunSteps(num_steps=steps))
