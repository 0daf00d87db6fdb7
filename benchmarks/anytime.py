"""Train the CIFAR-10 networks of the exit study: 2-bit activations, accurate at every step.

    python benchmarks/anytime.py NETWORK --data FOLDER --checkpoint FOLDER
                                 [--epochs 20] [--smoke]

NETWORK is `resnet20`. Trains from nothing on 45,000 of the 50,000 JPEG
training images; the other 5,000 (`held_out_rows`) are for calibration, and the test images are not
looked at. A third of the epochs train the end of the window, the quantized ANN. The others draw a
step of the window for each batch, as if each count could be reached at once; see
`snndeploy.training.moments`. An interrupted run goes on from its last epoch. Writes the network,
with 8-bit weights, to `trained/NETWORK.nir`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import cifar
import numpy as np
import torch
import torch.nn.functional as F
from results import HERE
from torch import Tensor, nn

from snndeploy import convert, from_torch, save
from snndeploy.training.moments import Moment, at

LEVELS = 3
HELD_OUT = 5_000
TRAINED = HERE / "trained"
NETWORKS = {"resnet20": cifar.ResNet20}
BATCH = 128
SMOOTHING = 0.05


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("network", choices=sorted(NETWORKS))
    arguments.add_argument("--data", type=Path, required=True, help="the folder with CIFAR-10")
    arguments.add_argument("--checkpoint", type=Path, required=True, help="where networks are kept")
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--learning-rate", type=float, default=0.1)
    arguments.add_argument("--smoke", action="store_true", help="256 images")
    chosen = arguments.parse_args()
    torch.manual_seed(0)
    images = training_images(chosen.data, 256 if chosen.smoke else None)
    model = NETWORKS[chosen.network](LEVELS).to(memory_format=torch.channels_last)
    file = chosen.checkpoint / f"{chosen.network}.pt"
    train(model, images, chosen.epochs, chosen.learning_rate, file)
    network = from_torch(model, images.batch(slice(2)), chosen.network)
    if not chosen.smoke:
        save(convert(network, weight_exponent=0), TRAINED / f"{chosen.network}.nir")


def held_out_rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training split to train on, and rows kept for calibration."""
    order = np.random.default_rng(0).permutation(count)
    held_out = min(HELD_OUT, count // 10)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def training_images(folder: Path, limit: int | None = None) -> cifar.Images:
    """The images to train on."""
    images = cifar.jpeg_images(folder, "train", limit)
    rows = torch.from_numpy(held_out_rows(len(images.labels))[0])
    return cifar.Images(images.pixels[rows], images.labels[rows])


def at_one_step(
    model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, done: float
) -> Tensor:
    """The loss at one step: at first the window's end, then drawn, half of the time the end."""
    drawn = int(torch.randint(1, 2 * LEVELS - 1, (), generator=generator))
    with at(model, _MOMENT), torch.autocast("cpu", torch.bfloat16):
        _MOMENT.step.fill_(min(drawn, LEVELS) if done > 1 / 3 else LEVELS)
        logits = model(x)
    return F.cross_entropy(logits.float(), y, label_smoothing=SMOOTHING)


_MOMENT = Moment()


def train(
    model: nn.Module, images: cifar.Images, epochs: int, learning_rate: float, checkpoint: Path
) -> None:
    """Run all epochs, or the rest of them; leaves the model in eval mode."""
    steps = epochs * -(-len(images.labels) // BATCH)
    optimizer, schedule = cifar.one_cycle(model, learning_rate, steps)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["epochs"]
    compiled = torch.compile(model)
    for epoch in range(first, epochs):
        model.train()
        generator = torch.Generator().manual_seed(epoch)
        started, loss_sum = perf_counter(), 0.0
        for rows in torch.split(torch.randperm(len(images.labels), generator=generator), BATCH):
            x = cifar.augmented(images.batch(rows), generator)
            loss = at_one_step(compiled, x, images.labels[rows], generator, epoch / epochs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += float(loss.detach()) * len(rows)
        seconds = perf_counter() - started
        loss_mean = loss_sum / len(images.labels)
        print(f"epoch {epoch + 1}/{epochs}: loss {loss_mean:.3f}, {seconds:.0f} s", flush=True)
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "epochs": epoch + 1,
        }
        torch.save(state, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").rename(checkpoint)
    model.eval()


if __name__ == "__main__":
    main()
