"""Whole runs without a controller: chunks of samples, and spans of steps, bounded by memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from snndeploy.backend import Folded
from snndeploy.numerics import Int8Array, Int64Array
from snndeploy.program import Program
from snndeploy.trace import padded
from snndeploy_backends.exact_floats import exact_kernels
from snndeploy_backends.reference.currents import Spikes
from snndeploy_backends.reference.plan import Options, Plan, plan
from snndeploy_backends.reference.team import Team, one_thread, team_of
from snndeploy_backends.reference.walk import Span, Walk


@exact_kernels()
def fold(
    program: Program,
    inputs: Int64Array,
    steps: int,
    record: bool,
    options: Options,
    begin: Callable[..., Walk] = Walk,
) -> list[Folded]:
    """Run grid integers for at most `steps` steps; parts in sample order.

    Args:
        begin: makes the walk of some samples, as `Walk` does.
    """
    prepared = plan(program, steps, options)
    most = min(steps, program.settle_bound) if prepared.signed else steps
    rows, span = _sizes(prepared, len(inputs), most, record, options)
    chunks = [inputs[first : first + rows] for first in range(0, len(inputs), rows)]

    def run(chunk: Int64Array, team: Team | None = None) -> Folded:
        with torch.inference_mode():
            return _run(begin(prepared, chunk, options, record, team), span)

    if options.workers < 2:
        return [run(chunk) for chunk in chunks]
    team = team_of(options.workers)
    with one_thread():
        return team.each(run, chunks) if len(chunks) > 1 else [run(x, team) for x in chunks]


def recorded(spikes: Spikes, steps: int, zero: int) -> Int8Array:
    """Spikes (T, n, *channels last) as int8 (n, steps, *channels first), silent after T."""
    x = spikes.bytes
    last, rows = x.shape[:2]
    x = x.permute(1, 0, 4, 2, 3) if x.ndim == 5 else x.transpose(0, 1)
    full = np.zeros((rows, steps, *x.shape[2:]), np.int8)
    np.subtract(x.cpu().numpy().view(np.int8), zero, out=full[:, :last])
    return full


def _sizes(plan: Plan, rows: int, steps: int, record: bool, options: Options) -> tuple[int, int]:
    """Samples per chunk, and steps per span, that keep all workers within the memory.

    Logits and events count twice: the parts are joined at the end.
    """
    spikes = sum(x.layer.neurons for x in plan.layers) if record else plan.spike_bytes
    columns = plan.layers[-1].layer.neurons + len(plan.layers) - 1
    left = max(options.memory - 2 * rows * steps * columns * 8, options.memory // 2)
    lists = int(min(options.below, 1.0) * plan.listed_bytes) * steps
    share = max(left // options.workers - 2 * options.piece - lists, 1)
    most = share // (plan.state_bytes + spikes * steps)
    if most:
        wanted = -(-rows // options.workers)
        return max(1, min(wanted, most, options.rows)), steps
    return 1, max(1, min(steps, (share - plan.state_bytes) // spikes))


def _run(walk: Walk, span: int) -> Folded:
    """All steps, `span` of them at a time."""
    parts: list[Folded] = []
    while walk.time < walk.plan.steps:
        found = walk.advance(min(span, walk.plan.steps - walk.time))
        parts.append(_folded(found, int(walk.plan.signed)))
        if found.settled:
            break
    if len(parts) == 1:
        return parts[0]
    return Folded(
        np.concatenate([p.logits for p in parts], axis=1),
        _joined([p.spikes for p in parts]),
        _joined([p.events for p in parts]),
    )


def _folded(span: Span, zero: int) -> Folded:
    steps = span.steps
    spikes = {name: recorded(x, steps, zero) for name, x in span.spikes.items()}
    events = {name: padded(x.T, steps) for name, x in span.events.items()}
    return Folded(span.logits, spikes, events)


def _joined(parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    names = parts[0]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in names}
