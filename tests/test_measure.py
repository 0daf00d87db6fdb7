"""Counts equal a slow walk over every spike and every synapse."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grid_inputs, integer_networks

from snndeploy import linear_ops
from snndeploy.errors import DataError
from snndeploy.hardware import hardware
from snndeploy.measure import core_load, count_events, settle_steps, spike_rates
from snndeploy.measure.activity import activity
from snndeploy.measure.routing import core_of, distances
from snndeploy.measure.synapses import arrivals, presynaptic
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Grid, Input, Linear, Neuron, Output, Scale
from snndeploy.passes.partition import place
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference


def with_ones(op):
    if isinstance(op, Conv2d | Linear | Scale):
        return replace(op, weight=np.ones(op.weight.shape, np.int64))
    return op


def targets_of(projection, shape, neuron) -> np.ndarray:
    """Which targets one neuron drives: its one-hot vector through weights of one."""
    one_hot = np.zeros((1, *shape), np.int64)
    one_hot[(0, *neuron)] = 1
    return linear_ops.apply_all([with_ones(op) for op in projection.ops], one_hot)[0] != 0


@settings(max_examples=12, deadline=None)
@given(integer_networks(max_layers=3), st.integers(0, 2**32 - 1))
def test_counts_equal_a_walk_over_every_spike(network, seed):
    program = Program(network)
    trace = simulate(Reference(), program, grid_inputs(network, 2, seed), steps=6)
    counts = count_events(program, trace)
    for layer in program.layers[1:]:
        synops = macs = 0
        for projection in layer.projections:
            shape = network.shapes[projection.source]
            if projection.source not in trace.spikes:
                for neuron in np.ndindex(*shape):
                    macs += int(targets_of(projection, shape, neuron).sum())
            elif layer.kind != "max_pool":
                for _, _, *neuron in np.argwhere(trace.spikes[projection.source]):
                    synops += int(targets_of(projection, shape, neuron).sum())
        found = counts.by_layer[layer.name]
        assert found.get("synop", 0) * 2 == synops
        assert found.get("mac", 0) == macs
        if layer.kind == "neurons":
            spikes = np.count_nonzero(trace.spikes[layer.name])
            assert found["spike"] * 2 == found["update_active"] * 2 == spikes
            updates = found["update_active"] + found["update_inactive"]
            assert updates * 2 == layer.neurons * trace.stop_steps.sum()
    assert counts.steps == trace.stop_steps.mean()


@settings(max_examples=10, deadline=None)
@given(integer_networks(max_layers=2, mode="exact"), st.integers(0, 2**32 - 1))
def test_packets_and_core_work_equal_a_walk_over_every_spike(network, seed):
    limits = hardware("loihi1").limits.model_copy(update={"neurons_per_core": 60})
    profile = hardware("loihi1").model_copy(update={"limits": limits})
    program = place(network, profile)
    trace = simulate(Reference(), program, grid_inputs(network, 2, seed))
    assert trace.settled.all()
    counts, load = count_events(program, trace), core_load(program, trace)
    cores = {x.name: core_of(program, x) for x in program.layers[1:]}
    packets = 0
    synops = np.zeros(load.work["message"].shape[1])
    for source in program.spiking:
        for _, _, *neuron in np.argwhere(trace.spikes[source.name]):
            reached = set()
            for target in program.layers:
                for p in target.projections:
                    if p.source == source.name and target.kind != "max_pool":
                        hit = cores[target.name][targets_of(p, source.shape, neuron)]
                        reached |= set(hit.tolist())
                        np.add.at(synops, hit, 1)
                    elif p.source == source.name:
                        reached |= set(cores[target.name][pools(target, neuron)].tolist())
            packets += len(reached)
    assert counts.total("packet") * 2 == packets
    shares = load.running[:, None]
    total = sum((load.work[e] * shares).sum(0) for e in ("synop", "synop_conv") if e in load.work)
    np.testing.assert_allclose(total * 2, synops)
    assert (load.work["message"] * shares).sum() * 2 == pytest.approx(packets)


def pools(target, neuron) -> np.ndarray:
    """Which outputs of a max-pool one neuron reaches."""
    shape = target.shape
    found = np.zeros(shape, bool)
    node = target.node
    for index in np.ndindex(*shape):
        if index[0] != neuron[0]:
            continue
        first = [i * s - p for i, s, p in zip(index[1:], node.stride, node.pads[:2], strict=True)]
        inside = [f <= n < f + k for f, n, k in zip(first, neuron[1:], node.kernel, strict=True)]
        found[index] = all(inside)
    return found


@settings(max_examples=15, deadline=None)
@given(integer_networks(max_layers=2), st.integers(0, 2**32 - 1))
def test_arrivals_and_presynaptic_equal_the_projection(network, seed):
    rng = np.random.default_rng(seed)
    for layer in Program(network).layers[1:]:
        if layer.kind == "max_pool":
            continue
        mask = rng.random(layer.shape) < 0.2
        reached: dict[str, np.ndarray] = {}
        for p in layer.projections:
            shape = network.shapes[p.source]
            events = rng.integers(0, 3, (2, *shape))
            targets = np.array([targets_of(p, shape, n) for n in np.ndindex(*shape)])
            expected = np.tensordot(events.reshape(2, -1), targets.astype(int), axes=1)
            np.testing.assert_array_equal(arrivals(p, events), expected)
            drives = (targets & mask).reshape(len(targets), -1).any(axis=1).reshape(shape)
            reached[p.source] = reached.get(p.source, False) | drives
        for source, expected in reached.items():
            found = presynaptic(layer, expected.shape, source, mask)
            np.testing.assert_array_equal(found, expected)


def chain() -> Network:
    """Input of 1 -> neuron `a` -> neuron `b` -> readout; every weight 2, every threshold 2."""
    one = np.array([0])
    nodes = (
        Input("x", (1,), Grid(1.0, 0, 1)),
        Linear("w1", np.array([[2]])),
        Neuron("a", np.array([2]), np.array([1]), one, 2, 1.0),
        Linear("w2", np.array([[2]])),
        Neuron("b", np.array([2]), np.array([1]), one, 2, 1.0),
        Linear("w3", np.array([[2]])),
        Output("out", one, 1.0),
    )
    names = [node.name for node in nodes]
    return Network("chain", nodes, tuple(pairwise(names)), "exact", 2)


def test_an_early_stop_on_a_pipelined_chip_pays_for_work_in_flight():
    program = place(chain(), hardware("loihi1"))
    trace = simulate(Reference(), program, np.array([[1]]), steps=1)
    assert trace.stop_steps.tolist() == [1] and not trace.settled.any()
    run = activity(program, trace)
    # Depth 3: the answer leaves the chip at step 3, when `a` has fired twice more, `b` once.
    assert run.steps.tolist() == [3]
    assert {k: int(v.sum()) for k, v in run.events.items()} == {"a": 3, "b": 2}
    assert run.in_flight == 3
    assert count_events(program, trace).in_flight == pytest.approx(3 / 5)


def test_work_in_flight_comes_from_the_full_run_where_there_is_one():
    program = place(chain(), hardware("loihi1"))
    inputs = np.array([[1]])
    trace = simulate(Reference(), program, inputs, steps=1)
    full = simulate(Reference(), program, inputs)
    run = activity(program, trace, full)
    ahead = {"a": full.spikes["a"][:, 1:3].sum(), "b": full.spikes["b"][:, 1:2].sum()}
    assert run.in_flight == sum(ahead.values())
    for name, more in ahead.items():
        assert run.events[name].sum() == trace.spikes[name].sum() + more


def test_settle_steps_and_rates():
    program = Program(chain())
    trace = simulate(Reference(), program, np.array([[1], [0]]))
    assert settle_steps(trace, 2).tolist() == [2, 2]
    assert settle_steps(trace, 1).tolist() == [2, 1]
    first, second = spike_rates(program, trace)
    assert (first.layer, first.neurons, first.spikes) == ("a", 1, 1.0)
    assert (first.negative, second.density) == (0.0, 0.5)


def test_a_trace_without_spikes_is_refused():
    program = Program(chain())
    bare = simulate(Reference(), program, np.array([[1]]), record=False)
    with pytest.raises(DataError, match=r"holds no spikes of a, b.*record=True"):
        count_events(program, bare)
    full = simulate(Reference(), program, np.array([[1]]))
    with pytest.raises(DataError, match="holds no samples"):
        spike_rates(program, full[:0])


def test_hops_on_the_mesh():
    # Four cores a tile, eight tiles a row, chips of 128 cores side by side.
    limits = hardware("loihi1").limits
    a, b = np.array([0, 0, 0, 5, 0]), np.array([3, 4, 32, 39, 128])
    found = distances(limits, a, b)
    assert found.east_west.tolist() == [0, 1, 0, 0, 8]
    assert found.north_south.tolist() == [0, 0, 1, 1, 0]
    assert found.crossing.tolist() == [False, False, False, False, True]
