"""When a sample stops: it has settled, a controller is sure, or the steps are over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from snndeploy.numerics import BoolArray, Int64Array
from snndeploy.program import Program


class Controller(Protocol):
    """Decides, after each step, which of the running samples may stop.

    It has no state: what it decides of a row depends on that row's logits and step alone. So some
    steps may be computed ahead, and all of them decided at once.
    """

    def stop(self, logits: Int64Array, step: Int64Array) -> BoolArray:
        """Rows (n,) that are sure enough.

        Args:
            logits: int64 (n, classes), the readout's membranes.
            step: int64 (n,), the 1-based step of each row. Rows may differ in it.
        """
        ...


@dataclass(frozen=True, eq=False)
class Ends:
    """What some steps ended, of n samples.

    Attributes:
        ran: int64 (n,), how many of the steps each sample runs.
        stopped: bool (n,), whether it stops then.
        settled: bool (n,), whether it stops because nothing would change any more: in exact mode,
            a step without a spike at the window's end or later.
    """

    ran: Int64Array
    stopped: BoolArray
    settled: BoolArray


def ends_of(
    logits: Int64Array,
    events: Mapping[str, Int64Array],
    program: Program,
    start: int,
    limit: int,
    controller: Controller | None,
) -> Ends:
    """Where n samples stop within some steps.

    Args:
        logits: int64 (n, steps, classes), after each step.
        events: int64 (n, steps) per spiking layer, spikes of either sign.
        start: how many steps came before these.
        limit: the step after which all stop.
    """
    rows, steps, classes = logits.shape
    numbers = np.arange(start + 1, start + steps + 1)
    quiet = np.zeros((rows, steps), np.bool_)
    if program.network.mode == "exact":
        quiet[:] = numbers >= program.network.window
        for fired in events.values():
            quiet &= fired == 0
    stop = quiet | (numbers == limit)
    if controller is not None:
        each = np.tile(numbers, rows)
        stop |= controller.stop(logits.reshape(-1, classes), each).reshape(rows, steps)
    stopped: BoolArray = stop.any(axis=1)
    ran = np.where(stopped, stop.argmax(axis=1) + 1, steps)
    return Ends(ran, stopped, stopped & quiet[np.arange(rows), ran - 1])
