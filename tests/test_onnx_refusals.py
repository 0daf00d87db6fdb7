"""ONNX models that are refused: all offending operators at once, each with what to do."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import QONNX, Graph

from snndeploy import load
from snndeploy.errors import UnsupportedModelError
from snndeploy.frontends.onnx.file import from_proto


def refused(g: Graph, result: str) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        from_proto(g.model(result))
    return str(caught.value)


def test_every_offending_operator_is_named_at_once_with_its_remedy():
    g = Graph(("N", 2, 8, 8))
    y = g.node("Sigmoid", g.node("Conv", "x", g.random(4, 2, 3, 3)))
    y = g.node("LayerNormalization", y, g.random(6))
    y = g.node("Conv", y, g.random(4, 3, 3, 3))  # a channel too few behind an unread layer
    y = g.node("Tanh", y)
    y = g.node("Foo", y, domain="acme")
    text = refused(g, g.node("Softmax", g.node("Flatten", y)))
    assert "5 operators cannot become spiking" in text
    for part in (
        "Sigmoid_1 (Sigmoid): use Relu",
        "LayerNormalization_2 (LayerNormalization): its statistics are those of each sample",
        "Conv_3 (Conv): weight (4, 3, 3, 3)",
        "Tanh_4 (Tanh): use Relu",
        "Foo_5 (Foo): operators of the domain 'acme' are not known",
    ):
        assert part in text


def test_what_lies_behind_an_unread_layer_is_checked_where_its_shape_is_stated():
    g = Graph(("N", 2, 8, 8))
    y = g.node("LSTM", "x")
    z = g.node("Mul", y, y)
    model = g.model(g.node("Erf", z))
    model.graph.value_info.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, ("N", 4)))
    with pytest.raises(UnsupportedModelError) as caught:
        from_proto(model)
    for part in ("LSTM_0 (LSTM): use a feed-forward", "Mul_1 (Mul): multiplies two", "Erf_2"):
        assert part in str(caught.value)


def test_each_unread_form_says_why():
    g = Graph(("N", 4, 8, 8))
    conv3d = g.node("Conv", "x", g.random(2, 4, 1, 3, 3))
    volume = g.node("Conv", "x", g.random(2, 4, 3, 3), g.random(3))
    pool = g.node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])
    mean = g.node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    leaky = g.node("LeakyRelu", "x", alpha=0.1)
    gate = g.node("Mul", leaky, "x")
    slope = g.node("Clip", "x", g.store(-1.0), g.store(1.0))
    slope = g.node("Conv", slope, g.random(2, 4, 1, 1))
    turned = g.node("Transpose", "x", perm=[1, 0, 2, 3])
    merged = g.node("Reshape", "x", g.store([-1, 8], np.int64))
    cut = g.node("Pad", "x", g.store([0, 0, -1, 0, 0, 0, 0, 0], np.int64))
    edge = g.node("Pad", "x", g.store([0, 0, 1, 0, 0, 0, 0, 0], np.int64), mode="edge")
    parts = (conv3d, volume, pool, mean, gate, slope, turned, merged, cut, edge)
    text = refused(g, g.node("Concat", *parts, axis=1))
    assert "11 operators" in text
    for part in (
        "use 1-d or 2-d", "(3,) biases for 2 channels", "a pool with dilation",
        "set count_include_pad", "slope below 0", "multiplies two values",
        "clipped to -1 .. 1", "moves the batch", "the batch must stay in front",
        "only zeros around height and width", "pads by 'edge'",
    ):  # fmt: skip
        assert part in text, (part, text)


@pytest.mark.parametrize(
    ("kind", "operands", "words"),
    [
        ("DynamicQuantizeLinear", 1, "quantize statically"),
        ("MatMulInteger", 2, "quantize statically"),
        ("ConvTranspose", 2, "use Conv"),
        ("TopK", 2, "end the model with its logits"),
        ("NonMaxSuppression", 2, "no spiking form is known"),
    ],
)
def test_remedies(kind, operands, words):
    g = Graph(("N", 4))
    y = g.node(kind, "x", *(g.random(4, 4) for _ in range(operands - 1)))
    assert words in refused(g, g.node("MatMul", y, g.random(4, 2)))


def test_a_softmax_in_the_middle_is_refused_and_one_at_the_end_is_not():
    g = Graph(("N", 4))
    y = g.node("Softmax", g.node("MatMul", "x", g.random(4, 4)))
    assert "only at the model's end" in refused(g, g.node("MatMul", y, g.random(4, 2)))


def test_quantizers_that_are_not_one_grid():
    g = Graph(("N", 4))
    y = g.node("MatMul", "x", g.random(4, 3))
    grid = g.store([0.1, 0.2, 0.3]), g.store([0, 0, 0], np.int8)
    y = g.node("DequantizeLinear", g.node("QuantizeLinear", y, *grid), *grid)
    text = refused(g, g.node("MatMul", y, g.random(3, 2)))
    assert "its scale differs from channel to channel: use one for all values" in text


@pytest.mark.parametrize(
    ("scale", "words"),
    [(0.0, "scale is 0.0"), (-1.0, "scale is -1.0"), (np.nan, "NaN"), (np.inf, "NaN or infinity")],
)
@pytest.mark.parametrize("where", ["value", "weight"])
def test_scales_that_are_no_scales(scale, words, where):
    g = Graph(("N", 4))
    grid = g.store(scale), g.store(0, np.int8)
    if where == "value":
        y = g.node("QuantizeLinear", g.node("MatMul", "x", g.random(4, 3)), *grid)
        y = g.node("MatMul", g.node("DequantizeLinear", y, *grid), g.random(3, 2))
    else:
        weight = g.node("DequantizeLinear", g.store(np.ones((4, 3)), np.int8), *grid)
        y = g.node("MatMul", "x", weight)
        words = "scale is not above 0" if "NaN" not in words else words
    assert words in refused(g, y)


def test_uses_of_the_input_on_and_off_its_grid():
    g = Graph(("N", 4))
    y = g.node("MatMul", g.qdq("x", 0.1, 0), g.random(4, 3))
    y = g.node("Add", y, g.node("MatMul", "x", g.random(4, 3)))
    assert "one and the same grid" in refused(g, y)


def test_integers_nobody_dequantized():
    g = Graph(("N", 4), TensorProto.INT8)
    assert "put a DequantizeLinear before it" in refused(g, g.node("MatMul", "x", g.random(4, 3)))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (("N", 3, "H", "W"), r"no fixed size along the axes \[2, 3\].*make_dynamic_shape_fixed"),
        (("N", None), r"no fixed size along the axes \[1\]"),
        ((4,), r"expected \(batch, ...\)"),
        ((1, 1 << 20, 1 << 20), "elements"),
        ((1, 0), "no fixed size"),
        ((1 << 40, 4), "a batch of"),
    ],
)
def test_inputs_without_a_fixed_size(shape, words):
    g = Graph(shape)
    with pytest.raises(UnsupportedModelError, match=words):
        from_proto(g.model(g.node("Relu", "x")))


def test_several_inputs_or_results():
    g = Graph(("N", 4))
    model = g.model(g.node("Add", "x", "z"))
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ("N", 4)))
    with pytest.raises(UnsupportedModelError, match=r"inputs \['x', 'z'\] and the results"):
        from_proto(model)


def test_a_result_that_is_no_row_of_logits():
    g = Graph(("N", 2, 8, 8))
    assert "expected logits (N, classes)" in refused(g, g.node("Conv", "x", g.random(2, 2, 3, 3)))


def test_a_result_that_does_not_depend_on_the_input():
    g = Graph(("N", 2))
    g.node("Relu", "x")
    assert "does not depend on the input" in refused(g, g.node("Neg", g.random(3)))


def test_graphs_inside_the_graph():
    g = Graph(("N", 2))
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"])],
        "then",
        [],
        [helper.make_empty_tensor_value_info("r")],
    )
    y = g.node("If", g.store(True, bool), then_branch=inner, else_branch=inner)
    text = refused(g, y)
    assert "If_0 (If)" in text
    assert "fixed flow of control" in text


def test_finn_and_brevitas_operators_are_refused_by_name():
    g = Graph(("N", 2))
    y = g.node("MultiThreshold", "x", g.random(2, 3), domain=QONNX)
    y = g.node("Trunc", y, g.random(1), domain=QONNX)
    text = refused(g, g.node("MatMul", y, g.random(2, 2)))
    assert "MultiThreshold_0 (MultiThreshold): export the model with Quant nodes" in text
    assert "Trunc_1 (Trunc): use a Quant" in text


def test_the_file_is_named(tmp_path):
    g = Graph(("N", 2))
    path = tmp_path / "model.onnx"
    path.write_bytes(g.model(g.node("Erf", g.node("Relu", "x"))).SerializeToString())
    with pytest.raises(UnsupportedModelError, match="model 'model'"):
        load(path)
