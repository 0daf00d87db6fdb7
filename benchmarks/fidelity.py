"""Float to integer on CIFAR-10: accuracy, answers and counts that rounding costs.

    python benchmarks/fidelity.py --data FOLDER --resnet20 FILE [--checkpoint FOLDER]
                                  [--images 10000] [--only NAME] [--smoke]

Trains a ResNet-20, from published float weights (FILE: `resnet20-12fca82f.th`), and a small VGG
from nothing, with 4-bit (L = 15) and with 2-bit (L = 3) activations; see `cifar.py`. Each is then
the reference in three forms:

    float       weights as trained, float32
    8-bit       the same rounded to 8 bits with one scale a channel, max|W| / 127: what a network
                is that was trained with quantized weights elsewhere
    on the grid the same after `put_on_grid`, without any further training

and is turned to integers in two ways: `naive`, with the scales of the 8-bit form, thresholds
rounded to integers and biases rounded step by step; and `ours`, `Quantize`, with membranes of 24
bits, as on Loihi, and of 32. With `--checkpoint` trained networks are kept and used again. Writes
`fidelity.json` and the tables in `README.md`.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cifar
import numpy as np
import torch
import torch.nn.functional as F
from results import Row, Rows, put, table
from torch import nn

from snndeploy import from_torch
from snndeploy.float_ann import float_ann
from snndeploy.grid_training import put_on_grid, take_off_grid
from snndeploy.inputs import on_grid
from snndeploy.integer_ann import integer_ann
from snndeploy.layers import Projection, constant, count_worths, layers, pooled
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Linear, MaxPool2d, Neuron, Node, Output, Scale, SumPool2d
from snndeploy.numerics import FloatArray, Int64Array, round_to_integer
from snndeploy.passes import FoldBatchNorm, PoolAfterActivation, Quantize
from snndeploy.ranges import ranges
from snndeploy.verify.fidelity import FidelityReport, fidelity

DETAILED = 500
"""Images on which every count is compared; the answers are compared on all."""

CHUNK = 50


@dataclass(frozen=True)
class Stage:
    """One training run: from the network before it, or from published weights, or from nothing."""

    levels: int
    epochs: int
    learning_rate: float
    bfloat16: bool = True


NETWORKS = {
    "resnet20": (cifar.ResNet20, (Stage(15, 3, 0.02, bfloat16=False), Stage(3, 2, 0.02))),
    "vgg": (cifar.Vgg, (Stage(15, 4, 0.1), Stage(3, 2, 0.03))),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="the folder with CIFAR-10")
    arguments.add_argument("--resnet20", type=Path, required=True, help="published float weights")
    arguments.add_argument("--checkpoint", type=Path, help="where trained networks are kept")
    arguments.add_argument("--images", type=int, default=10_000, help="to test on")
    arguments.add_argument("--only", choices=sorted(NETWORKS), help="one kind of network")
    arguments.add_argument("--smoke", action="store_true", help="tiny runs, nothing written")
    chosen = arguments.parse_args()
    torch.manual_seed(0)
    data = Data.of(chosen.data, 256 if chosen.smoke else None)
    count = 100 if chosen.smoke else chosen.images
    rows = Rows("fidelity", keep=not (chosen.smoke or chosen.only))
    for name in [chosen.only] if chosen.only else NETWORKS:
        for levels, model in trained(name, data, chosen):
            study(f"{name}, L = {levels}", model, data, count, rows)
    if rows.keep:
        command = "python benchmarks/fidelity.py --data FOLDER --resnet20 FILE"
        training = {
            name: [f"L = {s.levels}: {s.epochs} epochs, at most {s.learning_rate}" for s in stages]
            for name, (_, stages) in NETWORKS.items()
        }
        rows.finish(
            command=f"{command} --images {count}", counts_compared_on=DETAILED, training=training
        )
        put("fidelity", as_table(rows))


@dataclass(frozen=True, eq=False)
class Data:
    """Training and test images as JPEG, and test images without loss."""

    training: cifar.Images
    test: cifar.Images
    lossless: cifar.Images

    @staticmethod
    def of(folder: Path, limit: int | None) -> Data:
        """The images in a folder, or the first so many of each part."""
        parts = cifar.jpeg_images(folder, "train"), cifar.jpeg_images(folder, "test")
        parts = *parts, cifar.lossless_images(folder)
        return Data(*(cifar.Images(p.pixels[:limit], p.labels[:limit]) for p in parts))


def trained(name: str, data: Data, chosen: argparse.Namespace) -> Iterator[tuple[int, nn.Module]]:
    """Each stage's network, in eval mode; from its checkpoint if there is one."""
    make, stages = NETWORKS[name]
    before: dict[str, torch.Tensor] | None = None
    for stage in stages:
        torch.manual_seed(0)
        model = make(stage.levels)
        if before is not None:
            model.load_state_dict(before)
        elif name == "resnet20":
            cifar.load_published(model, chosen.resnet20, data.training.batch(slice(0, 512)))
        kept = chosen.checkpoint and chosen.checkpoint / f"{name}_{stage.levels}.pt"
        if kept and kept.exists():
            model.load_state_dict(torch.load(kept, weights_only=True))
        else:
            epochs = 1 if chosen.smoke else stage.epochs
            cifar.train(model, data.training, epochs, stage.learning_rate, print, stage.bfloat16)
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                torch.save(model.state_dict(), kept)
        before = model.state_dict()
        yield stage.levels, model.eval()


def study(name: str, model: nn.Module, data: Data, count: int, rows: Rows) -> None:
    """A row for each form of one trained network and each way of rounding it."""
    x, labels = data.test.batch(slice(0, count)), data.test.labels[:count].numpy()
    snapped = copy.deepcopy(model)
    put_on_grid(snapped, x[:2])
    take_off_grid(snapped)
    plain, on_the_grid = (prepared(from_torch(m, x[:2])) for m in (model, snapped))
    forms = {
        "float": (plain, {"naive": naive, "ours": Quantize()}),
        "8-bit": (
            eight_bit(plain),
            {"naive": naive, "ours": Quantize(), "ours, 32 bits": Quantize(state_bits=32)},
        ),
        "on the grid": (on_the_grid, {"ours": Quantize()}),
    }
    for form, (network, ways) in forms.items():
        if all(rows.get(f"{name}, {form}, {way}, {count}") for way in ways):
            continue
        inputs = on_grid(Quantize()(network), x.numpy())
        expected = float_logits(network, inputs)
        for way, quantize in ways.items():
            integer = quantize(network)
            found = integer_logits(integer, inputs)
            right = [(logits.argmax(1) == labels).mean() for logits in (expected, found)]
            row = {
                "network": name,
                "reference": form,
                "rounding": way,
                "images": count,
                "float_accuracy": round(float(right[0]), 5),
                "integer_accuracy": round(float(right[1]), 5),
                "loss_points": round(100 * float(right[0] - right[1]), 3),
                "agreement": round(float((expected.argmax(1) == found.argmax(1)).mean()), 5),
                "lossless": lossless(network, integer, data.lossless),
                "layers": per_layer(
                    fidelity(network, integer, inputs[:DETAILED], labels[:DETAILED])
                ),
            }
            rows.add(f"{name}, {form}, {way}, {count}", row)
            print(" | ".join(cells(row)), flush=True)


def prepared(network: Network) -> Network:
    """The form that is quantized."""
    return PoolAfterActivation()(FoldBatchNorm()(network))


def eight_bit(network: Network) -> Network:
    """The same float network with weights on 8 bits, one scale a channel (one for the readout)."""
    nodes = []
    for node in network.nodes:
        if isinstance(node, Conv2d | Linear):
            largest = np.abs(node.weight).reshape(len(node.weight), -1).max(axis=1)
            if isinstance(node, Linear):
                largest[:] = largest.max()
            scale = (np.maximum(largest, 1e-12) / 127).reshape(-1, *(1,) * (node.weight.ndim - 1))
            nodes.append(replace(node, weight=round_to_integer(node.weight / scale) * scale))
        else:
            nodes.append(node)
    return network.rewrite(nodes)


def naive(network: Network) -> Network:
    """What comes of rounding each number by itself.

    A unit is what the weights of the first branch say, `max|W| / 127` times what a count is
    worth. Thresholds, the weights of other branches and the bias of each step are rounded to it;
    the weights of other branches may leave their word.
    """
    found = Quantize(identity_synapses=1, weight_exponent=0)(network)
    worths, changed = count_worths(found), {}
    for before, after in zip(layers(network), layers(found), strict=True):
        node = after.node
        if not isinstance(node, Neuron | Output):
            continue
        rows = [
            matrix(old) * worths[new.source] / pooled(new)
            for old, new in zip(before.projections, after.projections, strict=True)
        ]
        unit = np.maximum(np.abs(rows[0]).max(axis=1) / 127, node.scale / 65_535)
        if isinstance(node, Output):
            unit[:] = unit.max()
        for new, row in zip(after.projections, rows, strict=True):
            weight = round_to_integer(row / unit[:, None]).reshape(new.weighted.weight.shape)
            changed[new.weighted.name] = replace(new.weighted, weight=weight)
        step = constant(network, before.name) / unit / found.window
        bias = round_to_integer(step) * found.window
        if isinstance(node, Neuron):
            theta = round_to_integer(node.scale / unit)
            changed[node.name] = replace(node, threshold=theta, v0=theta // 2, bias=bias)
        else:
            changed[node.name] = replace(node, bias=bias, scale=float(unit[0]))
    return found.rewrite([changed.get(node.name, node) for node in found.nodes])


def matrix(projection: Projection) -> FloatArray:
    """The weights (C, K) of a projection of a float network; of an identity branch 1."""
    op = projection.weighted
    return np.ones((1, 1)) if op is None else op.weight.reshape(len(op.weight), -1)


def float_logits(network: Network, inputs: Int64Array) -> FloatArray:
    """The float network's logits (N, classes), in float64."""
    scale = network.input.grid.scale
    parts = range(0, len(inputs), CHUNK)
    return np.concatenate([float_ann(network, inputs[i : i + CHUNK] * scale).logits for i in parts])


@torch.inference_mode()
def integer_logits(network: Network, inputs: Int64Array) -> Int64Array:
    """The integer network's logits, in floats that hold all of its sums.

    Held to `integer_ann` on the first images.
    """
    largest = max(bound.magnitude for bound in ranges(network).values())
    assert largest < 1 << 53
    dtype = torch.float32 if largest < 1 << 24 else torch.float64
    parts = torch.split(torch.from_numpy(inputs * network.window).to(dtype), CHUNK)
    found = torch.cat([_integer_logits(network, part) for part in parts]).numpy().astype(np.int64)
    np.testing.assert_array_equal(found[:20], integer_ann(network, inputs[:20]).logits)
    return found


def _integer_logits(network: Network, x: torch.Tensor) -> torch.Tensor:
    values: dict[str, torch.Tensor] = {network.input.name: x}
    for layer in layers(network)[1:]:
        node = layer.node
        total = sum(run(p.ops, values[p.source]) for p in layer.projections)
        if isinstance(node, MaxPool2d):
            total = F.max_pool2d(total, node.kernel, node.stride, node.padding)
        elif isinstance(node, Neuron):
            v0, theta = (channels(a, total) for a in (node.v0 + node.bias, node.threshold))
            total = ((total + v0) / theta).floor().clamp(0, node.levels)
        else:
            total = total + channels(node.bias, total)
        values[layer.name] = total
    return values[network.output.name]


def run(ops: Sequence[Node], x: torch.Tensor) -> torch.Tensor:
    """A projection's linear nodes, first to last."""
    for op in ops:
        if isinstance(op, Conv2d):
            weight = torch.from_numpy(op.weight).to(x)
            x = F.conv2d(x, weight, None, op.stride, op.padding, op.dilation, op.groups)
        elif isinstance(op, Linear):
            x = F.linear(x, torch.from_numpy(op.weight).to(x))
        elif isinstance(op, Scale):
            x = x * channels(op.weight, x)
        elif isinstance(op, SumPool2d):
            x = F.avg_pool2d(x, op.kernel, op.stride, op.padding, divisor_override=1)
        else:
            x = x.flatten(1)
    return x


def channels(values: Int64Array, like: torch.Tensor) -> torch.Tensor:
    """Values (C,) that broadcast over (N, C, ...)."""
    return torch.from_numpy(values).to(like).view(-1, *(1,) * (like.ndim - 2))


def lossless(network: Network, integer: Network, images: cifar.Images) -> dict[str, float]:
    """Accuracies on the images that no JPEG has touched."""
    inputs, labels = on_grid(integer, images.batch(slice(None)).numpy()), images.labels.numpy()
    found = float_logits(network, inputs), integer_logits(integer, inputs)
    right = [round(float((logits.argmax(1) == labels).mean()), 4) for logits in found]
    return {"images": len(labels), "float_accuracy": right[0], "integer_accuracy": right[1]}


def per_layer(report: FidelityReport) -> list[dict[str, Any]]:
    """Each layer's share of counts, on the first images."""
    return [
        {
            "layer": row.name,
            "flipped_here": round(row.flipped_here / row.compared, 6),
            "different": round(row.different / row.compared, 6),
            "mean_error": round(row.mean_error, 6),
            "weight_rounding": round(row.weight_rounding, 6),
            "bias_rounding": round(row.bias_rounding, 6),
        }
        for row in report.layers
        if row.kind != "max_pool"
    ]


def cells(row: Row) -> list[str]:
    """A row of the table; the last column is the mean over layers of neurons."""
    flips = np.mean([layer["flipped_here"] for layer in row["layers"][:-1]])
    return [
        *(row[key] for key in ("network", "reference", "rounding")),
        *(f"{row[key]:.2%}" for key in ("float_accuracy", "integer_accuracy")),
        f"{row['loss_points']:.2f}",
        f"{row['agreement']:.2%}",
        f"{flips:.3%}",
    ]


def as_table(rows: Rows) -> str:
    """The table for `README.md`."""
    head = "network,reference,rounding,float,integer,loss (points),same answer,flipped by a layer"
    return table(head.split(","), [cells(row) for row in rows.rows.values()])


if __name__ == "__main__":
    main()
