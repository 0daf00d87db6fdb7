"""One integer network behind every way into it.

The same small network, its weights and grids powers of two times integers, comes as a PyTorch
module with QCFS, as a PT2E program, as a Brevitas module and as an ONNX file with QDQ. All become
the same integers. The biases keep every sum half a unit away from where rounding modes differ.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snndeploy import convert, from_torch, load
from snndeploy.deploy import grid_inputs, integer_ann
from snndeploy.network import Network
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy.training import QCFS, QuantizedInput
from snndeploy_backends.reference.judge import Judge

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporters' own warnings

LEVELS, INPUT, WEIGHT, COUNT = 15, 1 / 16, 1 / 64, 1 / 8
"""The largest count; what an input integer, a weight and a count are worth."""

RNG = np.random.default_rng(11)


def _weights(*shape: int) -> Tensor:
    found = RNG.integers(-90, 110, shape)
    found.flat[0] = 127  # Brevitas takes its scale from the largest weight
    return torch.from_numpy(found * WEIGHT).float()


def _biases(count: int, unit: float, odd: float = 0.5) -> Tensor:
    return torch.from_numpy((RNG.integers(-40, 40, count) + odd) * unit).float()


STORED = {
    "0.weight": _weights(3, 1, 3, 3),
    "0.bias": _biases(3, INPUT * WEIGHT),
    "3.weight": _weights(4, 3, 3, 3),
    "3.bias": _biases(4, COUNT * WEIGHT),
    "6.weight": _weights(3, 36),
    "6.bias": _biases(3, COUNT * WEIGHT, 0.0),
}


def plain(activation, conv=nn.Conv2d, linear=nn.Linear) -> nn.Sequential:
    """Layers of any kind with the stored numbers."""
    model = nn.Sequential(
        conv(1, 3, 3, padding=1),
        activation(),
        nn.MaxPool2d(2),
        conv(3, 4, 3, padding=1, stride=2),
        activation(),
        nn.Flatten(),
        linear(36, 3, bias=True),
    )
    missing = set(STORED) - set(dict(model.named_parameters()))
    assert not missing
    with torch.no_grad():
        for name, value in STORED.items():
            model.get_parameter(name).copy_(value)
    return model.eval()


def images(count: int) -> np.ndarray:
    """On the input's grid, float32."""
    rng = np.random.default_rng(5)
    return (rng.integers(0, LEVELS + 1, (count, 1, 12, 12)) * INPUT).astype(np.float32)


EXAMPLE = torch.from_numpy(images(2))


def by_qcfs(_: Path) -> Network:
    model = nn.Sequential(
        QuantizedInput(INPUT, 0, LEVELS), plain(lambda: QCFS(LEVELS, LEVELS * COUNT))
    )
    return from_torch(model, EXAMPLE)


def by_pt2e(folder: Path) -> Network:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import (
        FixedQParamsQuantizationSpec,
        QuantizationAnnotation,
        Quantizer,
    )

    def spec(dtype, scale, low, high):
        return FixedQParamsQuantizationSpec(dtype, scale, 0, low, high, torch.per_tensor_affine)

    weight = spec(torch.int8, WEIGHT, -128, 127)

    class Fixed(Quantizer):
        def annotate(self, model):
            for node in model.graph.nodes:
                kind = str(node.target)
                if kind in ("aten.conv2d.default", "aten.linear.default"):
                    inputs = {node.args[1]: weight}
                    if node.args[0].op == "placeholder":
                        inputs[node.args[0]] = spec(torch.uint8, INPUT, 0, LEVELS)
                    note = QuantizationAnnotation(inputs, None, _annotated=True)
                elif kind == "aten.relu.default":
                    output = spec(torch.uint8, COUNT, 0, LEVELS)
                    note = QuantizationAnnotation({}, output, _annotated=True)
                else:
                    continue
                node.meta["quantization_annotation"] = note
            return model

        def validate(self, model):
            pass

    program = torch.export.export(plain(nn.ReLU), (EXAMPLE,)).module()
    prepared = prepare_pt2e(program, Fixed())
    prepared(EXAMPLE)
    quantized = convert_pt2e(prepared)
    path = folder / "model.pt2"
    torch.export.save(torch.export.export(quantized, (EXAMPLE,)), path)
    assert load(path).hash == from_torch(quantized, EXAMPLE).hash
    return load(path)


def by_brevitas(_: Path) -> Network:
    from brevitas import nn as qnn
    from brevitas.core.scaling import ScalingImplType
    from brevitas.quant import Uint8ActPerTensorFloat

    def act(scale):
        return {
            "act_quant": Uint8ActPerTensorFloat,
            "bit_width": 4,
            "scaling_impl_type": ScalingImplType.CONST,
            "scaling_init": scale * LEVELS,
        }

    model = nn.Sequential(
        qnn.QuantIdentity(**act(INPUT)),
        plain(lambda: qnn.QuantReLU(**act(COUNT)), qnn.QuantConv2d, qnn.QuantLinear),
    ).eval()
    return from_torch(model, EXAMPLE)


def by_qdq(folder: Path) -> Network:
    return load(qdq_file(folder))


def qdq_file(folder: Path) -> Path:
    """Quantizers as operators between float ones; weights stored as int8, counts as uint4."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    stored, nodes = [], []

    def constant(name: str, array: np.ndarray, kind: int | None = None) -> str:
        if kind is None:
            stored.append(numpy_helper.from_array(array, name))
        else:
            stored.append(helper.make_tensor(name, kind, array.shape, array.ravel()))
        return name

    def quantized(x: str, scale: float) -> str:
        s = constant(f"{x}_scale", np.float32(scale))
        z = constant(f"{x}_zero", np.zeros((), np.int64), TensorProto.UINT4)
        nodes.append(helper.make_node("QuantizeLinear", [x, s, z], [f"{x}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{x}_q", s, z], [f"{x}_dq"]))
        return f"{x}_dq"

    def layer(kind: str, x: str, at: str, **options) -> str:
        integers = (STORED[f"{at}.weight"] / WEIGHT).numpy().astype(np.int8)
        names = [
            constant(f"w{at}", integers),
            constant(f"s{at}", np.float32(WEIGHT)),
            constant(f"z{at}", np.int8(0)),
        ]
        nodes.append(helper.make_node("DequantizeLinear", names, [f"w{at}_dq"]))
        bias = constant(f"b{at}", STORED[f"{at}.bias"].numpy())
        nodes.append(helper.make_node(kind, [x, f"w{at}_dq", bias], [f"y{at}"], **options))
        return f"y{at}"

    def relu(x: str) -> str:
        nodes.append(helper.make_node("Relu", [x], [f"{x}_relu"]))
        return f"{x}_relu"

    first = layer("Conv", quantized("x", INPUT), "0", pads=[1] * 4)
    count = quantized(relu(first), COUNT)
    nodes.append(
        helper.make_node("MaxPool", [count], ["pool"], kernel_shape=[2, 2], strides=[2, 2])
    )
    second = layer("Conv", "pool", "3", pads=[1] * 4, strides=[2, 2])
    nodes.append(helper.make_node("Flatten", [quantized(relu(second), COUNT)], ["flat"]))
    end = layer("Gemm", "flat", "6", transB=1)
    graph = helper.make_graph(
        nodes,
        "qdq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 12, 12])],
        [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["N", 3])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


ROUTES = {
    "pt2e": (by_pt2e, ("torchao",)),
    "brevitas": (by_brevitas, ("brevitas", "onnx", "onnxoptimizer")),
    "qdq": (by_qdq, ("onnx",)),
}


def need(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")


def renamed(network: Network) -> Network:
    """With names that say nothing but the order."""
    names = {node.name: f"n{index}" for index, node in enumerate(network.nodes)}
    nodes = [replace(node, name=names[node.name]) for node in network.nodes]
    return network.rewrite(nodes, [(names[a], names[b]) for a, b in network.edges])


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_gives_the_same_integers_and_spikes(route, tmp_path):
    read, packages = ROUTES[route]
    need(*packages)
    ours, expected = (renamed(convert(r(tmp_path))) for r in (read, by_qcfs))
    assert [type(node) for node in ours.nodes] == [type(node) for node in expected.nodes]
    for node, other in zip(ours.nodes, expected.nodes, strict=True):
        for field in ("weight", "threshold", "v0", "bias", "levels", "scale", "grid"):
            np.testing.assert_array_equal(getattr(node, field, 0), getattr(other, field, 0))
    assert ours.hash == expected.hash
    inputs = grid_inputs(ours, images(5))
    traces = [simulate(Judge(), Program(network), inputs) for network in (ours, expected)]
    traces[0].assert_same_spikes(traces[1])
    assert all(events.any() for events in traces[0].events.values())


def test_the_integers_are_those_of_pytorch():
    model = nn.Sequential(
        QuantizedInput(INPUT, 0, LEVELS), plain(lambda: QCFS(LEVELS, LEVELS * COUNT))
    )
    x = images(64)
    network = convert(by_qcfs(Path()))
    found = integer_ann(network, grid_inputs(network, x))
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found.logits * network.output.scale, expected, atol=1e-6)


def test_the_integers_are_those_of_onnx_runtime(tmp_path):
    need("onnx", "onnxruntime")
    import onnxruntime

    path, x = qdq_file(tmp_path), images(64)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    network = convert(load(path))
    found = integer_ann(network, grid_inputs(network, x))
    np.testing.assert_allclose(found.logits * network.output.scale, expected, atol=1e-6)
