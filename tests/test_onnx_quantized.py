"""QDQ and QOperator models as ONNX Runtime quantizes them, and QONNX's quantizers."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from float_walk import float_walk
from onnx import helper
from onnx_models import QONNX, Graph, compared, runtime
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from snndeploy.errors import UnsupportedModelError
from snndeploy.frontends.onnx.file import from_proto
from snndeploy.nodes import Activation, Add, Concat, Conv2d, Grid, Linear

X = np.random.default_rng(5).uniform(0, 1, (64, 2, 8, 8)).astype(np.float32)


def float_model() -> onnx.ModelProto:
    """Residual, concatenation, pools, and a dense head."""
    g = Graph(("N", 2, 8, 8), opset=13)

    def conv(x, inside, outside, kernel, **attributes):
        weight = g.random(outside, inside, kernel, kernel)
        return g.node("Conv", x, weight, g.random(outside), **attributes)

    a = g.node("Relu", conv("x", 2, 4, 3, pads=[1, 1, 1, 1]))
    b = conv(a, 4, 4, 3, pads=[1, 1, 1, 1])
    y = g.node("Relu", g.node("Add", a, b))
    y = g.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = g.node("Concat", y, g.node("Relu", conv(y, 4, 3, 1)), axis=1)
    y = g.node("GlobalAveragePool", y)
    y = g.node("Relu", g.node("Gemm", g.node("Flatten", y), g.random(7, 16), g.random(16)))
    return g.model(g.node("MatMul", y, g.random(16, 5)))


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        self.batches = iter([{"x": X[:32]}])

    def get_next(self):
        return next(self.batches, None)


def quantized(tmp_path, form, activations, per_channel) -> onnx.ModelProto:
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(float_model(), source)
    logging.disable(logging.WARNING)
    quantize_static(
        source, target, Reader(), quant_format=form, per_channel=per_channel,
        activation_type=activations, weight_type=QuantType.QInt8,
    )  # fmt: skip
    logging.disable(logging.NOTSET)
    return onnx.load(target)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("activations", [QuantType.QUInt8, QuantType.QInt8])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_what_onnx_runtime_quantizes_is_read_to_within_ties(
    tmp_path, form, activations, per_channel
):
    proto = quantized(tmp_path, form, activations, per_channel)
    network = from_proto(proto)
    found = float_walk(network, X)[network.output.name]
    expected = runtime(proto, X)
    step = np.abs(expected).max() / 127
    assert np.mean(found.argmax(1) == expected.argmax(1)) >= 0.95
    assert np.abs(found - expected).mean() < step
    assert isinstance(network.input.grid, Grid)
    found_kinds = {type(node) for node in network.nodes}
    assert {Conv2d, Add, Concat, Linear, Activation} <= found_kinds
    assert "dropped=" in network.history[0]


def test_both_formats_of_one_model_give_the_same_network(tmp_path):
    made = [
        from_proto(quantized(tmp_path, form, QuantType.QUInt8, True))
        for form in (QuantFormat.QDQ, QuantFormat.QOperator)
    ]
    assert [type(n) for n in made[0].nodes] == [type(n) for n in made[1].nodes]
    for a, b in zip(made[0].nodes, made[1].nodes, strict=True):
        for name in ("weight", "bias", "ceiling", "levels", "shift", "offset"):
            x, y = getattr(a, name, None), getattr(b, name, None)
            assert (x is None) == (y is None)
            if x is not None:
                np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


def qonnx(bits, scale=0.1, zero=0.0, **attributes):
    """A dense layer, a Quant, a dense layer; QONNX's definition of it in NumPy."""
    g = Graph(("N", 6))
    before = g.rng.normal(size=(6, 5)).astype(np.float32)
    y = g.node("MatMul", "x", g.store(before))
    y = g.node("Quant", y, g.store(scale), g.store(zero), g.store(bits), domain=QONNX, **attributes)
    return g, before, g.node("MatMul", y, g.store(np.eye(5)))


def by_definition(x, bits, scale, zero, signed, narrow, rounding):
    if signed:
        low, high = -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    else:
        low, high = 0, 2**bits - 1 - narrow
    return (rounding(np.clip(x / scale + zero, low, high)) - zero) * scale


@pytest.mark.parametrize("mode", ["ROUND", "FLOOR"])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize(("bits", "zero"), [(2, 0.0), (3, 1.0), (8, 0.0)])
def test_quant_on_values_is_an_activation(bits, zero, signed, narrow, mode):
    g, before, y = qonnx(bits, 0.1, zero, signed=signed, narrow=narrow, rounding_mode=mode)
    network = from_proto(g.model(y))
    x = np.random.default_rng(2).normal(size=(200, 6)) * 2
    rounding = np.floor if mode == "FLOOR" else np.round
    expected = by_definition(x @ before, bits, np.float32(0.1), zero, signed, narrow, rounding)
    np.testing.assert_allclose(float_walk(network, x)[network.output.name], expected, atol=1e-6)
    assert sum(isinstance(node, Activation) for node in network.nodes) == 1


@pytest.mark.parametrize("domain", [QONNX, "onnx.brevitas", "finn.custom_op.general"])
def test_a_missing_import_of_the_domain_is_no_matter(domain):
    g = Graph(("N", 6))
    operands = g.store(0.5), g.store(0.0), g.store(4.0)
    y = g.node("MatMul", "x", g.node("Quant", g.random(6, 5), *operands, domain=domain))
    y = g.node("Quant", y, *operands, domain=domain, signed=0)
    network = from_proto(g.model(g.node("MatMul", y, g.random(5, 2)), imports=False))
    weight = network.nodes[1].weight
    np.testing.assert_array_equal(weight, np.clip(np.round(weight * 2), -8, 7) / 2)


@pytest.mark.parametrize("where", ["weight", "value"])
def test_bipolar_quant(where):
    g = Graph(("N", 6))
    weight = g.rng.normal(size=(6, 5)).astype(np.float32)
    stored = g.store(weight)
    if where == "weight":
        y = g.node("MatMul", "x", g.node("BipolarQuant", stored, g.store(0.5), domain=QONNX))
    else:
        y = g.node("BipolarQuant", g.node("MatMul", "x", stored), g.store(0.5), domain=QONNX)
        y = g.node("MatMul", y, g.store(np.eye(5)))
    network = from_proto(g.model(y))
    x = np.random.default_rng(2).normal(size=(50, 6))

    def sign(v):
        return np.where(v >= 0, 0.5, -0.5)

    expected = x @ sign(weight) if where == "weight" else sign(x @ weight)
    found = float_walk(network, x)[network.output.name]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("attributes", "bits", "zero", "scale", "words"),
    [
        ({"rounding_mode": "CEIL"}, 4, 0.0, 0.1, "rounds by CEIL"),
        ({}, 2.5, 0.0, 0.1, "2.5 is not an integer"),
        ({}, 24, 0.0, 0.1, "24 bits, expected 1 to 16"),
        ({}, 4, 0.5, 0.1, "0.5 is not an integer"),
        ({}, 4, 0.0, 0.0, "scale is 0.0"),
        ({}, 4, 0.0, np.nan, "NaN"),
        ({}, 4, 0.0, [0.1, 0.2, 0.1, 0.1, 0.1], "differs from channel to channel"),
    ],
)
def test_quants_that_are_not_read(attributes, bits, zero, scale, words):
    g, _, y = qonnx(bits, scale, zero, **attributes)
    with pytest.raises(UnsupportedModelError, match=words):
        from_proto(g.model(y))


def test_deeploys_requantization_is_exact():
    rng = np.random.default_rng(1)
    g = Graph((1, 6))
    weight = rng.integers(-9, 9, (6, 5)).astype(np.float32)
    y = g.node("MatMul", "x", g.store(weight))
    mul, add = rng.integers(100, 900, 5), rng.integers(-3000, 3000, 5)
    constants = {
        "div": onnx.numpy_helper.from_array(np.array(4096, np.float32)),
        "n_levels_out": onnx.numpy_helper.from_array(np.array([16], np.float32)),
        "signed": onnx.numpy_helper.from_array(np.array([0], np.float32)),
    }
    y = g.node("RequantShift", y, g.store(mul), g.store(add), **constants)
    network = from_proto(g.model(g.node("MatMul", y, g.store(np.eye(5)))))
    x = rng.integers(-20, 20, (300, 6))
    expected = np.clip((x @ weight.astype(int) * mul + add + 2048) // 4096, 0, 15)
    np.testing.assert_array_equal(float_walk(network, x)[network.output.name], expected)


def test_functions_of_the_model_are_written_out():
    g = Graph((1, 4))
    y = g.node("Scaled", g.node("MatMul", "x", g.random(4, 3)), domain="local")
    model = g.model(y)
    body = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Mul", ["a", "two"], ["b"]),
    ]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "Scaled", ["a"], ["b"], body, opsets))
    compared(model, np.ones((1, 4), np.float32))


def test_operators_of_onnx_runtime_on_integers():
    g = Graph((1, 2, 6, 6))
    grids = [(g.store(s), g.store(z, np.uint8)) for s, z in ((0.02, 7), (0.031, 9), (0.043, 0))]
    y = g.node("QuantizeLinear", "x", *grids[0])
    factors = g.store(g.rng.integers(1, 90, (1, 2, 1, 1)), np.uint8)
    y = g.node("QLinearMul", y, *grids[0], factors, *grids[1], *grids[1], domain="com.microsoft")
    window = {"kernel_shape": [3, 3], "strides": [3, 3]}  # an odd number of values: no ties
    y = g.node("QLinearAveragePool", y, *grids[1], *grids[1], domain="com.microsoft", **window)
    matrix = g.store(g.rng.integers(-90, 90, (8, 4)), np.int8)
    scales = g.store(g.rng.uniform(0.01, 0.02, 4)), g.store(np.zeros(4), np.int8)
    y = g.node("Reshape", y, g.store([1, 8], np.int64))
    y = g.node("QLinearMatMul", y, *grids[1], matrix, *scales, *grids[2])
    y = g.node("MatMul", g.node("DequantizeLinear", y, *grids[2]), g.store(np.eye(4)))
    proto = g.model(y)
    network = from_proto(proto)
    x = np.random.default_rng(6).uniform(0, 4, (40, 1, 2, 6, 6)).astype(np.float32)
    expected = np.concatenate([runtime(proto, sample) for sample in x])
    found = float_walk(network, x[:, 0])[network.output.name]
    assert np.mean(np.abs(found - expected) < 1e-4) > 0.98
    assert np.abs(found - expected).max() < 3 * 0.043
