"""From NIR to PyTorch: which module stands for which NIR node.

nirtorch wires the modules. Its own map is not used: it loses the bias of `Affine`, ignores the
padding of `SumPool2d`, swaps the channels of a grouped convolution, and knows no neuron.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import torch
from nirtorch import nir_to_torch
from torch import Tensor, nn

from snndeploy.network import Network
from snndeploy.nirfile import to_nir
from snndeploy.nirfile.records import (
    NeuronRecord,
    PaddedRecord,
    PlainRecord,
    ReadoutRecord,
    kind_of,
    read_record,
)
from snndeploy.nodes import Array, Pair
from snndeploy_backends.norse.cells import (
    Bias,
    CountMaxPool,
    IntegratorCell,
    Multiply,
    NeuronParameters,
    SoftResetCell,
    SumPool,
)

PREFIX = "node_"
"""Before every name: PyTorch and Python reserve some, such as `forward` and `for`."""


def to_torch(network: Network, dtype: torch.dtype, device: str) -> torch.fx.GraphModule:
    """The network as a module `(x, state) -> (membrane of the readout, state)`.

    The module of the network's node `name` is its submodule `PREFIX + name`.
    """
    graph = to_nir(network)
    nodes = {PREFIX + name: node for name, node in graph.nodes.items()}
    edges = [(PREFIX + a, PREFIX + b) for a, b in graph.edges]
    renamed = nir.NIRGraph(nodes, edges, metadata=graph.metadata, type_check=False)
    node_map = _node_map(network)
    module = nir_to_torch(renamed, node_map, default_map={}, device=device, dtype=dtype)
    assert isinstance(module, torch.fx.GraphModule)
    return module.eval().requires_grad_(False)


def _node_map(network: Network) -> dict[Any, Callable[[Any], nn.Module]]:
    window, ends = network.window, network.mode == "exact"

    def neuron(node: nir.IF) -> nn.Module:
        record = read_record(node, NeuronRecord, "IF")
        theta, dims = torch.from_numpy(node.v_threshold[None]), node.v_threshold.ndim
        v0 = torch.tensor(record.v0, dtype=torch.float64).view(-1, *(1,) * (dims - 1))
        bias = Bias(np.array(record.bias, np.int64), window, ends, dims)
        return SoftResetCell(
            NeuronParameters(theta, v0, record.cap, bias, hard=record.reset == "zero")
        )

    def readout(node: nir.I) -> nn.Module:
        record = read_record(node, ReadoutRecord, "I")
        channels = (0,) * len(node.r) if record.bias is None else record.bias
        return IntegratorCell(Bias(np.array(channels, np.int64), window, ends, node.r.ndim))

    return {
        nir.Input: lambda node: nn.Identity(),  # noqa: ARG005
        nir.Output: lambda node: nn.Identity(),  # noqa: ARG005
        nir.Threshold: lambda node: nn.Identity(),  # noqa: ARG005
        nir.Flatten: lambda node: nn.Flatten(),  # noqa: ARG005
        nir.Conv2d: _conv2d,
        nir.Linear: _linear,
        nir.Affine: _linear,
        nir.Scale: lambda node: Multiply(torch.from_numpy(node.scale)),
        nir.SumPool2d: _pool,
        nir.IF: neuron,
        nir.I: readout,
    }


def _conv2d(node: nir.Conv2d) -> nn.Module:
    """Without a bias: the neuron injects the exact one.

    The inner sum of a max-pool is a convolution where its padding differs side by side.
    """
    if kind_of(node) == "padded_pool_sum":
        record = read_record(node, PaddedRecord, "Conv2d")
        return CountMaxPool(record.kernel, _pair(node.stride), record.padding)
    out, group, height, width = node.weight.shape
    module = nn.Conv2d(
        group * node.groups,
        out,
        (height, width),
        stride=node.stride,
        padding=node.padding,
        dilation=node.dilation,
        groups=node.groups,
        bias=False,
        device="meta",
    )
    module.weight = _frozen(node.weight)
    return module


def _linear(node: nir.Linear | nir.Affine) -> nn.Module:
    """Without a bias: the neuron injects the exact one."""
    out, features = node.weight.shape
    module = nn.Linear(features, out, bias=False, device="meta")
    module.weight = _frozen(node.weight)
    return module


def _pool(node: nir.SumPool2d) -> nn.Module:
    """A sum, or the max-pool on counts that the inner sum of a tagged graph stands for.

    nirtorch always enters nested graphs, so the inner nodes are mapped: the sum to the whole
    pool, the threshold behind it to nothing.
    """
    kind = read_record(node, PlainRecord, "SumPool2d").kind
    pool = CountMaxPool if kind == "pool_sum" else SumPool
    return pool(_pair(node.kernel_size), _pair(node.stride), _pair(node.padding))


def _frozen(weight: Array) -> nn.Parameter:
    values: Tensor = torch.from_numpy(weight)
    return nn.Parameter(values, requires_grad=False)


def _pair(values: Array) -> Pair:
    return int(values[0]), int(values[1])
