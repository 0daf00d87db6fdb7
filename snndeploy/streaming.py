"""Watch samples step by step, and stop as soon as they are sure.

session = sd.session(program, exit_policy=policy)
for now in session.stream(x):
    print(now.step, now.predictions, now.stopped)
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snndeploy.backend import Backend, Bounded, require_backend
from snndeploy.control import ExitPolicy
from snndeploy.deploy import grid_inputs, lower
from snndeploy.errors import InputError
from snndeploy.network import Network
from snndeploy.numerics import BoolArray, FloatArray, Int64Array
from snndeploy.program import Program
from snndeploy.simulate import Advance, advance, most_steps
from snndeploy.stopping import Controller


@dataclass(frozen=True, eq=False)
class StreamStep:
    """All N samples after one logical step.

    Of a sample that has stopped it holds what it held then.

    Attributes:
        step: from 1.
        logits: int64 (N, classes), the readout's membranes.
        scores: float64 (N,), how sure the policy is, which it holds to its limit: with Dynamic
            Confidence the confidence. None if there is no policy, or if it has no such figure.
        stopped: bool (N,), the samples that have stopped: sure, settled, or at the last step.
        settled: bool (N,), those of them that stopped because nothing would change any more.
        stop_steps: int64 (N,), steps that each has run.
        events: int64 (N,), spikes of either sign that each has fired.
    """

    step: int
    logits: Int64Array
    scores: FloatArray | None
    stopped: BoolArray
    settled: BoolArray
    stop_steps: Int64Array
    events: Int64Array

    @property
    def predictions(self) -> Int64Array:
        """The class with the largest logit, int64 (N,)."""
        best: Int64Array = self.logits.argmax(axis=-1)
        return best


@dataclass(frozen=True, eq=False)
class StreamingSession:
    """A program on a backend, ready for samples.

    Attributes:
        program: what runs.
        backend: who runs it.
        controller: what stops samples early, if anything does.
        steps: the most steps.
    """

    program: Program
    backend: Backend
    controller: Controller | None
    steps: int

    def stream(self, x: ArrayLike) -> Generator[StreamStep, None, None]:
        """Simulate samples together, telling after each step how they stand.

        Samples leave the batch as they stop, and it ends with the last. Leaving the loop, by
        `break` or by an exception, ends the simulation: a generator that is kept is ended by its
        `close`.

        Args:
            x: (N, *shape), floats in the model's units or integers on the input grid.

        Raises:
            DataError: wrong shape, NaN, or values outside the input grid.
            InputError: more samples than the backend can hold at a time.
        """
        inputs = grid_inputs(self.program.network, x)
        if isinstance(self.backend, Bounded):
            most = self.backend.most_samples(self.program)
            if len(inputs) > most:
                raise InputError(
                    f"{len(inputs)} samples, it holds {most} at a time",
                    where=f"backend '{self.backend.name}'",
                    remedy=f"stream {most} samples at a time",
                )
        return self._steps(inputs)

    def _steps(self, inputs: Int64Array) -> Generator[StreamStep, None, None]:
        now = self._start(len(inputs))
        with closing(self.backend.open(self.program, inputs, self.steps)) as session:
            for step in advance(session, self.program, len(inputs), self.steps, self.controller):
                now = self._after(now, step)
                yield now

    def _start(self, samples: int) -> StreamStep:
        """Before the first step."""
        zeros, no = np.zeros(samples, np.int64), np.zeros(samples, np.bool_)
        logits = np.zeros((samples, *self.program.layers[-1].shape), np.int64)
        scores = np.zeros(samples) if isinstance(self.controller, Scoring) else None
        return StreamStep(0, logits, scores, no, no, zeros, zeros)

    def _after(self, before: StreamStep, step: Advance) -> StreamStep:
        scores, controller = before.scores, cast(object, self.controller)
        if scores is not None and isinstance(controller, Scoring):
            ages = np.full(len(step.rows), step.number)
            scores = _with(scores, step.rows, controller.score(step.step.logits, ages))
        fired = np.zeros(len(step.rows), np.int64)
        for count in step.events.values():
            fired += count
        return StreamStep(
            step.number,
            _with(before.logits, step.rows, step.step.logits),
            scores,
            _with(before.stopped, step.rows, step.stopped),
            _with(before.settled, step.rows, step.settled),
            _with(before.stop_steps, step.rows, np.array(step.number)),
            _with(before.events, step.rows, before.events[step.rows] + fired),
        )


@runtime_checkable
class Scoring(Protocol):
    """A controller that tells how sure it is."""

    def score(self, logits: Int64Array, step: Int64Array) -> FloatArray:
        """Of each row (n,), from logits (n, classes) after 1-based steps (n,)."""
        ...


def session(
    program: Program | Network,
    *,
    backend: str = "reference",
    exit_policy: ExitPolicy | Controller | None = None,
    steps: int | None = None,
) -> StreamingSession:
    """Make a program ready for streaming.

    Args:
        program: from `lower`, or an integer network.
        backend: a name from `snndeploy backends`.
        exit_policy: stops each sample as soon as it is sure: a calibrated policy, or any object
            with the `stop` of `snndeploy.stopping.Controller`.
        steps: the most steps; default: until settled (exact mode), those that the exit policy
            was calibrated for, or the window (rate mode).

    Raises:
        InputError: steps out of range, a policy of another network, or one on a backend that
            does not stream.
        BackendMissingError: the backend, or a package of it, is not installed.
    """
    if isinstance(program, Network):
        program = lower(program)
    found = require_backend(backend)
    if isinstance(exit_policy, ExitPolicy):
        steps = exit_policy.steps if steps is None else steps
        exit_policy = exit_policy.controller(program.network)
    most = most_steps(found, program, steps, exit_policy)
    return StreamingSession(program, found, exit_policy, most)


def _with(before: NDArray[Any], rows: Int64Array, values: NDArray[Any]) -> Any:
    """A copy with some rows replaced."""
    after = before.copy()
    after[rows] = values
    return after
