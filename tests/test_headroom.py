"""Bits to spare, proved; what lacks them is named, cured, and the cure's cost is told."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from models import float_network, images, small_network
from strategies import grid_inputs, integer_networks

import snndeploy as sd
from snndeploy.errors import (
    CertificateRefusedError,
    DoesNotFitError,
    InputError,
    ProfileError,
    UnsupportedModelError,
)
from snndeploy.hardware import HardwareProfile, hardware
from snndeploy.network import Network
from snndeploy.nodes import Add, Flatten, Grid, Input, Linear, Neuron, Output, SumPool2d
from snndeploy.nodes import Conv2d as Conv
from snndeploy.numerics import word_limits
from snndeploy.passes import Rescale
from snndeploy.program import Program
from snndeploy.words import bits_for
from snndeploy_backends.reference.judge import JudgeSession


def loihi(**limits) -> HardwareProfile:
    profile = hardware("loihi1")
    for name in ("payload_bits", "weight_exponent"):
        limits.setdefault(name, None)
    changed = profile.limits.model_copy(update=limits)
    return profile.model_copy(update={"limits": changed, "limit_sources": {}})


def chain(*nodes, mode="exact", window=3) -> Network:
    return Network("net", nodes, tuple(pairwise(n.name for n in nodes)), mode, window)


def two_channels(mode="exact") -> Network:
    theta = np.array([10, 300])
    return chain(
        Input("x", (2,), Grid(1.0, 0, 4)),
        Linear("w", np.array([[3, -2], [100, 50]])),
        Neuron("n", theta, theta // 2, np.array([7, -8]), 3, 1.0),
        Linear("r", np.array([[1, -1]])),
        Output("out", np.array([5]), 1.0),
        mode=mode,
    )


def one_channel(weight=100, theta=200, bias=0, window=1, readout=1) -> Network:
    return chain(
        Input("x", (1,), Grid(1.0, 0, 1)),
        Linear("w", np.array([[weight]])),
        Neuron("n", np.array([theta]), np.array([theta // 2]), np.array([bias]), window, 1.0),
        Linear("r", np.array([[readout], [-readout]])),
        Output("out", np.zeros(2, int), 1.0),
        window=window,
    )


def found(network, **options):
    return {(w.layer, w.kind): (w.low, w.high, w.needed) for w in
            sd.headroom(network, **options).words}  # fmt: skip


def test_words_by_hand():
    # Counts of x lie in 0 .. 12. Channel 0: 5 + 3 * 12 + 7 = 48 above; channel 1:
    # 150 + 150 * 12 = 1950 above, 150 - 8 - 3 * 300 = -758 below.
    assert found(two_channels()) == {
        ("x", "payload"): (0, 4, 3),
        ("n", "weight"): (-2, 100, 8),
        ("n", "state"): (-758, 1950, 12),
        ("n", "threshold"): (10, 300, 9),
        ("n", "bias"): (-3, 3, 3),
        ("n", "bias_total"): (-8, 7, 4),
        ("n", "payload"): (-1, 1, 2),
        ("out", "weight"): (-1, 1, 2),
        ("out", "state"): (-4, 8, 5),
        ("out", "bias"): (0, 2, 3),
        ("out", "bias_total"): (0, 5, 4),
    }


def test_rate_mode_holds_for_so_many_steps():
    network = two_channels("rate")
    assert sd.headroom(network).steps == 3
    assert found(network)["n", "payload"] == (0, 1, 1)
    # 9 steps: counts of x in 0 .. 36, the bias three times: 150 + 150 * 36 = 5550 above,
    # 150 - 24 - 9 * 300 = -2574 below.
    assert found(network, steps=9)["n", "state"] == (-2574, 5550, 14)
    assert found(network, steps=9)["n", "bias_total"] == (-24, 21, 6)
    assert found(network, steps=9)["n", "bias"] == (-3, 3, 3)


def test_steps_that_are_no_question_are_refused():
    with pytest.raises(InputError, match="exact mode the bounds hold for any number"):
        sd.headroom(two_channels(), steps=9)
    with pytest.raises(InputError, match="ask for 1 to"):
        sd.headroom(two_channels("rate"), steps=0)


@pytest.mark.parametrize(
    ("kind", "low", "high", "bits"),
    [
        ("state", 0, 0, 1),
        ("state", -1, 0, 1),
        ("state", -128, 127, 8),
        ("state", -129, 0, 9),
        ("state", 0, 128, 9),
        ("threshold", 1, 255, 8),
        ("threshold", 256, 256, 9),
        ("payload", 0, 1, 1),
        ("payload", -1, 1, 2),
        ("payload", 0, 0, 1),
    ],
)
def test_bits_by_hand(kind, low, high, bits):
    assert bits_for(kind, low, high) == bits


def test_spare_bits_of_a_chip():
    chip = loihi(weight_bits=7, state_bits=16, threshold_bits=9, bias_bits=2, payload_bits=1)
    result = sd.headroom(two_channels(), chip)
    spare = {w.kind: w.spare for w in result.words if w.layer == "n"}
    assert spare == {
        "weight": -1,
        "state": 4,
        "threshold": 0,
        "bias": -1,
        "bias_total": 12,
        "payload": 0,  # the chip has a channel for each sign
    }
    assert result.of("x", "payload").spare is None  # delivered bit by bit
    assert [(w.layer, w.kind) for w in result.lacks] == [("n", "weight"), ("n", "bias"),
                                                         ("out", "bias")]  # fmt: skip


def test_a_float_network_and_an_ann_profile_are_refused():
    with pytest.raises(ProfileError, match="accelerator for ANNs"):
        sd.headroom(two_channels(), "digital_int8_45nm")
    nodes = (Input("x", (2,)), Linear("w", np.eye(2)), Output("out"))
    with pytest.raises(UnsupportedModelError, match="convert it first"):
        sd.headroom(Network("f", nodes, tuple(pairwise(n.name for n in nodes))))


def overflowing(layer="act2", by=2**31) -> Network:
    network = small_network()
    nodes = [replace(n, bias=n.bias + by) if n.name == layer else n for n in network.nodes]
    return network.rewrite(nodes)


def test_a_planted_overflow_is_named_with_its_bits():
    result = sd.headroom(overflowing())
    assert [(w.layer, w.kind, w.spare) for w in result.lacks] == [
        ("act2", "state", -1),
        ("act2", "bias_total", -1),
    ]
    (cure,) = result.cures
    assert (cure.layer, cure.channels, cure.of, cure.shift) == ("act2", 4, 4, 1)
    assert 0.9 < cure.factor[0] <= cure.factor[1] < 1
    cured = sd.rescale(overflowing())
    assert sd.headroom(cured).lacks == ()
    sd.certify(sd.lower(cured), images(4))


def test_place_and_certify_name_the_command_that_cures():
    with pytest.raises(DoesNotFitError, match=r"layer 'act2'.*`snndeploy rescale`"):
        sd.lower(overflowing(), "loihi1")
    with pytest.raises(CertificateRefusedError, match=r"'act2'.*`snndeploy rescale`"):
        sd.certify(sd.lower(overflowing()), images(2))


def test_a_network_that_fits_is_left_as_it_is():
    network = small_network()
    after = sd.rescale(network, "loihi1")
    assert after.hash == network.hash
    assert all(a is b for a, b in zip(after.nodes, network.nodes, strict=True))
    assert after.history[-1] == (
        "rescale{state-bits=24 weight-bits=8 threshold-bits=23 bias-bits=13 weight-exponent=13 "
        "bias-exponent=7 steps=0}"
    )


def test_a_rescale_by_hand():
    # 8 bits of state: theta 127 is the largest that fits; w = floor(100 * 127 / 200 + 1/2) = 64,
    # and the membrane reaches 63 + 64 = 127.
    after = Rescale(state_bits=8)(one_channel())
    neuron, weight = after.by_name["n"], after.by_name["w"].weight
    assert (neuron.threshold.item(), neuron.v0.item(), weight.item()) == (127, 63, 64)
    assert after.by_name["r"].weight.ravel().tolist() == [1, -1]
    (cure,) = Rescale(state_bits=8).cures(one_channel())
    assert (cure.factor, cure.shift, cure.biases) == ((0.635, 0.635), 1, 0)
    assert str(cure) == "rescale 1 of 1 channels by 0.635"


@pytest.mark.parametrize(
    ("words", "theta", "weight"),
    [
        ({"weight_bits": 7}, 126, 63),  # 127 would round 63.5 up to 64
        ({"threshold_bits": 7}, 127, 64),
        ({"weight_bits": 7, "threshold_bits": 6}, 63, 32),
    ],
)
def test_each_word_has_its_cure(words, theta, weight):
    after = Rescale(state_bits=24, **words)(one_channel())
    assert after.by_name["n"].threshold.item() == theta
    assert after.by_name["w"].weight.item() == weight


def test_rate_mode_is_rescaled_for_so_many_steps():
    network = small_network(mode="rate")
    needed = max(w.needed for w in sd.headroom(network).words)
    chip = loihi(state_bits=needed, weight_exponent=13, bias_exponent=13)
    assert sd.headroom(network, chip).lacks == ()
    assert sd.headroom(network, chip, steps=40).lacks
    after = sd.rescale(network, chip, steps=40)
    assert sd.headroom(after, chip, steps=40).lacks == ()
    assert sd.rescale(network, chip).hash == network.hash != after.hash


def test_only_channels_that_lack_bits_change():
    after = Rescale(state_bits=11)(two_channels())
    neuron, weight = after.by_name["n"], after.by_name["w"].weight
    assert neuron.threshold[0] == 10
    assert weight[0].tolist() == [3, -2]
    assert neuron.bias[0] == 7
    theta = int(neuron.threshold[1])
    assert theta < 300
    assert weight[1].tolist() == [(200 * theta + 300) // 600, (100 * theta + 300) // 600]
    assert neuron.v0[1] == theta // 2
    assert after.by_name["out"].scale == 1.0


def test_another_initial_membrane_is_scaled_like_the_rest():
    network = one_channel()
    nodes = [replace(n, v0=np.array([30])) if n.name == "n" else n for n in network.nodes]
    neuron = Rescale(state_bits=8)(network.rewrite(nodes)).by_name["n"]
    assert (neuron.threshold.item(), neuron.v0.item()) == (127, 19)  # 30 * 0.635 = 19.05


def test_a_wide_bias_is_rounded_to_a_multiple_where_words_have_exponents():
    # 112 over 3 steps: shares of 37 and 38. In 5 bits: 9 * 4 = 36 a step, but not 19 * 2.
    network = one_channel(bias=112, window=3)
    chip = loihi(bias_bits=5, bias_exponent=2)
    (cure,) = sd.headroom(network, chip).cures
    assert str(cure) == "round 1 of 1 biases to multiples of up to 4 a step"
    after = sd.rescale(network, chip)
    assert after.by_name["n"].bias.item() == 108
    assert after.by_name["n"].threshold.item() == 200
    word = sd.headroom(after, chip).of("n", "bias")
    assert (word.low, word.high, word.needed) == (0, 36, 5)
    # 109: shares of 36 and 37, of which only one is a multiple of 4.
    uneven = sd.headroom(one_channel(bias=109, window=3), chip).of("n", "bias")
    assert (uneven.low, uneven.high, uneven.needed) == (0, 37, 7)


def test_a_wide_bias_is_rescaled_where_they_have_none():
    after = sd.rescale(one_channel(bias=112, window=3), loihi(bias_bits=5, bias_exponent=None))
    neuron = after.by_name["n"]
    # 112 * 83 / 200 = 46.5: 46, rounded to whole shares of 15; 84 gives 47, shares of 16.
    assert (neuron.threshold.item(), neuron.bias.item()) == (83, 45)


def test_the_readout_has_one_factor_and_keeps_its_units():
    network = one_channel(readout=120, window=3)
    after = Rescale(state_bits=24, weight_bits=6)(network)
    weight, out = after.by_name["r"].weight, after.by_name["out"]
    assert weight.ravel().tolist() == [31, -31]
    assert out.scale == pytest.approx(120 / 31)
    x = np.array([[0], [1]])
    before, now = sd.integer_ann(network, x).logits, sd.integer_ann(after, x).logits * out.scale
    assert np.allclose(before, now)


def hair_trigger() -> Network:
    """A neuron that the smallest weight makes fire."""
    network = one_channel(weight=1, theta=200)
    nodes = [replace(n, v0=np.array([199])) if n.name == "n" else n for n in network.nodes]
    return network.rewrite(nodes)


REFUSED = {
    "threshold": (one_channel(weight=90, theta=1), 6, "threshold of channel 0, 1, would fall"),
    "zeros": (hair_trigger(), 6, "all weights of channel 0 would round to 0"),
    "ones": (
        chain(
            Input("x", (1, 2, 2), Grid(1.0, 0, 99)),
            SumPool2d("pool", (2, 2), (2, 2)),
            Neuron("n", np.array([9]), np.array([4]), np.array([0]), 3, 1.0),
            Flatten("f"),
            Linear("r", np.array([[1]])),
            Output("out", np.array([0]), 1.0),
        ),
        8,
        "the branch from 'x' has weights of 1",
    ),
}


@pytest.mark.parametrize(("network", "bits", "words"), REFUSED.values(), ids=REFUSED)
def test_what_no_factor_cures_is_refused_with_the_reason(network, bits, words):
    with pytest.raises(DoesNotFitError, match=words) as caught:
        Rescale(state_bits=bits)(network)
    assert "layer 'n'" in str(caught.value)
    (cure, *_) = Rescale(state_bits=bits).cures(network)
    assert words in str(cure)


def test_a_channel_that_never_fires_may_lose_its_weights():
    network = one_channel(weight=1, theta=200)  # 100 + 1 stays below 200
    after = Rescale(state_bits=6)(network)
    assert (after.by_name["n"].threshold.item(), after.by_name["w"].weight.item()) == (31, 0)
    x = np.array([[0], [1]])
    cost = sd.agree(network, after, x)
    assert (cost.same_answers, cost.layers[0].changed) == (2, 0)


def test_weights_that_serve_two_layers_are_refused():
    theta, zero = np.array([200]), np.array([0])
    nodes = (
        Input("x", (1,), Grid(1.0, 0, 1)),
        Linear("w", np.array([[100]])),
        Neuron("a", theta, theta // 2, zero, 3, 1.0),
        Neuron("b", theta, theta // 2, zero, 3, 1.0),
        Linear("ra", np.array([[1]])),
        Linear("rb", np.array([[1]])),
        Add("sum"),
        Output("out", zero, 1.0),
    )
    edges = (("x", "w"), ("w", "a"), ("w", "b"), ("a", "ra"), ("b", "rb"), ("ra", "sum"),
             ("rb", "sum"), ("sum", "out"))  # fmt: skip
    with pytest.raises(DoesNotFitError, match="the weights of 'w' serve layer 'b' too"):
        Rescale(state_bits=8)(Network("shared", nodes, edges, "exact", 3))


def test_a_message_is_not_rescaled():
    network = two_channels()
    chip = loihi(payload_bits=2).model_copy(
        update={"capability": hardware("loihi1").capability.model_copy(
            update={"graded_spikes": True})}
    )  # fmt: skip
    result = sd.headroom(network, chip)
    assert [(w.layer, w.kind, w.spare) for w in result.lacks] == [("x", "payload", -1)]
    assert result.cures == ()
    with pytest.raises(DoesNotFitError, match="use a coarser input grid"):
        sd.rescale(network, chip)
    with pytest.raises(DoesNotFitError, match="coarser input grid"):
        sd.lower(network, chip)


word_sizes = st.fixed_dictionaries(
    {
        "state_bits": st.integers(10, 18),
        "weight_bits": st.integers(5, 9),
        "threshold_bits": st.integers(6, 11),
        "bias_bits": st.integers(5, 10),
        "bias_exponent": st.integers(0, 3),
    }
)


@settings(max_examples=60, deadline=None)
@given(integer_networks(), word_sizes, st.integers(0, 2**32 - 1))
def test_a_rescaled_network_never_leaves_its_words(network, sizes, seed):
    chip = loihi(**sizes)
    try:
        after = sd.rescale(network, chip)
    except DoesNotFitError:
        assume(False)
    assert all(w.spare is None or w.spare >= 0 for w in sd.headroom(after, chip).words)
    assert sd.headroom(after, chip).lacks == ()
    program, inputs = Program(after), grid_inputs(after, 2, seed)
    low, high = word_limits(sizes["state_bits"])
    steps = program.settle_bound if after.mode == "exact" else after.window
    for v in judged(program, inputs, steps).values():
        assert low <= v[0]
        assert v[1] <= high


def judged(program: Program, inputs, steps: int) -> dict[str, tuple[int, int]]:
    """The extremes of each membrane before its reset, by the judge."""
    session = JudgeSession(program, inputs)
    nodes = {x.name: x.node for x in program.layers if isinstance(x.node, Neuron | Output)}
    found = {n: (int(session.membrane[n].min()), int(session.membrane[n].max())) for n in nodes}
    for _ in range(steps):
        before = dict(session.membrane)
        session.step()
        for name in nodes:
            v = before[name] + session.current[name]
            low, high = found[name]
            found[name] = min(low, int(v.min())), max(high, int(v.max()))
    return found


def test_input_that_comes_step_by_step():
    network = sd.convert(float_network(), per_step=True)
    frames = np.zeros((4, 3, 2, 8, 8), int)
    frames[:, 0], frames[:, 1], frames[:, 2] = 16, -16, np.arange(4).reshape(4, 1, 1, 1)
    result = sd.headroom(network, x=frames)
    message = result.of(network.input.name, "payload")
    assert (message.low, message.high, message.needed) == (-16, 16, 6)
    for word in result.words:
        if word.seen is not None:
            assert word.low <= word.seen[0] < word.seen[1] <= word.high


@settings(max_examples=30, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_what_a_run_reaches_is_what_the_judge_reaches_and_within_the_bounds(network, seed):
    x = grid_inputs(network, 3, seed)
    result = sd.headroom(network, x=x)
    program = Program(network)
    steps = program.settle_bound if network.mode == "exact" else network.window
    seen = {w.layer: w.seen for w in result.words if w.kind == "state"}
    assert seen == judged(program, x, steps)
    for word in result.words:
        if word.seen is not None:
            assert word.low <= word.seen[0]
            assert word.seen[1] <= word.high


def by_hand(network: Network, after: Network, layer, channel: int, theta: int) -> Network:
    """`after`, but one channel of a layer is that of `network`, rescaled to another threshold."""

    def arrays(node):
        found = {name: getattr(node, name).copy() for name in changed[node.name]}
        for name, array in found.items():
            old = getattr(network.by_name[node.name], name)[channel]
            array[channel] = np.floor(old * theta / was + 0.5)
        if "v0" in found:
            found["v0"][channel] = theta // 2
        return found

    was = network.by_name[layer.name].threshold[channel]
    changed = {layer.name: ("threshold", "v0", "bias")}
    changed |= {p.weighted.name: ("weight",) for p in layer.projections}
    return after.rewrite(
        replace(node, **arrays(node)) if node.name in changed else node for node in after.nodes
    )


@settings(max_examples=25, deadline=None)
@given(integer_networks(max_layers=2), word_sizes)
def test_a_channel_is_rescaled_by_the_formula_and_no_further_than_needed(network, sizes):
    sizes = sizes | {"bias_bits": None}
    chip = loihi(**sizes)
    try:
        after = sd.rescale(network, chip)
    except DoesNotFitError:
        assume(False)
    for layer in Program(network).layers:
        if not isinstance(layer.node, Neuron):
            continue
        theta = after.by_name[layer.name].threshold
        for channel in np.flatnonzero(theta != layer.node.threshold):
            assert by_hand(network, after, layer, channel, theta[channel]).hash == after.hash
            weaker = by_hand(network, after, layer, channel, theta[channel] + 1)
            assert {w.layer for w in sd.headroom(weaker, chip).lacks} == {layer.name}


def test_the_cost_is_what_integer_anns_say():
    network, x = small_network(seed=1, levels=15), images(40)
    after = Rescale(state_bits=24, weight_bits=3)(network)
    gap = np.abs(
        sd.integer_ann(network, x).counts["act2"] - sd.integer_ann(after, x).counts["act2"]
    )
    x = x[np.argsort(-gap.reshape(40, -1).max(1))]  # the largest difference in the first chunk
    labels = sd.integer_ann(network, x).logits.argmax(1)
    labels[:4] = (labels[:4] + 1) % 3  # four wrong answers
    cost = sd.agree(network, after, x, labels)
    old, new = sd.integer_ann(network, x), sd.integer_ann(after, x)
    was, now = old.logits.argmax(1), new.logits.argmax(1)
    assert cost.samples == 40
    assert cost.same_answers == (was == now).sum() < 40
    assert cost.accuracy_before == 0.9 == (was == labels).mean()
    assert cost.accuracy_after == (now == labels).mean()
    assert [x.layer for x in cost.layers] == list(old.counts)
    for row in cost.layers:
        gap = np.abs(old.counts[row.layer] - new.counts[row.layer])
        assert (row.compared, row.changed, row.largest) == (gap.size, (gap > 0).sum(), gap.max())
    assert any(row.changed for row in cost.layers)
    same = sd.agree(network, network, x)
    assert (same.same_answers, same.accuracy_before) == (40, None)
    assert not any(row.changed for row in same.layers)


def test_other_networks_are_not_compared():
    with pytest.raises(InputError, match="other layers"):
        sd.agree(small_network(), two_channels(), images(2))


def test_a_rescaled_network_is_exact_and_survives_its_file(tmp_path):
    after = Rescale(state_bits=12, weight_bits=6)(small_network())
    sd.save(after, tmp_path / "net.nir")
    assert sd.load(tmp_path / "net.nir").hash == after.hash
    sd.certify(sd.lower(after), images(20))


def test_sources_of_limits_are_checked():
    profile = hardware("loihi1")
    words = ("weight_bits", "state_bits", "threshold_bits", "bias_bits", "payload_bits")
    assert set(words) <= set(profile.limit_sources)
    raw = json.loads(profile.model_dump_json())
    raw["limit_sources"]["fan_in"] = {"grade": "assumed", "source": "a guess"}
    with pytest.raises(ValueError, match=r"limits does not give: \['fan_in'\]"):
        HardwareProfile.model_validate(raw)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network that fits, one that does not, samples, and a chip that is too narrow."""
    folder = tmp_path_factory.mktemp("headroom")
    sd.save(small_network(), folder / "small.nir")
    sd.save(overflowing(), folder / "wide.nir")
    sd.save(small_network(mode="rate"), folder / "rate.nir")
    x = images(20)
    np.savez(folder / "x.npz", x=x, y=sd.integer_ann(small_network(), x).logits.argmax(1))
    narrow = loihi(weight_bits=6, state_bits=14, payload_bits=1).model_copy(
        update={"name": "narrow", "title": "A narrow chip"}
    )
    (folder / "narrow.yaml").write_text(narrow.model_dump_json())
    return folder


def test_headroom_on_the_command_line(snndeploy, files):
    code, out, err = snndeploy("headroom", files / "small.nir", "--profile", "loihi1")
    assert (code, err) == (0, "")
    assert "Intel Loihi 1: over all inputs and any number of steps" in out
    assert "everything fits; least to spare:" in out
    code, out, _ = snndeploy("headroom", files / "wide.nir")
    assert code == 1
    assert "layer 'act2'\n" in out
    assert "1 bit short: membranes from" in out
    assert "cure: rescale 4 of 4 channels by 0.9" in out
    assert f"apply: snndeploy rescale {files / 'wide.nir'} --data X.npz -o OUT.nir" in out
    code, out, _ = snndeploy("headroom", files / "small.nir", "--data", files / "x.npz", "--json")
    assert code == 0
    rows = {(w["layer"], w["kind"]): w for w in json.loads(out)["words"]}
    row = rows["act1", "state"]
    assert row["low"] <= row["seen"][0] < row["seen"][1] <= row["high"]
    assert row["spare"] == 32 - row["needed"]
    assert snndeploy("headroom", files / "rate.nir", "--steps", 40)[0] == 0
    assert snndeploy("headroom", files / "small.nir", "--steps", 40)[0] == 2


def test_rescale_on_the_command_line(snndeploy, files, tmp_path):
    chip, net = files / "narrow.yaml", tmp_path / "net.nir"
    arguments = ("--profile", chip, "--data", files / "x.npz", "-o", net)
    assert snndeploy("headroom", files / "small.nir", "--profile", chip)[0] == 1
    code, out, err = snndeploy("rescale", files / "small.nir", *arguments)
    assert (code, err) == (0, "")
    assert "small, to fit A narrow chip" in out
    assert "layer 'act1': rescale " in out
    assert "accuracy 100.00% before" in out
    assert snndeploy("headroom", net, "--profile", chip)[0] == 0
    assert snndeploy("certify", net, "--profile", chip, "--data", files / "x.npz")[0] == 0
    code, out, _ = snndeploy("rescale", files / "small.nir", *arguments, "--json")
    assert code == 0
    told = json.loads(out)
    cost = sd.agree(sd.load(files / "small.nir"), sd.load(net), images(20))
    assert told["cost"]["same_answers"] == cost.same_answers
    assert told["hash"] == sd.load(net).hash
    assert {cure["layer"] for cure in told["cures"]} == {"act1", "act2", "output"}


def test_a_refused_rescale_writes_nothing(snndeploy, files, tmp_path):
    profile = files / "tiny.yaml"
    profile.write_text(loihi(state_bits=5).model_dump_json())
    net = tmp_path / "net.nir"
    code, out, _ = snndeploy("headroom", files / "small.nir", "--profile", profile)
    assert code == 1
    assert "cure: none: " in out
    assert "apply:" not in out
    code, out, err = snndeploy(
        "rescale", files / "small.nir", "--profile", profile, "--data", files / "x.npz", "-o", net
    )
    assert (code, out) == (2, "")
    assert "no rescale makes it fit" in err
    assert err.count("error:") == 1
    assert not net.exists()


def test_shared_kernels_are_scaled_channel_by_channel():
    theta = np.array([100, 4000])
    network = chain(
        Input("x", (1, 3, 3), Grid(1.0, 0, 8)),
        Conv("c", np.array([5, 100]).reshape(2, 1, 1, 1)),
        Neuron("n", theta, theta // 2, np.zeros(2, int), 3, 1.0),
        Flatten("f"),
        Linear("r", np.ones((2, 18), int)),
        Output("out", np.zeros(2, int), 1.0),
    )
    after = Rescale(state_bits=12)(network)
    neuron, weight = after.by_name["n"], after.by_name["c"].weight.ravel()
    assert neuron.threshold[0] == 100
    assert weight[0] == 5
    # w = 46, and 46 * 24 + 929 = 2033 fits; one more gives w = 47, and 47 * 24 + 930 = 2058.
    assert neuron.threshold[1] == 1859
    assert weight[1] == 46
