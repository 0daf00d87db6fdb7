"""The floor: the network's int8 ANN in ONNX Runtime, once for each distinct step.

The first layer's current is constant, so that layer runs once and the others at every step.
Activations are uint8, weights int8, sums int32. A layer is requantized by its threshold, 64 for
a spike at each step, and clipped at 0, which is the ReLU. Nothing spikes here, so there are no
spikes to compare.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
import onnxruntime
from description import Op
from onnx import helper, numpy_helper

from peers.spikes import SpikeRecord

ONE = 64
"""The activation that stands for a spike at every step."""

SIGNED = 128
"""Zero point of what is added or read out."""


class Simulator:
    """ONNX Runtime."""

    settings = ("int8",)

    def versions(self) -> dict[str, str]:
        return {"onnxruntime": onnxruntime.__version__}

    def load(self, ops: list[Op], setting: str) -> None:
        first = next(index for index, op in enumerate(ops) if op.kind == "Neuron")
        self.head = Graph(ops, ops[0].name, 1).session(ops[1 : first + 1])
        self.body = Graph(ops, ops[first].name, ONE).session(ops[first + 1 :])

    def prepare(self, images: np.ndarray[Any, Any], steps: int) -> None:
        self.images, self.steps = images.astype(np.uint8), steps

    def run(self, record: SpikeRecord | None) -> np.ndarray[Any, Any]:
        (first,) = self.head.run(None, {"x": self.images})
        for _ in range(self.steps):
            (logits,) = self.body.run(None, {"x": first})
        return logits


class Graph:
    """Builds the ONNX graph of a part of a network, from the value `source` on.

    Attributes:
        names: the tensor that holds each vertex's value.
        units: the integer that stands there for one spike a step (for a pixel value of one).
    """

    def __init__(self, ops: list[Op], source: str, unit: float) -> None:
        self.ops = ops
        self.names, self.units = {source: "x"}, {source: unit}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def session(self, part: list[Op]) -> onnxruntime.InferenceSession:
        """The vertices of `part`, ready to run."""
        for op in part:
            self.add(op)
        x = helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, ["n", "c", "h", "w"])
        last = self.names[part[-1].name]
        y = helper.make_tensor_value_info(last, onnx.TensorProto.UINT8, None)
        graph = helper.make_graph(self.nodes, "ann", [x], [y], self.constants)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
        data = model.SerializeToString()
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def add(self, op: Op) -> None:
        """Emit one vertex; neurons are the requantization of what feeds them."""
        source = op.sources[0]
        unit, tensor = self.units[source], self.names[source]
        if op.kind in ("Neuron", "Output"):
            self.names[op.name], self.units[op.name] = tensor, ONE
        elif op.kind == "Scale":
            self.names[op.name] = tensor
            self.units[op.name] = unit / float(op.arrays["weight"].mean())
        elif op.kind == "Flatten":
            self.emit("Flatten", op, [tensor], unit)
        elif op.kind == "SumPool2d":
            kernel = list(op.options["kernel"])
            inputs = [tensor, *self.scale(1, 0), *self.scale(1, 0)]
            options = {"kernel_shape": kernel, "strides": list(op.options["stride"])}
            unit /= kernel[0] * kernel[1]
            self.emit("QLinearAveragePool", op, inputs, unit, domain="com.microsoft", **options)
        elif op.kind == "Add":
            inputs = [part for name in op.sources for part in self.summand(name, op)]
            inputs += self.scale(1, 0)
            self.emit("QLinearAdd", op, inputs, ONE, domain="com.microsoft")
        else:
            self.weighted(op, tensor, unit)

    def weighted(self, op: Op, tensor: str, unit: float) -> None:
        """A convolution or the readout."""
        theta, summed = self.threshold(op)
        zero = SIGNED if summed else 0
        weight = op.arrays["weight"].astype(np.int8)
        weight = weight.T if op.kind == "Linear" else weight
        given = [tensor, *self.scale(1, 0), self.constant(np.ascontiguousarray(weight))]
        given += [*self.scale(1, 0, np.int8), *self.scale(theta * unit / ONE, zero)]
        if op.kind == "Linear":
            self.emit("QLinearMatMul", op, given, ONE)
            return
        strides, (vertical, horizontal) = list(op.options["stride"]), op.options["padding"]
        pads = [vertical, horizontal] * 2
        self.emit("QLinearConv", op, given, ONE / theta, strides=strides, pads=pads)

    def summand(self, name: str, add: Op) -> list[str]:
        """A branch of a sum: a convolution's output, or spikes with one weight."""
        theta, _ = self.threshold(add)
        if self.kind(name) == "Scale":
            return [self.names[name], *self.scale(ONE / (self.units[name] * theta), 0)]
        return [self.names[name], *self.scale(1, SIGNED)]

    def threshold(self, op: Op) -> tuple[float, bool]:
        """Of the neurons that `op` feeds, and whether its output may be negative."""
        target = next(other for other in self.ops if op.name in other.sources)
        if target.kind == "Neuron":
            return float(target.arrays["threshold"][0]), False
        if target.kind == "Output":
            return 1000.0 * len(op.arrays["weight"]), True
        return self.threshold(target)[0], True

    def kind(self, name: str) -> str:
        return next(op.kind for op in self.ops if op.name == name)

    def scale(self, scale: float, zero: int, dtype: type = np.uint8) -> list[str]:
        """Names of a scale and a zero point."""
        return [self.constant(np.float32(scale)), self.constant(dtype(zero))]

    def constant(self, value: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def emit(self, kind: str, op: Op, inputs: list[str], unit: float, **options: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [op.name], **options))
        self.names[op.name], self.units[op.name] = op.name, unit
