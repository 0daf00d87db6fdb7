"""ONNX's own node tests, wrapped so that a frontend for whole models can read them.

A node test holds one operator (or its expansion into several), its operands as inputs of the
model, and the expected results. A model of ours has one input, whose first axis is the batch, and
logits of rank 2. So a test is put into a model in up to three ways:

- `value`: the first operand is the input, the others are stored;
- `values`: each operand is a part of the input, cut out by a dense layer;
- `stored`: all operands are stored, and the result is the weight of a dense layer.

Results are flattened; integers that a quantizer gave are dequantized, here and in the expectation.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from float_walk import float_walk
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from snndeploy.errors import FileFormatError, UnsupportedModelError
from snndeploy.frontends.onnx.constants import FOLDS
from snndeploy.frontends.onnx.file import from_proto
from snndeploy.frontends.onnx.handlers import STANDARD
from snndeploy.network import Network

QUANTIZERS = {"QuantizeLinear": (1, 2), "QLinearConv": (6, 7), "QLinearMatMul": (6, 7)}
"""Where an operator's operands hold the scale and the zero point of its result."""

BATCHLESS = {
    "Add", "Sub", "Mul", "Div", "Neg", "Sum", "Max", "Min", "Clip", "Relu", "LeakyRelu",
    "Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
"""Operators on single elements: what has no batch gets one of size 1 in front."""

PASSED = "passed"


@cache
def cases() -> dict[str, Any]:
    """Every node test by name."""
    return {case.name: case for case in load_model_tests(kind="node")}


def claimed(case: Any) -> bool:
    """Whether the frontend says that it reads all of a test's operators."""
    return {node.op_type for node in case.model.graph.node} <= STANDARD.keys() | FOLDS.keys()


def verdict(case: Any) -> str:
    """`passed`, `WRONG: ..`, or why the test is not read in any way."""
    inputs, outputs = case.data_sets[0]
    kinds = (np.ndarray, np.generic, TensorProto)
    if not all(isinstance(x, kinds) for x in (*inputs, *outputs)):
        return "an operand or the result is no tensor"
    arrays, result = [_array(x) for x in inputs], _array(outputs[0])
    if any(x.dtype.kind in "OUSc" for x in (*arrays, result)):
        return "an operand or the result holds text or complex numbers"
    reasons, passed = [], False
    for way in (_value, _values, _stored):
        try:
            proto, samples, expected = way(case.model, list(arrays), result)
            network = from_proto(proto, "node")
        except _NoWayError as reason:
            reasons += [str(reason)] if way is not _values else []
            continue
        except (UnsupportedModelError, FileFormatError) as error:
            reasons.append(error.problem.split("): ", 1)[-1])
            continue
        found = evaluated(network, samples)
        rtol, atol = max(case.rtol, _precision(result.dtype)), max(case.atol, 1e-5)
        close = found.shape == expected.shape and np.isclose(found, expected, rtol, atol)
        if not np.all(close | ~np.isfinite(expected)):
            return f"WRONG: {way.__name__}, {found.ravel()[:4]}, expected {expected.ravel()[:4]}"
        passed = True
    return PASSED if passed else "; ".join(dict.fromkeys(reasons))


def evaluated(network: Network, x: np.ndarray) -> np.ndarray:
    """The logits of samples as the model takes them."""
    samples, grid = np.asarray(x), network.input.grid
    if grid is not None and "int" in samples.dtype.name:
        lowest = int(ml_dtypes.iinfo(samples.dtype).min)
        samples = (samples.astype(np.float64) - lowest + grid.low) * grid.scale
    for entry in network.history:
        if "input=" in entry:
            order = entry.split("input=")[1].split()[0].rstrip("}").split(",")
            axes = [int(axis) for axis in order if axis != "-"]
            rest = [axis for axis in range(samples.ndim) if axis not in axes]
            samples = samples.transpose(*axes, *rest)  # the rest have size 1
    return float_walk(network, samples)[network.output.name]


class _NoWayError(Exception):
    """Why a test cannot be put into a model in one of the ways."""


def _precision(kind: np.dtype) -> float:
    """Relative; values are read as real numbers, whatever precision the model casts them to."""
    if kind.kind in "iub":
        return 1e-4
    return 1e-2 if kind.itemsize < 4 else 1e-4


def _array(x: Any) -> np.ndarray:
    return numpy_helper.to_array(x) if isinstance(x, TensorProto) else np.asarray(x)


Wrapped = tuple[onnx.ModelProto, np.ndarray, np.ndarray]


def _value(model: onnx.ModelProto, arrays: list[np.ndarray], result: np.ndarray) -> Wrapped:
    if not arrays:
        raise _NoWayError("has no operand")
    proto, graph = _copy(model, arrays, stored=range(1, len(arrays)))
    arrays[0], result = _batched(model, arrays[0], result)
    if graph.input[0].type.tensor_type.HasField("shape"):
        _set_shape(graph.input[0], arrays[0].shape)
    expected = _finish(graph, result)
    return proto, arrays[0], expected


def _values(model: onnx.ModelProto, arrays: list[np.ndarray], result: np.ndarray) -> Wrapped:
    if len(arrays) < 2 or len(model.graph.node) != 1:
        raise _NoWayError("has one operand")
    if model.graph.node[0].op_type not in ("Add", "Sub", "Sum", "Concat", "Mul", "Max", "Min"):
        raise _NoWayError("works on one value")
    proto, graph = _copy(model, arrays, stored=())
    pairs = [_batched(model, array, result) for array in arrays]
    arrays, result = [a for a, _ in pairs], pairs[0][1]
    batch = len(arrays[0])
    if any(len(a) != batch or a.dtype != np.float32 for a in arrays):
        raise _NoWayError("its operands have unlike batches, or are no real numbers")
    names = [value.name for value in graph.input]
    flat = [a.reshape(batch, -1) for a in arrays]
    total, first = sum(a.shape[1] for a in flat), 0
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("all_", TensorProto.FLOAT, (batch, total)))
    cuts = []
    for name, array, part in zip(names, arrays, flat, strict=True):
        weight = np.zeros((total, part.shape[1]), np.float32)
        weight[first : first + part.shape[1]] = np.eye(part.shape[1])
        first += part.shape[1]
        _store(graph, f"{name}_w", weight)
        _store(graph, f"{name}_s", np.array(array.shape, np.int64))
        cuts.append(helper.make_node("MatMul", ["all_", f"{name}_w"], [f"{name}_f"]))
        cuts.append(helper.make_node("Reshape", [f"{name}_f", f"{name}_s"], [name]))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*cuts, *nodes])
    return proto, np.concatenate(flat, 1), _finish(graph, result)


def _stored(model: onnx.ModelProto, arrays: list[np.ndarray], result: np.ndarray) -> Wrapped:
    if not result.size or result.size > 10_000:
        raise _NoWayError("its result is empty or large")
    proto, graph = _copy(model, arrays, stored=range(len(arrays)))
    name = graph.output[0].name
    graph.input.append(helper.make_tensor_value_info("one_", TensorProto.FLOAT, (1, 1)))
    _store(graph, "row_", np.array([1, -1], np.int64))
    graph.node.append(helper.make_node("Reshape", [name, "row_"], ["weight_"]))
    graph.node.append(helper.make_node("MatMul", ["one_", "weight_"], ["logits_"]))
    _end(graph)
    return proto, np.ones((1, 1)), np.asarray(result, np.float64).reshape(1, -1)


def _copy(
    model: onnx.ModelProto, arrays: list[np.ndarray], stored: Any
) -> tuple[onnx.ModelProto, onnx.GraphProto]:
    """The model with some of its inputs stored."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    values = list(proto.graph.input)
    for index in stored:
        _store(proto.graph, values[index].name, arrays[index])
    del proto.graph.input[:]
    proto.graph.input.extend(v for i, v in enumerate(values) if i not in set(stored))
    return proto, proto.graph


def _store(graph: onnx.GraphProto, name: str, array: np.ndarray) -> None:
    graph.initializer.append(numpy_helper.from_array(array, name))


def _batched(
    model: onnx.ModelProto, x: np.ndarray, result: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Operand and result with a batch in front, or a reason why there is none."""
    if {node.op_type for node in model.graph.node} <= BATCHLESS and x.ndim == result.ndim < 2:
        x, result = x[None], result[None]
    if x.ndim == result.ndim == 1:
        x, result = x[:, None], result[:, None]
    if x.ndim < 2 or result.ndim < 1 or len(x) != len(result) or not result.size:
        raise _NoWayError("its operand or its result has no batch")
    return x, result


def _set_shape(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    del value.type.tensor_type.shape.dim[:]
    for size in shape:
        value.type.tensor_type.shape.dim.add().dim_value = size


def _finish(graph: onnx.GraphProto, result: np.ndarray) -> np.ndarray:
    """End a model with a flat, real result; what that must be."""
    name, last = graph.output[0].name, graph.node[-1]
    expected = result.astype(np.float64)
    if last.op_type in QUANTIZERS:
        operands = [last.input[i] for i in QUANTIZERS[last.op_type] if i < len(last.input)]
        stored = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in graph.initializer}
        if operands[0] not in stored:
            raise _NoWayError("its scale is computed")
        scale = stored[operands[0]]
        zero = stored[operands[1]] if len(operands) > 1 else np.zeros(())
        expected = (expected - zero) * scale if scale.size == 1 else expected
        graph.node.append(helper.make_node("DequantizeLinear", [name, *operands], ["real_"]))
        name = "real_"
    _store(graph, "one_", np.ones(1, np.float32))
    graph.node.append(helper.make_node("Flatten", [name], ["flat_"], axis=1))
    graph.node.append(helper.make_node("Mul", ["flat_", "one_"], ["logits_"]))
    _end(graph)
    return expected.reshape(len(result), -1)


def _end(graph: onnx.GraphProto) -> None:
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logits_", TensorProto.FLOAT, None))


def verdicts() -> Iterator[tuple[str, Any, str]]:
    """Every test with what became of it."""
    for name, case in sorted(cases().items()):
        yield name, case, verdict(case)
