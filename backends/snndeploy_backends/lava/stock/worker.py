"""The worker: `python -I worker.py <run folder>` runs a netx file on Lava and records it.

    network.net       as `snndeploy.netx` writes it
    job.json          {"builder", "steps", "per_step"}
    samples.npy       int32, (N, W, H, C) or (N, F): what is fed in; (N, T, ...) step by step
    spikes_<i>.npy    written here: int8 (N * steps, *shape), of the i-th layer, (W, H, C) or (F,)
    membranes.npy     written here: int32 (N * steps, classes), of the readout, in 1/64
    done              written here when the records are complete

Builder `lava-nc` puts the network together here from Conv, Dense and LIF; `lava-dl` has netx do it.
A layer at depth d, counted from 1, is d steps late, and is reset as often as samples change.
Nothing of snndeploy is imported here but Lava's mend and the recorders.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing.process
import os
import shutil
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

MESSAGE_BITS = 16
BIAS_EXPONENT = 6
"""Lava shifts thresholds and currents left by as many bits, but not biases."""


@dataclass(frozen=True)
class Built:
    """A network that is ready to run.

    Attributes:
        entry: the port that takes in samples.
        outputs: one port a layer that emits its spikes, the readout's left out.
        membranes: the readout's variable.
    """

    entry: Any
    outputs: Sequence[Any]
    membranes: Any


def build_lava_nc(file: Path, steps: int) -> Built:
    """Conv, Dense and LIF of lava-nc, one by one."""
    from lava.proc.conv.process import Conv  # noqa: PLC0415
    from lava.proc.dense.process import Dense  # noqa: PLC0415
    from lava.proc.lif.process import LIFReset  # noqa: PLC0415

    shape: tuple[int, ...] = ()
    entry: Any = None
    neurons: list[Any] = []
    flatten = False
    with h5py.File(file, "r") as content:
        layers = content["layer"]
        for group in (layers[str(index)] for index in range(len(layers))):
            kind, size = group["type"][()], tuple(int(n) for n in group["shape"][()][::-1])
            if kind == b"input":
                shape = size
            flatten |= kind == b"flatten"
            if kind not in (b"conv", b"dense"):
                continue
            bits = 0 if neurons else MESSAGE_BITS
            weight, bias = group["weight"][()].astype(np.int32), group["bias"][()]
            if kind == b"conv":
                # Lava's convolution flips its kernel, and counts (C_out, W, H, C_in).
                weight = weight[:, :, ::-1, ::-1, 0].transpose(0, 3, 2, 1).copy()
                places = ("stride", "padding", "dilation")
                where = {name: tuple(int(n) for n in group[name][()][::-1]) for name in places}
                synapses = Conv(
                    weight=weight,
                    input_shape=shape,
                    groups=int(group["groups"][()]),
                    num_message_bits=bits,
                    **where,
                )
            else:
                # Dense drops the lowest of nine bits: twice the weight, and half the sum.
                synapses = Dense(weights=2 * weight, weight_exp=-1, num_message_bits=bits)
            lif = LIFReset(
                shape=size,
                vth=int(group["neuron/vThMant"][()]),
                du=4095,
                dv=0,
                bias_mant=np.broadcast_to(bias, size).astype(np.int32),
                bias_exp=BIAS_EXPONENT,
                reset_interval=steps,
                reset_offset=len(neurons) + 2,
            )
            if not neurons:
                entry = synapses.s_in
            elif flatten:
                neurons[-1].s_out.transpose([2, 1, 0]).flatten().connect(synapses.s_in)
            else:
                neurons[-1].s_out.connect(synapses.s_in)
            synapses.a_out.connect(lif.a_in)
            neurons.append(lif)
            shape, flatten = size, False
    return Built(entry, [lif.s_out for lif in neurons[:-1]], neurons[-1].v)


def build_lava_dl(file: Path, steps: int) -> Built:
    """What netx makes of the file."""
    _without_torch()
    from lava.lib.dl.netx.hdf5 import Network  # noqa: PLC0415

    network = Network(
        str(file), input_message_bits=MESSAGE_BITS, reset_interval=steps, reset_offset=1
    )
    outputs = [layer.out for layer in network.layers[:-1]]
    return Built(network.inp, outputs, network.layers[-1].neuron.v)


BUILDERS: dict[str, Callable[[Path, int], Built]] = {
    "lava-nc": build_lava_nc,
    "lava-dl": build_lava_dl,
}


def run(folder: Path) -> None:
    """Run the job in `folder`."""
    from snndeploy_backends.lava.worker.mends import import_lava  # noqa: PLC0415

    # Else its sockets lie in a folder of their own that outlives a worker that is killed.
    multiprocessing.process.current_process()._config["tempdir"] = "."  # type: ignore[attr-defined]
    import_lava()
    from lava.magma.core.run_conditions import RunSteps  # noqa: PLC0415
    from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: PLC0415

    from snndeploy_backends.lava.stock.processes import recorders  # noqa: PLC0415

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    samples = np.load(folder / "samples.npy", allow_pickle=False)
    steps = job["steps"]
    built = BUILDERS[job["builder"]](folder / "network.net", steps)
    source = recorders.Frames(samples, steps, job["per_step"])
    source.s_out.connect(built.entry)
    total, depth = len(samples) * steps, len(built.outputs) + 1
    for index, port in enumerate(built.outputs):
        record = _record(folder / f"spikes_{index}.npy", np.int8, total, port.shape)
        port.connect(recorders.Spikes(record, index + 2).a_in)
    record = _record(folder / "membranes.npy", np.int32, total, built.membranes.shape)
    recorders.Membranes(record, depth + 1, built.membranes)
    source.run(
        condition=RunSteps(num_steps=total + depth),
        run_cfg=Loihi2SimCfg(select_tag="fixed_pt", select_sub_proc_model=True),
    )
    (folder / "done").touch()
    source.stop()


def _record(file: Path, dtype: type[Any], steps: int, shape: tuple[int, ...]) -> Any:
    return np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=(steps, *shape))


def _without_torch() -> None:
    """The training half of lava-dl, of which netx imports one function, replaced by nothing."""
    package = "lava.lib.dl"
    spec = importlib.util.find_spec(f"{package}.netx")
    origin = None if spec is None else spec.origin  # Lava asks every module for its folder
    names = ("slayer", "slayer.neuron", "slayer.neuron.rf", "netx.sequential_modules")
    for name in names:
        module = types.ModuleType(f"{package}.{name}")
        module.__path__, module.__file__ = [], origin
        sys.modules[module.__name__] = module
    vars(sys.modules[f"{package}.slayer.neuron.rf"])["neuron_params"] = None


def _end_with_parent(folder: Path) -> None:
    """End the whole session, and remove its folder, when the parent's pipe closes.

    Lava's resource tracker outlives SIGTERM and frees shared memory.
    """

    def listen() -> None:
        while os.read(0, 4096):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        os.killpg(0, signal.SIGTERM)

    threading.Thread(target=listen, daemon=True).start()


def main(folder: str) -> int:
    """Make our package importable from its folder alone, then run."""
    package = types.ModuleType("snndeploy_backends")
    package.__path__ = [str(Path(__file__).resolve().parents[2])]
    sys.modules[package.__name__] = package
    _end_with_parent(Path(folder))
    try:
        run(Path(folder))
    except Exception:  # noqa: BLE001 - whatever it is, the parent is to read it
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # Lava waits for ever for what it has not started
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
