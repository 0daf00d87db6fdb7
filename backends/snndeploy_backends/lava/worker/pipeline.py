"""Loihi's timing: a layer at depth d works on logical step t - d at physical step t.

A spike that is sent at one physical step is seen by its receiver in the same step, one step
after it was computed. A branch that skips layers is early; its messages wait in a queue of
`Projection.delay` steps. Samples follow each other without a gap: each layer resets when its
own clock, not the network's, passes from one sample to the next.
"""

from __future__ import annotations

import os
import traceback
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snndeploy.errors import DoesNotFitError
from snndeploy.layers import Layer
from snndeploy.network import Network
from snndeploy_backends.lava.worker.job import Job, record_failure
from snndeploy_backends.lava.worker.populations import Message, Population

PID, STEPS = 0, 1
"""Columns of a stage's row on the board that all processes of the worker share."""


class Stage:
    """One layer on the pipeline's clock.

    Args:
        population: the layer's state.
        layer: gives the depth and the delays.
        job: gives the samples and steps.
        record: (N, steps, *shape), where what the layer emits is kept; None for the input.
        board: two int64 numbers in shared memory: the process and the steps that it has done.
        folder: where a failure is recorded.
    """

    def __init__(
        self,
        population: Population,
        layer: Layer,
        job: Job,
        record: NDArray[Any] | None,
        board: NDArray[np.int64],
        folder: Path,
    ) -> None:
        self.population, self.record, self.board = population, record, board
        self.name, self.folder = layer.name, folder
        self.time, self.steps = -layer.depth, job.steps
        self.end = len(job.inputs) * job.steps
        self.delays = [_queue(p.delay, job.network, p.source) for p in layer.projections]
        self.silence = silent_message(job.network, layer.name)
        self.failed = False

    def advance(self, messages: Sequence[Message]) -> Message:
        """Receive one message a projection; return what to send at the next physical step.

        Never raises: a process that raises inside Lava leaves its peers waiting for ever. It
        records the failure and stays silent; the parent ends the run.
        """
        if not self.board[STEPS]:
            self.board[PID] = os.getpid()
        self.board[STEPS] += 1
        time, self.time = self.time, self.time + 1
        aligned = [_exchanged(q, m) for q, m in zip(self.delays, messages, strict=True)]
        if self.failed or not 0 <= time < self.end:
            return self.silence
        sample, t = divmod(time, self.steps)
        try:
            return self._emit(sample, t, aligned)
        except Exception as error:  # noqa: BLE001 - whatever it is, peers must not hang
            self.failed = True
            record_failure(self.folder, _described(error, self.name, sample))
            return self.silence

    def _emit(self, sample: int, t: int, messages: Sequence[Message]) -> Message:
        if t == 0:
            self.population.begin(sample)
        emitted = self.population.step(t, messages)
        if self.record is not None:
            self.record[sample, t] = emitted
        return emitted.reshape(-1)


def silent_message(network: Network, layer: str) -> Message:
    """A message without a spike: int8, or int32 from the input, flat."""
    kind = np.int32 if layer == network.input.name else np.int8
    return np.zeros(int(np.prod(network.shapes[layer])), kind)


def _queue(delay: int, network: Network, source: str) -> deque[Message]:
    return deque([silent_message(network, source)] * delay)


def _exchanged(queue: deque[Message], message: Message) -> Message:
    queue.append(message)
    return queue.popleft()


def _described(error: Exception, layer: str, sample: int) -> dict[str, Any]:
    if isinstance(error, DoesNotFitError):
        return {
            "kind": "does_not_fit",
            "problem": error.problem,
            "where": f"{error.where}, sample {sample}",
            "remedy": error.remedy,
        }
    return {
        "kind": "crash",
        "problem": f"{type(error).__name__}: {error}",
        "where": f"layer '{layer}', sample {sample}",
        "remedy": "report it with this trace:\n" + traceback.format_exc(),
    }
