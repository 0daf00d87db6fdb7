"""Small recipes for training quantized networks; not a framework."""

from snndeploy.training.qcfs import QCFS, QuantizedInput
from snndeploy.training.recipe import Recipe, accuracy, train

__all__ = ["QCFS", "QuantizedInput", "Recipe", "accuracy", "train"]
