"""lava-dl's network exchange format (netx): one HDF5 file that `lava.lib.dl.netx` builds from.

Layout, as netx 0.6.0 reads it:

    layer/<i>/type      bytes: input, conv, flatten or dense
    layer/<i>/shape     (C, H, W) or (F,)
    layer/<i>/weight    conv (O, I, H, W, 1), dense (out, C*H*W); both in PyTorch's orientation
    layer/<i>/bias      (C,), and for conv stride, padding, dilation (H, W) and groups
    layer/<i>/neuron/   type CUBA, iDecay 4096, vDecay 0, vThMant, refDelay 1, gradedSpike False

`vThMant` is our threshold less one, since Lava's LIF fires above it. The readout is a dense layer
whose neurons never fire: its membranes, in 1/64, are the logits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from snndeploy.errors import FileFormatError
from snndeploy.files import replacing
from snndeploy.network import Network
from snndeploy.nodes import Shape
from snndeploy.stock import StockLayer, stock_layers

MESSAGE_BITS = 16
"""Of the input's graded values: what `hdf5.Network` is to be told as `input_message_bits`."""

KEY = "snndeploy"
"""The file's attribute with what netx does not ask for, as JSON."""

_NEURON: dict[str, Any] = {
    "type": np.bytes_("CUBA"),
    "iDecay": 4096,
    "vDecay": 0,
    "refDelay": 1,
    "gradedSpike": False,
}


def save_netx(network: Network, path: str | Path, steps: int | None = None) -> None:
    """Write an integer network for lava-dl's netx; an existing file is replaced in one step.

    `hdf5.Network(path, input_message_bits=16, reset_interval=steps, reset_offset=1)` loads it.
    Feed each sample (W, H, C), or (F,), at `steps` steps, one sample after the other: layer d,
    counted from 1, then does at step t + d what the network does at its step t.

    Args:
        network: in rate mode with hard reset; see `snndeploy.stock` for the rest.
        path: of the file.
        steps: that a sample runs, for which no membrane may overflow; default: the window.

    Raises:
        UnsupportedModelError: netx cannot hold it; lists every layer that it cannot hold, and why.
        FileFormatError: the file cannot be written.
    """
    held, target = stock_layers(network, steps), Path(path)
    duration = network.window if steps is None else steps
    with replacing(target) as temporary:
        try:
            with h5py.File(temporary, "w") as file:
                _write(file, network, held, duration)
        except OSError as error:
            raise FileFormatError(
                f"cannot be written: {error}", where=str(target), remedy="check the free space"
            ) from error


def _write(file: h5py.File, network: Network, held: tuple[StockLayer, ...], steps: int) -> None:
    entries: list[tuple[str, Shape, StockLayer | None]] = []
    entries.append(("input", _entry_shape(held[0]), None))
    for before, layer in zip((None, *held), held, strict=False):
        if layer.kind == "dense" and before is not None and len(before.shape) > 1:
            entries.append(("flatten", (int(np.prod(before.shape)),), None))
        entries.append((layer.kind, layer.shape, layer))
    for index, (kind, shape, holds) in enumerate(entries):
        group = file.create_group(f"layer/{index}")
        group["type"] = np.bytes_(kind)
        group["shape"] = np.array(shape, np.int64)
        if holds is not None:
            _write_layer(group, holds)
    file["simulation/Ts"], file["simulation/tSample"] = 1, steps
    file.attrs[KEY] = json.dumps(_about(network, held, steps))


def _entry_shape(first: StockLayer) -> Shape:
    """Of what is fed in: an image for a convolution, else flat."""
    return first.source if first.kind == "conv" else (int(np.prod(first.source)),)


def _write_layer(group: h5py.Group, layer: StockLayer) -> None:
    group["bias"] = layer.bias
    if layer.kind == "conv":
        group["weight"] = layer.weight[..., None]
        group["stride"], group["padding"] = np.array(layer.stride), np.array(layer.padding)
        group["dilation"], group["groups"] = np.array(layer.dilation), layer.groups
    else:
        group["weight"] = layer.weight
    neuron = group.create_group("neuron")
    for name, value in {**_NEURON, "vThMant": layer.vth}.items():
        neuron[name] = value


def _about(network: Network, held: tuple[StockLayer, ...], steps: int) -> dict[str, Any]:
    """What a user needs beside the file, and which network it is."""
    grid = network.input.grid
    assert grid is not None
    return {
        "network": network.name,
        "hash": network.hash,
        "layers": [layer.name for layer in held],
        "steps": steps,
        "input_message_bits": MESSAGE_BITS,
        "reset_interval": steps,
        "reset_offset": 1,
        "input_grid": {"scale": grid.scale, "low": grid.low, "high": grid.high},
        "per_step": network.input.per_step,
        "logit_scale": network.output.scale,
    }
