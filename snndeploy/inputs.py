"""What a user gives as samples and labels, as a network takes them: checked, on its input grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snndeploy.errors import DataError
from snndeploy.network import Network, require_integer
from snndeploy.nodes import Input
from snndeploy.numerics import FloatArray, Int64Array, to_grid


def on_grid(network: Network, x: NDArray[Any], where: str = "data") -> Int64Array:
    """Samples as integers on the input grid: (N, *shape), or (N, F, *shape) if `per_step`.

    Args:
        network: an integer network.
        x: floats in the model's units or integers on the grid; signals (C, W) may come without
            their height of 1.

    Raises:
        DataError: another shape, NaN, more steps than the window, or values outside the grid
            (of running sums over the steps, if the input comes step by step).
    """
    require_integer(network)
    node = network.input
    assert node.grid is not None
    scale, low, high = node.grid.scale, node.grid.low, node.grid.high
    x = shaped(network, x, where)
    if not node.per_step:
        return to_grid(x, scale, low, high, where)
    low, high = min(low, 0), max(high, 0)
    frames = to_grid(x, scale, low - high, high - low, where)
    to_grid(frames.cumsum(axis=1), scale, low, high, f"{where}, summed step by step")
    return frames


def on_grid_in_units(network: Network, x: NDArray[Any]) -> FloatArray:
    """Samples rounded to the input grid, in the model's units."""
    grid = network.input.grid
    assert grid is not None
    integers = to_grid(x, grid.scale, grid.low, grid.high, "data")
    values: FloatArray = integers.astype(np.float64) * grid.scale
    return values


def shaped(network: Network, x: NDArray[Any], where: str = "data") -> NDArray[Any]:
    """The samples with the shape that the network takes: signals (C, W) get a height of 1."""
    node, expected = network.input, network.input.shape
    steps = 1 + node.per_step
    if len(expected) == 3 and expected[1] == 1 and x.ndim == steps + 2:
        x = x.reshape(*x.shape[:-1], 1, x.shape[-1])
    if x.ndim != steps + len(expected) or x.shape[steps:] != expected or not x.size:
        raise DataError(
            f"array of shape {x.shape}, the network '{network.name}' takes {_described(node)}",
            where=where,
            remedy="give samples of that shape",
        )
    if node.per_step and x.shape[1] > network.window:
        raise DataError(
            f"{x.shape[1]} steps, the window of the network is {network.window}",
            where=where,
            remedy="convert with a longer window, or add up neighbouring steps",
        )
    return x


def _described(node: Input) -> str:
    axes = ("N", "steps") if node.per_step else ("N",)
    return f"({', '.join([*axes, *map(str, node.shape)])})"


def as_array(x: ArrayLike, where: str = "data") -> NDArray[Any]:
    """An array of what the user gave: an array, a list, a tensor. Raises `DataError`."""
    try:
        array = np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"is not an array: {error}", where=where) from error
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"dtype {array.dtype} is not numeric", where=where, remedy="use real numbers"
        )
    return array


def check_labels(labels: ArrayLike, network: Network, samples: int) -> Int64Array:
    """Labels (N,) as int64; raises `DataError` unless each is one of the network's classes."""
    found = as_array(labels, "labels")
    classes = network.shapes[network.output.name][0]
    if found.shape != (samples,) or found.dtype.kind not in "iu":
        raise DataError(
            f"{found.dtype} {found.shape}, expected integers ({samples},)", where="labels"
        )
    if found.min() < 0 or found.max() >= classes:
        raise DataError(
            f"from {found.min()} to {found.max()}, the network has {classes} classes",
            where="labels",
            remedy=f"number the classes from 0 to {classes - 1}",
        )
    return found.astype(np.int64)
