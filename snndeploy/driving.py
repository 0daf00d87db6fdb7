"""Drive samples that a controller stops, several steps at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snndeploy.backend import Driven, Folded
from snndeploy.lookahead import Lookahead
from snndeploy.numerics import BoolArray, Int64Array
from snndeploy.program import Program
from snndeploy.stopping import Controller, ends_of


@dataclass(frozen=True, eq=False)
class Outcome:
    """What n samples did until they were stopped.

    Attributes:
        record: T steps, those of the sample that ran longest; where one has stopped, its last
            logits are held, and its spikes and events are zero.
        stop_steps: int64 (n,), steps that each sample ran.
        settled: bool (n,), whether nothing would have changed after that.
    """

    record: Folded
    stop_steps: Int64Array
    settled: BoolArray


def drive(
    session: Driven,
    program: Program,
    inputs: Int64Array,
    limit: int,
    controller: Controller | None,
    record: bool,
    lookahead: Lookahead,
) -> Outcome:
    """Run grid integers (n, *input shape) until each has stopped, or for `limit` steps.

    Args:
        record: whether spikes are wanted; events always are.
        lookahead: decides how many steps are computed at once, and learns.
    """
    running, age = np.arange(len(inputs)), 0
    stop_steps, settled = np.zeros(len(inputs), np.int64), np.zeros(len(inputs), np.bool_)
    stretches: list[_Stretch] = []
    session.admit(inputs)
    lookahead.begin(len(inputs))
    while len(running):
        found = session.advance(min(lookahead.steps(age), limit - age))
        steps = found.logits.shape[1]
        ends = ends_of(found.logits, found.events, program, age, limit, controller)
        stretches.append(_Stretch(age, running, ends.ran, found))
        age += steps
        stop_steps[running] += ends.ran
        settled[running] = ends.settled
        if ends.stopped.any():
            session.keep(~ends.stopped)
        running = running[~ends.stopped]
    lookahead.learn(stop_steps)
    return Outcome(_joined(stretches, int(stop_steps.max()), record), stop_steps, settled)


@dataclass(frozen=True, eq=False)
class _Stretch:
    """What the samples `rows` (n,) did in some steps after `start`; each ran `ran` of them."""

    start: int
    rows: Int64Array
    ran: Int64Array
    found: Folded


def _joined(stretches: list[_Stretch], steps: int, record: bool) -> Folded:
    """The first `steps` steps of all samples, without what was computed beyond their stops."""
    rows, first = len(stretches[0].rows), stretches[0].found
    logits = np.zeros((rows, steps, first.logits.shape[2]), np.int64)
    events = np.zeros((len(first.events), rows, steps), np.int64)
    shapes = {name: x.shape[2:] for name, x in first.spikes.items()} if record else {}
    spikes = {name: np.zeros((rows, steps, *shape), np.int8) for name, shape in shapes.items()}
    for part in stretches:
        here = slice(part.start, part.start + part.found.logits.shape[1])
        count = len(logits[0, here])
        last = np.minimum(np.arange(count), part.ran[:, None] - 1)
        inside = np.arange(count) < part.ran[:, None]
        logits[:, here] = logits[:, max(part.start - 1, 0), None]
        logits[part.rows, here] = np.take_along_axis(part.found.logits, last[..., None], axis=1)
        counted = np.stack(list(part.found.events.values()))[..., :count]
        events[:, part.rows, here] = counted * inside
        for name, fired in spikes.items():
            some = inside.reshape(*inside.shape, *(1,) * (fired.ndim - 2))
            fired[part.rows, here] = part.found.spikes[name][:, :count] * some
    return Folded(logits, spikes, dict(zip(first.events, events, strict=True)))
