"""Which types, and which kernels, compute a network's integers exactly."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import torch

from snndeploy.errors import DoesNotFitError, InputError
from snndeploy.network import Network
from snndeploy.ranges import ranges

DTYPES = {"float32": torch.float32, "float64": torch.float64}
"""Types of membranes that can be asked for."""

BITS = {torch.float32: 24, torch.float64: 53}
"""Integers below two to that power are held exactly."""


def exact_dtype(network: Network, steps: int) -> torch.dtype:
    """float32 if no accumulator can reach 2**24 in magnitude, float64 below 2**53.

    float64 too if the user lets PyTorch shorten float32 products.

    Raises:
        DoesNotFitError: a layer could exceed 2**53.
    """
    bounds = ranges(network, steps)
    name, worst = max(bounds.items(), key=lambda item: item[1].magnitude)
    return exact_float(worst.magnitude, name)


def dtype_named(name: str) -> torch.dtype:
    """One of `DTYPES`. Raises `InputError` for another name."""
    if name not in DTYPES:
        raise InputError(
            f"unknown type '{name}'", where="option dtype", remedy=f"use {' or '.join(DTYPES)}"
        )
    return DTYPES[name]


def chosen_dtype(network: Network, steps: int, wanted: str | None) -> torch.dtype:
    """The type that is asked for if it holds every accumulator, else `exact_dtype`.

    Raises:
        InputError: an unknown type.
        DoesNotFitError: an accumulator could leave its integers, or PyTorch may shorten products.
    """
    if wanted is None:
        return exact_dtype(network, steps)
    dtype = dtype_named(wanted)
    bounds = ranges(network, steps)
    name, worst = max(bounds.items(), key=lambda item: item[1].magnitude)
    needed = worst.magnitude.bit_length()
    if needed > BITS[dtype]:
        raise DoesNotFitError(
            f"an accumulator can reach {worst.magnitude}, an integer of {needed} bits; {wanted} "
            f"holds those of {BITS[dtype]}",
            where=f"layer '{name}', dtype {wanted}",
            remedy="use float64" if needed <= BITS[torch.float64] else "quantize to fewer bits",
        )
    if dtype == torch.float32 and shortened()[0]:
        raise DoesNotFitError(
            "PyTorch is allowed to shorten products of float32 (TF32)",
            where="dtype float32",
            remedy='call torch.set_float32_matmul_precision("highest"), or use float64',
        )
    return dtype


def exact_float(magnitude: int, layer: str) -> torch.dtype:
    """The same for one layer, given the largest magnitude of its accumulators."""
    if magnitude < 1 << 24 and not shortened()[0]:
        return torch.float32
    if magnitude < 1 << 53:
        return torch.float64
    raise DoesNotFitError(
        f"an accumulator can reach {magnitude}, beyond the 2**53 that float64 holds exactly",
        where=f"layer '{layer}'",
        remedy="quantize to fewer bits",
    )


def device_dtype(
    value: int, weight: int, total: int, layer: str, narrow: Collection[torch.dtype]
) -> torch.dtype:
    """The narrowest type of operands in which a matrix product of integers is exact on a GPU.

    - int8 holds operands up to 127; their products are added up in int32, below 2**31.
    - float16 holds all integers up to 2**11. The tensor cores multiply and add them, in any order,
      "with at least single precision" (PTX ISA, `mma` and `wgmma`, `.f16` with `.f32` sums). So
      nothing is rounded if no sum of products can reach 2**24, and the result is taken as float32:
      as float16, PyTorch's default, it would be rounded beyond 2**11.
    - float32, without TF32, below 2**24; float64 below 2**53.

    bfloat16 (integers up to 2**8) and TF32 (up to 2**11) hold nothing that float16 does not, and
    are no faster.

    Args:
        value, weight: the largest magnitudes of the operands.
        total: the largest sum of magnitudes of products.
        narrow: those of int8 and float16 that may be used.

    Raises:
        DoesNotFitError: the sums could exceed 2**53.
    """
    largest = max(value, weight)
    if torch.int8 in narrow and largest < 1 << 7 and total < 1 << 31:
        return torch.int8
    if torch.float16 in narrow and largest <= 1 << 11 and total < 1 << 24:
        return torch.float16
    return exact_float(total, layer)


def shortened() -> tuple[bool, bool]:
    """Whether the user lets PyTorch shorten operands of float32 products, sums of float16 ones."""
    try:
        tf32 = torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # precisions were set one by one, which this call does not cover
        tf32 = True
    return tf32, bool(torch.backends.cuda.matmul.allow_fp16_accumulation)


class _RoundingKernels:
    """PyTorch's switches for kernels that round, which hold for the whole process."""

    def __init__(self) -> None:
        self.lock, self.users, self.switches = Lock(), 0, ExitStack()

    def leave_out(self) -> None:
        """Until as many calls of `take_back`."""
        with self.lock:
            if not self.users:
                self.switches.enter_context(torch.backends.cudnn.flags(enabled=False))
                self.switches.enter_context(torch.backends.nnpack.flags(enabled=False))
            self.users += 1

    def take_back(self) -> None:
        """As the user had set them, when nobody needs them to be left out any more."""
        with self.lock:
            self.users -= 1
            if not self.users:
                self.switches.close()


_rounding = _RoundingKernels()


@contextmanager
def exact_kernels() -> Iterator[None]:
    """Without the kernels that round: Winograd, FFT and TF32 convolutions (cuDNN, NNPACK).

    Threads may overlap: they are left out until the last one is done.
    """
    _rounding.leave_out()
    try:
        yield
    finally:
        _rounding.take_back()
