"""Training on the integer grid: a PyTorch model whose weights convert without rounding.

Rounding a finished model moves its sums a little, and a deep network of few levels passes each
flipped count on to many others. A model whose weights and biases already are multiples of an
accumulator unit loses nothing: its spiking network settles to the same counts. So:

    put_on_grid(model, example)   # 8-bit weights from here on, with straight-through gradients
    ...                           # a short fine-tuning, as any other; or none
    take_off_grid(model)          # plain weights again, that lie on the grid: export and convert

With counts of the source and of the layer worth s_p and s_out, and a threshold theta,

    W = z s_out / (theta s_p),    b = (m + 1/2 - theta / 2) s_out / theta,    z and m integers.

The half keeps every sum half a unit away from every threshold, out of reach of float32. An
identity branch is W = 1: ceilings are moved until `s_p / s_out` is a simple fraction, and theta is
a multiple of its denominator.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import partial
from math import lcm

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from snndeploy.deploy import convert, from_torch
from snndeploy.errors import UnsupportedModelError
from snndeploy.layers import Layer, Projection, count_worths, layers, pooled
from snndeploy.network import Network
from snndeploy.nodes import BatchNorm, Neuron, Output, Scale
from snndeploy.numerics import FloatArray
from snndeploy.training import QCFS

MAX_DENOMINATOR = 16


class OnGrid(nn.Module):
    """The nearest of `offset + step * [-most .. most]`, per output channel; straight-through."""

    step: Tensor
    offset: Tensor

    def __init__(self, step: Tensor, offset: Tensor, most: float) -> None:
        super().__init__()
        self.register_buffer("step", step)
        self.register_buffer("offset", offset)
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        """Snap a weight or a bias; the gradient passes as if nothing happened."""
        integers = ((x - self.offset) / self.step + 0.5).floor().clamp(-self.most, self.most)
        return x + (self.offset + integers * self.step - x).detach()


def put_on_grid(model: nn.Module, example: Tensor, weight_bits: int = 8) -> None:
    """Fold the model's batch-norms and hold its weights to the grid that `convert` will find.

    Changes the model in place and leaves it in eval mode: batch-norms become `nn.Identity`, the
    ceilings of layers with identity branches move by a few per cent, weights and biases are
    parametrized (`torch.nn.utils.parametrize`). Ceilings must not be trained from here on, so
    they lose their gradient.

    Args:
        model: reads like `from_torch`; its batch-norms directly behind convolutions or linear
            layers.
        example: (N, *shape), as for `from_torch`.
        weight_bits: of the signed weights; give `convert` the same.

    Raises:
        UnsupportedModelError: the model cannot be converted, or weights are used twice.
    """
    model.eval()
    modules = {re.sub(r"\W", "_", path): module for path, module in model.named_modules()}
    _fold_batch_norms(model, modules, from_torch(model, example))
    with torch.no_grad():
        plain = partial(convert, weight_bits=weight_bits, weight_exponent=0)
        _align_ceilings(modules, plain(from_torch(model, example)))
        network = plain(from_torch(model, example))
        for layer in layers(network):
            _hold(modules, layer, count_worths(network), (1 << (weight_bits - 1)) - 1)
    for module in modules.values():
        if isinstance(module, QCFS):
            module.ceiling.requires_grad_(False)


def take_off_grid(model: nn.Module) -> None:
    """Turn the parametrized weights into plain ones, with their values on the grid."""
    for module in model.modules():
        found = getattr(module, "parametrizations", {})
        for name in [key for key, steps in found.items() if isinstance(steps[0], OnGrid)]:
            parametrize.remove_parametrizations(module, name)


def _fold_batch_norms(model: nn.Module, modules: dict[str, nn.Module], network: Network) -> None:
    for norm in [node for node in network.nodes if isinstance(node, BatchNorm)]:
        source = network.sources[norm.name][0]
        layer, behind = modules.get(source), modules.get(norm.name)
        if not isinstance(behind, nn.BatchNorm1d | nn.BatchNorm2d):
            raise _misplaced(norm.name, "a batch-norm module")
        alone = len(network.targets[source]) == 1
        if alone and isinstance(layer, nn.Linear):
            fused: nn.Module = fuse_linear_bn_eval(layer, behind)
        elif alone and isinstance(layer, nn.Conv1d | nn.Conv2d):
            fused = fuse_conv_bn_eval(layer, behind)
        else:
            raise UnsupportedModelError(
                f"follows '{source}' and cannot be folded there",
                where=f"BatchNorm '{norm.name}'",
                remedy="put it directly behind a convolution or a linear layer of its own",
            )
        for path, module in list(model.named_modules()):
            if module is layer:
                model.set_submodule(path, fused)
            elif module is behind:
                model.set_submodule(path, nn.Identity())
        modules[source] = fused


def _align_ceilings(modules: dict[str, nn.Module], network: Network) -> None:
    """Make what a count is worth on both ends of each identity branch a simple fraction."""
    worths = count_worths(network)
    for layer in layers(network):
        if layer.kind == "max_pool":
            worths[layer.name] = worths[layer.projections[0].source]
        for projection in layer.projections:
            if isinstance(layer.node, Neuron) and isinstance(projection.weighted, Scale):
                source = worths[projection.source] / pooled(projection)
                ratio = _ratio(source / worths[layer.name])
                activation = modules.get(layer.name)
                if not isinstance(activation, QCFS):
                    raise _misplaced(layer.name, "a QCFS module")
                activation.ceiling.fill_(source / float(ratio) * layer.node.levels)
                worths[layer.name] = float(activation.ceiling) / layer.node.levels


def _hold(modules: dict[str, nn.Module], layer: Layer, worths: dict[str, float], most: int) -> None:
    """Parametrize the weights and biases of one layer's projections."""
    node = layer.node
    if not isinstance(node, Neuron | Output):
        return
    unit, offset = np.full(layer.shape[0], node.scale), np.zeros(layer.shape[0])
    if isinstance(node, Neuron):
        theta = _divisible(node, layer.projections, worths)
        unit = node.scale / theta
        offset = (0.5 - theta / 2) * unit
    for projection in layer.projections:
        if projection.weighted is None or isinstance(projection.weighted, Scale):
            continue
        module = modules.get(projection.weighted.name)
        if not isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            raise _misplaced(projection.weighted.name, "a module of its own")
        if parametrize.is_parametrized(module):
            raise UnsupportedModelError("is used twice", where=f"layer '{layer.name}'")
        step = unit * pooled(projection) / worths[projection.source]
        _register(module, "weight", step, np.zeros_like(step), most)
        if module.bias is not None:
            _register(module, "bias", unit, offset, np.inf)
            offset = np.zeros_like(offset)


def _register(
    module: nn.Module, name: str, step: FloatArray, offset: FloatArray, most: float
) -> None:
    values: Tensor = getattr(module, name)
    shape = (-1, *(1,) * (values.ndim - 1))
    grid = [torch.from_numpy(a).to(values.dtype).reshape(shape) for a in (step, offset)]
    parametrize.register_parametrization(module, name, OnGrid(grid[0], grid[1], most))


def _divisible(
    node: Neuron, projections: tuple[Projection, ...], worths: dict[str, float]
) -> FloatArray:
    """Thresholds that make the weight of each identity branch an integer."""
    ratios = [
        _ratio(worths[p.source] / pooled(p) / node.scale)
        for p in projections
        if isinstance(p.weighted, Scale)
    ]
    multiple = lcm(*(ratio.denominator for ratio in ratios))
    theta: FloatArray = np.maximum(node.threshold // multiple, 1) * float(multiple)
    return theta


def _ratio(value: float) -> Fraction:
    return Fraction(value).limit_denominator(MAX_DENOMINATOR) or Fraction(1, MAX_DENOMINATOR)


def _misplaced(name: str, wanted: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"is not {wanted} of the model",
        where=f"'{name}'",
        remedy="write it as an nn module that is used once",
    )
