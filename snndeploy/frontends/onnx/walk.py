"""From a checked graph to a float network, operator by operator; all problems at once."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir as ir

from snndeploy.errors import UnsupportedModelError
from snndeploy.frontends.onnx.builder import (
    MAX_VALUE_ELEMENTS,
    Builder,
    Result,
    Unread,
)
from snndeploy.frontends.onnx.constants import folded
from snndeploy.frontends.onnx.graph import DROPPED, Model
from snndeploy.frontends.onnx.handlers import DOMAINS, KEEPS_SHAPE, QUANTIZERS, REMEDIES
from snndeploy.frontends.onnx.op import Op, operands
from snndeploy.frontends.onnx.parts import whole
from snndeploy.frontends.onnx.pending import settled, unpadded
from snndeploy.frontends.onnx.quantizers import RANGES
from snndeploy.frontends.onnx.signal import OtherOrder, Signal, places
from snndeploy.frontends.reading import Unsupported, identifier, network_shape, refuse_all
from snndeploy.network import Network
from snndeploy.nodes import Input, Output

_REALS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16)


def read(model: Model, name: str, channels_last: bool = False) -> Network:
    """Read a checked graph into a float network.

    Args:
        model: the graph.
        name: of the network.
        channels_last: lay the input with the last axis of the model's as channels, rather than as
            it is first read. Operators on single elements may read it before a transpose does:
            then the graph is read once more like this.

    Raises:
        UnsupportedModelError: lists every operator that cannot be converted.
    """
    where = f"model '{name}'"
    try:
        builder = _start(model)
        if channels_last:
            builder.lay(places(builder.inside).reshape(builder.inside).transpose(2, 0, 1))
        problems = [problem for op in model.ops if (problem := _try_read(builder, op))]
        if not problems:
            problems = _finish(builder, model)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(error.problem, where=where, remedy=error.remedy) from error
    if problems and not channels_last and len(builder.inside) == 3:
        try:
            return read(model, name, channels_last=True)
        except UnsupportedModelError:
            if builder.disordered:  # then this error is the one about the right order
                raise
    refuse_all(problems, where)
    used = builder.used()
    edges = [(a, b) for b in used for a in builder.sources[b]]
    nodes = [builder.nodes[node] for node in used]
    return Network(name, tuple(nodes), tuple(edges), history=(_history(builder, model),))


def _start(model: Model) -> Builder:
    """The input, its shape and type checked."""
    value, label = model.input, f"input '{(model.input.name or '')[:80]}'"
    dims = None if value.shape is None else list(value.shape)
    if dims is None or len(dims) < 2:
        raise UnsupportedModelError(
            f"{label} has the shape {dims}, expected (batch, ...)",
            remedy="export the model with a sample of the right shape",
        )
    sizes = [n if isinstance(n, int) else 0 for n in dims]
    unknown = [i for i, n in enumerate(sizes) if i and n < 1]
    if unknown:
        raise UnsupportedModelError(
            f"{label} has no fixed size along the axes {unknown}: {[str(n) for n in dims]}",
            remedy="export the model with fixed sizes; only the batch, axis 0, may be dynamic "
            "(onnxruntime.tools.make_dynamic_shape_fixed sets them)",
        )
    inside = tuple(sizes[1:])
    if prod(inside) > MAX_VALUE_ELEMENTS or len(inside) > 7:
        raise UnsupportedModelError(f"{label} has {prod(inside)} elements {inside}")
    batch = max(sizes[0], 1)
    if batch > 1 << 20:
        raise UnsupportedModelError(f"{label} has a batch of {batch}")
    builder = Builder(batch, inside)
    builder.input = identifier((value.name or "", "input"), ())
    builder.put(Input(builder.input, network_shape((1, *inside))))
    kind = value.dtype
    if kind is not None and kind not in (*RANGES, *_REALS):
        raise UnsupportedModelError(f"{label} is {kind.name}", remedy="use float32, int8 or uint8")
    raw = None if kind is None else RANGES.get(kind)
    index = places(inside).reshape(inside)
    for op in model.ops:
        for operand in set(operands(op)):
            builder.readers[operand] = builder.readers.get(operand, 0) + 1
    builder.readers[model.output] = builder.readers.get(model.output, 0) + 1
    builder.values[value] = Signal(builder.input, index, raw=raw)
    return builder


def _try_read(b: Builder, op: Op) -> str:
    """Read one operator; what is wrong with it, or nothing."""
    problem = ""
    result: Result | list[Signal] | None
    try:
        result = _result(b, op)
    except Unread:
        result, problem = _stand_in(b, op), _unknown(op)
    except Unsupported as error:
        result, problem = _stand_in(b, op), str(error)
        b.disordered |= isinstance(error, OtherOrder)
    if result is not None:
        found = result if isinstance(result, list) else [result]
        for one in found:
            b.count(one)
        b.values.update(zip(op.node.outputs, found, strict=False))
    b.release(op)
    return f"{op.label} ({op.kind}): {problem}" if problem else ""


def _result(b: Builder, op: Op) -> Result | list[Signal]:
    operands = [b.operand(op, i) for i in range(len(op.node.inputs))]
    quantizer = op.kind in QUANTIZERS or op.kind in ("Quant", "IntQuant", "BipolarQuant")
    if not any(isinstance(x, Signal) for x in operands) and not quantizer:
        if op.node.domain not in ("", "ai.onnx"):
            raise Unsupported(_unknown(op) or "its operands are all stored")
        return folded(op, [x for x in operands if not isinstance(x, Signal)])
    if op.kind != "Split" and any(value.uses() for value in op.node.outputs[1:]):
        raise Unsupported("more than its first result is read")
    first = operands[0] if operands else None
    if isinstance(first, Signal) and first.answered:
        return first
    if op.in_tail and isinstance(first, Signal) and op.kind in _ENDS:
        b.drop(op)
        return replace(first, answered=op.kind == "ArgMax")
    problem = _unknown(op)
    if problem:
        raise Unsupported(problem)
    handler = DOMAINS[op.node.domain].get(op.kind)
    if handler is None:
        raise Unsupported("does not stand behind the model's logits")
    return handler(b, op)


_ENDS = DROPPED - {"QuantizeLinear", "Quant", "IntQuant", "BipolarQuant"}


def _unknown(op: Op) -> str:
    """Why an operator has no handler; empty if it has one."""
    handlers = DOMAINS.get(op.node.domain)
    if handlers is None:
        return f"operators of the domain '{op.node.domain[:80]}' are not known"
    if op.kind in handlers or op.in_tail:
        return ""
    return REMEDIES.get(op.kind, "no spiking form is known")


def _stand_in(b: Builder, op: Op) -> Result | None:
    """What goes on behind an operator that could not be read, to find the other problems too."""
    operands = [b.values.get(value) for value in op.node.inputs if value is not None]
    signal = next((x for x in operands if isinstance(x, Signal)), None)
    if op.kind in KEEPS_SHAPE and signal is not None:
        return Signal(signal.node, signal.index, unsure=True)
    dims = None if not op.node.outputs else op.node.outputs[0].shape
    sizes = [] if dims is None else list(dims)[1:]
    shape = tuple(n for n in sizes if isinstance(n, int) and n > 0)
    if not shape or len(shape) != len(sizes) or prod(shape) > MAX_VALUE_ELEMENTS:
        return None
    name = identifier((f"unread_{len(b.nodes)}",), b.nodes)
    made = b.put(Input(name, network_shape((1, *shape))))
    return replace(made, index=places(shape).reshape(shape), unsure=True)


def _finish(b: Builder, model: Model) -> list[str]:
    """Add the readout; what is wrong with the model as a whole."""
    result = b.values.get(model.output)
    last = model.ops[-1] if model.ops else None
    if not isinstance(result, Signal) or last is None:
        return [f"result '{(model.output.name or '')[:80]}': does not depend on the input"]
    node = b.nodes[b.input]
    assert isinstance(node, Input)
    if node.grid is not None and b.read_raw:
        return [f"{b.input} (input): every use of it must pass through one and the same grid"]
    try:
        result = whole(b, last, unpadded(settled(b, last, result)))
        if prod(result.shape) != max(result.shape, default=1):
            raise Unsupported(f"gives {('N', *result.shape)}, expected logits (N, classes)")
        source, order = b.flat(result), b.places(result).ravel()
        if not np.array_equal(order, places(b.shapes[source])):
            raise Unsupported("its logits are in another order than the layer's that computes them")
        b.put(Output(identifier(("logits", "output", f"output_{len(b.nodes)}"), b.nodes)), source)
    except Unsupported as problem:
        return [f"{last.label} ({last.kind}): {problem}"]
    return []


def _history(b: Builder, model: Model) -> str:
    """What the reader did that a user of the network must know, spelled like a pass."""
    options = [f"opset={model.opset}"]
    if b.order is not None and not np.array_equal(b.order, places(b.order.shape)):
        options.append(f"input={_axes(b)}")
    if b.dropped:
        options.append("dropped=" + ",".join(b.dropped))
    return f"onnx{{{' '.join(options)}}}"


def _axes(b: Builder) -> str:
    """The input's axes in the network as a permutation of the model's, such as `0,3,1,2`."""
    assert b.order is not None
    shape = b.shapes[b.input]
    steps = [prod(b.inside[i + 1 :]) for i in range(len(b.inside))]
    laid = b.order.reshape(shape)
    found = []
    for axis, size in enumerate(shape):
        step = int(laid.take(1, axis).flat[0] - laid.flat[0]) if size > 1 else 0
        fits = [i for i, s in enumerate(steps) if s == step and b.inside[i] == size]
        found.append(str(fits[0] + 1) if size > 1 and fits else "-")
    return ",".join(["0", *found])
