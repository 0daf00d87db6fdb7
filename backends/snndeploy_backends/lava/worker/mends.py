"""Import lava-nc 0.10.0 where it does not import as it is."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable
from typing import Any


def import_lava() -> None:
    """Import the parts of Lava that need a mend, mended.

    Its `var_model` has instances of a dataclass as defaults, which Python 3.11 refuses unless
    they are hashable. During that one import dataclasses are made hashable.
    """
    if sys.version_info < (3, 11):
        return
    original: Callable[..., Any] = dataclasses.dataclass

    def hashable(cls: type | None = None, /, **options: Any) -> Any:
        return original(cls, **{"unsafe_hash": True, **options})

    dataclasses.dataclass = hashable
    try:
        importlib.import_module("lava.magma.compiler.var_model")
    finally:
        dataclasses.dataclass = original
