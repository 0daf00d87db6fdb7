"""Which device the backends compute on."""

from __future__ import annotations

import importlib
import os

from snndeploy.errors import BackendMissingError, InputError

DEVICE_VARIABLE = "SNNDEPLOY_DEVICE"


def usable_device(wanted: str | None, backend: str) -> str:
    """`cpu` or `cuda`: as wanted, else as SNNDEPLOY_DEVICE says, else `cpu`.

    Raises:
        InputError: another device.
        BackendMissingError: PyTorch, which is imported only to ask, finds no GPU.
    """
    device = wanted or os.environ.get(DEVICE_VARIABLE) or "cpu"
    if device not in ("cpu", "cuda"):
        raise InputError(
            f"unknown device '{device}'",
            where=f"backend '{backend}'",
            remedy=f"use cpu or cuda (option device or {DEVICE_VARIABLE})",
        )
    if device == "cuda" and not importlib.import_module("torch").cuda.is_available():
        raise BackendMissingError(
            "PyTorch finds no usable GPU here",
            where=f"backend '{backend}', device 'cuda'",
            remedy=f"install a CUDA build of PyTorch, or set {DEVICE_VARIABLE}=cpu",
        )
    return device
