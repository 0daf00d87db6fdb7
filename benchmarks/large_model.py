"""A model of 100 MB to a spiking network: how much memory that takes, and how long.

    python benchmarks/large_model.py [--only KIND] [--fresh] [--smoke]

Writes an ONNX model shaped like VGG-16 (96 x 96 pixels, 13 convolutions, 27 million weights), and
has a fresh process load, convert and save it: `float`, float32 with ReLUs, gets 15 levels on a few
samples; `int8`, with QDQ, keeps its own. Shows progress; writes `large_model.json` and a
table in `README.md`. The peak is that of the process as a whole, libraries included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from results import Row, Rows, put, table

import snndeploy
from snndeploy.process_memory import own_peak_bytes

LIMIT_BYTES = 4 * 10**9
SAMPLES, LEVELS = 16, 15
KINDS = ("float", "int8")
WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of the convolutions; 0: a max-pool."""


@dataclass(frozen=True)
class Size:
    """Of a model: pixels along a side, by how much widths are divided, hidden neurons."""

    pixels: int = 96
    divisor: int = 1
    hidden: int = 2200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=KINDS, help="one kind of model; writes nothing")
    parser.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    parser.add_argument("--smoke", action="store_true", help="small models, nothing written")
    chosen = parser.parse_args()
    size = Size(32, 16, 20) if chosen.smoke else Size()
    rows = Rows("large_model", chosen.fresh, keep=not (chosen.smoke or chosen.only))
    for kind in [chosen.only] if chosen.only else KINDS:
        if rows.get(kind) is None:
            rows.add(kind, _measure(kind, size))
        row = rows.rows[kind]
        print(
            f"{kind}: {row['model_bytes'] / 1e6:.0f} MB, {row['weights']:,} weights, "
            f"{row['peak_bytes'] / 1e9:.2f} GB at most, {row['seconds']:.0f} s, "
            f"{row['progress_reports']} reports of progress",
            flush=True,
        )
    rows.finish(command="python benchmarks/large_model.py", limit_bytes=LIMIT_BYTES)
    if rows.keep:
        put("large model", as_table(list(rows.rows.values())))
    if any(row["peak_bytes"] > LIMIT_BYTES for row in rows.rows.values()):
        raise SystemExit(f"more than {LIMIT_BYTES / 1e9:.0f} GB")


def as_table(rows: list[Row]) -> str:
    """The table for `README.md`."""
    head = ["model", "file", "weights", "peak memory", "seconds", "samples to calibrate on"]
    body = [
        [
            row["model"],
            f"{row['model_bytes'] / 1e6:.0f} MB",
            f"{row['weights']:,}",
            f"**{row['peak_bytes'] / 1e9:.2f} GB**",
            f"{row['seconds']:.0f}",
            f"{row['calibration_samples']}",
        ]
        for row in rows
    ]
    return table(head, body)


def _measure(kind: str, size: Size) -> Row:
    """Write a model, and have a fresh process convert it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        weights = write_model(file, size, kind == "int8")
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            row = pool.submit(convert, file, kind, size.pixels).result()
        return {
            "model": kind,
            "model_bytes": file.stat().st_size,
            "weights": weights,
            "network_bytes": file.with_suffix(".nir").stat().st_size,
            **row,
        }


def convert(file: Path, kind: str, pixels: int) -> Row:
    """In the process of its own: load, convert and save once."""
    started, seen, told = perf_counter(), 0, 0.0

    def tell(done: int, total: int) -> None:
        nonlocal seen, told
        seen += 1
        if perf_counter() - told > 1:
            told = perf_counter()
            print(f"  {told - started:5.0f} s: {done} of {total}", file=sys.stderr, flush=True)

    options = {}
    if kind == "float":
        samples = np.random.default_rng(1).random((SAMPLES, 3, pixels, pixels), np.float32)
        options = {"calibration": samples, "levels": LEVELS}
    network = snndeploy.load(file)
    snn = snndeploy.convert(network, progress=tell, **options)
    snndeploy.save(snn, file.with_suffix(".nir"))
    return {
        "calibration_samples": SAMPLES if options else 0,
        "seconds": round(perf_counter() - started, 1),
        "peak_bytes": own_peak_bytes() or 0,
        "progress_reports": seen,
    }


def write_model(file: Path, size: Size, int8: bool) -> int:
    """An ONNX file; how many weights it has."""
    graph = _Graph(int8)
    value, channels, pixels = graph.grid("x"), 3, size.pixels
    for width in WIDTHS:
        if width:
            value = graph.layer(value, (width // size.divisor, channels, 3, 3))
            channels = width // size.divisor
        else:
            value = graph.node("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
            pixels //= 2
    value = graph.node("Flatten", value)
    value = graph.layer(value, (size.hidden, channels * pixels**2))
    value = graph.layer(value, (1000, size.hidden), last=True)
    shape = (None, 3, size.pixels, size.pixels)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "vgg16",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_empty_tensor_value_info(value)],
            graph.stored,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, file)
    return graph.weights


@dataclass
class _Graph:
    """Nodes and tensors of a model under construction."""

    int8: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: list[onnx.TensorProto] = field(default_factory=list)
    weights: int = 0
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def node(self, kind: str, *operands: str, **attributes: object) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, operands, [f"{name}_y"], name, **attributes))
        return f"{name}_y"

    def store(self, value: np.ndarray) -> str:
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(value, name))
        return name

    def grid(self, value: str, scale: float = 1 / 255, zero: int = -128) -> str:
        """An int8 grid, in an int8 model."""
        if not self.int8:
            return value
        grid = self.store(np.float32(scale)), self.store(np.int8(zero))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", value, *grid), *grid)

    def layer(self, value: str, shape: tuple[int, ...], last: bool = False) -> str:
        """Weights (He's initialisation), a bias, and a ReLU unless it is the last."""
        self.weights += int(np.prod(shape))
        deviation = float(np.sqrt(2 / np.prod(shape[1:])))
        weight = self.random.standard_normal(shape, np.float32) * np.float32(deviation)
        stored = self.quantized(weight) if self.int8 else self.store(weight)
        bias = self.store(np.zeros(shape[0], np.float32))
        if len(shape) == 4:
            value = self.node("Conv", value, stored, bias, pads=[1] * 4)
        else:
            value = self.node("Gemm", value, stored, bias, transB=1)
        return value if last else self.grid(self.node("Relu", value), 4 / 255)

    def quantized(self, weight: np.ndarray) -> str:
        """Stored as int8, one scale a channel."""
        scale = np.abs(weight).reshape(len(weight), -1).max(axis=1) / 127
        held = np.round(weight / scale.reshape(-1, *(1,) * (weight.ndim - 1))).astype(np.int8)
        operands = self.store(held), self.store(scale), self.store(np.zeros(len(scale), np.int8))
        return self.node("DequantizeLinear", *operands, axis=0)


if __name__ == "__main__":
    main()
