"""Which floating-point type holds a network's integers exactly."""

from __future__ import annotations

import torch

from snndeploy.errors import DoesNotFitError
from snndeploy.network import Network
from snndeploy.ranges import ranges


def exact_dtype(network: Network, steps: int) -> torch.dtype:
    """float32 if no accumulator can reach 2**24 in magnitude, float64 below 2**53.

    Raises:
        DoesNotFitError: a layer could exceed 2**53.
    """
    bounds = ranges(network, steps)
    name, worst = max(bounds.items(), key=lambda item: item[1].magnitude)
    if worst.magnitude < 1 << 24:
        return torch.float32
    if worst.magnitude < 1 << 53:
        return torch.float64
    raise DoesNotFitError(
        f"an accumulator can reach {worst.magnitude}, beyond the 2**53 that float64 holds exactly",
        where=f"layer '{name}'",
        remedy="quantize to fewer bits",
    )
