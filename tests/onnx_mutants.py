"""ONNX models, small and sound, and damage done to them: bytes, fields and graphs."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_models import QONNX, Graph

from snndeploy.frontends.onnx.constants import FOLDS
from snndeploy.frontends.onnx.handlers import MICROSOFT, STANDARD


def seeds() -> list[onnx.ModelProto]:
    """One model of each kind that is read."""
    return [_float(), _qdq(), _qonnx(), _channels_last(), _qoperator(), _parts()]


def _float() -> onnx.ModelProto:
    g = Graph(("N", 2, 6, 6))
    y = g.node("Conv", "x", g.random(3, 2, 3, 3), g.random(3), auto_pad="SAME_UPPER")
    norm = [g.random(3), g.random(3), g.random(3), g.store([1, 2, 3])]
    y = g.node("Relu", g.node("BatchNormalization", y, *norm))
    y = g.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    shape = g.node("Concat", g.node("Slice", g.node("Shape", y), g.store([0], np.int64),
                   g.store([1], np.int64)), g.store([-1], np.int64), axis=0)  # fmt: skip
    y = g.node("Gemm", g.node("Reshape", y, shape), g.random(27, 3), g.random(3))
    return g.model(g.node("Softmax", y))


def _qdq() -> onnx.ModelProto:
    g = Graph((1, 1, 6, 6), TensorProto.UINT8)
    y = g.node("DequantizeLinear", "x", g.store(0.1), g.store(7, np.uint8))
    weight = g.quantized(g.rng.normal(size=(2, 1, 3, 3)).astype(np.float32))
    a = g.qdq(g.node("Relu", g.node("Conv", y, weight, pads=[1, 1, 1, 1])), 0.05, -128)
    b = g.qdq(g.node("Conv", a, g.random(2, 2, 1, 1), g.random(2)), 0.04, 3)
    y = g.qdq(g.node("Clip", g.node("Add", a, b), g.store(0.0), g.store(6.0)), 0.1, 0, np.uint8)
    y = g.node("GlobalAveragePool", y)
    y = g.node("Squeeze", y, g.store([2, 3], np.int64))
    return g.model(g.qdq(g.node("MatMul", y, g.random(2, 4)), 0.2, 0))


def _qonnx() -> onnx.ModelProto:
    g = Graph(("N", 8))
    quant = g.store(0.25), g.store(0.0), g.store(3.0)
    y = g.node("Sub", g.node("Mul", "x", g.store(2.0)), g.store(1.0))
    y = g.node("Quant", y, *quant, domain=QONNX, signed=1, narrow=1)
    weight = g.node("BipolarQuant", g.random(8, 5), g.store(0.5), domain=QONNX)
    y = g.node("Quant", g.node("MatMul", y, weight), *quant, domain=QONNX, signed=0)
    return g.model(g.node("MatMul", y, g.random(5, 3)), imports=False)


def _channels_last() -> onnx.ModelProto:
    g = Graph(("N", 6, 6, 2))
    y = g.node("Transpose", "x", perm=[0, 3, 1, 2])
    y = g.node("Pad", y, g.store([0, 0, 1, 0, 0, 0, 0, 1], np.int64))
    y = g.node("Transpose", g.node("Conv", y, g.random(4, 1, 2, 2), group=2), perm=[0, 2, 3, 1])
    y = g.node("Concat", g.node("Relu", y), g.node("MatMul", y, g.random(4, 2)), axis=3)
    y = g.node("ReduceMean", y, axes=[1, 2], keepdims=0)
    return g.model(g.node("MatMul", y, g.random(6, 3)))


def _qoperator() -> onnx.ModelProto:
    g = Graph((1, 1, 5, 5))
    grid = g.store(0.1), g.store(10, np.uint8)
    y = g.node("QuantizeLinear", "x", *grid)
    weight = g.store(g.rng.integers(-9, 9, (2, 1, 3, 3)), np.int8)
    scale = g.store(0.05), g.store(0, np.int8)
    bias = g.store([3, -4], np.int32)
    y = g.node("QLinearConv", y, *grid, weight, *scale, *grid, bias)
    y = g.node("QLinearAdd", y, *grid, y, *grid, *grid, domain="com.microsoft")
    y = g.node("QLinearGlobalAveragePool", y, *grid, *grid, domain="com.microsoft")
    y = g.node("Flatten", y)
    matrix = g.store(g.rng.integers(-9, 9, (2, 3)), np.int8)
    y = g.node("QGemm", y, *grid, matrix, *scale, domain="com.microsoft")
    return g.model(y)


def _parts() -> onnx.ModelProto:
    g = Graph(("N", 4, 6, 6))
    y = g.node("Relu", g.node("Conv", "x", g.random(6, 4, 3, 3)))
    g.node("Split", y, g.store([2, 4], np.int64), axis=1)
    g.nodes[-1].output.append("rest")
    a, rest = g.nodes[-1].output
    a = g.node("Conv", g.node("Mul", a, g.random(2, 1, 1)), g.random(5, 2, 1, 1))
    rest = g.node("Gather", rest, g.store([3, 0, -2], np.int64), axis=1)
    y = g.node("Add", a, g.node("Conv", rest, g.random(5, 3, 1, 1)))
    bounds = [g.store(n, np.int64) for n in ([0, 0], [9, 9], [2, 3], [2, 2])]
    y = g.node("Pad", g.node("Slice", y, *bounds), g.store([0, 1, 0, 0, 0, 0, 0, 0], np.int64))
    return g.model(g.node("MatMul", g.node("Flatten", y), g.random(24, 3)))


# -- damage ----------------------------------------------------------------------------------------

NUMBERS = (0, 1, -1, 2, 7, -8, 255, 1 << 20, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63))
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, -1e38, float("nan"), float("inf"), float("-inf"))
TYPES = sorted({*STANDARD, *MICROSOFT, *FOLDS, "Quant", "Softmax", "Split", "If", "Einsum"})


def flipped_bits(rng: random.Random, content: bytes) -> bytes:
    """A few bits the other way round."""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 20))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut(rng: random.Random, content: bytes) -> bytes:
    """The end, the start or the middle is missing."""
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return rng.choice((content[:first], content[last:], content[:first] + content[last:]))


def doubled(rng: random.Random, content: bytes) -> bytes:
    """A piece is there twice."""
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:last] + content[first:]


def splat(rng: random.Random, content: bytes) -> bytes:
    """An extreme number is written over eight bytes."""
    at = rng.randrange(max(1, len(content) - 8))
    number = struct.pack("<q", rng.choice(NUMBERS))
    return content[:at] + number + content[at + 8 :]


def other_shape(rng: random.Random, proto: onnx.ModelProto) -> None:
    """A stored tensor declares another shape."""
    tensor = rng.choice(proto.graph.initializer)
    dims = list(tensor.dims) or [1]
    dims[rng.randrange(len(dims))] = rng.choice((*NUMBERS, 3, 5))
    tensor.dims[:] = dims if rng.random() < 0.8 else dims * rng.choice((0, 2, 9))


def other_values(rng: random.Random, proto: onnx.ModelProto) -> None:
    """Values of a stored tensor are extreme."""
    tensor = rng.choice(proto.graph.initializer)
    array = np.array(numpy_helper.to_array(tensor)).ravel()
    if array.size:
        at = rng.randrange(array.size)
        if array.dtype.kind == "f":
            with np.errstate(all="ignore"):
                array[at] = rng.choice(REALS)
        else:
            info = np.iinfo(array.dtype)
            array[at] = min(max(rng.choice(NUMBERS), info.min), info.max)
    shaped = array.reshape(tuple(tensor.dims))
    tensor.CopyFrom(numpy_helper.from_array(shaped, tensor.name))


def other_type(rng: random.Random, proto: onnx.ModelProto) -> None:
    """A stored tensor, or the input, is of another type."""
    kind = rng.randrange(-1, 30)
    if rng.random() < 0.3:
        proto.graph.input[0].type.tensor_type.elem_type = kind
        return
    tensor = rng.choice(proto.graph.initializer)
    if rng.random() < 0.5:
        tensor.data_type = kind
        return
    array = numpy_helper.to_array(tensor)
    with np.errstate(all="ignore"):
        cast = array.astype(rng.choice((np.float64, np.float16, np.int8, np.uint8, np.int64, bool)))
    tensor.CopyFrom(numpy_helper.from_array(cast, tensor.name))


def other_attribute(rng: random.Random, proto: onnx.ModelProto) -> None:
    """An attribute is gone, of another type, or extreme."""
    nodes = [node for node in proto.graph.node if node.attribute] or list(proto.graph.node)
    node = rng.choice(nodes)
    if not node.attribute:
        return
    attribute = rng.choice(node.attribute)
    numbers = list(attribute.ints) or [1, 1]
    value = rng.choice(
        (
            rng.choice(NUMBERS), rng.choice(REALS), "text", b"\xff\xfe", [rng.choice(NUMBERS)],
            [rng.choice((*NUMBERS, *numbers)) for _ in numbers], numbers[1:] or [3], [1.0, 2.0],
            numpy_helper.from_array(np.arange(3)),
        )
    )  # fmt: skip
    name = attribute.name
    node.attribute.remove(attribute)
    if rng.random() < 0.9:
        node.attribute.append(helper.make_attribute(name, value))


def other_operator(rng: random.Random, proto: onnx.ModelProto) -> None:
    """A node is another operator, or of another domain."""
    node = rng.choice(proto.graph.node)
    if rng.random() < 0.9:
        node.op_type = rng.choice(TYPES)
    else:
        node.domain = rng.choice(("", "ai.onnx", "com.microsoft", QONNX, "acme"))


def other_edge(rng: random.Random, proto: onnx.ModelProto) -> None:
    """A node reads something else: a cycle, nothing, or what does not fit."""
    node = rng.choice(proto.graph.node)
    names = [o for n in proto.graph.node for o in n.output] + ["", "nowhere", "x"]
    names += [tensor.name for tensor in proto.graph.initializer]
    operands = list(node.input)
    choice = rng.random()
    if choice < 0.6 and operands:
        operands[rng.randrange(len(operands))] = rng.choice(names)
    elif choice < 0.8:
        operands.append(rng.choice(names))
    else:
        operands = operands[:-1]
    del node.input[:]
    node.input.extend(operands)


def other_nodes(rng: random.Random, proto: onnx.ModelProto) -> None:
    """A node is gone, twice there, or in another place."""
    nodes = list(proto.graph.node)
    at = rng.randrange(len(nodes))
    choice = rng.random()
    if choice < 0.3:
        del nodes[at]
    elif choice < 0.5:
        nodes.append(nodes[at])
    else:
        rng.shuffle(nodes)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


def other_input(rng: random.Random, proto: onnx.ModelProto) -> None:
    """The input, the result or the versions are stated in another way."""
    choice = rng.random()
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    if choice < 0.6 and dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice((*NUMBERS, 3, 6))
    elif choice < 0.7:
        proto.graph.input[0].type.tensor_type.ClearField("shape")
    elif choice < 0.8:
        proto.graph.output[0].name = rng.choice([n.output[0] for n in proto.graph.node] + ["x", ""])
    elif choice < 0.9 and proto.opset_import:
        proto.opset_import[0].version = rng.choice((*NUMBERS[:8], 9, 13, 18, 21))
    else:
        del proto.opset_import[:]


BYTES: tuple[Callable[[random.Random, bytes], bytes], ...] = (flipped_bits, cut, doubled, splat)
FIELDS: tuple[Callable[[random.Random, onnx.ModelProto], None], ...] = (
    other_shape, other_values, other_type, other_attribute, other_attribute, other_operator,
    other_operator, other_edge, other_edge, other_nodes, other_input,
)  # fmt: skip


def mutant(seed: int, models: list[onnx.ModelProto]) -> bytes:
    """The damaged model number `seed`."""
    rng = random.Random(seed)
    proto = onnx.ModelProto()
    proto.CopyFrom(rng.choice(models))
    if rng.random() < 0.3:
        return rng.choice(BYTES)(rng, proto.SerializeToString())
    for _ in range(rng.choice((1, 1, 2, 4))):
        # Damage before may have left nothing to damage in this way.
        with suppress(ValueError, TypeError, IndexError, KeyError, OverflowError):
            rng.choice(FIELDS)(rng, proto)
    return proto.SerializeToString()
