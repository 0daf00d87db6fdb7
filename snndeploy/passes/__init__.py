"""One file a pass: from a float network to an integer spiking network on a chip."""

from snndeploy.passes.base import Pass
from snndeploy.passes.fold_batch_norm import FoldBatchNorm
from snndeploy.passes.partition import place
from snndeploy.passes.pool_after_activation import PoolAfterActivation
from snndeploy.passes.quantize import Quantize
from snndeploy.passes.rescale import Rescale
from snndeploy.passes.set_input_grid import SetInputGrid
from snndeploy.passes.split_concat import SplitConcat

__all__ = [
    "FoldBatchNorm",
    "Pass",
    "PoolAfterActivation",
    "Quantize",
    "Rescale",
    "SetInputGrid",
    "SplitConcat",
    "place",
]
