"""A placement holds every limit on every core, or lists every reason why there is none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import integer_networks

from snndeploy.errors import DoesNotFitError, ProfileError, UnsupportedModelError
from snndeploy.hardware import hardware
from snndeploy.measure.routing import core_of, route
from snndeploy.measure.synapses import presynaptic
from snndeploy.network import Network
from snndeploy.nodes import Activation, Conv2d, Flatten, Grid, Input, Linear, Neuron
from snndeploy.nodes import Output as Readout
from snndeploy.passes.partition import place, try_place


def loihi(**limits):
    profile = hardware("loihi1")
    return profile.model_copy(update={"limits": profile.limits.model_copy(update=limits)})


def image_network(channels: int = 8, size: int = 24, theta: int = 900) -> Network:
    rng = np.random.default_rng(3)
    threshold = np.full(channels, theta)

    def neurons(name):
        zeros = np.zeros(channels, int)
        return Neuron(name, threshold, threshold // 2, zeros, 3, 1.0)

    nodes = (
        Input("x", (1, size, size), Grid(1.0, 0, 127)),
        Conv2d("conv1", rng.integers(-127, 128, (channels, 1, 3, 3)), padding=(1, 1)),
        neurons("first"),
        Conv2d("conv2", rng.integers(-127, 128, (channels, channels, 3, 3)), padding=(1, 1)),
        neurons("second"),
        Flatten("flat"),
        Linear("dense", rng.integers(-127, 128, (10, channels * size * size))),
        Readout("out", np.zeros(10, int), 1.0),
    )
    names = [node.name for node in nodes]
    return Network("image", nodes, tuple(pairwise(names)), "exact", 3)


def check_limits(program) -> None:
    """Every neuron has a core, and no core holds more than the profile allows."""
    network, profile = program.network, program.profile
    limits, copies = profile.limits, profile.axons(network.mode)
    axons_out: dict[int, int] = {}
    for layer in program.layers[1:]:
        cores = core_of(program, layer)
        assert cores.min() >= 0
        parts = [p for p in program.placement if p.layer == layer.name]
        if any(p.sources is not None for p in parts):
            check_shares(program, layer, parts)
            continue
        assert sum(p.stop - p.start for p in parts) == layer.neurons
        for core in np.unique(cores):
            held = int((cores == core).sum())
            if layer.kind == "neurons":
                held *= profile.compartments(network.mode, network.reset)
            assert held <= limits.neurons_per_core
            bits = sum(p.synapse_bits for p in parts if p.core == core)
            assert bits <= limits.synapse_bits_per_core
            axons = 0
            for source in {p.source for p in layer.projections}:
                mask = presynaptic(layer, network.shapes[source], source, cores == core)
                axons += int(mask.sum()) * (1 if source == "x" else copies)
            assert axons <= limits.axons_in_per_core
        if layer.kind in ("neurons", "max_pool"):
            sent = route(program, layer).reached.sum(axis=0) * copies
            for core in np.unique(cores):
                axons_out[core] = axons_out.get(core, 0) + int(sent[cores == core].sum())
    assert max(axons_out.values()) <= limits.axons_out_per_core


def check_shares(program, layer, parts) -> None:
    """A split readout: each source neuron once, no more on a core than it may have."""
    profile = program.profile
    source = layer.projections[0].source
    copies = 1 if source == "x" else profile.axons(program.network.mode)
    held = [n for part in parts for n in range(*part.sources)]
    assert held == list(range(int(np.prod(program.network.shapes[source]))))
    for part in parts:
        assert (part.start, part.stop) == (0, layer.neurons)
        first, last = part.sources
        assert (last - first) * copies <= profile.limits.axons_in_per_core
        assert part.synapse_bits <= profile.limits.synapse_bits_per_core


@settings(max_examples=25, deadline=None)
@given(integer_networks(), st.integers(40, 200))
def test_every_limit_holds_on_every_core(network, neurons):
    profile = loihi(neurons_per_core=neurons, axons_out_per_core=600)
    program, misfits = try_place(network, profile)
    assume(not misfits)
    check_limits(program)


@settings(max_examples=25, deadline=None)
@given(integer_networks(), st.integers(30, 400), st.integers(500, 20_000))
def test_inputs_and_memory_hold_on_every_core(network, axons, bits):
    """The cutter looks at some tiles of each size only: no other needs more."""
    profile = loihi(axons_in_per_core=axons, synapse_bits_per_core=bits, axons_out_per_core=1 << 20)
    program, misfits = try_place(network, profile)
    assume(not misfits)
    check_limits(program)


def test_every_limit_holds_where_a_network_must_fit():
    profile = loihi(neurons_per_core=300, axons_out_per_core=600)
    program, misfits = try_place(image_network(channels=4, size=12), profile)
    assert misfits == ()
    assert len({part.core for part in program.placement}) > 2
    check_limits(program)


def test_an_image_is_cut_into_bands_of_rows():
    program = place(image_network(channels=4, size=20), hardware("loihi1"))
    first = core_of(program, program.layers[1])
    assert (first == first[:1, :, :1]).all()
    # 4 channels of 20 x 20 neurons of 3 compartments: at least 5 cores of 1024.
    assert len(np.unique(first)) == 5


def test_shared_kernels_are_held_once_a_core_and_twice_for_signs():
    program = place(image_network(channels=4, size=20), hardware("loihi1"))
    kernels = {"first": 4 * 9 * 8, "second": 4 * 4 * 9 * 8 * 2}
    for name, bits in kernels.items():
        parts = [p for p in program.placement if p.layer == name]
        per_core = {p.core: 0 for p in parts}
        for p in parts:
            per_core[p.core] += p.synapse_bits
        assert set(per_core.values()) == {bits}


def test_every_reason_is_listed_at_once():
    profile = loihi(weight_bits=6, state_bits=12, axons_in_per_core=2000, fan_in=20, chips=1)
    with pytest.raises(DoesNotFitError) as caught:
        place(image_network(), profile)
    text = str(caught.value)
    assert text.startswith("network 'image': does not fit Intel Loihi 1, ")
    for reason in (
        "layer 'first': weights from",
        "layer 'first': membranes from",
        "layer 'second': weights from",
        "layer 'second': a neuron has 72 synapses, limit 20",
        "layer 'out': weights from",
        "layer 'out': one neuron takes 9216 axons in on its core, limit 2000",
        "layer 'out': a neuron has 4608 synapses",
    ):
        assert reason in text
    assert "quantize with weight-bits=6" in text


def test_too_many_cores():
    with pytest.raises(DoesNotFitError, match=r"takes \d+ of \d+ cores in all, limit 4"):
        place(image_network(channels=4, size=16), loihi(cores=4, chips=1))


def test_too_many_outgoing_axons():
    with pytest.raises(DoesNotFitError, match=r"layer 'first': .* outgoing axons on a core"):
        place(image_network(channels=4, size=16), loihi(axons_out_per_core=3))


def test_thresholds_and_words():
    profile = loihi(threshold_bits=8)
    with pytest.raises(
        DoesNotFitError, match="thresholds from 900 to 900 need 10 bits, limit 8 bits"
    ):
        place(image_network(channels=4, size=8), profile)


def test_kinds_that_hold_no_spiking_network():
    with pytest.raises(ProfileError, match="accelerator for ANNs"):
        place(image_network(channels=4, size=8), hardware("digital_int8_45nm"))
    nodes = (Input("x", (2,)), Linear("w", np.eye(2)), Activation("a", 1.0, 3), Readout("out"))
    edges = (("x", "w"), ("w", "a"), ("a", "out"))
    with pytest.raises(UnsupportedModelError, match="float network; convert it first"):
        place(Network("float", nodes, edges), hardware("loihi1"))
