"""What early exit costs: the controller's work, its readout, and the work in flight."""

from __future__ import annotations

import numpy as np
import pytest
from models import small_network
from strategies import grid_inputs
from test_measure import chain

from snndeploy.cost import estimate, estimate_counts, tornado
from snndeploy.cost.latency import EXIT_OPERATION as EXIT_TIME
from snndeploy.cost.prices import EXIT_OPERATION, held_by
from snndeploy.hardware import Constant, HardwareProfile, hardware
from snndeploy.measure import count_events
from snndeploy.measure.events import EXIT_OPERATIONS
from snndeploy.passes.partition import place
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference


class Stops:
    """Stops all samples after one step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def stop(self, logits, step):
        return step >= self.step


def pj(value: float, unit: str = "pJ") -> Constant:
    return Constant(value=value, low=value, high=value, unit=unit, grade="vendor", source="a test")


def loihi(energy=(), power=(), time=(), **update) -> HardwareProfile:
    base = hardware("loihi1")
    groups = {"energy": energy, "power": power, "time": time}
    changed = {k: getattr(base, k).model_copy(update=dict(v)) for k, v in groups.items()}
    return base.model_copy(update=changed | update)


def stopped(profile: HardwareProfile, step: int = 1):
    program = place(chain(), profile)
    return program, simulate(Reference(), program, np.array([[1]]), controller=Stops(step))


def term(found, event):
    (one,) = (term for term in found.terms if term.event == event)
    return one


def test_a_chain_counted_by_hand():
    # Stopped after step 1: `a` has fired twice more by then, `b` once.
    found = estimate(*stopped(hardware("loihi1")))
    late = term(found, "in_flight")
    assert (late.layer, late.count, late.grade) == ("chip", 3, "derived")
    each = 35.5 + 69.3 + 111.0 + 72.8 - 51.2  # a synapse, a spike, a packet, an active update
    assert late.energy_pj.nominal == pytest.approx(3 * each)
    assert {t.event: t.count for t in found.terms if t.layer == "b"}["synop"] == 1
    readout = term(found, "exit_readout")
    assert (readout.count, readout.energy_pj.nominal) == (1, 111.0)  # one logit is one packet
    arithmetic = term(found, "exit_arithmetic")
    assert (arithmetic.count, arithmetic.inside) == (EXIT_OPERATIONS, True)
    assert arithmetic.source.startswith("inside the price of power.host")
    assert any("controller's arithmetic is inside the host's power" in n for n in found.notes)
    assert any("repeating their last step" in note for note in found.notes)


def test_only_a_controller_is_charged():
    program = place(chain(), hardware("loihi1"))
    inputs = np.array([[1]])
    full = simulate(Reference(), program, inputs)
    cut_short = simulate(Reference(), program, inputs, steps=1)
    for trace in (full, cut_short):
        assert not {t.event for t in estimate(program, trace).terms} & {
            "exit_readout",
            "exit_arithmetic",
        }
    # A controller that stopped nothing has looked at each step all the same; nothing is in flight.
    looked = estimate(program, simulate(Reference(), program, inputs, controller=Stops(99)))
    assert term(looked, "exit_readout").count == full.stop_steps[0]
    assert "in_flight" not in {t.event for t in looked.terms}


def test_a_cut_trace_costs_what_the_controllers_run_costs():
    network = small_network()
    program = place(network, hardware("loihi1"))
    inputs = grid_inputs(network, 12, 5)
    full = simulate(Reference(), program, inputs)
    early = simulate(Reference(), program, inputs, controller=Stops(2))
    cut = full.cut(np.full(12, 2))
    assert cut.controlled and not full.controlled
    one, other = estimate(program, early, full), estimate(program, cut, full)
    assert one.energy_pj == other.energy_pj
    assert one.latency_us == other.latency_us


@pytest.mark.parametrize("known", [True, False])
def test_the_terms_add_up_to_all_counts(known):
    network = small_network()
    program = place(network, hardware("loihi1"))
    inputs = grid_inputs(network, 12, 5)
    full = simulate(Reference(), program, inputs) if known else None
    trace = simulate(Reference(), program, inputs, controller=Stops(2))
    found = estimate(program, trace, full)
    counts = count_events(program, trace, full)
    kept = {
        layer: {event: n for event, n in events.items() if event != "io_byte"}
        for layer, events in counts.by_layer.items()
    }
    priced = estimate_counts(program.profile, kept, held=held_by(network, program.profile))
    parts = [part for t in found.terms for part in t.parts or (t,)]
    # `estimate_counts` pays the price of dense synapses for all of them.
    synops = [part for part in parts if part.event == "synop"]
    assert sum(p.count for p in synops) == pytest.approx(counts.total("synop"))
    others = sum(p.energy_pj.nominal for p in parts if p.event != "synop")
    expected = sum(t.energy_pj.nominal for t in priced.terms if t.event != "synop")
    assert others == pytest.approx(expected)
    assert term(found, "in_flight").count > 0
    assert any("repeating" in note for note in found.notes) != known


def test_parts_of_the_work_in_flight_swing_with_their_price():
    program, trace = stopped(loihi(energy={"synop": pj(10.0).model_copy(update={"high": 20.0})}))
    swings = {swing.name: swing for swing in tornado(estimate(program, trace))}
    synops = count_events(program, trace).total("synop")
    assert swings["energy.synop"].width_pj == pytest.approx(10.0 * synops)
    assert "energy.in_flight" not in swings


def test_without_a_host_a_stand_in_is_paid_unless_the_profile_has_a_price():
    found = estimate(*stopped(loihi(power={"host": None})))
    arithmetic = term(found, "exit_arithmetic")
    assert arithmetic.energy_pj.nominal == pytest.approx(EXIT_OPERATIONS * EXIT_OPERATION.value)
    assert (arithmetic.grade, arithmetic.source) == ("assumed", EXIT_OPERATION.source)
    assert any("a stand-in" in note for note in found.notes)
    priced = {"exit_arithmetic": pj(2.0), "exit_readout": pj(5.0)}
    found = estimate(*stopped(loihi(energy=priced), step=2))
    assert term(found, "exit_arithmetic").energy_pj.nominal == 2 * EXIT_OPERATIONS * 2.0
    assert term(found, "exit_readout").energy_pj.nominal == 2 * 5.0


def test_the_controllers_time_is_in_the_latency():
    at = estimate(*stopped(loihi(time={"exit_arithmetic": pj(0.0, "ns")}), step=2))
    stand_in = estimate(*stopped(hardware("loihi1"), step=2))
    decided = 2 * EXIT_OPERATIONS * EXIT_TIME.value * 1e-3
    assert stand_in.latency_us.nominal == pytest.approx(at.latency_us.nominal + decided)
    assert (at.latency_grade, stand_in.latency_grade) == ("assumed", "assumed")
    longer = estimate(*stopped(loihi(time={"exit_arithmetic": pj(1e3, "ns")}), step=2))
    assert longer.latency_us.nominal == pytest.approx(at.latency_us.nominal + 2 * EXIT_OPERATIONS)
    assert longer.static_pj.nominal > at.static_pj.nominal


def test_logits_cross_to_the_host_once_where_the_boundary_is_the_board():
    board = loihi(energy={"io_byte": pj(7.0)}, boundary="board")
    found = estimate(*stopped(board, step=2))
    assert term(found, "io_byte").count == 1  # the input
    readout = term(found, "exit_readout")
    assert (readout.count, readout.energy_pj.nominal) == (2, pytest.approx(2 * 4 * 7.0))


def test_what_has_no_price_is_named():
    found = estimate(*stopped(loihi(energy={"packet": None})))
    assert found.unpriced == ("exit_readout", "in_flight", "packet")
    assert found.energy_pj is None and found.dynamic_pj is None


def test_an_all_in_price_holds_messages_but_no_controller():
    profile = loihi().model_dump(exclude={"energy", "power", "time", "inside"})
    price = pj(26.0).model_dump()
    profile |= {"scope": "all_in", "energy": {"synop": price, "mac": price}}
    found = estimate(*stopped(HardwareProfile.model_validate(profile)))
    assert {t.event for t in found.terms} == {
        "synop",
        "mac",
        "in_flight",
        "exit_readout",
        "exit_arithmetic",
    }
    assert term(found, "exit_readout").inside
    assert term(found, "in_flight").energy_pj.nominal == pytest.approx(3 * 26.0)
    assert found.energy_pj.nominal == pytest.approx((1 + 2 + 3) * 26.0 + 6 * EXIT_OPERATION.value)
