"""Sessions of the reference engine: what they hand out stays true, and their end is an end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import images, small_network

from snndeploy.errors import InputError
from snndeploy.inputs import on_grid
from snndeploy.numerics import window_share
from snndeploy.program import Program
from snndeploy_backends.exact_floats import exact_kernels
from snndeploy_backends.reference import plan
from snndeploy_backends.reference.engine import Reference
from snndeploy_backends.reference.group import Group


@pytest.fixture
def program():
    return Program(small_network())


@pytest.mark.parametrize("workers", [1, 2])
def test_spikes_of_a_step_stay_those_of_the_step(program, workers):
    x = on_grid(program.network, images(6))
    session = Reference(workers=workers, ahead=1).open(program, x, 8)
    kept, expected = [], []
    for t in range(4):
        step = session.step()
        kept.append(step.spikes)
        expected.append({name: spikes.copy() for name, spikes in step.spikes.items()})
        if t == 1:
            session.keep(np.arange(6) != 2)
    session.close()
    for then, first in zip(kept, expected, strict=True):
        assert list(then) == list(first)
        for name in first:
            np.testing.assert_array_equal(then[name], first[name])
    assert [len(next(iter(spikes.values()))) for spikes in kept] == [6, 6, 5, 5]


def test_a_closed_session_says_so(program):
    session = Reference().open(program, on_grid(program.network, images(2)), 8)
    session.close()
    session.close()
    with pytest.raises(InputError, match="is closed"):
        session.step()


def test_a_session_that_failed_is_closed(program, monkeypatch):
    session = Reference(workers=2).open(program, on_grid(program.network, images(4)), 8)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(Group, "advance", fail)
    with pytest.raises(MemoryError):
        session.step()
    with pytest.raises(InputError, match="is closed"):
        session.step()


def test_weights_are_prepared_once(program):
    options = Reference()._options()
    few, many = (plan.plan(program, steps, options) for steps in (5, 50))
    assert (few.steps, many.steps) == (5, 50)
    assert few.layers is many.layers
    rate = Program(small_network(mode="rate"))
    held = [plan.plan(rate, steps, options) for steps in (5, 50, 5)]
    assert [found.steps for found in held] == [5, 50, 5]
    assert len(plan._plans[rate.network]) == 1


def test_rounding_kernels_are_left_out_until_the_last_is_done():
    def left_out():
        return not (torch.backends.cudnn.enabled or torch._C._get_nnpack_enabled())

    before = torch.backends.cudnn.enabled, torch._C._get_nnpack_enabled()
    first, second = exact_kernels(), exact_kernels()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert left_out()
    second.__exit__(None, None, None)
    assert (torch.backends.cudnn.enabled, torch._C._get_nnpack_enabled()) == before


@pytest.mark.parametrize("total", [1 << 52, -(1 << 52), (1 << 62) - 1, -7, 0, 12345])
@pytest.mark.parametrize("window", [1, 3, 4096])
def test_shares_of_large_totals_add_up(total, window):
    shares = [int(window_share(np.array([total]), t, window)[0]) for t in range(window)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1
    assert shares == [total * (t + 1) // window - total * t // window for t in range(window)]
