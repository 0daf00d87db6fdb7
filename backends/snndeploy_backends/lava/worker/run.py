"""The worker's work: build one Lava process a layer, then answer requests until the parent ends."""

from __future__ import annotations

import multiprocessing.process
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snndeploy.errors import WorkerError
from snndeploy_backends.lava.worker.failures import described, read_failure
from snndeploy_backends.lava.worker.frames import Decoder, Frame
from snndeploy_backends.lava.worker.heart import Heart
from snndeploy_backends.lava.worker.job import CHANNEL_SLOTS, Job
from snndeploy_backends.lava.worker.mends import import_lava
from snndeploy_backends.lava.worker.pipeline import Pipeline
from snndeploy_backends.lava.worker.projections import sources


class LavaNetwork:
    """The processes of a pipeline, wired and started.

    Attributes:
        channels: how many carry messages between layers.
        actors: its operating system processes.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        import_lava()
        processes = _connected(pipeline)
        self.channels = sum(len(names) for x in processes for names in x.heard.values())
        self.readout = processes[-1]
        self.actors = _started(self.readout)
        pipeline.advance = self._run

    def stop(self) -> None:
        """End all processes and free their shared memory."""
        if not self.readout.runtime._is_started:
            self._run(1)  # else Lava does not tell them to end, and waits for them for ever
        self.readout.stop()

    def _run(self, steps: int) -> None:
        from lava.magma.core.run_conditions import RunSteps  # noqa: PLC0415

        self.readout.run(RunSteps(num_steps=steps))


def serve(folder: Path, heart: Heart) -> None:
    """Answer the parent's requests until it closes.

    Lava's sockets go to the working directory, which is `folder`.
    """
    # Else its sockets lie in a folder of their own that outlives a worker that is killed.
    multiprocessing.process.current_process()._config["tempdir"] = "."  # type: ignore[attr-defined]
    requests = _requests(heart)
    try:
        pipeline = Pipeline(Job.of(next(requests)), folder)
        network = LavaNetwork(pipeline)
        heart.watch(pipeline.board, [stage.name for stage in pipeline.stages], network.actors)
        processes = [actor.pid for actor in network.actors]
        heart.tell("ready", processes=processes, channels=network.channels)
        for request in requests:
            if request.kind == "close":
                break
            _answer(request, pipeline, folder, heart)
    except Exception as error:
        heart.tell("failed", failure=described(error, "lava worker"))
        raise
    heart.rest()
    network.stop()


def _answer(request: Frame, pipeline: Pipeline, folder: Path, heart: Heart) -> None:
    if request.kind == "begin":
        inputs: Any = request.arrays["inputs"]
        pipeline.begin(inputs, request.details["first"])
    elif request.kind == "spikes":
        heart.tell("spikes", pipeline.spikes())
    elif request.kind == "step":
        if "keep" in request.arrays:
            pipeline.keep(request.arrays["keep"])
        pipeline.step()
        failure = read_failure(folder)
        if failure is None:
            heart.tell("step", pipeline.results(request.details["spikes"]))
        else:
            heart.tell("failed", failure=failure)
    else:
        raise WorkerError(f"an unknown request {request.kind!r}", where="lava protocol")


def _requests(heart: Heart) -> Iterator[Frame]:
    """What the parent asks for; if it has gone, the worker goes too."""
    decoder = Decoder()
    while data := os.read(heart.requests, 1 << 16):
        yield from decoder.feed(data)
    heart.die()


def _connected(pipeline: Pipeline) -> list[Any]:
    """One process a layer, wired, in the order of the layer view."""
    from snndeploy_backends.lava.worker.processes import layers as processes  # noqa: PLC0415

    kinds = {
        "input": processes.SourceProcess,
        "neurons": processes.NeuronProcess,
        "max_pool": processes.PoolProcess,
        "readout": processes.ReadoutProcess,
    }
    made: dict[str, Any] = {}
    for stage in pipeline.stages:
        heard = [made[name] for name in sources(stage.layer)]
        process = kinds[stage.layer.kind](stage, heard, pipeline.job.paired)
        process.connect(heard)
        made[stage.name] = process
    return list(made.values())


def _started(readout: Any) -> list[multiprocessing.process.BaseProcess]:
    """Compile and start the network; returns its operating system processes."""
    from snndeploy_backends.lava.worker.processes.layers import LayerConfig  # noqa: PLC0415

    readout.create_runtime(
        run_cfg=LayerConfig(), compile_config={"pypy_channel_size": CHANNEL_SLOTS}
    )
    return list(readout.runtime._messaging_infrastructure.actors)
