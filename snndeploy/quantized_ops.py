"""The two quantizers of a model, as PyTorch operators that survive `torch.export` as one node.

    snndeploy::qcfs(x, ceiling, levels)            quantized ReLU
    snndeploy::quantize_input(x, scale, low, high) the input grid

Importing this module registers them; a saved export that uses them needs it loaded first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("snndeploy::qcfs", mutates_args=())
def qcfs(x: Tensor, ceiling: Tensor, levels: int) -> Tensor:
    """Quantization-clip-floor-shift: `s * clip(floor(x / s + 1/2), 0, levels)`.

    `s = ceiling / levels`. Source: Bu et al., "Optimal ANN-SNN conversion for high-accuracy and
    ultra-low-latency spiking neural networks", ICLR 2022, eq. 15, with a shift of one half.

    Args:
        x: any shape, floating point.
        ceiling: a scalar tensor, the trained threshold, above 0.
        levels: the largest count, L.
    """
    step = ceiling / levels
    return step * torch.clamp(torch.floor(x / step + 0.5), 0, levels)


@qcfs.register_fake
def _(x: Tensor, ceiling: Tensor, levels: int) -> Tensor:
    return torch.empty_like(x)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    x, ceiling, _ = inputs
    ctx.save_for_backward(x, ceiling, output)


def _straight_through(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    """The floor passes its gradient; the clip stops it outside [0, ceiling]."""
    x, ceiling, output = ctx.saved_tensors
    inside = ((x > 0) & (x < ceiling)).to(grad.dtype)
    of_ceiling = (output - x * inside) / ceiling
    return grad * inside, (grad * of_ceiling).sum().reshape(ceiling.shape), None


qcfs.register_autograd(_straight_through, setup_context=_save)


@torch.library.custom_op("snndeploy::quantize_input", mutates_args=())
def quantize_input(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    """`scale * clip(floor(x / scale + 1/2), low, high)`: the grid on which inputs arrive."""
    return scale * torch.clamp(torch.floor(x / scale + 0.5), low, high)


@quantize_input.register_fake
def _(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    return torch.empty_like(x)


def _pass_through(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    return grad, None, None, None


quantize_input.register_autograd(_pass_through)
