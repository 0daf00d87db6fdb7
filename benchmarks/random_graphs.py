"""Hold every engine to the judge on thousands of random graphs: every spike, logit and stop.

    python benchmarks/random_graphs.py [--graphs 2000] [--deep 100] [--seed 0] [--smoke]

Graphs are those of the tests (`tests/strategies.py`). Each one runs on the judge, on the reference
engine with every kernel it has, driven step by step, with little memory, and on Norse. Beside
them, deep exact networks (2 to 12 layers) are certified, and planted errors must be refused or
found. Writes `benchmarks/random_graphs.json`, unless `--smoke`; stops at the first difference.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import replace
from math import inf
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from strategies import fed_by_steps, frames, grid_inputs, integer_networks  # noqa: E402

from snndeploy.backend import find_backend  # noqa: E402
from snndeploy.errors import CertificateRefusedError  # noqa: E402
from snndeploy.nodes import Neuron  # noqa: E402
from snndeploy.program import Program  # noqa: E402
from snndeploy.simulate import simulate  # noqa: E402
from snndeploy.verify.certificate import certify  # noqa: E402
from snndeploy_backends.reference import kernels, scan, team  # noqa: E402
from snndeploy_backends.reference.engine import Reference  # noqa: E402
from snndeploy_backends.reference.judge import Judge  # noqa: E402


class Driven:
    """The reference engine as a controller drives it."""

    name, summary, streams = "reference", "step by step", True

    def __init__(self, ahead: int) -> None:
        self.engine = Reference(ahead=ahead)

    def status(self):
        return self.engine.status()

    def open(self, program, inputs, steps):
        return self.engine.open(program, inputs, steps)


class Shared:
    """The reference engine on single samples, whose every sum is shared out among three threads."""

    name, summary, streams = "reference", "shared", True

    def __init__(self) -> None:
        self.engine = Reference(workers=3)

    def status(self):
        return self.engine.status()

    def fold(self, program, inputs, steps, record):
        with patch.object(team, "_WORTH_SHARING_NS", 0):
            folds = [self.engine.fold(program, row[None], steps, record) for row in inputs]
        return [part for fold in folds for part in fold]


class AnotherNetwork:
    """A target that runs a changed network in place of the right one."""

    name, summary, streams = "planted", "", True

    def __init__(self, change) -> None:
        self.change = change

    def status(self):
        return Judge().status()

    def open(self, program, inputs, steps):
        nodes = [self.change(n) if isinstance(n, Neuron) else n for n in program.network.nodes]
        return Judge().open(program.with_network(program.network.rewrite(nodes)), inputs, steps)


def engines() -> dict:
    """By what they are called in the results."""
    found = {
        f"{linear}, {loops}, {way}": Reference(linear=linear, scan=loops, below=below)
        for linear in sorted({"float", kernels.available()})
        for loops in sorted({"torch", scan.available()})
        for way, below in (("dense", 0.0), ("gathered", inf))
        if loops == "numba" or not below
    }
    found["little memory"] = Reference(memory=1 + (4 << 20) * 2, workers=1)
    found["threads share a sample"] = Shared()
    found["driven step by step"] = Driven(1)
    found["driven, some steps ahead"] = Driven(64)
    found["norse"] = find_backend("norse")
    return found


def compare(graphs: int, chosen: int) -> Counter:
    """Run all engines on random graphs; raises at the first difference."""
    counts: Counter = Counter()
    others = engines()

    @seed(chosen)
    @_settings(graphs)
    @given(
        integer_networks(max_layers=5),
        st.integers(0, 2**32 - 1),
        st.sampled_from([None, 1, 7]),
        st.integers(0, 3),
    )
    def check(network, number, steps, fed):
        inputs = grid_inputs(network, 3, number)
        if fed == 3:
            network = fed_by_steps(network, 5)
            inputs = frames(network, 3, 4, number)
            counts["input step by step"] += 1
        program = Program(network)
        judged = simulate(Judge(), program, inputs, steps=steps)
        for name, engine in others.items():
            trace = simulate(engine, program, inputs, steps=steps)
            trace.assert_same_spikes(judged)
            np.testing.assert_array_equal(trace.stop_steps, judged.stop_steps, err_msg=name)
            counts[name] += 1
        counts["graphs"] += 1
        counts[f"mode {network.mode}"] += 1
        _tell(counts["graphs"], graphs)

    check()
    return counts


def certificates(networks: int, chosen: int) -> Counter:
    """Certify deep networks and plant errors in them."""
    counts: Counter = Counter()

    @seed(chosen)
    @_settings(networks)
    @given(integer_networks(max_layers=12, mode="exact", min_layers=2), st.integers(0, 2**32 - 1))
    def check(network, number):
        program, inputs = Program(network), grid_inputs(network, 4, number)
        certify(program, inputs, Reference())
        counts["certified"] += 1
        counts[f"L = {network.window}"] += 1
        first = next(node for node in network.nodes if isinstance(node, Neuron))
        heavy = replace(first, bias=first.bias + 2**32)
        nodes = [heavy if node is first else node for node in network.nodes]
        counts["overflow refused"] += _refused(Program(network.rewrite(nodes)), inputs, Reference())
        truth = simulate(Judge(), program, inputs).counts
        planted = {
            "missing cap": lambda node: replace(node, levels=node.levels + 1),
            "wrong threshold": lambda node: replace(node, threshold=node.threshold + 25),
        }
        for name, change in planted.items():
            target = AnotherNetwork(change)
            found = simulate(target, program, inputs, steps=program.settle_bound).counts
            if any(not np.array_equal(found[k], truth[k]) for k in truth):
                counts[f"{name} that changes counts"] += 1
                counts[f"{name} found"] += _refused(program, inputs, target)
        _tell(counts["certified"], networks)

    check()
    assert counts["overflow refused"] == counts["certified"]
    for name in ("missing cap", "wrong threshold"):
        assert counts[f"{name} found"] == counts[f"{name} that changes counts"] > 0
    return counts


def _refused(program, inputs, backend) -> int:
    try:
        certify(program, inputs, backend)
    except CertificateRefusedError:
        return 1
    return 0


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )


def _tell(done: int, total: int) -> None:
    print(f"\r{done} of {total} graphs", end="" if done < total else "\n", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--graphs", type=int, default=2000)
    arguments.add_argument("--deep", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--smoke", action="store_true", help="few graphs, nothing written")
    chosen = arguments.parse_args()
    graphs, deep = (20, 5) if chosen.smoke else (chosen.graphs, chosen.deep)
    compared = compare(graphs, chosen.seed)
    certified = certificates(deep, chosen.seed)
    result = {
        "command": f"python benchmarks/random_graphs.py --graphs {graphs} --deep {deep} "
        f"--seed {chosen.seed}",
        "differences": 0,
        "runs": dict(sorted(compared.items())),
        "certificates": dict(sorted(certified.items())),
    }
    print(json.dumps(result, indent=2))
    if not chosen.smoke:
        path = HERE / "random_graphs.json"
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
