"""Monte Carlo intervals: the distribution, shared draws, the bootstrap, verdicts, the tornado."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grid_inputs
from test_measure import chain

from snndeploy.cost import Quantity, compare, estimate, estimate_ann, estimate_counts, tornado
from snndeploy.cost.bootstrap import MAX_BLOCKS, resampled_means
from snndeploy.cost.comparison import INCONCLUSIVE
from snndeploy.cost.quantity import DRAWS, draws_of
from snndeploy.hardware import Constant, hardware
from snndeploy.passes.partition import place
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference

positive = st.floats(1e-3, 1e6)


@settings(max_examples=30, deadline=None)
@given(positive, st.floats(1.0, 50.0), st.floats(1.0, 50.0))
def test_low_nominal_and_high_are_the_points_of_the_distribution(nominal, below, above):
    low, high = nominal / below, nominal * above
    found = Quantity.spread(low, nominal, high)
    assert found.low == pytest.approx(low, rel=0.02)
    assert found.high == pytest.approx(high, rel=0.02)
    assert np.median(found.draws) == pytest.approx(nominal, rel=0.01)
    assert (found.draws > 0).all()


def test_either_side_is_log_normal():
    logs = np.log(np.sort(Quantity.spread(1.0, 10.0, 100.0).draws / 10.0))
    np.testing.assert_allclose(logs, -logs[::-1], atol=1e-9)
    # 5 % lie beyond the bounds, so log(10) is 1.645 standard deviations.
    assert logs.std() == pytest.approx(np.log(10.0) / 1.645, rel=0.01)


def test_bounds_of_zero_make_a_side_uniform():
    found = Quantity.spread(0.0, 8.0, 8.0)
    assert found.draws.min() >= 0.0 and found.draws.max() == 8.0
    assert found.low == pytest.approx(0.8, rel=0.01)  # half of the draws lie between 0 and 8
    above = Quantity.spread(0.0, 0.0, 9.0)
    assert above.low == 0.0 and above.high == pytest.approx(9.0, rel=0.01)
    assert Quantity.spread(3.0, 3.0, 3.0) == Quantity.fixed(3.0)


def constant(value: float, source: str = "a paper") -> Constant:
    return Constant(
        value=value, low=value / 2, high=2 * value, unit="pJ", grade="measured", source=source
    )


def test_a_constant_has_the_same_draws_wherever_it_occurs():
    one, same, other = constant(2.0), constant(2.0), constant(2.0, "another paper")
    assert (draws_of(one) == draws_of(same)).all()
    assert abs(np.corrcoef(draws_of(one), draws_of(other))[0, 1]) < 0.1
    # A shared error does not average out over layers, and cancels in a ratio.
    layers = Quantity.of(one).times(3.0) + Quantity.of(same).times(5.0)
    assert layers.high / layers.nominal == pytest.approx(2.0, rel=0.02)
    ratio = layers.over(Quantity.of(one))
    assert (ratio.low, ratio.high) == pytest.approx((8.0, 8.0))
    independent = Quantity.of(one) + Quantity.of(other)
    assert independent.high / independent.nominal < 1.9


def test_the_bootstrap_has_the_spread_of_a_mean():
    rng = np.random.default_rng(0)
    values = rng.normal(50.0, 4.0, (400, 1))
    means = resampled_means(values)
    assert means.shape == (DRAWS, 1)
    assert means.mean() == pytest.approx(values.mean(), rel=0.001)
    assert means.std() == pytest.approx(values.std() / 20.0, rel=0.1)
    assert (resampled_means(values) == means).all()
    many = rng.normal(50.0, 4.0, (3 * MAX_BLOCKS + 7, 1))
    assert resampled_means(many).std() == pytest.approx(4.0 / np.sqrt(len(many)), rel=0.1)
    assert (resampled_means(values[:1]) == values[0]).all()


def priced(inputs, profile="loihi1"):
    program = place(chain(), hardware(profile))
    trace = simulate(Reference(), program, inputs)
    return program, trace, estimate(program, trace)


def test_samples_that_differ_widen_the_interval():
    alike = priced(np.ones((40, 1), int))[2].by_event()["synop"]
    mixed = priced(np.arange(40)[:, None] % 2)[2].by_event()["synop"]
    assert mixed.nominal == pytest.approx(alike.nominal / 2)
    assert mixed.high / mixed.nominal > alike.high / alike.nominal * 1.05


def test_a_ratio_that_spans_one_is_inconclusive():
    loihi = hardware("loihi1")
    one = estimate_counts(loihi, {"a": {"synop": 100.0}}, latency_us=1.0, cores=1)
    more = estimate_counts(loihi, {"a": {"synop": 105.0, "update_active": 3.0}})
    twice = estimate_counts(loihi, {"a": {"synop": 200.0}})
    assert compare(one, twice).conclusive  # the price of a synaptic operation cancels
    assert compare(one, twice).ratio.low == pytest.approx(2.0)
    assert compare(one, twice).verdict == "the network uses less"
    assert compare(twice, one).verdict == "the network uses more"
    other = estimate_counts(loihi, {"a": {"update_active": 42.0}})
    assert compare(one, other).verdict == INCONCLUSIVE
    assert compare(one, more).basis == "dynamic"
    nothing = estimate_counts(hardware("xylo_a2"), {"a": {"synop": 1.0}})
    assert compare(one, nothing).verdict == "cannot be compared: a term has no price"
    found = compare(one, other).as_dict()
    assert found["conclusive"] is False and found["grade"] == "derived"


def test_memory_that_both_sides_use_cancels_in_part():
    program, trace, ours = priced(np.ones((4, 1), int), "digital_snn_45nm")
    theirs = estimate_ann(program.network, hardware("digital_int8_45nm"), trace)
    shared = compare(ours, theirs).ratio
    a, b = ours.dynamic_pj, theirs.dynamic_pj
    apart = (b.high / a.low) / (b.low / a.high)
    assert shared.high / shared.low < 0.6 * apart


def test_the_tornado_moves_one_thing_at_a_time():
    _, _, found = priced(np.ones((3, 1), int))
    swings = {swing.name: swing for swing in tornado(found)}
    nominal = found.energy_pj.nominal
    synop, count = hardware("loihi1").energy.synop, 4
    assert swings["energy.synop"].low_pj == pytest.approx(nominal - count * (35.5 - synop.low))
    power, us = hardware("loihi1").power, found.latency_us.nominal
    host = 1e3 * us * (power.host.high - power.host.value)
    assert swings["power.host"].high_pj == pytest.approx(nominal + host)
    barrier = 1e3 * 104.0 * 5 * (0.6 - 0.113)
    assert swings["time.barrier"].low_pj == pytest.approx(nominal - barrier)
    widths = [swing.width_pj for swing in tornado(found)]
    assert widths == sorted(widths, reverse=True)
    assert "samples" not in swings  # all samples are alike
    _, _, mixed = priced(np.arange(40)[:, None] % 2)
    assert "samples" in {swing.name for swing in tornado(mixed)}


def test_estimates_are_the_same_each_time():
    inputs = grid_inputs(chain(), 20, 1)
    first, second = priced(inputs)[2], priced(inputs)[2]
    assert first.energy_pj == second.energy_pj
    assert first.latency_us == second.latency_us
