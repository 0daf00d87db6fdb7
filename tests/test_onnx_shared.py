"""Other people's ONNX models, where a folder with them lies beside the checkout."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import onnx
import pytest
from float_walk import float_walk
from onnx import numpy_helper
from onnx_models import runtime_session

from snndeploy import convert, integer_ann, load
from snndeploy.frontends.onnx.op import readable
from snndeploy.nodes import Activation, Grid

SHARED = Path(__file__).parents[2] / "shared"
MODELS = SHARED / "models"
RESNET8 = MODELS / "mlperf_tiny_onnx/resnet8_int8_qdq.onnx"
DSCNN = MODELS / "mlperf_tiny_onnx/kws_dscnn_int8_qdq.onnx"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="no shared folder beside the checkout"),
]


def cifar(count: int) -> np.ndarray:
    with np.load(SHARED / "data/cifar10_lossless.npz") as data:
        return data["x_test"][:count]


def keywords(count: int) -> np.ndarray:
    with np.load(SHARED / "data/kws01_mfcc.npz") as data:
        return data["x"][:count, :, :, None]


def mnist(count: int) -> tuple[np.ndarray, np.ndarray]:
    def content(name: str, offset: int) -> np.ndarray:
        packed = (SHARED / f"data/mnist/t10k-{name}-ubyte.gz").read_bytes()
        return np.frombuffer(gzip.decompress(packed), np.uint8, offset=offset)

    images = content("images-idx3", 16).reshape(-1, 1, 28, 28)
    return images[:count], content("labels-idx1", 8)[:count]


def test_every_shared_model_loads():
    found = {path.stem: load(path) for path in sorted(MODELS.rglob("*.onnx"))}
    assert sorted(found) == [
        "TFC_1W2A", "TFC_2W2A", "kws_dscnn_int8_qdq", "mnist-8", "network", "resnet8_fp32",
        "resnet8_int8_qdq",
    ]  # fmt: skip
    assert found["resnet8_int8_qdq"].input.grid == Grid(1.0, 0, 255)
    assert found["kws_dscnn_int8_qdq"].input.grid.low == -128 - 83
    assert found["TFC_1W2A"].input.grid == Grid(0.5, 0, 2)


def ours(path: Path, samples: np.ndarray) -> np.ndarray:
    network = load(path)
    return float_walk(network, samples)[network.output.name]


def theirs(path: Path, samples: np.ndarray) -> np.ndarray:
    session = runtime_session(onnx.load(path))
    name, batch = session.get_inputs()[0].name, session.get_inputs()[0].shape[0]
    parts = np.split(samples, len(samples)) if batch == 1 else [samples]
    return np.concatenate([session.run(None, {name: part})[0] for part in parts])


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean(a.argmax(1) == b.argmax(1)))


def test_int8_models_answer_as_in_onnx_runtime():
    x = cifar(500)
    int8 = (x.astype(np.int16) - 128).astype(np.int8)
    assert agreement(ours(RESNET8, x.transpose(0, 3, 1, 2)), theirs(RESNET8, int8)) >= 0.995
    x = keywords(500)
    real = (x.astype(np.float64) - 83) * load(DSCNN).input.grid.scale
    assert agreement(ours(DSCNN, real), theirs(DSCNN, x)) >= 0.995


def test_float_models_answer_as_in_onnx_runtime():
    path, x = MODELS / "mlperf_tiny_onnx/resnet8_fp32.onnx", cifar(200)
    found = ours(path, x.transpose(0, 3, 1, 2))
    assert agreement(found, theirs(path, x.astype(np.float32))) == 1
    path, (x, _) = MODELS / "onnx_mnist8/mnist-8.onnx", mnist(200)
    np.testing.assert_allclose(ours(path, x), theirs(path, x.astype(np.float32)), atol=0.05)


@pytest.mark.parametrize(("net", "accuracy"), [("TFC_1W2A", 0.9474), ("TFC_2W2A", 0.9660)])
def test_qonnx_nets_have_the_accuracy_that_they_are_published_with(net, accuracy):
    x, y = mnist(10_000)
    found = ours(MODELS / f"qonnx_zoo/{net}.onnx", x / 255).argmax(1)
    assert np.mean(found == y) == pytest.approx(accuracy, abs=1e-9)


def test_deeploys_model_gives_its_published_integers():
    folder = MODELS / "deeploy/MLPerf_AnomalyDetection"
    with np.load(folder / "inputs.npz") as x, np.load(folder / "outputs.npz") as y:
        samples, expected = x["input_0"], y["output_0"]
    found = ours(folder / "network.onnx", samples)
    # The last requantization is dropped: it would round the logits.
    np.testing.assert_array_equal(np.clip(np.floor(found + 0.5), -128, 127), expected)


@pytest.mark.parametrize("path", [RESNET8, DSCNN], ids=lambda path: path.stem)
def test_each_quantizer_gives_onnx_runtimes_integers_but_for_ties(path):
    """Every layer is given ONNX Runtime's values, so that it answers for itself alone."""
    network, proto = load(path), onnx.load(path)
    grid = network.input.grid
    x = cifar(20).astype(np.int16) - 128 if path is RESNET8 else keywords(50)
    x = x.astype(np.int8)
    real = (x.astype(np.float64) + 128 + grid.low) * grid.scale
    real = real.transpose(0, 3, 1, 2) if path is RESNET8 else real
    nodes = {readable(n.name): n for n in proto.graph.node if n.op_type == "QuantizeLinear"}
    acts = [n for n in network.nodes if isinstance(n, Activation)]
    assert len(acts) >= 10
    tensors = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    session = runtime_session(proto, [nodes[act.name].output[0] for act in acts])
    results = session.run(None, {session.get_inputs()[0].name: x})[1:]
    known = {}
    for act, result in zip(acts, results, strict=True):
        scale, zero = (tensors[name].astype(np.float64) for name in nodes[act.name].input[1:])
        known[act.name] = (result - zero) * scale
    values = float_walk(network, real, known)
    for act in acts:
        s = act.ceiling / act.levels
        before = values[network.sources[act.name][0]] / s + 0.5
        ties = np.abs(before - np.round(before)) < 1e-4
        different = np.abs(values[act.name] - known[act.name]) > s / 2
        assert not (different & ~ties).any(), act.name
        assert np.abs(values[act.name] - known[act.name]).max() < 1.5 * s


@pytest.mark.parametrize("net", ["TFC_1W2A", "TFC_2W2A"])
def test_qonnx_nets_lose_no_count_to_the_integers(net):
    network = load(MODELS / f"qonnx_zoo/{net}.onnx")
    x = mnist(500)[0] / 255
    snn = convert(network)
    found = integer_ann(snn, x)
    values = float_walk(network, x)
    for act in (n for n in network.nodes if isinstance(n, Activation)):
        counts = np.round((values[act.name] - act.offset) / (act.ceiling / act.levels))
        np.testing.assert_array_equal(found.counts[act.name], counts.reshape(len(x), -1))
    logits = values[network.output.name]
    assert np.abs(found.logits * snn.output.scale - logits).max() <= snn.output.scale


@pytest.mark.slow
@pytest.mark.parametrize(("path", "least"), [(RESNET8, 0.995), (DSCNN, 1.0)])
def test_integers_answer_as_onnx_runtime_where_its_rounded_logits_decide(path, least):
    x = cifar(200) if path is RESNET8 else keywords(200)
    pixels = (x.astype(np.int16) - 128).astype(np.int8) if path is RESNET8 else x
    logits = theirs(path, pixels)
    ours = x.astype(np.int64) if path is RESNET8 else x.astype(np.int64) - 83
    found = integer_ann(convert(load(path)), ours.transpose(0, 3, 1, 2)).logits.argmax(1)
    largest = logits == logits.max(axis=1, keepdims=True)
    assert largest[np.arange(len(found)), found].mean() >= least
