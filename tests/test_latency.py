"""Latency: the slowest core, the network, input and output, the tick, the barrier, cycles."""

from __future__ import annotations

import numpy as np
import pytest
from test_measure import chain

from snndeploy.cost import estimate
from snndeploy.hardware import Constant, HardwareProfile, hardware
from snndeploy.measure import core_load
from snndeploy.passes.partition import place
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference


def ns(value: float, unit: str = "ns") -> Constant:
    return Constant(value=value, low=value, high=value, unit=unit, grade="vendor", source="a test")


def with_time(profile: HardwareProfile, **times) -> HardwareProfile:
    return profile.model_copy(update={"time": profile.time.model_copy(update=times)})


def run(profile: HardwareProfile):
    program = place(chain(), profile)
    return estimate(program, simulate(Reference(), program, np.array([[1]]))), program


def test_the_tick_sets_the_pace_where_it_is_the_longest():
    found, _ = run(with_time(hardware("loihi1"), tick=ns(1e6)))
    assert found.latency_us.nominal == pytest.approx(5 * (1000.0 + 0.6))
    assert found.bound == {"cores": 0.0, "network": 0.0, "io": 0.0, "tick": 1.0}


def test_input_and_output_set_the_pace_where_a_byte_takes_long():
    found, _ = run(with_time(hardware("loihi1"), io_byte=ns(1e4)))
    # One byte of input first, and one logit of four bytes at each of five steps.
    assert found.latency_us.nominal == pytest.approx((1 + 5 * 4) * 10.0 + 5 * 0.6)
    assert found.bound["io"] == 1.0


def test_the_farthest_packet_sets_the_pace_where_hops_take_long():
    loihi = hardware("loihi1")
    limits = loihi.limits.model_copy(update={"cores_per_tile": 1})
    far = with_time(loihi, hop_ew=ns(1e5)).model_copy(update={"limits": limits})
    found, program = run(far)
    # Spikes at steps 1 and 2 of `a` and, a step later, of `b`: three steps with a packet.
    assert found.latency_us.nominal > 3 * 100.0
    assert found.bound["network"] > 0.9
    trace = simulate(Reference(), program, np.array([[1]]))
    assert core_load(program, trace).farthest.tolist() == [[1, 0], [1, 0], [1, 0], [0, 0], [0, 0]]


def test_work_adds_up_where_it_takes_turns():
    both, _ = run(hardware("loihi1"))
    turns, _ = run(hardware("loihi1").model_copy(update={"combine": "sum"}))
    assert turns.latency_us.nominal > both.latency_us.nominal


def test_truenorth_keeps_its_tick():
    found, _ = run(hardware("truenorth"))
    assert found.latency_us.nominal == pytest.approx(found.steps * 1000.0)
    assert found.energy_pj.nominal == found.dynamic_pj.nominal


def test_xylo_counts_cycles_as_its_vendor_does():
    """Per step 19 a hidden neuron and 12 an output; 7 a recurrent synop, 8 one to the readout."""
    found, program = run(hardware("xylo_a2"))
    assert {part.core for part in program.placement} == {0}
    assert found.latency_us is None and found.cycles is None  # nothing times the analog input
    assert "latency unknown: no time for mac" in found.notes
    timed, program = run(with_time(hardware("xylo_a2"), mac=ns(0.0, "cycle")))
    compartments = program.profile.compartments("exact")
    cycles = 5 * (2 * compartments * 19 + 12) + 2 * 7 + 2 * 8
    assert timed.cycles == pytest.approx(cycles)
    assert timed.latency_us is None and timed.energy_pj is None
    clocked = with_time(hardware("xylo_a2"), mac=ns(0.0, "cycle"), clock=ns(50.0, "MHz"))
    assert run(clocked)[0].latency_us.nominal == pytest.approx(cycles / 50.0)


@pytest.mark.parametrize("name", ["loihi1", "loihi2", "spinnaker1", "digital_snn_45nm", "odin"])
def test_intervals_of_latency_hold_the_nominal(name):
    found, _ = run(hardware(name))
    if found.latency_us is not None:
        assert found.latency_us.low <= found.latency_us.nominal * 1.001
        assert found.latency_us.nominal <= found.latency_us.high * 1.001


def test_static_power_counts_every_chip_in_use():
    loihi = hardware("loihi1")
    small = loihi.model_copy(update={"limits": loihi.limits.model_copy(update={"cores": 1})})
    one, three = run(loihi)[0], run(small)[0]
    per_us = [e.static_pj.nominal / e.latency_us.nominal for e in (one, three)]
    assert per_us[1] == pytest.approx(3 * per_us[0])
