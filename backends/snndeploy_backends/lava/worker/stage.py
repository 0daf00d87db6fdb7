"""Loihi's timing: a layer at depth d works on logical step t - d at physical step t.

A spike that is sent at one physical step is seen by its receiver in the same step, one step
after it was computed. A branch that skips layers is early; its messages wait in a queue of
`Projection.delay` steps. All samples of a batch run side by side, one slot each. A sample that is
dropped leaves every layer at once, though these are at different logical steps.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from snndeploy.layers import Layer
from snndeploy_backends.lava.worker.board import PID, STEPS, Board
from snndeploy_backends.lava.worker.failures import described, record_failure
from snndeploy_backends.lava.worker.populations import Message, Messages, Population
from snndeploy_backends.lava.worker.projections import sources


class Stage:
    """One layer on the pipeline's clock.

    Args:
        population: the layer's state.
        layer: gives the depth and the delays.
        index: of the layer in the layer view.
        board: orders and records, shared by all processes of the worker.
        folder: where a failure is recorded.

    Attributes:
        silence: a message without a spike, (slots, neurons).
    """

    def __init__(
        self, population: Population, layer: Layer, index: int, board: Board, folder: Path
    ) -> None:
        self.population, self.layer, self.board = population, layer, board
        self.progress, self.record = board.progress[index], board.records[layer.name]
        self.name, self.folder = layer.name, folder
        self.silence = silence(board, layer.name)
        self.message = self.silence
        self.epoch = self.change = self.time = 0
        self.rows = np.arange(0)
        self.delays: dict[str, deque[Message]] = {}
        self.failed = False

    def outgoing(self) -> Message:
        """What to send at this physical step: what was computed in the one before."""
        if self.change != self.board.change:
            self._guarded(self._obey)
        return self.message

    def advance(self, messages: Messages) -> None:
        """Receive one message (slots, neurons) a source, and work on the next step."""
        if not self.progress[STEPS]:
            self.progress[PID] = os.getpid()
        time, self.time = self.time, self.time + 1
        aligned = {name: _exchanged(self.delays[name], m) for name, m in messages.items()}
        if time >= 0 and not self.failed:
            self._guarded(self._work, time, aligned)
        self.progress[STEPS] += 1

    def _obey(self) -> None:
        """Begin anew, or drop samples."""
        board, rows = self.board, self.board.rows
        if self.epoch != board.epoch:
            self.time, self.message = -self.layer.depth, self.silence
            self.delays = {
                name: deque([silence(board, name)] * delay)
                for name, delay in sources(self.layer).items()
            }
            self.population.begin(rows, board.first)
        else:
            self.population.keep(np.isin(self.rows, rows))
        self.epoch, self.change, self.rows = board.epoch, board.change, rows

    def _work(self, time: int, messages: Messages) -> None:
        rows = slice(None) if len(self.rows) == len(self.silence) else self.rows
        heard = {name: m[rows] for name, m in messages.items()}
        emitted = self.population.step(time, heard)
        self.message = self.record[time % len(self.record)]
        self.message[rows] = emitted.reshape(len(self.rows), -1)

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        """Never raise: a process that raises inside Lava leaves its peers waiting for ever.

        A stage that fails records why and stays silent; the worker ends the run.
        """
        try:
            action(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, peers must not hang
            self.failed, self.message = True, self.silence
            record_failure(self.folder, described(error, f"layer '{self.name}'"))


def silence(board: Board, layer: str) -> Message:
    """A message of a layer in which no slot has a spike."""
    return np.zeros_like(board.records[layer][0])


def _exchanged(queue: deque[Message], message: Message) -> Message:
    queue.append(message)
    return queue.popleft()
