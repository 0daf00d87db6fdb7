"""ONNX models at their own levels: our integers beside ONNX Runtime.

    python benchmarks/imported.py --data FOLDER --models FOLDER [--images 2000]

For each int8 or QONNX model: accuracy in ONNX Runtime (of the QONNX nets, which it cannot run, of
the float network), accuracy of the integer quantized ANN that the spiking network settles to, and
how often both give the same answer. An int8 model rounds its logits, too, so that the two largest
may be equal; we leave that quantizer out, and any of the equal ones is the same answer in the last
column. Writes `imported.json` and a table in `README.md`.

CIFAR-10 has 500 lossless test images here, so that the rest are training images: this is about
answers that stay the same, not about accuracy. Folders: see `foreign.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import foreign
import numpy as np
from foreign import Model, Samples
from results import Rows, put, table

from snndeploy import convert
from snndeploy.nodes import Neuron

NAMES = ("resnet8", "dscnn", "tfc_1w2a", "tfc_2w2a")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder with data sets")
    parser.add_argument("--models", type=Path, required=True, help="the folder with models")
    parser.add_argument("--images", type=int, default=2_000, help="to test on, at most")
    chosen = parser.parse_args()
    rows = Rows("imported", fresh=True)
    for name in NAMES:
        model = foreign.MODELS[name](chosen.data, chosen.models)
        rows.add(name, {"model": model.title, **measured(model, chosen.images)})
        print(rows.rows[name], flush=True)
    rows.finish(command="python benchmarks/imported.py --data FOLDER --models FOLDER")
    put("imported", as_table(rows))


def measured(model: Model, images: int) -> dict[str, object]:
    """One row."""
    snn, samples = convert(model.network), samples_of(model, images)
    found, logits = foreign.integer_answers(snn, samples), model.logits(samples)
    original, largest = logits.argmax(1), logits == logits.max(axis=1, keepdims=True)
    return {
        "images": len(found),
        "levels": max(node.levels for node in snn.nodes if isinstance(node, Neuron)),
        "original_accuracy": float((original == samples.labels).mean()),
        "integer_accuracy": float((found == samples.labels).mean()),
        "agreement": float((original == found).mean()),
        "agreement_or_tie": float(largest[np.arange(len(found)), found].mean()),
        "ties": float((largest.sum(axis=1) > 1).mean()),
    }


def samples_of(model: Model, images: int) -> Samples:
    """Test samples, and training samples where those are too few."""
    test, training = model.test.rows(slice(images)), model.training
    if training is None or len(test) == images:
        return test
    more = training.rows(slice(images - len(test)))
    names = "theirs", "ours", "labels"
    return Samples(*(np.concatenate([getattr(part, n) for part in (test, more)]) for n in names))


def as_table(rows: Rows) -> str:
    """The table for `README.md`."""
    head = ["model", "levels", "samples", "original", "integers", "same answer", "or a tie"]
    shares = "original_accuracy", "integer_accuracy", "agreement", "agreement_or_tie"
    body = [
        [
            str(row["model"]),
            f"{row['levels']}",
            f"{row['images']:,}",
            *(f"{row[key]:.2%}" for key in shares),
        ]
        for row in rows.rows.values()
    ]
    return table(head, body)


if __name__ == "__main__":
    main()
