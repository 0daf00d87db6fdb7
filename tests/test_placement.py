"""Placement: wide layers over several cores, other kinds of chips, remedies, distances."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grid_inputs, integer_networks
from test_measure import chain
from test_partition import image_network, loihi

from snndeploy import lower
from snndeploy.cost import estimate
from snndeploy.errors import DoesNotFitError, InputError
from snndeploy.hardware import hardware
from snndeploy.measure import core_load, count_events
from snndeploy.measure.placement import summarize_placement
from snndeploy.measure.routing import core_of, slices
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Grid, Input, Linear, Neuron, Output, SumPool2d
from snndeploy.nodes import Flatten as Flat
from snndeploy.passes.arrange import arrange, traffic
from snndeploy.passes.partition import place, try_place
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference


def pooled_network(channels: int, size: int) -> Network:
    """A convolution, a global sum pool and a readout, as residual networks end."""
    rng = np.random.default_rng(1)
    theta = np.full(channels, 200)
    nodes = (
        Input("x", (1, size, size), Grid(1.0, 0, 15)),
        Conv2d("conv", rng.integers(-7, 8, (channels, 1, 3, 3)), padding=(1, 1)),
        Neuron("neurons", theta, theta // 2, 0 * theta, 3, 1.0),
        SumPool2d("pool", (size, size), (size, size)),
        Flat("flat"),
        Linear("dense", rng.integers(-7, 8, (10, channels))),
        Output("out", np.zeros(10, int), 1.0),
    )
    names = [node.name for node in nodes]
    return Network("pooled", nodes, tuple(pairwise(names)), "exact", 3)


def test_a_readout_with_too_many_inputs_is_cut_along_them():
    # 64 maps of 8 x 8 in front of a global pool: 4096 neurons, two axons each.
    network = pooled_network(64, 8)
    program = place(network, hardware("loihi1"))
    parts = [part for part in program.placement if part.layer == "out"]
    assert [part.sources for part in parts] == [(0, 2048), (2048, 4096)]
    assert len({part.core for part in parts}) == 2
    assert {(part.start, part.stop) for part in parts} == {(0, 10)}
    assert slices(program, program.layers[-1]) == 2

    inputs = grid_inputs(network, 3, 0)
    trace = simulate(Reference(), program, inputs)
    whole = loihi(axons_in_per_core=10_000)
    together = place(network, whole)
    assert slices(together, together.layers[-1]) == 1
    split, one = count_events(program, trace), count_events(together, trace)
    # The same synapses and packets; the readout is updated on both cores.
    assert split.total("synop") == one.total("synop")
    assert split.by_layer["neurons"]["packet"] == one.by_layer["neurons"]["packet"]
    assert split.by_layer["out"]["update_inactive"] == 2 * one.by_layer["out"]["update_inactive"]
    loads = core_load(program, trace), core_load(together, trace)
    a, b = (load.work["synop"].sum(axis=1) for load in loads)
    np.testing.assert_allclose(a, b)
    assert (loads[0].work["synop"][:, [part.core for part in parts]].sum(axis=0) > 0).all()


def test_rows_are_cut_where_one_has_too_many_inputs():
    network = image_network(channels=8, size=24)
    program, misfits = try_place(network, loihi(axons_in_per_core=900))
    assert [m.layer for m in misfits] == []  # 3 rows x 24 x 8 channels x 2 axons are 1152
    second = core_of(program, program.layers[2])
    assert len(np.unique(second[0, 0])) > 1
    assert (second == second[:1]).all()  # pieces of a row over all channels


def test_what_no_cut_can_help_names_the_smallest_edit():
    profile = loihi(axons_in_per_core=100, axons_out_per_core=1 << 20)
    _, misfits = try_place(image_network(channels=8, size=12), profile)
    (found,) = (m for m in misfits if m.layer == "second")
    # 9 places x 8 channels x 2 axons are 144; 5 channels make 90.
    assert "one neuron takes 144 axons in on its core" in found.found
    assert found.remedy.startswith("give 'first' 5 of its 8 channels")
    rng = np.random.default_rng(0)
    nodes = (
        Input("x", (600,), Grid(1.0, 0, 1)),
        Linear("w", rng.integers(-7, 8, (4, 600))),
        Neuron("n", *(np.full(4, 5), np.full(4, 2), np.zeros(4, int)), 3, 1.0),
        Linear("r", rng.integers(-7, 8, (2, 4))),
        Output("out", np.zeros(2, int), 1.0),
    )
    names = [node.name for node in nodes]
    network = Network("wide", nodes, tuple(pairwise(names)), "exact", 3)
    _, misfits = try_place(network, loihi(synapse_bits_per_core=3000))
    assert [m.remedy for m in misfits] == ["quantize with weight-bits=5, or use 62 % of its inputs"]
    fits, none = try_place(network, loihi(synapse_bits_per_core=3000, weight_bits=5))
    assert none == () and fits.placement


def test_too_many_cores_name_the_chips_that_would_do():
    with pytest.raises(DoesNotFitError, match=r"use \d+ chips \(`chips: \d+` in a profile") as why:
        place(image_network(channels=4, size=16), loihi(cores=4, chips=1))
    chips = int(str(why.value).split("use ")[1].split(" chips")[0])
    assert place(image_network(channels=4, size=16), loihi(cores=4, chips=chips))


def test_one_core_holds_all_layers():
    network = chain()
    for name in ("digital_snn_45nm", "odin", "xylo_a2"):
        program = place(network, hardware(name))
        assert {part.core for part in program.placement} == {0}
        trace = simulate(Reference(), program, np.array([[1]]))
        counts = count_events(program, trace)
        assert counts.total("barrier") == counts.total("hop_ew") == 0
    with pytest.raises(DoesNotFitError, match=r"all layers take .* compartments on the one core"):
        place(image_network(channels=4, size=16), hardware("xylo_a2"))


def test_layers_find_the_core_with_the_memory_that_they_need():
    profile = hardware("speck")
    _, misfits = try_place(image_network(channels=8, size=24), profile)
    # The input has fewer bits than a membrane may reach; 46,080 weights, twice for the signs.
    assert [(m.layer, m.limit) for m in misfits if "words of weights" in m.found] == [
        ("out", "65536 and 65536 at most on one core")
    ]
    limits = profile.limits.model_copy(update={"state_bits": None})
    profile = profile.model_copy(update={"limits": limits, "limit_sources": {}})
    program = place(pooled_network(8, 16), profile)
    assert {part.core for part in program.placement if part.layer == "out"} <= {5, 6}
    for part in program.placement:
        assert part.stop <= limits.core_neurons[part.core]
    assert len({part.core for part in program.placement}) == len(program.placement)
    with pytest.raises(DoesNotFitError, match=r"maps of side 70, limit 64.*smaller input"):
        place(pooled_network(2, 70), profile)


@settings(max_examples=10, deadline=None)
@given(integer_networks(max_layers=3, mode="exact"), st.integers(0, 2**32 - 1))
def test_moving_cores_never_makes_packets_go_farther(network, seed):
    program, misfits = try_place(network, loihi(neurons_per_core=60, cores_per_tile=1))
    if misfits:
        return
    trace = simulate(Reference(), program, grid_inputs(network, 2, seed))
    moved = arrange(program, trace)
    before, after = summarize_placement(program, trace), summarize_placement(moved, trace)
    assert after.hops <= before.hops
    assert (after.balance, after.uses, after.cores) == (before.balance, before.uses, before.cores)
    a, b = count_events(program, trace), count_events(moved, trace)
    assert a.total("packet") == b.total("packet")
    apart = (before.hops * a.total("packet"), after.hops * a.total("packet"))
    hops = tuple(c.total("hop_ew") + c.total("hop_ns") for c in (a, b))
    assert apart == pytest.approx(hops)


def test_neighbours_in_a_ring_of_layers_come_together():
    program = place(image_network(channels=4, size=20), loihi(cores_per_tile=1, tile_columns=4))
    shuffled = np.random.default_rng(0).permutation(64)
    far = replace(
        program,
        placement=tuple(replace(p, core=int(shuffled[p.core])) for p in program.placement),
    )
    assert summarize_placement(arrange(far)).hops < 0.6 * summarize_placement(far).hops
    assert traffic(far).sum() == traffic(program).sum()


def test_lowering_by_traffic_is_an_arrangement_that_the_program_records():
    network = image_network(channels=4, size=20)
    profile = loihi(cores_per_tile=1, tile_columns=4)
    in_order, program = lower(network, profile), lower(network, profile, arrangement="by_traffic")
    assert (in_order.arrangement, program.arrangement) == ("in_order", "by_traffic")
    assert in_order.placement == place(network, profile).placement
    assert program.placement == arrange(in_order).placement != in_order.placement
    assert program.placement == lower(network, profile, arrangement="by_traffic").placement
    assert summarize_placement(program).hops < summarize_placement(in_order).hops
    trace = simulate(Reference(), program, grid_inputs(network, 2, 0))
    notes = [estimate(p, trace).notes for p in (program, in_order)]
    assert ["cores that talk to each other lie together" in found for found in notes] == [
        True,
        False,
    ]
    no_mesh = lower(network, loihi(tile_columns=None), arrangement="by_traffic")
    assert no_mesh.arrangement == "in_order"


def test_a_summary_needs_a_placement():
    with pytest.raises(InputError, match="is not placed"):
        summarize_placement(Program(chain()))
    with pytest.raises(InputError, match="is not placed"):
        arrange(Program(chain()))


def test_shares_of_the_limits():
    found = summarize_placement(place(image_network(channels=4, size=20), hardware("loihi1")))
    assert found.uses["compartments"].busiest <= 1024
    assert 0.9 < found.uses["compartments"].share <= 1.0
    assert found.layers == {"first": 5, "second": 5, "out": 1}
    assert found.traffic == "one spike a neuron"
    assert min(found.balance.values()) >= 1.0
