"""The certificate agrees with the run, and is refused where a premise fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import images, small_network
from strategies import grid_inputs, integer_networks

from snndeploy import certify, lower, run
from snndeploy.errors import CertificateRefusedError
from snndeploy.nodes import Conv2d, Grid, Neuron
from snndeploy.program import Program
from snndeploy.verify.certificate import certify as certify_inputs
from snndeploy_backends.reference.engine import Reference


def test_a_certificate_states_what_was_checked():
    found = certify(lower(small_network()), images(20))
    assert found.samples == 20
    assert found.settle_max <= found.settle_bound
    assert found.spare_bits > 0
    assert "every input" in found.sentences()[0]


@settings(max_examples=40, deadline=None)
@given(integer_networks(max_layers=12, mode="exact"), st.integers(0, 2**32 - 1))
def test_every_exact_network_is_certified(network, seed):
    found = certify_inputs(Program(network), grid_inputs(network, 2, seed), Reference())
    assert found.settle_max <= found.settle_bound


def test_rate_mode_is_refused():
    with pytest.raises(CertificateRefusedError, match="rate mode"):
        certify(lower(small_network(mode="rate")), images(2))


def test_a_planted_overflow_is_refused():
    network = small_network()
    nodes = [
        replace(n, bias=n.bias + 2**31) if isinstance(n, Neuron) and n.name == "act2" else n
        for n in network.nodes
    ]
    with pytest.raises(CertificateRefusedError, match=r"'act2'.*overflow"):
        certify(lower(network.rewrite(nodes)), images(2))


class WithoutCap:
    """A target that fires a neuron beyond its levels."""

    name, summary, streams = "without-cap", "", True

    def status(self):
        return Reference().status()

    def open(self, program, inputs, steps):
        nodes = [
            replace(n, levels=n.levels + 1) if isinstance(n, Neuron) else n
            for n in program.network.nodes
        ]
        return Reference().open(program.with_network(program.network.rewrite(nodes)), inputs, steps)


def test_a_planted_missing_cap_is_found():
    network = small_network()
    inputs = np.random.default_rng(0).integers(0, 17, (30, 2, 8, 8))
    with pytest.raises(CertificateRefusedError, match="settled at"):
        certify_inputs(Program(network), inputs, WithoutCap())


def test_levels_beyond_the_window_settle_within_their_own_bound():
    network = small_network()
    nodes = [replace(n, levels=63) if isinstance(n, Neuron) else n for n in network.nodes]
    program = Program(network.rewrite(nodes))
    assert program.settle_bound == network.window + 63 * program.depth
    found = certify(program, images(12))
    assert found.settle_max <= found.settle_bound


def test_a_run_that_left_out_a_layer_is_no_proof():
    program = lower(small_network())
    trace = run(program, images(3), record=False)
    with pytest.raises(CertificateRefusedError, match="recorded no spikes of act1, act2, pool"):
        certify(program, images(3), trace=trace)


def test_bounds_that_would_wrap_in_int64_are_refused():
    network = small_network()
    grid = replace(network.input, grid=Grid(1.0, 0, 1 << 40))
    nodes = [
        grid if n is network.input
        else replace(n, weight=n.weight * (1 << 20)) if isinstance(n, Conv2d)
        else n
        for n in network.nodes
    ]  # fmt: skip
    with pytest.raises(CertificateRefusedError, match="overflow"):
        certify_inputs(Program(network.rewrite(nodes)), np.zeros((1, 2, 8, 8), int), Reference())
