"""Other people's models, the data that they are tested on, and what they answer themselves.

Models, in one folder: `mlperf_tiny_onnx/` (ResNet8, DS-CNN), `qonnx_zoo/` (TFC 1W2A, 2W2A),
`onnx_mnist8/` (MNIST of the ONNX zoo), `sinabs/mnist_params.pt`, `akamaster_resnet/` (ResNet-20).
Data, in another: `cifar10_lossless.npz`, `cifar10_jpeg.npz`, `kws01_mfcc.npz` and `mnist/` with the
four official files.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cifar
import numpy as np
import torch
from torch import nn

from snndeploy import Network, deploy, from_torch, load

CHUNK = 50
"""Samples that are evaluated together."""

JPEG_IMAGES, MNIST_IMAGES = 500, 2_000
"""Of the test sets; the networks of Brevitas are tested on all of MNIST."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples as the original takes them, as our network takes them, and labels (N,)."""

    theirs: np.ndarray
    ours: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: slice | np.ndarray) -> Samples:
        """Some of them."""
        return Samples(self.theirs[chosen], self.ours[chosen], self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Model:
    """A network, the original that it was read from, and data.

    Attributes:
        title: for tables.
        network: as `load` or `from_torch` reads it.
        original: maps samples, as the original takes them, to logits (N, classes).
        runs_in: what runs the original.
        test: samples that the model was not trained on.
        training: samples that it was trained on; None: there are none.
        jpeg: more test images, as JPEG; None: there are none.
    """

    title: str
    network: Network
    original: Callable[[np.ndarray], np.ndarray]
    runs_in: str
    test: Samples
    training: Samples | None = None
    jpeg: Samples | None = None

    def logits(self, samples: Samples) -> np.ndarray:
        """The original's logits (N, classes), or what it makes of them in the end."""
        parts = [samples.theirs[i : i + CHUNK] for i in range(0, len(samples), CHUNK)]
        return np.concatenate([self.original(part) for part in parts])

    def answers(self, samples: Samples) -> np.ndarray:
        """What the original answers, (N,)."""
        return self.logits(samples).argmax(1)


def resnet8(data: Path, models: Path) -> Model:
    """MLPerf Tiny's ResNet8 for CIFAR-10: int8 pixels less 128, channels last."""

    def samples(images: cifar.Images) -> Samples:
        pixels, labels = images.pixels.numpy(), images.labels.numpy()
        theirs = (pixels.transpose(0, 2, 3, 1).astype(np.int16) - 128).astype(np.int8)
        return Samples(theirs, pixels.astype(np.int64), labels)

    file = models / "mlperf_tiny_onnx/resnet8_int8_qdq.onnx"
    parts = [samples(images) for images in _cifar(data)]
    return Model("ResNet8 int8 (CIFAR-10)", load(file), _runtime(file), "ONNX Runtime", *parts)


def dscnn(data: Path, models: Path) -> Model:
    """MLPerf Tiny's DS-CNN for keywords: int8 MFCCs, of which the zero point 83 is taken off."""
    with np.load(data / "kws01_mfcc.npz") as content:
        x, labels = content["x"], content["y"].astype(np.int64)
    file = models / "mlperf_tiny_onnx/kws_dscnn_int8_qdq.onnx"
    test = Samples(x[..., None], x[:, None].astype(np.int64) - 83, labels)
    return Model("DS-CNN int8 (keywords)", load(file), _runtime(file), "ONNX Runtime", test)


def resnet20(data: Path, models: Path) -> Model:
    """akamaster's ResNet-20 for CIFAR-10, float32, ReLU."""

    def samples(images: cifar.Images) -> Samples:
        x = images.batch(slice(None)).numpy()
        return Samples(x, x, images.labels.numpy())

    checkpoint = models / "akamaster_resnet/pretrained_models/resnet20-12fca82f.th"
    module = cifar.published_resnet20(checkpoint)
    parts = [samples(images) for images in _cifar(data)]
    network = from_torch(module, torch.from_numpy(parts[0].ours[:2]), "resnet20")
    return Model("ResNet-20 float (CIFAR-10)", network, _torch(module), "PyTorch", *parts)


def mnist8(data: Path, models: Path) -> Model:
    """The MNIST network of the ONNX zoo: float, max-pools, pixels 0 to 255."""
    file = models / "onnx_mnist8/mnist-8.onnx"
    parts = _mnist(data, 1.0, MNIST_IMAGES)
    return Model("mnist-8 float (MNIST)", load(file), _runtime(file), "ONNX Runtime", *parts)


def sinabs_mnist(data: Path, models: Path) -> Model:
    """The MNIST network of the sinabs examples: no biases, average pools, pixels / 255."""
    module = nn.Sequential(
        *(nn.Conv2d(1, 20, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(20, 32, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(32, 128, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 500, bias=False), nn.ReLU()),
        nn.Linear(500, 10, bias=False),
    )
    file = models / "sinabs/mnist_params.pt"
    module.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    parts = _mnist(data, 255.0, MNIST_IMAGES)
    network = from_torch(module.eval(), torch.from_numpy(parts[0].ours[:2]), "sinabs_mnist")
    return Model("sinabs CNN float (MNIST)", network, _torch(module), "PyTorch", *parts)


def tfc(bits: int) -> Callable[[Path, Path], Model]:
    """Brevitas' TFC for MNIST, pixels / 255; ONNX Runtime cannot run QONNX, we do, in float."""

    def read(data: Path, models: Path) -> Model:
        network = load(models / f"qonnx_zoo/TFC_{bits}W2A.onnx")

        def original(x: np.ndarray) -> np.ndarray:
            return np.eye(10)[deploy.float_predictions(network, x)]

        return Model(f"TFC {bits}W2A (MNIST)", network, original, "float", *_mnist(data, 255.0))

    return read


MODELS: dict[str, Callable[[Path, Path], Model]] = {
    "resnet8": resnet8,
    "dscnn": dscnn,
    "resnet20": resnet20,
    "mnist8": mnist8,
    "sinabs_mnist": sinabs_mnist,
    "tfc_1w2a": tfc(1),
    "tfc_2w2a": tfc(2),
}


def integer_answers(network: Network, samples: Samples) -> np.ndarray:
    """What a spiking network in exact mode settles to, (N,)."""
    parts = [samples.ours[i : i + CHUNK] for i in range(0, len(samples), CHUNK)]
    return np.concatenate([deploy.integer_ann(network, part).logits for part in parts]).argmax(1)


def _cifar(data: Path) -> tuple[cifar.Images, cifar.Images, cifar.Images]:
    """Lossless test and training images, and JPEG test images."""
    lossless = [cifar.lossless_images(data, part) for part in ("test", "train")]
    return lossless[0], lossless[1], cifar.jpeg_images(data, "test", JPEG_IMAGES)


def _mnist(data: Path, scale: float, images: int | None = None) -> tuple[Samples, Samples]:
    """The first test images and the first training images, their pixels over `scale`."""

    def content(name: str, header: int) -> np.ndarray:
        return np.frombuffer(
            gzip.decompress((data / "mnist" / name).read_bytes()), np.uint8, offset=header
        )

    found = []
    for part in ("t10k", "train"):
        pixels = content(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:images]
        x = pixels.astype(np.float32) / np.float32(scale)
        labels = content(f"{part}-labels-idx1-ubyte.gz", 8)[: len(x)].astype(np.int64)
        found.append(Samples(x, x, labels))
    return found[0], found[1]


def _runtime(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Runs an ONNX model on as many samples at once as it takes."""
    import onnxruntime  # noqa: PLC0415  (not needed for the nets that it cannot run)

    session = onnxruntime.InferenceSession(file)
    (entry,) = session.get_inputs()

    def run(x: np.ndarray) -> np.ndarray:
        parts = [x] if not isinstance(entry.shape[0], int) else np.split(x, len(x))
        found = np.concatenate([session.run(None, {entry.name: part})[0] for part in parts])
        return found.reshape(len(x), -1)

    return run


def _torch(module: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    @torch.inference_mode()
    def run(x: np.ndarray) -> np.ndarray:
        return module(torch.from_numpy(x)).numpy()

    return run
