"""A report that has everything, of a network small enough for tests."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

from snndeploy import deploy
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Flatten, Grid, Input, Linear, MaxPool2d, Neuron, Output
from snndeploy.program import Program
from snndeploy.report import Report, report_of
from snndeploy.samples import Samples
from snndeploy.story import Story, tell_story

CLASSES = 5


def small_network() -> Network:
    """A convolution, a max-pool and two dense layers; inputs (1, 6, 6); 7 levels."""
    rng = np.random.default_rng(1)
    theta, hidden = np.array([150, 180, 210]), np.full(12, 90)
    nodes = (
        Input("x", (1, 6, 6), Grid(1 / 16, 0, 16)),
        Conv2d("conv", rng.integers(-40, 40, (3, 1, 3, 3)), padding=(1, 1)),
        Neuron("relu", theta, theta // 2, np.array([9, -9, 0]), 7, 0.5),
        MaxPool2d("pool", (2, 2), (2, 2)),
        Flatten("flat"),
        Linear("dense", rng.integers(-20, 20, (12, 27))),
        Neuron("hidden", hidden, hidden // 2, np.zeros(12, np.int64), 7, 0.5),
        Linear("classes", rng.integers(-20, 20, (CLASSES, 12))),
        Output("out", np.zeros(CLASSES, np.int64), 0.01),
    )
    edges = tuple((a.name, b.name) for a, b in pairwise(nodes))
    return Network("small", nodes, edges, "exact", 7, ("quantize{weight-bits=8}",))


def small_samples(program: Program, count: int, seed: int) -> Samples:
    """Random images; the right class is mostly what the network says in the end."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 17, (count, 1, 6, 6))
    said = deploy.integer_ann(program.network, x).logits.argmax(axis=1)
    wrong = rng.random(count) < 0.1
    return Samples(x, np.where(wrong, rng.integers(0, CLASSES, count), said))


@cache
def small_story() -> Story:
    """Everything about the small network on a chip, with early exit and two backends."""
    program = deploy.lower(small_network(), "loihi1")
    held = small_samples(program, 60, 1)
    policy = deploy.calibrate_exit(program, held.x, held.y, max_accuracy_drop=0.05)
    return tell_story(program, small_samples(program, 40, 2), policy, ("reference",))


@cache
def placed_report() -> Report:
    """Its report."""
    return report_of(small_story(), title="A small network")
