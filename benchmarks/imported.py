"""ONNX models at their own levels: our integers beside ONNX Runtime.

    python benchmarks/imported.py --data FOLDER --models FOLDER [--images 2000]

For each int8 or QONNX model: accuracy in ONNX Runtime (of the QONNX nets, which it cannot run, of
the float network), accuracy of the integer quantized ANN that the spiking network settles to, and
how often both give the same answer. Writes `imported.json` and a table in `README.md`.

Data: `cifar10_lossless.npz`, `kws01_mfcc.npz` and `mnist/`. Models: `mlperf_tiny_onnx/` (ResNet8,
DS-CNN) and `qonnx_zoo/` (TFC 1W2A, 2W2A).
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from results import Rows, put, table

from snndeploy import convert, deploy, load
from snndeploy.nodes import Neuron

CHUNK = 50


@dataclass(frozen=True, eq=False)
class Samples:
    """Test data: as ONNX Runtime takes it (None: it cannot run the model), as ours, and labels."""

    theirs: np.ndarray | None
    ours: np.ndarray
    labels: np.ndarray


def resnet8(data: Path, images: int) -> Samples:
    """CIFAR-10: pixels, which the model takes less 128, channels last."""
    with np.load(data / "cifar10_lossless.npz") as file:
        pixels = np.concatenate([file["x_test"], file["x_train"]])[:images]
        labels = np.concatenate([file["y_test"], file["y_train"]])[:images]
    theirs = (pixels.astype(np.int16) - 128).astype(np.int8)
    return Samples(theirs, pixels.transpose(0, 3, 1, 2).astype(np.int64), labels)


def dscnn(data: Path, images: int) -> Samples:
    """Keywords: int8 MFCCs, of which the zero point 83 is taken off."""
    with np.load(data / "kws01_mfcc.npz") as file:
        x, labels = file["x"][:images], file["y"][:images]
    return Samples(x[..., None], x[:, None].astype(np.int64) - 83, labels)


def tfc(data: Path, images: int) -> Samples:
    """MNIST, pixels / 255."""
    parts = ("t10k-images-idx3-ubyte.gz", 16), ("t10k-labels-idx1-ubyte.gz", 8)
    x, labels = (
        np.frombuffer(gzip.decompress((data / "mnist" / name).read_bytes()), np.uint8, offset=skip)
        for name, skip in parts
    )
    pixels = x.reshape(-1, 1, 28, 28)[:images].astype(np.float64) / 255
    return Samples(None, pixels, labels[:images])


MODELS: dict[str, tuple[str, Callable[[Path, int], Samples]]] = {
    "ResNet8 int8 (CIFAR-10)": ("mlperf_tiny_onnx/resnet8_int8_qdq.onnx", resnet8),
    "DS-CNN int8 (keywords)": ("mlperf_tiny_onnx/kws_dscnn_int8_qdq.onnx", dscnn),
    "TFC 1W2A (MNIST)": ("qonnx_zoo/TFC_1W2A.onnx", tfc),
    "TFC 2W2A (MNIST)": ("qonnx_zoo/TFC_2W2A.onnx", tfc),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder with data sets")
    parser.add_argument("--models", type=Path, required=True, help="the folder with models")
    parser.add_argument("--images", type=int, default=2_000, help="to test on, at most")
    chosen = parser.parse_args()
    rows = Rows("imported", fresh=True)
    for name, (file, samples_of) in MODELS.items():
        samples = samples_of(chosen.data, chosen.images)
        rows.add(name, {"model": name, **measured(chosen.models / file, samples)})
        print(rows.rows[name], flush=True)
    rows.finish(command="python benchmarks/imported.py --data FOLDER --models FOLDER")
    put("imported", as_table(rows))


def measured(file: Path, samples: Samples) -> dict[str, object]:
    """One row."""
    network = load(file)
    snn = convert(network)
    parts = [samples.ours[i : i + CHUNK] for i in range(0, len(samples.ours), CHUNK)]
    inputs = [deploy.grid_inputs(snn, part) for part in parts]
    found = np.concatenate([deploy.evaluate_integer_ann(snn, x).logits for x in inputs]).argmax(1)
    if samples.theirs is None:
        original = np.concatenate([deploy.float_predictions(network, part) for part in parts])
    else:
        original = in_onnx_runtime(file, samples.theirs)
    return {
        "images": len(found),
        "levels": max(node.levels for node in snn.nodes if isinstance(node, Neuron)),
        "original_accuracy": float((original == samples.labels).mean()),
        "integer_accuracy": float((found == samples.labels).mean()),
        "agreement": float((original == found).mean()),
    }


def in_onnx_runtime(file: Path, samples: np.ndarray) -> np.ndarray:
    """The answers of the original."""
    import onnxruntime  # noqa: PLC0415  (not needed for the nets that it cannot run)

    session = onnxruntime.InferenceSession(file)
    (name,) = [x.name for x in session.get_inputs()]
    parts = [samples[i : i + CHUNK] for i in range(0, len(samples), CHUNK)]
    return np.concatenate([session.run(None, {name: part})[0] for part in parts]).argmax(1)


def as_table(rows: Rows) -> str:
    """The table for `README.md`."""
    head = ["model", "levels", "samples", "original", "integers", "same answer"]
    body = [
        [
            str(row["model"]),
            f"{row['levels']}",
            f"{row['images']:,}",
            *(f"{row[key]:.2%}" for key in ("original_accuracy", "integer_accuracy", "agreement")),
        ]
        for row in rows.rows.values()
    ]
    return table(head, body)


if __name__ == "__main__":
    main()
