"""PyTorch modules with quantized activations, by way of `torch.export`, to a float `Network`.

Each ATen operator has a handler in `aten`. Whatever has none is refused, all at once,
each with the change that would help.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from snndeploy import quantized_ops
from snndeploy.errors import UnsupportedModelError
from snndeploy.frontends.aten.builder import Builder
from snndeploy.frontends.aten.handlers import HANDLERS, REMEDIES
from snndeploy.frontends.brevitas import from_brevitas, has_brevitas
from snndeploy.frontends.quantizers import Placed
from snndeploy.frontends.reading import Unsupported, network_shape, refuse_all
from snndeploy.network import Network
from snndeploy.nodes import Input, Output

_ = quantized_ops  # registers the operators that exports refer to


def from_torch(module: nn.Module, example: Tensor, name: str = "model") -> Network:
    """Export a module in eval mode and read it; one with Brevitas' quantizers by its own export.

    Args:
        module: maps (N, *shape) to logits (N, classes); quantized activations between the weighted
            layers. Signals (N, C, W) are read as images of height one.
        example: one or more samples, (N, *shape); N = 2 or more is best.
        name: of the network.

    Raises:
        UnsupportedModelError: lists every operator that cannot be converted.
    """
    if has_brevitas(module):
        return from_brevitas(module, example, name)
    frozen = isinstance(module, GraphModule)  # has no modes, and may refuse to be asked
    training = module.training
    if not frozen:
        module.eval()
    try:
        exported = torch.export.export(module, (example,))
    except Exception as error:
        raise UnsupportedModelError(
            f"torch.export failed: {str(error).strip().splitlines()[0]}",
            where=f"model '{name}'",
            remedy="make `torch.export.export(model, (example,))` work first",
        ) from error
    finally:
        if not frozen:
            module.train(training)
    return from_exported(exported, name)


def from_exported(exported: ExportedProgram, name: str = "model") -> Network:
    """Read an exported program into a float network.

    Quantizers of PT2E (`quantized_decomposed` operators) become activations and the input's grid,
    and stored integers the weights that they mean. A quantizer on the logits is left out, which
    the network's history tells.
    """
    signature = exported.graph_signature
    state = {**exported.state_dict, **exported.constants}
    placeholders = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    builder = Builder({name: state[target] for name, target in placeholders.items()})
    problems: list[str] = []
    for fx in exported.graph.nodes:
        problem = _try_convert(builder, fx, set(signature.user_inputs))
        if problem:
            problems.append(f"{fx.name} ({_operator(fx)}): {problem}")
    refuse_all(problems, f"model '{name}'")
    placed = Placed.of(builder.nodes, builder.edges, builder.grids)
    history = f'torch{{dropped="{" ".join(placed.dropped)}"}}'
    return Network(
        name,
        tuple(placed.nodes.values()),
        tuple(placed.edges),
        history=(history,) if placed.dropped else (),
    )


def _try_convert(builder: Builder, fx: torch.fx.Node, user_inputs: set[str]) -> str:
    """Convert one graph node; what is wrong with it, or nothing."""
    try:
        _convert(builder, fx, user_inputs)
    except Unsupported as problem:
        if fx.all_input_nodes and fx.all_input_nodes[0] in builder.names:
            builder.alias(fx, fx.all_input_nodes[0])  # go on, to find the others too
            builder.pads.pop(fx, None)
        return str(problem)
    return ""


def _operator(fx: torch.fx.Node) -> str:
    return re.sub(r"^_?", "", str(fx.target).split(".")[1]) if "." in str(fx.target) else fx.op


def _convert(builder: Builder, fx: torch.fx.Node, user_inputs: set[str]) -> None:
    if fx.op == "placeholder":
        if fx.name in user_inputs:
            builder.add(fx, lambda name: Input(name, network_shape(builder.shape(fx))))
    elif fx.op == "output":
        results = fx.args[0]
        if not isinstance(results, list | tuple) or len(results) != 1:
            raise Unsupported("the model must return one tensor of logits")
        builder.add(fx, Output, results[0])
    elif fx.op == "call_function":
        handler = HANDLERS.get(str(fx.target))
        if handler is None:
            kind = _operator(fx)
            raise Unsupported(REMEDIES.get(kind, "no spiking form is known"))
        try:
            handler(builder, fx, *fx.args, **fx.kwargs)
        except TypeError as error:
            raise Unsupported(f"arguments that are not read: {error}") from error
    else:
        raise Unsupported("only functional graphs are read")
