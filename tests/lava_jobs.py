"""Networks and jobs for the tests of the Lava backend."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from snndeploy.network import Network
from snndeploy.nodes import (
    Add,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Output,
    Scale,
)
from snndeploy.program import Program
from snndeploy_backends.lava.backend import Lava
from snndeploy_backends.lava.streaming import LavaSession


def neurons(name: str, channels: int, threshold: int, levels: int = 3) -> Neuron:
    theta = np.full(channels, threshold)
    return Neuron(name, theta, theta // 2, np.arange(channels) * 7 - 5, levels, 0.5)


def skip_network(mode: str = "exact") -> Network:
    """A skip over two layers, a longer one over a max-pool, and a branch from the input."""
    rng = np.random.default_rng(7)

    def conv(name: str, out: int, inside: int) -> Conv2d:
        return Conv2d(name, rng.integers(-40, 60, (out, inside, 3, 3)), padding=(1, 1))

    nodes = (
        Input("x", (1, 6, 6), Grid(1 / 16, 0, 16)),
        *(conv("c1", 4, 1), neurons("n1", 4, 500)),
        *(conv("c2", 4, 4), neurons("n2", 4, 150)),
        *(conv("c3", 4, 4), Scale("skip", np.array([90, 100, 110, 120]))),
        *(conv("direct", 4, 1), Add("a3"), neurons("n3", 4, 150)),
        MaxPool2d("pool", (3, 3), (1, 1), (1, 1)),
        *(conv("c4", 4, 4), Scale("long", np.array([50, 60, 70, 80])), Add("a4")),
        *(neurons("n4", 4, 150), Flatten("flat"), Linear("dense", rng.integers(-99, 99, (5, 144)))),
        Output("out", np.array([3, -9, 0, 100, 7]), 0.1),
    )
    edges = (
        *(("x", "c1"), ("c1", "n1"), ("n1", "c2"), ("c2", "n2"), ("n2", "c3")),
        *(("c3", "a3"), ("n1", "skip"), ("skip", "a3"), ("x", "direct"), ("direct", "a3")),
        *(("a3", "n3"), ("n3", "pool"), ("pool", "c4"), ("c4", "a4"), ("n1", "long")),
        *(("long", "a4"), ("a4", "n4"), ("n4", "flat"), ("flat", "dense"), ("dense", "out")),
    )
    return Network("skips", nodes, edges, mode, 3)


def tiny_network() -> Network:
    """Two inputs, two neurons, one readout."""
    nodes = (
        Input("x", (2,), Grid(1.0, 0, 100)),
        *(Linear("w", np.array([[100, 90], [80, -3]])), neurons("n", 2, 5000)),
        *(Linear("r", np.array([[1, 1]])), Output("out", np.zeros(1, np.int64), 1.0)),
    )
    edges = (("x", "w"), ("w", "n"), ("n", "r"), ("r", "out"))
    return Network("tiny", nodes, edges, "exact", 3)


class EveryThird:
    """A controller that stops samples as their logits happen to be."""

    def stop(self, logits, step):
        return (logits.sum(axis=1) + step) % 3 == 0


def opened(samples: int = 3, **options: int) -> LavaSession:
    """A session of the tiny network, after its first step."""
    session = Lava(**options).open(Program(tiny_network()), np.full((samples, 2), 50), 1_000_000)
    session.step()
    return session


def run_for_minutes(session: LavaSession) -> None:
    """Go on until somebody ends it."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        session.step()


if __name__ == "__main__":
    os.environ.pop("SNNDEPLOY_LAVA_TIMEOUT", None)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by jobs in the background
    running = opened()
    print("running", flush=True)
    run_for_minutes(running)
