"""Layers that make a PyTorch network ready for conversion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snndeploy import quantized_ops
from snndeploy.training.moments import Moment


class QCFS(nn.Module):
    """Quantized ReLU with a trained ceiling and a straight-through gradient.

    Args:
        levels: the largest spike count L; `2**bits - 1`.
        ceiling: the value of L counts at the start of training.

    Attributes:
        moment: while the spiking network's steps are trained, the step that it is at; see
            `snndeploy.training.moments`. None in a plain network.
    """

    moment: Moment | None = None

    def __init__(self, levels: int, ceiling: float = 2.0) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f"levels is {levels}, expected at least 1")
        self.levels = levels
        self.ceiling = nn.Parameter(torch.tensor(ceiling))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        if self.moment is not None:
            return self.moment.rates(self, x)
        y: Tensor = quantized_ops.qcfs(x, self.ceiling, self.levels)
        return y

    def extra_repr(self) -> str:
        """Shown by `print(model)`."""
        return f"levels={self.levels}"


class QuantizedInput(nn.Module):
    """States the grid of the inputs: integers `low .. high`, each worth `scale`.

    Place it first in the model. A model without it gets its grid from calibration data.
    """

    def __init__(self, scale: float, low: int, high: int) -> None:
        super().__init__()
        if scale <= 0 or low >= high:
            raise ValueError(f"scale {scale}, low {low}, high {high} is not a grid")
        self.scale, self.low, self.high = scale, low, high

    def forward(self, x: Tensor) -> Tensor:
        """Apply to a tensor of any shape."""
        y: Tensor = quantized_ops.quantize_input(x, self.scale, self.low, self.high)
        return y
