"""Export: an integer network in the file format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from snndeploy.errors import InputError
from snndeploy.network import Network
from snndeploy.netx import save_netx
from snndeploy.nirfile import save

Format: TypeAlias = Literal["nir", "netx"]


def export(
    network: Network, path: str | Path, format: Format = "nir", *, steps: int | None = None
) -> None:
    """Write an integer network for another tool; an existing file is replaced in one step.

    Args:
        network: from `convert` or a `.nir` file.
        path: of the file.
        format: `nir`, as `save` writes it, or `netx`, which lava-dl 0.6.0 loads
            (`lava.lib.dl.netx.hdf5.Network`): chains of convolutions and dense layers in rate mode
            with hard reset.
        steps: for `netx`, the steps that a sample runs, for which no membrane may overflow;
            default: the window.

    Raises:
        InputError: an unknown format, or steps for `nir`.
        UnsupportedModelError: the format cannot hold the network; lists every layer and why.
        FileFormatError: the file cannot be written.
    """
    if format not in get_args(Format):
        raise InputError(
            f"{format!r}", where="export format", remedy=f"use {' or '.join(get_args(Format))}"
        )
    if format == "netx":
        save_netx(network, path, steps)
        return
    if steps is not None:
        raise InputError("are for netx only", where="steps", remedy="leave them out")
    save(network, path)
