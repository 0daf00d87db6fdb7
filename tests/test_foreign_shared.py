"""Published NIR graphs, where a folder with them lies beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snndeploy import run_nir
from snndeploy.errors import UnsupportedModelError
from snndeploy.nirfile import load_foreign

SHARED = Path(__file__).parents[2] / "shared"
GRAPHS = SHARED / "models/nir"
EVENTS = SHARED / "data/nmnist_events.npz"
STEPS, STEP_US = 300, 1_000

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not GRAPHS.is_dir(), reason="no shared folder beside the checkout"),
]


def published(name: str) -> Path:
    return next(GRAPHS.glob(f"*{name}.nir"))


@pytest.mark.parametrize(
    ("name", "dt", "kinds"),
    [
        ("two_lif_neurons", 1e-4, {"Linear", "LIF"}),
        ("lif_norse", 1e-4, {"Affine", "LIF"}),
        ("cnn_sinabs", 1.0, {"Conv2d", "IF", "SumPool2d", "Flatten", "Affine"}),
        ("braille_noDelay_bias_zero", 1e-4, {"Affine", "CubaLIF"}),
        ("braille_noDelay_noBias_subtract", 1e-4, {"Linear", "CubaLIF"}),
    ],
)
def test_published_graphs_run_alike_on_norse_and_by_definition(name, dt, kinds):
    graph = load_foreign(published(name), dt)
    assert {node.kind for node in graph.nodes} == kinds | {"Input", "Output"}
    x = np.random.default_rng(0).random((1, 20, *graph.input_shape)) < 0.4
    judge, norse = (run_nir(graph, x, backend=backend) for backend in ("judge", "norse"))
    assert sum(int(events.sum()) for events in judge.events.values())
    for node, spikes in judge.spikes.items():
        np.testing.assert_array_equal(norse.spikes[node], spikes)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lif_rockpool", r"'output': says that its shape is \(1, 1, 1\), what arrives has \(1,\)"),
        ("bias_zero_subgraph", r"unknown nodes lif1\.lif; nothing leads .* to lif1\.lif1"),
        ("subtract_subgraph", r"unknown nodes lif1\.lif; nothing leads .* to lif1\.lif1"),
    ],
)
def test_published_graphs_that_contradict_themselves_are_told_so(name, words):
    with pytest.raises(UnsupportedModelError, match=words):
        load_foreign(published(name), 1e-4)


@pytest.mark.slow
def test_a_published_network_recognises_event_streams():
    """97.5 % of these 200, as the paper of NIR has it; the first 100 of them are all right."""
    with np.load(EVENTS) as file:
        events, offset, labels = file["events"], file["offset"], file["y"]
    samples = np.arange(0, 200, 4)
    frames = np.zeros((len(samples), STEPS, 2, 34, 34), np.float32)
    for row, sample in enumerate(samples):
        found = events[offset[sample] : offset[sample + 1]]
        step = np.minimum(found["t"] // STEP_US, STEPS - 1)
        np.add.at(frames[row], (step, found["p"], found["y"], found["x"]), 1)
    options = {"dt": 1.0, "backend": "norse:dtype=float32", "record": False}
    trace = run_nir(published("cnn_sinabs"), frames, **options)
    assert (trace.predictions == labels[samples]).mean() >= 0.94
