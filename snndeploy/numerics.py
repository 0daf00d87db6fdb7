"""The integer semantics: the definition of rounding, firing, saturating and word checks.

The engines that compute in floating point are held to it, spike for spike.

NumPy only, so that a worker process without the rest of the package can load it.
All state is int64 here; `check_word` holds it to the target's word and raises where
the target would wrap.

Symbols, per neuron: `v` membrane potential, `theta` threshold, `n` net spike count,
`levels` the largest count L, `v0` the initial membrane.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from snndeploy.errors import DataError, DoesNotFitError

Int64Array: TypeAlias = NDArray[np.int64]
Int8Array: TypeAlias = NDArray[np.int8]
FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]


def round_to_integer(x: NDArray[Any] | float) -> Int64Array:
    """Round to the nearest integer, ties upwards: `floor(x + 1/2)`, as QCFS does.

    Raises:
        DoesNotFitError: NaN, or a magnitude beyond 2**53, where float64 has no more halves.
    """
    rounded = np.floor(np.asarray(x, dtype=np.float64) + 0.5)
    if not np.all(np.abs(rounded) <= 1 << 53):
        raise DoesNotFitError(
            "values beyond 2**53 cannot be rounded to integers",
            where="rounding",
            remedy="check the model's weights, biases and ceilings, or the data's units",
        )
    return rounded.astype(np.int64)


def to_grid(x: NDArray[Any], scale: float, low: int, high: int, where: str = "input") -> Int64Array:
    """Model inputs as integers on the grid `scale * [low .. high]`.

    Args:
        x: floating point samples in the model's units, or integers already on the grid.
        scale: the model's units per grid step.
        low, high: the smallest and the largest integer of the grid.

    Raises:
        DataError: NaN or infinity, or a value that rounds to an integer outside the grid
            (saturating it would hide data in the wrong units).
    """
    if np.issubdtype(x.dtype, np.integer) or x.dtype == np.bool_:
        q = x.astype(np.int64)
    elif np.issubdtype(x.dtype, np.floating):
        bad = int(np.count_nonzero(~np.isfinite(x)))
        if bad:
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
            raise DataError(
                f"{bad} of {x.size} values are NaN or infinite, the first at index {first}",
                where=where,
                remedy="clean the data",
            )
        q = round_to_integer(x.astype(np.float64) / scale)
    else:
        raise DataError(f"dtype {x.dtype} is not numeric", where=where, remedy="use float or int")
    if q.size and (q.min() < low or q.max() > high):
        raise DataError(
            f"values from {float(x.min()):.6g} to {float(x.max()):.6g} leave the input grid "
            f"[{low * scale:.6g}, {high * scale:.6g}] ({low} to {high} steps of {scale:.6g})",
            where=where,
            remedy="scale the data as in training, or convert with calibration data that covers it",
        )
    return q


def initial_membrane(theta: Int64Array) -> Int64Array:
    """`v0 = theta // 2`: half a threshold, which turns the floor into rounding."""
    return theta // 2


def window_share(total: Int64Array, step: int, window: int) -> Int64Array:
    """The part of a total that is injected at `step`, so that `window` steps add up to it.

    The remainder of `total / window` is spread over the window (Bresenham); the shares of
    steps 0 .. window-1 sum to `total` exactly, and so do those of any later window.
    """
    whole, rest = np.divmod(total, window)
    share: Int64Array = whole + (rest * (step + 1)) // window - (rest * step) // window
    return share


def fire(
    v: Int64Array,
    n: Int64Array,
    theta: Int64Array,
    levels: int,
    signed: bool,
    hard: bool = False,
) -> tuple[Int64Array, Int64Array, Int8Array]:
    """One step of firing and reset, after the input current has been added.

    Fires +1 where `v >= theta`, and subtracts theta; with `hard` (rate mode only) it sets the
    membrane to 0 instead. With `signed` (exact mode) it fires
    only below the cap (`n < levels`), and fires -1, adding theta, where `v < 0` and `n > 0`.

    Returns:
        The membrane, the net count and the spikes (-1, 0, +1) after the step.
    """
    up = v >= theta
    if signed:
        up &= n < levels
        spikes = up.astype(np.int8) - ((v < 0) & (n > 0)).astype(np.int8)
    else:
        spikes = up.astype(np.int8)
    rest = np.where(up, 0, v) if hard else v - theta * spikes
    return rest, n + spikes, spikes


def settled_count(total: Int64Array, v0: Int64Array, theta: Int64Array, levels: int) -> Int64Array:
    """The integer quantized activation: `clip(floor((total + v0) / theta), 0, levels)`."""
    count: Int64Array = np.clip((total + v0) // theta, 0, levels)
    return count


def mantissas(weights: NDArray[Any], most: int = 62) -> tuple[Int64Array, int]:
    """Weights as integers times one power of two: `weights = mantissas * 2**exponent`.

    Args:
        weights: integers of any shape.
        most: the largest exponent; the result is the largest that is possible up to it.
    """
    bits = int(np.bitwise_or.reduce(weights, axis=None)) if weights.size else 0
    exponent = min((bits & -bits).bit_length() - 1, most) if bits else 0
    return weights.astype(np.int64) >> exponent, exponent


def word_limits(bits: int) -> tuple[int, int]:
    """The smallest and the largest value of a signed two's-complement word."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def check_word(low: int, high: int, bits: int, where: str, remedy: str = "") -> None:
    """Raise `DoesNotFitError` if [low, high] leaves a signed word of `bits` bits."""
    least, most = word_limits(bits)
    if low < least or high > most:
        raise DoesNotFitError(
            f"values from {low} to {high} leave a signed {bits}-bit word [{least}, {most}]",
            where=where,
            remedy=remedy,
        )
