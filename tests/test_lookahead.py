"""Stretches of steps that cost least, and an engine that is told how long they are."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import images, small_network

from snndeploy.inputs import on_grid
from snndeploy.lookahead import FEW, Lookahead
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference
from snndeploy_backends.reference.judge import Judge


def ends_of(lookahead, last):
    ends = [0]
    while ends[-1] < last:
        ends.append(ends[-1] + lookahead.steps(ends[-1]))
    return ends


def cost(ends, stops, overhead):
    running = [sum(stop > a for stop in stops) for a in ends[:-1]]
    return sum((b - a + overhead) * n for (a, b), n in zip(pairwise(ends), running, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.3, 1.0, 2.75, 40.0]),
)
def test_no_other_ends_cost_less(stops, overhead):
    lookahead = Lookahead(lambda _: overhead)
    lookahead.learn(np.array(stops))
    lookahead.begin(len(stops))
    last = max(stops)
    found = ends_of(lookahead, last)
    assert found[-1] == last
    inner = range(1, last)
    ways = ([0, *some, last] for n in range(last) for some in combinations(inner, n))
    best = min(cost(ends, stops, overhead) for ends in ways)
    assert cost(found, stops, overhead) == pytest.approx(best)


def test_a_few_steps_where_nothing_is_known():
    lookahead = Lookahead(lambda _: 1.0)
    lookahead.begin(8)
    assert lookahead.steps(0) == lookahead.steps(100) == FEW
    lookahead.learn(np.full(8, 20))
    lookahead.begin(8)
    assert lookahead.steps(0) == 20
    assert lookahead.steps(20) == FEW


def test_what_is_learned_is_forgotten():
    lookahead = Lookahead(lambda _: 1.0)
    lookahead.learn(np.full(256, 20))
    lookahead.learn(np.full(256, 3))
    lookahead.begin(8)
    assert lookahead.steps(0) == 3


class Late:
    def stop(self, logits, step):
        return step >= 6


class Watched(Reference):
    """Writes down how many steps are asked for and how many samples come at a time."""

    def __init__(self):
        super().__init__()
        self.asked, self.admitted, self.opened = [], [], 0

    def drive(self, program, steps, record):
        session = super().drive(program, steps, record)
        self.opened += 1
        advance, admit = session.advance, session.admit
        session.advance = lambda n: self.asked.append(n) or advance(n)
        session.admit = lambda x: self.admitted.append(len(x)) or admit(x)
        return session


def test_one_session_serves_all_batches_and_learns():
    program, backend = Program(small_network(mode="rate")), Watched()
    x = on_grid(program.network, images(11))
    trace = simulate(backend, program, x, steps=9, batch=3, controller=Late())
    assert backend.opened == 1
    assert backend.admitted == [3, 3, 3, 2]
    assert backend.asked == [4, 4, 6, 6, 6]
    trace.assert_same_spikes(simulate(Judge(), program, x, steps=9, controller=Late()))
    assert trace.steps == 6


@pytest.mark.parametrize("record", [True, False])
def test_little_memory_means_fewer_steps_at_once(record):
    program = Program(small_network(mode="rate"))
    x = on_grid(program.network, images(5))
    session = Reference(memory=1).drive(program, 9, record)
    session.admit(x)
    assert session.advance(9).logits.shape[:2] == (5, 1)
    session.close()


def test_a_driven_session_without_samples_is_silent():
    program = Program(small_network())
    session = Reference().drive(program, 9, record=True)
    session.admit(on_grid(program.network, images(2)))
    session.keep(np.zeros(2, bool))
    found = session.advance(4)
    assert len(found.logits) == 0
    assert all(len(x) == 0 for x in found.spikes.values())
    session.close()
