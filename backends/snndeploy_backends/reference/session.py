"""A batch driven step by step, computed a few steps ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch

from snndeploy.backend import Step
from snndeploy.errors import InputError
from snndeploy.numerics import BoolArray, Int8Array, Int64Array
from snndeploy.program import Program
from snndeploy_backends.exact_floats import exact_kernels
from snndeploy_backends.reference.folded import recorded
from snndeploy_backends.reference.plan import Options, Plan, plan
from snndeploy_backends.reference.team import S, T, Team
from snndeploy_backends.reference.walk import Span, Walk

MOST_AHEAD = 4
"""Steps that are computed at once, at most."""


class EngineSession:
    """Samples that a controller may stop after any step.

    Some steps are computed at once, as many as fill the kernels, and handed out one by one. What
    was computed beyond a sample's stop is dropped.
    """

    def __init__(
        self, program: Program, inputs: Int64Array, steps: int, options: Options, watch: str = ""
    ) -> None:
        self.program, self.options = program, options
        self.plan = plan(program, steps, options)
        workers = min(options.workers, len(inputs))
        several = options.workers > 1
        self.team = Team(options.workers, shares=workers < 2) if several else None
        cuts = np.linspace(0, len(inputs), workers + 1).astype(int)

        def start(rows: tuple[int, int]) -> Walk:
            with torch.inference_mode():
                return Walk(self.plan, inputs[slice(*rows)], options, True, None, watch)

        self.walks = self._in_parallel(start, list(pairwise(cuts)))
        self.spans: list[Span] = []
        self.alive = [np.arange(walk.rows) for walk in self.walks]
        self.at = self.ready = self.time = 0
        self.closed = False

    def step(self) -> Step:
        """Advance by one logical step."""
        if self.closed:
            raise InputError("is closed", where="session")
        if not sum(map(len, self.alive)):
            return self._nothing()
        if self.at == self.ready:
            self._compute()
        t, self.at = self.at, self.at + 1
        parts = list(zip(self.spans, self.alive, strict=True))
        logits = [span.logits[rows, min(t, span.steps - 1)] for span, rows in parts]
        events: dict[str, Int64Array] = {}
        for layer in self.plan.layers[:-1]:
            name = layer.layer.name
            found = [
                span.events[name][t, rows] if t < len(span.events[name]) else rows * 0
                for span, rows in parts
            ]
            events[name] = np.concatenate(found)
        return Step(np.concatenate(logits), _Spikes(self.plan, parts, t), events)

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of the samples; the others leave the batch."""
        first = 0
        for index, alive in enumerate(self.alive):
            self.alive[index] = alive[rows[first : first + len(alive)]]
            first += len(alive)

    def close(self) -> None:
        """Drop the state."""
        if self.team is not None:
            self.team.shutdown()
        self.walks, self.spans, self.alive = [], [], []
        self.closed = True

    def membrane(self, name: str) -> Int64Array:
        """The membranes (n, *shape) of a layer after the steps that were computed."""
        return np.concatenate([walk.membrane(name) for walk in self.walks])

    def last_current(self) -> Int64Array:
        """What reached the watched layer at the last step that was computed, (n, *shape)."""
        return np.concatenate([walk.last_current() for walk in self.walks])

    def _nothing(self) -> Step:
        """A step of no samples."""
        spiking = self.program.spiking
        return Step(
            np.zeros((0, *self.program.layers[-1].shape), np.int64),
            {layer.name: np.zeros((0, *layer.shape), np.int8) for layer in spiking},
            {layer.name: np.zeros(0, np.int64) for layer in spiking},
        )

    def _compute(self) -> None:
        """The next steps, of the samples that are left.

        When a single walk is left, all threads share its layers.
        """
        pairs = [(w, rows) for w, rows in zip(self.walks, self.alive, strict=True) if len(rows)]
        most = self.options.ahead // sum(len(rows) for _, rows in pairs)
        steps = min(max(most, 1), MOST_AHEAD, self.plan.steps - self.time)
        self.time += steps

        def advance(pair: tuple[Walk, Int64Array]) -> tuple[Int64Array, Span]:
            walk, rows = pair
            with torch.inference_mode():
                kept = walk.keep(rows) if len(rows) < walk.rows else rows
                return kept, walk.advance(steps)

        if len(pairs) == 1:
            pairs[0][0].team = self.team
        try:
            found = self._in_parallel(advance, pairs)
        except BaseException:  # some walks may be ahead of others
            self.close()
            raise
        self.walks = [walk for walk, _ in pairs]
        self.alive, self.spans = [kept for kept, _ in found], [span for _, span in found]
        for walk in self.walks:
            walk.time = self.time
        self.at, self.ready = 0, steps

    def _in_parallel(self, work: Callable[[S], T], parts: Sequence[S]) -> list[T]:
        """One thread a part; a single part in the calling one, so that helpers are free."""
        with exact_kernels():
            if self.team is None or len(parts) < 2:
                return [work(part) for part in parts]
            return self.team.each(work, parts)


class _Spikes(Mapping[str, Int8Array]):
    """The spikes of step t of some spans, put into the network's layout when they are asked for.

    Args:
        parts: each span with those of its rows that were running.
    """

    def __init__(self, plan: Plan, parts: Sequence[tuple[Span, Int64Array]], t: int) -> None:
        self.plan, self.parts, self.t = plan, parts, t

    def __getitem__(self, name: str) -> Int8Array:
        zero = int(self.plan.signed)
        found = [
            recorded(span.spikes[name].at(self.t), 1, zero)[rows, 0] for span, rows in self.parts
        ]
        return np.concatenate(found)

    def __iter__(self) -> Iterator[str]:
        return (layer.layer.name for layer in self.plan.layers[:-1])

    def __len__(self) -> int:
        return len(self.plan.layers) - 1
