"""Small ONNX models, written node by node, and what ONNX Runtime says about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from float_walk import float_walk
from onnx import TensorProto, helper, numpy_helper

from snndeploy.frontends.onnx.file import from_proto
from snndeploy.network import Network

QONNX = "qonnx.custom_op.general"


class Graph:
    """A model under construction; `node` returns the name of its first result."""

    def __init__(
        self, shape: Sequence[int | str | None], kind: int = TensorProto.FLOAT, opset: int = 17
    ) -> None:
        self.shape, self.kind, self.opset = tuple(shape), kind, opset
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(7)
        self.domains: set[str] = set()

    def store(self, value: Any, kind: Any = np.float32) -> str:
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def random(self, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        return self.store(self.rng.normal(size=shape) / np.sqrt(fan_in))

    def node(self, kind: str, *operands: str, domain: str = "", **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, operands, [f"{name}_y"], name, domain=domain, **attributes)
        )
        self.domains |= {domain} if domain else set()
        return f"{name}_y"

    def qdq(self, x: str, scale: float, zero: int, kind: Any = np.int8) -> str:
        grid = self.store(scale), self.store(zero, kind)
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *grid), *grid)

    def quantized(self, weight: np.ndarray, axis: int | None = 0) -> str:
        """A stored int8 weight behind a DequantizeLinear, one scale a channel or one in all."""
        over = tuple(i for i in range(weight.ndim) if i != axis)
        scale = np.abs(weight).max(axis=over if axis is not None else None) / 127
        shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
        q = np.round(weight / (scale.reshape(shape) if axis is not None else scale))
        zero = np.zeros(scale.shape)
        operands = self.store(q, np.int8), self.store(scale), self.store(zero, np.int8)
        attributes = {} if axis is None else {"axis": axis}
        return self.node("DequantizeLinear", *operands, **attributes)

    def model(self, result: str, imports: bool = True) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info("x", self.kind, self.shape)]
        outputs = [helper.make_empty_tensor_value_info(result)]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.stored)
        opsets = [helper.make_opsetid("", self.opset)]
        if imports:
            opsets += [helper.make_opsetid(domain, 1) for domain in sorted(self.domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def runtime_session(proto: onnx.ModelProto, results: Sequence[str] = ()) -> ort.InferenceSession:
    """ONNX Runtime without its own rewrites of the graph; `results` are given beside the last."""
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in results)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(proto.SerializeToString(), options)


def runtime(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """ONNX Runtime's result."""
    session = runtime_session(proto)
    return np.asarray(session.run(None, {"x": x})[0])


def compared(proto: onnx.ModelProto, x: np.ndarray, axes: Sequence[int] = ()) -> Network:
    """The network that a model becomes, after it gave the same results as ONNX Runtime.

    Args:
        proto: the model.
        x: its samples.
        axes: how the network takes them, as a permutation of the model's axes.
    """
    network = from_proto(proto)
    expected = runtime(proto, x)
    samples = x.transpose(axes) if axes else x
    found = float_walk(network, samples.astype(np.float64))[network.output.name]
    np.testing.assert_allclose(found, expected.reshape(len(x), -1), rtol=1e-4, atol=1e-4)
    return network
