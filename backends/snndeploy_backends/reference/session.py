"""Samples that are computed some steps at a time, and may stop after any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch

from snndeploy.backend import Folded, Step
from snndeploy.errors import InputError
from snndeploy.numerics import BoolArray, Int8Array, Int64Array
from snndeploy.program import Program
from snndeploy.trace import padded
from snndeploy_backends.exact_floats import exact_kernels
from snndeploy_backends.reference.folded import recorded
from snndeploy_backends.reference.group import Group
from snndeploy_backends.reference.plan import Options, plan
from snndeploy_backends.reference.team import T, one_thread, team_of
from snndeploy_backends.reference.walk import Span

MOST_AHEAD = 4
"""Steps that are computed at once, at most, where they are handed out one by one."""


class EngineSession:
    """Samples that a driver may stop after any step.

    `advance` computes as many steps as it is asked for; `step` hands them out one by one. What was
    computed beyond a sample's stop is dropped.

    Args:
        steps: the most, of any sample.
        keep_spikes: whether spikes are handed out.
        watch: a layer whose currents are kept, see `last_current`.
    """

    def __init__(
        self,
        program: Program,
        steps: int,
        options: Options,
        keep_spikes: bool = True,
        watch: str = "",
    ) -> None:
        self.program, self.options = program, options
        self.keep_spikes, self.watch = keep_spikes, watch
        self.plan = plan(program, steps, options)
        self.names = [layer.layer.name for layer in self.plan.layers[:-1]]
        self.team = team_of(options.workers) if options.workers > 1 else None
        self.room: Group | None = None
        self.group: Group
        self.parts: list[Group] = []
        self.places = self.alive = np.zeros(0, np.int64)
        self.done, self.at, self.closed = self._nothing(0), 0, False

    def admit(self, inputs: Int64Array) -> None:
        """Begin with new samples; those before them are forgotten."""
        self._check_open()
        with torch.inference_mode():
            if self.room is None or len(inputs) > self.room.rows:
                self.room = Group(self.plan, inputs, self.options, self.keep_spikes, self.watch)
            self.group = self.room.refilled(inputs)
        self.places = self.alive = np.arange(len(inputs))
        self.done, self.at = self._nothing(0), 0
        if len(inputs):
            self._in_threads(Group.begin, self._split(1))

    def advance(self, steps: int) -> Folded:
        """The next steps of the samples that are left, or fewer if that would take much memory.

        In exact mode the record may end before, at a step by which all samples have settled.
        """
        self._check_open()
        if not len(self.alive):
            return self._nothing(1)
        if len(self.alive) < len(self.places):
            self._close_ranks()
        self.alive = np.arange(len(self.places))
        start = self.group.time
        steps = min(steps, self.plan.steps - start, self._most_steps())
        self.parts = self._split(steps)
        try:
            spans = self._advance_parts(steps)
        except BaseException:  # some parts may be ahead of others
            self.close()
            raise
        found = max(span.steps for span in spans)
        self.group.time = start + found
        self.done, self.at = self._folded(spans, found), 0
        return self.done

    def step(self) -> Step:
        """Advance by one logical step."""
        self._check_open()
        if not len(self.alive):
            nothing = self._nothing(1)
            spikes = {name: x[:, 0] for name, x in nothing.spikes.items()}
            events = {name: x[:, 0] for name, x in nothing.events.items()}
            return Step(nothing.logits[:, 0], spikes, events)
        if self.at == self.done.logits.shape[1]:
            self.advance(min(max(self.options.ahead // len(self.alive), 1), MOST_AHEAD))
        t, self.at = self.at, self.at + 1
        events = {name: found[self.alive, t] for name, found in self.done.events.items()}
        return Step(self.done.logits[self.alive, t], _Picked(self.record, self.alive, t), events)

    def keep(self, rows: BoolArray) -> None:
        """Go on with some of the samples; the others leave the group."""
        self.alive = self.alive[rows]

    def overhead(self, rows: int) -> float:
        """What `advance` takes beside its steps, in steps, about: weights, and Python's turns."""
        each = min(-(-rows // self.options.workers), self.options.rows)
        return 0.25 + 2.5 / each

    def close(self) -> None:
        """Drop the state."""
        self.room, self.parts, self.closed = None, [], True
        vars(self).pop("group", None)

    def membrane(self, name: str) -> Int64Array:
        """The membranes (n, *shape) of a layer after the steps that were computed."""
        return self.group.membrane(name)[self.places]

    def last_current(self) -> Int64Array:
        """What reached the watched layer at the last step that was computed, (n, *shape)."""
        return np.concatenate([part.last_current() for part in self.parts])[self.places]

    def _check_open(self) -> None:
        if self.closed:
            raise InputError("is closed", where="session")

    def _nothing(self, steps: int) -> Folded:
        """So many silent steps of the samples that are left."""
        rows = len(self.alive)
        classes = self.plan.layers[-1].layer.neurons
        events = {name: np.zeros((rows, steps), np.int64) for name in self.names}
        shapes = {layer.name: layer.shape for layer in self.program.spiking}
        spikes = {name: np.zeros((rows, steps, *x), np.int8) for name, x in shapes.items()}
        return Folded(np.zeros((rows, steps, classes), np.int64), spikes, events)

    def _most_steps(self) -> int:
        """How many fit into half of the memory."""
        rows, spikes = len(self.places), sum(layer.layer.neurons for layer in self.plan.layers)
        if not self.keep_spikes:
            rows = min(rows, self.options.workers * self.options.rows)
            spikes = self.plan.spike_bytes
        return max(1, self.options.memory // 2 // (rows * spikes))

    def _close_ranks(self) -> None:
        """Drop the state of the samples that have left."""
        rows = self.places[self.alive]
        ((self.group, self.places),) = self._in_threads(
            lambda group: group.kept(rows), [self.group]
        )

    def _split(self, steps: int) -> list[Group]:
        """Neighbours together, as many as fill the kernels in so many steps."""
        rows = self.group.rows
        count = min(self.options.workers, rows)
        count *= -(-rows // (count * self.options.rows * max(1, MOST_AHEAD // steps)))
        if count == 1:
            return [self.group]
        ends = [rows * part // count for part in range(count + 1)]
        return [self.group.part(slice(a, b)) for a, b in pairwise(ends)]

    def _in_threads(self, work: Callable[[Group], T], groups: list[Group]) -> list[T]:
        """One thread a group, each with PyTorch's kernels to itself."""

        def run(group: Group) -> T:
            with torch.inference_mode():
                return work(group)

        with one_thread(), exact_kernels():
            if self.team is not None and len(groups) > 1:
                return self.team.each(run, groups)
            return [run(group) for group in groups]

    def _advance_parts(self, steps: int) -> list[Span]:
        """A single part is for the calling thread, and the others share its layers."""
        if len(self.parts) > 1:
            return self._in_threads(lambda part: part.advance(steps), self.parts)
        self.group.team = self.team
        with one_thread(), exact_kernels(), torch.inference_mode():
            return [self.group.advance(steps)]

    def _folded(self, spans: list[Span], steps: int) -> Folded:
        """What the parts did, in the order of the samples; those that ended before are silent."""
        logits = np.concatenate([padded(span.logits, steps, "edge") for span in spans])
        events = np.zeros((len(self.names), len(logits), steps), np.int64)
        first = 0
        for span in spans:
            last = first + len(span.logits)
            for found, name in zip(events, self.names, strict=True):
                found[first:last, : len(span.events[name])] = span.events[name].T
            first = last
        events = events[:, self.places]
        self.record = _Recorded(spans, self.places, steps, int(self.plan.signed))
        return Folded(logits[self.places], self.record, dict(zip(self.names, events, strict=True)))


class _Recorded(Mapping[str, Int8Array]):
    """The spikes (n, T, *shape) of some spans, put into the network's layout when asked for.

    Args:
        places: where in the spans the samples are.
        zero: what the bytes hold for no spike.
    """

    def __init__(self, spans: Sequence[Span], places: Int64Array, steps: int, zero: int) -> None:
        self.spans, self.places, self.steps, self.zero = spans, places, steps, zero

    def __getitem__(self, name: str) -> Int8Array:
        return self.between(name, 0, self.steps)

    def between(self, name: str, first: int, last: int) -> Int8Array:
        """Of the steps `first .. last-1`."""
        found = [span.spikes[name].between(first, last) for span in self.spans]
        return np.concatenate([recorded(x, last - first, self.zero) for x in found])[self.places]

    def __iter__(self) -> Iterator[str]:
        return iter(self.spans[0].spikes)

    def __len__(self) -> int:
        return len(self.spans[0].spikes)


class _Picked(Mapping[str, Int8Array]):
    """The spikes (n, *shape) of one step and some of the samples."""

    def __init__(self, record: _Recorded, rows: Int64Array, t: int) -> None:
        self.record, self.rows, self.t = record, rows, t

    def __getitem__(self, name: str) -> Int8Array:
        found: Int8Array = self.record.between(name, self.t, self.t + 1)[self.rows, 0]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.record)

    def __len__(self) -> int:
        return len(self.record)
