"""The operators that a model's answer depends on, in order, and which of them are its end.

What stands at the very end and leaves the order of the logits as it is, a softmax or the grid of
the logits, need not become spiking. It is left out, and the network's history says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from snndeploy.errors import FileFormatError, UnsupportedModelError
from snndeploy.frontends.onnx.op import Op

DROPPED = {
    "Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "QuantizeLinear", "Quant", "IntQuant",
    "BipolarQuant",
}  # fmt: skip
"""Left out at the end: the largest logit stays the largest."""

CARRIED = {
    "DequantizeLinear", "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
    "Transpose", "Dropout",
}  # fmt: skip
"""May stand between what is left out and the result."""


DOMAINS = {"", "com.microsoft", "qonnx.custom_op.general", "onnx.brevitas"} | {
    "finn.custom_op.general", "brevitas.onnx", "finn"
}  # fmt: skip
"""Of those operators."""


@dataclass(frozen=True, eq=False)
class Model:
    """A checked graph.

    Attributes:
        input: the one input that is not stored.
        output: the one result.
        ops: what the result depends on, each behind what it reads.
        opset: of the standard operators.
    """

    input: ir.Value
    output: ir.Value
    ops: tuple[Op, ...]
    opset: int

    @staticmethod
    def of(proto: onnx.ModelProto) -> Model:
        """Build the graph, write functions out, and sort.

        Raises:
            FileFormatError: a cycle, or a message that cannot be a graph.
            UnsupportedModelError: graphs inside the graph; several inputs or results.
        """
        try:
            model = ir.from_proto(proto)
            if model.functions:
                model = InlinePass()(model).model
            model.graph.sort()
        except Exception as error:  # whatever a malformed message makes the library do
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise FileFormatError(f"is not a sound graph: {first[:200]}") from error
        graph = model.graph
        _refuse_subgraphs(graph)
        inputs = [v for v in graph.inputs if v.const_value is None]
        if len(inputs) != 1 or len(graph.outputs) != 1:
            names = [v.name for v in inputs], [v.name for v in graph.outputs]
            raise UnsupportedModelError(
                f"has the inputs {names[0]} and the results {names[1]}, one of each is supported",
                remedy="export the model with its samples as input and its logits as result",
            )
        needed = _needed(graph)
        return Model(inputs[0], graph.outputs[0], needed, model.opset_imports.get("", 0))


def _refuse_subgraphs(graph: ir.Graph) -> None:
    nested = [
        f"{node.name or node.outputs[0].name} ({node.op_type})"
        for node in graph
        if any(a.type in _GRAPHS for a in node.attributes.values())
    ]
    if nested:
        raise UnsupportedModelError(
            f"{len(nested)} operators hold graphs of their own: " + "; ".join(nested),
            remedy="export the model with a fixed flow of control",
        )


_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _needed(graph: ir.Graph) -> tuple[Op, ...]:
    """What the result depends on, sorted."""
    needed: set[ir.Value] = set(graph.outputs)
    tail: set[ir.Node] = set()
    found: list[Op] = []
    for node in reversed(list(graph)):
        if not any(v in needed for v in node.outputs):
            continue
        needed.update(v for v in node.inputs if v is not None)
        users = [user for v in node.outputs for user, _ in v.uses()]
        ends = all(user in tail or not any(v in needed for v in user.outputs) for user in users)
        in_tail = ends and node.op_type in DROPPED | CARRIED and _domain(node) in DOMAINS
        if in_tail:
            tail.add(node)
        version = graph.opset_imports.get(_domain(node), 0)
        found.append(Op(node, version, ends, in_tail))
    return tuple(reversed(found))


def _domain(node: ir.Node) -> str:
    return "" if node.domain == "ai.onnx" else node.domain
