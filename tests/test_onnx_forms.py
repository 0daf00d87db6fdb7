"""Forms that ONNX graphs come in: each gives ONNX Runtime's numbers, and the nodes expected."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import Graph, compared, runtime

from snndeploy.errors import UnsupportedModelError
from snndeploy.frontends.onnx.file import from_proto
from snndeploy.nodes import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Grid,
    Relu,
)


def samples(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def kinds(network) -> list[str]:
    return [type(node).__name__ for node in network.nodes]


def head(g: Graph, x: str, features: int) -> str:
    """Flatten and a dense layer."""
    return g.node("Gemm", g.node("Flatten", x), g.random(features, 3), g.random(3))


def conv(g: Graph, x: str, inside: int, outside: int, kernel: int = 3, **attributes) -> str:
    weight = g.random(outside, inside // attributes.get("group", 1), kernel, kernel)
    return g.node("Conv", x, weight, g.random(outside), **attributes)


def find(network, kind):
    return [node for node in network.nodes if isinstance(node, kind)]


# -- plain networks --------------------------------------------------------------------------------


def test_a_small_convolutional_network():
    g = Graph(("N", 2, 8, 8))
    y = g.node("Relu", conv(g, "x", 2, 4, pads=[1, 1, 1, 1]))
    y = g.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = g.node("Softmax", head(g, y, 64))
    network = from_proto(g.model(y))
    assert kinds(network) == [
        "Input", "Conv2d", "MaxPool2d", "Relu", "Flatten", "Linear", "Output"
    ]  # fmt: skip
    assert network.history == ("onnx{opset=17 dropped=softmax:Softmax_5}",)
    del g.nodes[-1]
    compared(g.model(g.nodes[-1].output[0]), samples(5, 2, 8, 8))


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax", "Sigmoid", "ArgMax"])
def test_what_keeps_the_largest_logit_is_dropped_at_the_end_and_said_so(end):
    g = Graph((1, 4))
    y = g.node("Gemm", "x", g.random(4, 3))
    y = g.node(end, y)
    y = g.node("Identity", y)
    network = from_proto(g.model(y))
    assert kinds(network) == ["Input", "Linear", "Output"]
    assert f"dropped={end.lower()}:" in network.history[0]


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("stride", [1, 2])
def test_automatic_padding(auto, stride):
    g = Graph(("N", 2, 7, 8))
    y = conv(g, "x", 2, 4, 4, auto_pad=auto, strides=[stride, stride])
    y = g.node("Relu", y)
    y = g.node("GlobalAveragePool", y)
    compared(g.model(head(g, y, 4)), samples(3, 2, 7, 8))


@pytest.mark.parametrize("size", [6, 7, 8, 9])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 1]])
def test_max_pools_that_round_up(size, pads):
    g = Graph(("N", 1, size, 7), opset=22)
    y = g.node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=pads, ceil_mode=1)
    features = runtime(g.model(y), samples(1, 1, size, 7)).size
    compared(g.model(head(g, y, features)), samples(3, 1, size, 7))


@pytest.mark.parametrize(
    "attributes",
    [
        {"group": 2},
        {"group": 4},
        {"dilations": [2, 1]},
        {"strides": [2, 1], "pads": [2, 0, 1, 1]},
    ],
)
def test_convolutions(attributes):
    g = Graph(("N", 4, 8, 8))
    y = g.node("GlobalAveragePool", conv(g, "x", 4, 8, **attributes))
    assert isinstance(compared(g.model(head(g, y, 8)), samples(3, 4, 8, 8)).nodes[1], Conv2d)


def test_signals():
    g = Graph(("N", 2, 16))
    y = g.node("Conv", "x", g.random(4, 2, 3), g.random(4), pads=[1, 2], strides=[2])
    y = g.node("MaxPool", g.node("Relu", y), kernel_shape=[2], strides=[2], auto_pad="SAME_UPPER")
    y = g.node("GlobalAveragePool", y)
    network = compared(g.model(head(g, y, 4)), samples(3, 2, 16))
    assert network.input.shape == (2, 1, 16)


@pytest.mark.parametrize(("trans", "alpha", "beta"), [(0, 1.0, 1.0), (1, 0.5, 2.0), (1, 1.0, 0.0)])
def test_gemm(trans, alpha, beta):
    g = Graph(("N", 5))
    weight = g.random(3, 5) if trans else g.random(5, 3)
    y = g.node("Gemm", "x", weight, g.random(1, 3), transB=trans, alpha=alpha, beta=beta)
    assert kinds(compared(g.model(y), samples(4, 5))) == ["Input", "Linear", "Output"]


def test_a_bias_behind_a_product_is_its_bias():
    g = Graph(("N", 5))
    y = g.node("Add", g.random(3), g.node("MatMul", "x", g.random(5, 3)))
    y = g.node("Div", g.node("Sub", y, g.random(1)), g.store(2.5))
    assert kinds(compared(g.model(y), samples(4, 5))) == ["Input", "Linear", "Output"]


def test_a_product_that_is_read_twice_keeps_its_own_bias():
    g = Graph(("N", 5))
    y = g.node("MatMul", "x", g.random(5, 3))
    z = g.node("Relu", g.node("Mul", y, g.store([1.0, 2.0, -3.0])))
    network = compared(g.model(g.node("Add", z, g.node("Relu", y))), samples(4, 5))
    assert len(find(network, BatchNorm)) == 1


def test_batch_norm_and_factors_a_channel():
    g = Graph(("N", 3, 6, 6))
    y = conv(g, "x", 3, 4)
    norm = [g.random(4), g.random(4), g.random(4), g.store(np.abs(g.rng.normal(size=4)) + 0.1)]
    y = g.node("BatchNormalization", y, *norm, epsilon=1e-3)
    y = g.node("Mul", y, g.random(4, 1, 1))
    y = g.node("Add", y, g.random(1, 4, 1, 1))
    y = g.node("Clip", y, g.store(0.0), g.store(0.8))
    network = compared(g.model(head(g, y, 64)), samples(3, 3, 6, 6))
    assert kinds(network)[1:4] == ["Conv2d", "BatchNorm", "Relu"]
    assert find(network, Relu)[0].cap == pytest.approx(0.8)


def test_bounds_from_max_and_min_and_old_clips():
    g = Graph(("N", 4), opset=10)
    y = g.node("MatMul", "x", g.random(4, 4))
    y = g.node("Clip", y, min=0.0, max=6.0)
    y = g.node(
        "Min", g.node("Max", g.node("MatMul", y, g.random(4, 4)), g.store(0.0)), g.store(1.0)
    )
    network = compared(g.model(g.node("MatMul", y, g.random(4, 2))), samples(4, 4))
    assert [node.cap for node in find(network, Relu)] == [6.0, 1.0]


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3], [2]])
def test_means(axes, keep):
    g = Graph(("N", 3, 4, 6), opset=13)
    y = g.node("ReduceMean", conv(g, "x", 3, 4, 1), axes=axes, keepdims=keep)
    features = runtime(g.model(y), samples(1, 3, 4, 6)).size
    compared(g.model(head(g, y, features)), samples(3, 3, 4, 6))


def test_residuals_and_concatenation():
    g = Graph(("N", 2, 6, 6))
    a = g.node("Relu", conv(g, "x", 2, 4, pads=[1, 1, 1, 1]))
    b = conv(g, a, 4, 4, pads=[1, 1, 1, 1])
    c = conv(g, a, 4, 4, 1)
    y = g.node("Relu", g.node("Sum", a, b, c))
    y = g.node("Concat", y, conv(g, a, 4, 2, 1), axis=-3)
    network = compared(g.model(head(g, g.node("GlobalAveragePool", y), 6)), samples(3, 2, 6, 6))
    assert len(find(network, Add)) == len(find(network, Concat)) == 1


def test_differences_and_a_value_added_to_itself():
    g = Graph(("N", 4))
    a, b = g.node("MatMul", "x", g.random(4, 4)), g.node("MatMul", "x", g.random(4, 4))
    y = g.node("Sub", a, b)
    y = g.node("Add", y, y)
    compared(g.model(g.node("Neg", g.node("Sub", g.store(1.0), y))), samples(4, 4))


# -- moved elements --------------------------------------------------------------------------------


def test_channels_last_leave_no_trace():
    g = Graph(("N", 7, 8, 3))
    y = g.node("Transpose", "x", perm=[0, 3, 1, 2])
    y = g.node(
        "Transpose", conv(g, y, 3, 4, auto_pad="SAME_UPPER", strides=[2, 2]), perm=[0, 2, 3, 1]
    )
    y = g.node("Relu", g.node("Add", y, g.random(4)))
    z = g.node("Transpose", y, perm=[0, 3, 1, 2])
    z = g.node("Transpose", conv(g, z, 4, 4, 1), perm=[0, 2, 3, 1])
    y = g.node("Add", g.node("Mul", y, g.random(1, 1, 1, 4)), z)
    y = g.node("Concat", y, g.node("MatMul", z, g.random(4, 2)), axis=3)
    y = g.node("MatMul", g.node("Reshape", y, g.store([-1, 96], np.int64)), g.random(96, 3))
    network = compared(g.model(y), samples(3, 7, 8, 3), axes=(0, 3, 1, 2))
    assert network.input.shape == (3, 7, 8)
    assert network.history == ("onnx{opset=17 input=0,3,1,2}",)


def test_means_over_channels_last():
    g = Graph(("N", 4, 5, 3), opset=13)
    y = g.node("Transpose", "x", perm=[0, 3, 1, 2])
    y = g.node("Transpose", conv(g, y, 3, 4), perm=[0, 2, 3, 1])
    y = g.node("ReduceMean", y, axes=[1, 2], keepdims=0)
    network = compared(
        g.model(g.node("MatMul", y, g.random(4, 3))), samples(2, 4, 5, 3), (0, 3, 1, 2)
    )
    assert find(network, AvgPool2d)[0].kernel == (2, 3)


def test_a_dynamic_batch_in_shape_arithmetic():
    g = Graph(("N", 2, 4, 4), opset=13)
    size = g.node("Gather", g.node("Shape", "x"), g.store(0, np.int64), axis=0)
    size = g.node("Unsqueeze", size, g.store([0], np.int64))
    shape = g.node("Concat", size, g.store([-1], np.int64), axis=0)
    y = g.node("Dropout", g.node("Cast", g.node("Reshape", "x", shape), to=TensorProto.FLOAT))
    y = g.node("Squeeze", g.node("Unsqueeze", y, g.store([1], np.int64)), g.store([1], np.int64))
    network = compared(g.model(g.node("MatMul", y, g.random(32, 3))), samples(3, 2, 4, 4))
    assert kinds(network) == ["Input", "Flatten", "Linear", "Output"]


def test_weights_that_are_computed_from_stored_tensors():
    g = Graph((1, 6), opset=13)
    weight = g.node("Transpose", g.node("Reshape", g.random(3, 2, 3), g.store([3, 6], np.int64)))
    weight = g.node("Mul", weight, g.node("Sqrt", g.node("Constant", value_float=2.0)))
    assert kinds(compared(g.model(g.node("MatMul", "x", weight)), samples(1, 6)))[1] == "Linear"


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "Conv"])
def test_zeros_around_an_image_become_padding(kind):
    g = Graph(("N", 2, 6, 6))
    y = g.node("Relu", conv(g, "x", 2, 2))
    pads = g.store([0, 0, 1, 0, 0, 0, 1, 1], np.int64)
    y = g.node("Pad", y, pads, g.store(0.0))
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    y = conv(g, y, 2, 2, **window) if kind == "Conv" else g.node(kind, y, **window)
    network = compared(g.model(head(g, y, 8)), samples(3, 2, 6, 6))
    padded = [n for n in network.nodes if getattr(n, "padding", (0, 0)) not in ((0, 0), None)]
    assert [node.padding for node in padded] == [(1, 0, 1, 1)]


# -- parts of values -------------------------------------------------------------------------------


def test_a_shortcut_without_weights_is_a_convolution_of_ones_and_zeros():
    g = Graph(("N", 4, 8, 8))
    a = g.node("Relu", conv(g, "x", 4, 4, pads=[1, 1, 1, 1]))
    y = conv(g, a, 4, 8, strides=[2, 2], pads=[1, 1, 1, 1])
    bounds = [g.store(n, np.int64) for n in ([0, 0], [9, 9], [2, 3], [2, 2])]
    short = g.node("Slice", a, *bounds)
    short = g.node("Pad", short, g.store([0, 2, 0, 0, 0, 2, 0, 0], np.int64))
    y = g.node("Relu", g.node("Add", y, short))
    network = compared(g.model(head(g, g.node("GlobalAveragePool", y), 8)), samples(3, 4, 8, 8))
    picked = find(network, Conv2d)[-1]
    assert picked.stride == (2, 2)
    assert sorted(picked.weight.ravel())[-5:] == [0, 1, 1, 1, 1]


def test_parts_of_channels_are_weights_of_zero():
    g = Graph(("N", 6, 4, 4), opset=13)
    y = g.node("Relu", conv(g, "x", 6, 6))
    g.node("Split", y, g.store([2, 4], np.int64), axis=1)
    g.nodes[-1].output.append("rest")
    first, rest = g.nodes[-1].output
    rest = g.node("Gather", rest, g.store([3, 0, -2], np.int64), axis=1)
    y = g.node("Add", conv(g, first, 2, 5, 1), conv(g, rest, 3, 5, 1))
    network = compared(g.model(head(g, y, 20)), samples(3, 6, 4, 4))
    assert kinds(network) == [
        "Input", "Conv2d", "Relu", "Conv2d", "Conv2d", "Add", "Flatten", "Linear", "Output"
    ]  # fmt: skip


def test_parts_of_features_are_weights_of_zero():
    g = Graph(("N", 8))
    y = g.node("Relu", g.node("MatMul", "x", g.random(8, 8)))
    even = g.node("Slice", y, *(g.store([n], np.int64) for n in (0, 8, 1, 2)))
    back = g.node("Slice", y, *(g.store([n], np.int64) for n in (-1, -(1 << 62), 1, -3)))
    y = g.node(
        "Add", g.node("MatMul", even, g.random(4, 3)), g.node("MatMul", back, g.random(3, 3))
    )
    assert kinds(compared(g.model(y), samples(4, 8))).count("Linear") == 3


def test_parts_of_signals():
    g = Graph(("N", 4, 12))
    y = g.node("Relu", g.node("Conv", "x", g.random(6, 4, 3)))
    part = g.node("Slice", y, *(g.store([n], np.int64) for n in (1, 5, 1, 1)))
    y = g.node("Add", g.node("Conv", part, g.random(3, 4, 3)), g.random(3, 1))
    y = g.node("MaxPool", y, kernel_shape=[2], strides=[2])
    compared(g.model(head(g, y, 12)), samples(3, 4, 12))


def test_shuffled_channels():
    g = Graph(("N", 4, 6, 6))
    y = g.node("Relu", conv(g, "x", 4, 6))
    y = g.node("Reshape", y, g.store([-1, 2, 3, 4, 4], np.int64))
    y = g.node("Transpose", y, perm=[0, 2, 1, 3, 4])
    y = g.node("Reshape", y, g.store([-1, 6, 4, 4], np.int64))
    y = g.node("Relu", g.node("Mul", conv(g, y, 6, 12, group=6), g.random(12, 1, 1)))
    y = conv(g, y, 12, 3, 1)
    network = compared(g.model(head(g, y, 12)), samples(3, 4, 6, 6))
    assert [node.groups for node in find(network, Conv2d)] == [1, 6, 1]


def test_a_part_is_scaled_and_the_rest_is_not():
    g = Graph(("N", 4, 3, 3))
    y = g.node("Relu", conv(g, "x", 4, 4, 1))
    part = g.node("Slice", y, *(g.store([n], np.int64) for n in (1, 3, 1, 1)))
    part = g.node("Mul", part, g.random(2, 1, 1))
    y = g.node("Concat", y, conv(g, part, 2, 2, 1), axis=1)
    compared(g.model(head(g, y, 54)), samples(3, 4, 3, 3))


# -- the model's input -----------------------------------------------------------------------------


def test_a_normalised_input_goes_into_the_first_convolution():
    g = Graph(("N", 5, 5, 2))
    y = g.node("Div", g.node("Sub", "x", g.store([0.4, 0.5])), g.store([0.2, 0.3]))
    y = conv(g, g.node("Transpose", y, perm=[0, 3, 1, 2]), 2, 4)
    network = compared(g.model(head(g, y, 36)), samples(3, 5, 5, 2), (0, 3, 1, 2))
    assert kinds(network) == ["Input", "Conv2d", "Flatten", "Linear", "Output"]


def test_a_normalised_input_goes_into_the_first_dense_layer_pixel_by_pixel():
    g = Graph(("N", 1, 3, 3))
    y = g.node("Mul", g.node("Add", "x", g.random(1, 3, 3)), g.random(3, 3))
    assert kinds(compared(g.model(head(g, y, 9)), samples(3, 1, 3, 3)))[1:] == [
        "Flatten", "Linear", "Output"
    ]  # fmt: skip


def test_a_grouped_convolution_takes_a_normalisation_too():
    g = Graph(("N", 4, 5, 5))
    norm = [g.random(4), g.random(4), g.random(4), g.store([0.5, 1, 2, 3])]
    y = g.node("BatchNormalization", "x", *norm)
    y = conv(g, y, 4, 8, group=2)
    compared(g.model(head(g, y, 72)), samples(3, 4, 5, 5))


def test_a_factor_goes_under_padding_and_a_shift_does_not():
    for shift, good in ((0.0, True), (0.5, False)):
        g = Graph(("N", 2, 5, 5))
        y = g.node("Sub", g.node("Mul", "x", g.store(1 / 255)), g.store(shift))
        y = conv(g, y, 2, 4, pads=[1, 1, 1, 1])
        model = g.model(head(g, y, 100))
        if good:
            compared(model, samples(3, 2, 5, 5))
        else:
            with pytest.raises(UnsupportedModelError, match="normalise the samples"):
                from_proto(model)


def test_a_grid_behind_a_normalisation_is_a_grid_of_the_input():
    g = Graph(("N", 4))
    y = g.node("Sub", g.node("Mul", "x", g.store(2.0)), g.store(1.0))
    y = g.node("MatMul", g.qdq(y, 0.25, 3), g.random(4, 2))
    network = compared(g.model(y), samples(9, 4))
    assert network.input.grid == Grid(0.125, -131 + 4, 124 + 4)
    assert not find(network, Activation)


def test_a_grid_that_no_grid_of_the_input_is_becomes_an_activation():
    g = Graph(("N", 2, 3, 3))
    y = g.node("Mul", "x", g.store([[[0.5]], [[0.7]]]))
    network = compared(g.model(head(g, g.qdq(y, 0.25, 3), 18)), samples(9, 2, 3, 3))
    assert kinds(network)[1:3] == ["BatchNorm", "Activation"]


def test_integers_that_are_cast_are_numbers():
    g = Graph(("N", 4), TensorProto.UINT8)
    y = g.node("Mul", g.node("Cast", "x", to=TensorProto.FLOAT), g.store(1 / 255))
    x = np.random.default_rng(1).integers(0, 256, (5, 4)).astype(np.uint8)
    network = compared(g.model(g.node("MatMul", y, g.random(4, 3))), x)
    assert network.input.grid == Grid(1.0, 0, 255)


# -- quantized values ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "zero"), [(np.int8, -128), (np.uint8, 0), (np.int8, 5)])
def test_a_quantizer_behind_a_relu_is_one_activation(kind, zero):
    g = Graph(("N", 4))
    weight = g.quantized(g.rng.normal(size=(4, 6)).astype(np.float32), axis=1)
    y = g.qdq(g.node("Relu", g.node("MatMul", "x", weight)), 0.02, zero, kind)
    network = compared(g.model(g.node("MatMul", y, g.random(6, 3))), samples(50, 4))
    (act,) = find(network, Activation)
    levels = np.iinfo(kind).max - zero
    assert (act.levels, act.shift, act.offset) == (levels, 0.5, 0.0)
    assert act.ceiling == pytest.approx(0.02 * levels)
    assert not find(network, Relu)


def test_a_quantizer_without_a_relu_keeps_its_negative_values():
    g = Graph(("N", 4))
    y = g.qdq(g.node("MatMul", "x", g.random(4, 6)), 0.02, 5)
    network = compared(g.model(g.node("MatMul", y, g.random(6, 3))), samples(50, 4))
    (act,) = find(network, Activation)
    assert (act.levels, act.shift) == (255, 133.5)
    assert act.offset == pytest.approx(-133 * 0.02)


def test_a_clip_of_stored_integers_narrows_the_grid():
    g = Graph(("N", 4))
    grid = g.store(0.1), g.store(0, np.uint8)
    y = g.node("QuantizeLinear", g.node("MatMul", "x", g.random(4, 6)), *grid)
    y = g.node("Clip", y, g.store(0, np.uint8), g.store(15, np.uint8))
    y = g.node("DequantizeLinear", y, *grid)
    network = compared(g.model(g.node("MatMul", y, g.random(6, 3))), samples(50, 4))
    assert [act.levels for act in find(network, Activation)] == [15]


def test_a_narrower_grid_for_one_of_two_readers_is_an_activation_beside():
    g = Graph(("N", 4))
    y = g.qdq(g.node("MatMul", "x", g.random(4, 6)), 0.1, 0)
    z = g.node("Relu", y)
    network = compared(g.model(g.node("Concat", y, z, axis=1)), samples(50, 4))
    assert sorted(act.levels for act in find(network, Activation)) == [127, 255]


def test_the_same_grid_twice_is_once_and_passes_through_pools_and_reshapes():
    g = Graph(("N", 1, 4, 4))
    y = g.qdq(g.node("Relu", conv(g, "x", 1, 2)), 0.1, -128)
    y = g.qdq(g.node("MaxPool", y, kernel_shape=[2, 2]), 0.1, -128)
    y = g.qdq(g.node("Flatten", g.qdq(y, 0.1, -128)), 0.1, -128)
    network = compared(g.model(g.node("MatMul", y, g.random(2, 3))), samples(50, 1, 4, 4))
    assert len(find(network, Activation)) == 1


def test_a_relu_goes_through_a_max_pool_into_the_quantizer_behind():
    g = Graph(("N", 1, 4, 4))
    y = g.node("MaxPool", g.node("Relu", conv(g, "x", 1, 2)), kernel_shape=[2, 2])
    network = compared(g.model(head(g, g.qdq(y, 0.1, 0, np.uint8), 2)), samples(20, 1, 4, 4))
    assert kinds(network)[1:4] == ["Conv2d", "MaxPool2d", "Activation"]


def test_zeros_around_stored_integers_are_their_zero_point():
    g = Graph(("N", 1, 4, 4))
    grid = g.store(0.1), g.store(3, np.int8)
    y = g.node("QuantizeLinear", conv(g, "x", 1, 2), *grid)
    y = g.node("Pad", y, g.store([0, 0, 1, 1, 0, 0, 1, 1], np.int64), g.store(3, np.int8))
    y = conv(g, g.node("DequantizeLinear", y, *grid), 2, 2)
    network = compared(g.model(head(g, y, 8)), samples(20, 1, 4, 4))
    assert find(network, Conv2d)[1].padding == (1, 1)


def test_another_scale_behind_than_before_is_a_factor():
    g = Graph(("N", 4))
    y = g.node("MatMul", "x", g.random(4, 6))
    y = g.node("QuantizeLinear", y, g.store(0.1), g.store(3, np.int8))
    y = g.node("DequantizeLinear", y, g.store(0.2), g.store(1, np.int8))
    compared(g.model(g.node("MatMul", y, g.random(6, 3))), samples(20, 4))


def test_the_grid_of_the_logits_is_dropped_and_said_so():
    g = Graph(("N", 4))
    y = g.qdq(g.node("Gemm", "x", g.random(4, 3)), 0.1, 0)
    network = from_proto(g.model(g.node("Softmax", y)))
    assert kinds(network) == ["Input", "Linear", "Output"]
    assert network.history == (
        "onnx{opset=17 dropped=quantizelinear:QuantizeLinear_1,softmax:Softmax_3}",
    )


def test_a_relu_on_the_logits_is_not_dropped():
    g = Graph(("N", 4))
    y = g.qdq(g.node("Relu", g.node("Gemm", "x", g.random(4, 3))), 0.1, -128)
    assert len(find(compared(g.model(y), samples(20, 4)), Activation)) == 1
