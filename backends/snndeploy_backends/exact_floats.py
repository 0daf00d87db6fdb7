"""Which floating-point type, and which kernels, compute a network's integers exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from snndeploy.errors import DoesNotFitError
from snndeploy.network import Network
from snndeploy.ranges import ranges


def exact_dtype(network: Network, steps: int) -> torch.dtype:
    """float32 if no accumulator can reach 2**24 in magnitude, float64 below 2**53.

    float64 too if the user lets PyTorch shorten float32 products.

    Raises:
        DoesNotFitError: a layer could exceed 2**53.
    """
    bounds = ranges(network, steps)
    name, worst = max(bounds.items(), key=lambda item: item[1].magnitude)
    return exact_float(worst.magnitude, name)


def exact_float(magnitude: int, layer: str) -> torch.dtype:
    """The same for one layer, given the largest magnitude of its accumulators."""
    if magnitude < 1 << 24 and _float32_is_whole():
        return torch.float32
    if magnitude < 1 << 53:
        return torch.float64
    raise DoesNotFitError(
        f"an accumulator can reach {magnitude}, beyond the 2**53 that float64 holds exactly",
        where=f"layer '{layer}'",
        remedy="quantize to fewer bits",
    )


def _float32_is_whole() -> bool:
    """Whether PyTorch may not shorten the operands of float32 products."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # precisions were set one by one, which this call does not cover
        return False


@contextmanager
def exact_kernels() -> Iterator[None]:
    """Without the kernels that round: Winograd, FFT and TF32 convolutions (cuDNN, NNPACK)."""
    with torch.backends.cudnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=False):
        yield
