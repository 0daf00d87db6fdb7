"""What is asked of a backend. Each check raises `CheckFailedError` if it does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from snndeploy.backend import Backend, Folding, Probing, Session, Step, find_backend
from snndeploy.conformance.cases import JUDGE, Case
from snndeploy.errors import (
    CheckFailedError,
    DoesNotFitError,
    SpikesDifferError,
    UnsupportedModelError,
)
from snndeploy.numerics import BoolArray, Int64Array
from snndeploy.simulate import simulate
from snndeploy.trace import Trace


class Refused(Exception):  # noqa: N818 - it is no error
    """The backend says by name that it does not run this network."""


@dataclass(frozen=True)
class Check:
    """One thing that is asked.

    Attributes:
        cases: the names of the cases on which it is asked; empty for all.
        offered: whether a backend has the ability; it need not have it.
    """

    name: str
    about: str
    run: Callable[[Backend, Case], None]
    cases: tuple[str, ...] = ()
    offered: Callable[[Backend], bool] = lambda _: True


def every_step(backend: Backend, case: Case) -> None:
    """Every spike and every logit of every step; samples are dropped on the way."""
    inputs = case.inputs.copy()
    session = opened(backend, case, inputs)
    rows = np.arange(len(inputs))
    leave = {case.steps // 2: np.s_[::2], case.steps * 3 // 4: np.s_[-1:]}
    try:
        for t in range(case.steps):
            _check_step(session.step(), case, rows, t)
            stay = np.zeros(len(rows), np.bool_)
            stay[leave.get(t + 1, np.s_[:])] = True
            if t + 1 < case.steps and not stay.all():
                session.keep(stay)
                rows = rows[stay]
    finally:
        session.close()
        session.close()
    if not np.array_equal(inputs, case.inputs):
        raise CheckFailedError("changes the inputs that it is given", where=case.name)


def folded(backend: Backend, case: Case) -> None:
    """All steps of a layer at once: the same trace, with spikes recorded and without."""
    expected = simulate(find_backend(JUDGE), case.program, case.inputs)
    for record in (True, False):
        run = partial(simulate, backend, case.program, case.inputs, record=record)
        found = _refusable(run)
        _check_traces(expected, found, case, record)


def controlled(backend: Backend, case: Case) -> None:
    """A controller that stops samples at unlike steps."""
    judge = find_backend(JUDGE)
    expected = simulate(judge, case.program, case.inputs, controller=_Stops())
    found = _refusable(lambda: simulate(backend, case.program, case.inputs, controller=_Stops()))
    _check_traces(expected, found, case, record=True)


def probed(backend: Backend, case: Case) -> None:
    """Currents and membranes of the last layer of neurons."""
    judge = find_backend(JUDGE)
    assert isinstance(judge, Probing)
    assert isinstance(backend, Probing)
    layer = [x.name for x in case.program.layers if x.kind == "neurons"][-1]
    found = _refusable(lambda: backend.probe(case.program, case.inputs, case.steps, layer))
    expected = judge.probe(case.program, case.inputs, case.steps, layer)
    for name in ("spikes", "currents", "membranes"):
        ours, theirs = getattr(expected, name), getattr(found, name)
        _check_array(ours, theirs, ours.dtype, f"{case.name}, {name} of layer '{layer}'")


def empty_batch(backend: Backend, case: Case) -> None:
    """No samples: steps of no rows."""
    session = opened(backend, case, case.inputs[:0])
    try:
        for t in range(2):
            _check_step(session.step(), case, np.arange(0), t)
    finally:
        session.close()


def two_sessions(backend: Backend, case: Case) -> None:
    """Two sessions at once keep their states apart; one closed early leaves the other whole."""
    first = opened(backend, case, case.inputs[:1])
    try:
        second = opened(backend, case, np.ascontiguousarray(case.inputs[1:]))
        try:
            _check_step(second.step(), case, np.arange(1, len(case.inputs)), 0)
        finally:
            second.close()
        for t in range(case.steps):
            _check_step(first.step(), case, np.arange(1), t)
    finally:
        first.close()


def introduced(backend: Backend, case: Case) -> None:  # noqa: ARG001 - one form for all
    """A name, a line on what it is, versions, and that it is available."""
    status = backend.status()
    told = (backend.name, backend.summary, *status.versions, *status.versions.values())
    if not all(isinstance(text, str) and text for text in told):
        raise CheckFailedError(f"empty, or no text, among {told}", where=backend.name)
    if not status.available:
        raise CheckFailedError(status.missing, where=backend.name)


def _folds(backend: Backend) -> bool:
    return isinstance(backend, Folding)


def _probes(backend: Backend) -> bool:
    return isinstance(backend, Probing)


CHECKS = (
    Check("introduced", "says what it is", introduced, ("dense-exact",)),
    Check("every_step", "every spike, logit and step, samples dropped on the way", every_step),
    Check("folded", "layer by layer: the same trace", folded, (), _folds),
    Check(
        "controlled",
        "stopped by a controller",
        controlled,
        ("many_samples-exact", "many_samples-rate", "resnet-exact", "steps_of_images-exact"),
        lambda backend: backend.streams,
    ),
    Check(
        "probed",
        "currents and membranes",
        probed,
        (
            "add_three-exact",
            "add_over_four_layers-rate",
            "membranes_start_anywhere-exact",
            "max_pool_four_sides-exact",
            "sum_pool_on_a_branch-rate",
            "steps_into_several_layers-exact",
        ),
        _probes,
    ),
    Check("empty_batch", "no samples", empty_batch, ("dense-exact", "max_pool_plain-rate")),
    Check("two_sessions", "sessions apart, closed early and twice", two_sessions, ("vgg-exact",)),
)


def opened(backend: Backend, case: Case, inputs: Int64Array) -> Session:
    """A session, or `Refused`."""
    session: Session = _refusable(lambda: backend.open(case.program, inputs, case.steps))
    return session


def _refusable(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except (DoesNotFitError, UnsupportedModelError) as error:
        raise Refused(str(error)) from error


def _check_step(step: Step, case: Case, rows: Int64Array, t: int) -> None:
    """A step is the definition's, in content, order, shape and type."""
    spiking = [layer.name for layer in case.program.spiking]
    if list(step.spikes) != spiking:
        raise CheckFailedError(
            f"spikes of {list(step.spikes)}, expected {spiking}", where=f"{case.name}, step {t + 1}"
        )
    for name in spiking:
        ours, theirs = case.definition.spikes[name][rows, t], step.spikes[name]
        where = f"{case.name}, step {t + 1}, layer '{name}'"
        _check_array(ours, theirs, np.dtype(np.int8), where)
        if step.events is not None:
            counts = np.count_nonzero(ours.reshape(len(rows), -1), axis=1) if len(rows) else rows
            _check_array(counts, np.asarray(step.events[name]), None, f"{where}, events")
    where = f"{case.name}, step {t + 1}, logits"
    _check_array(case.definition.logits[rows, t], step.logits, np.dtype(np.int64), where)


def _check_traces(ours: Trace, theirs: Trace, case: Case, record: bool) -> None:
    """Spikes, where recorded, logits, events, and where each sample stopped."""
    if record:
        ours.assert_same_spikes(theirs)
    elif theirs.spikes:
        raise CheckFailedError("records spikes unasked", where=case.name)
    for name in ("stop_steps", "settled", "logits"):
        expected, found = getattr(ours, name), getattr(theirs, name)
        _check_array(expected, found, None, f"{case.name}, {name}")
    if list(ours.events) != list(theirs.events):
        raise CheckFailedError(f"events of {list(theirs.events)}", where=case.name)
    for name, events in ours.events.items():
        _check_array(events, theirs.events[name], None, f"{case.name}, events of '{name}'")


def _check_array(ours: Any, theirs: Any, dtype: np.dtype[Any] | None, where: str) -> None:
    """Same shape, type (if one is asked for) and values."""
    theirs = np.asarray(theirs)
    if theirs.shape != ours.shape or (dtype is not None and theirs.dtype != dtype):
        raise CheckFailedError(
            f"{theirs.dtype} {theirs.shape}, expected {dtype or ours.dtype} {ours.shape}",
            where=where,
        )
    if not np.array_equal(ours, theirs):
        at = tuple(int(i) for i in np.argwhere(ours != theirs)[0])
        raise SpikesDifferError(
            f"{int(np.count_nonzero(ours != theirs))} of {ours.size} values differ, the first "
            f"at {at}: {ours[at]} by the definition, {theirs[at]} found",
            where=where,
        )


class _Stops:
    """Stops about a third of the samples at each step, by their logits alone."""

    def stop(self, logits: Int64Array, step: Int64Array) -> BoolArray:
        """Rows (n,) that stop after their `step` (n,)."""
        stopped: BoolArray = (np.abs(logits).sum(axis=1) + step) % 3 == 0
        return stopped
