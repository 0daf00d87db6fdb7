"""The Norse backend against plain Norse, as a user would write it.

    python benchmarks/plain_norse.py [--repeats 5] [--fresh] [--smoke]

Plain Norse: the graph goes through `nirtorch.load` with Norse's own map of nodes to modules, which
is what `norse.torch.from_nir` does, and is called once a step. Norse's integrate-and-fire cell
resets to a fixed value, so an `SNNCell` with soft reset takes its place. Every spike is first held
to the other side's. Repeats are interleaved; figures are medians. Writes `plain_norse.json` and a
table in `README.md`.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import networks
import nir
import numpy as np
import torch
from peers.norse import Parameters, fire
from results import Row, Rows, put, table
from timing import medians
from torch import nn

from snndeploy.backend import find_backend
from snndeploy.network import Network
from snndeploy.nirfile import to_nir
from snndeploy.program import Program
from snndeploy.simulate import simulate

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
    import nirtorch
    from norse.torch.module.snn import SNNCell
    from norse.torch.utils import import_nir

STEPS = 32
CHECKED = 4
"""Images on which every spike is compared; of all of them, the readout."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    parser.add_argument("--smoke", action="store_true", help="a small network, writes nothing")
    chosen = parser.parse_args()
    width, repeats = (8, 1) if chosen.smoke else (64, chosen.repeats)
    rows = Rows("plain_norse", chosen.fresh, keep=not chosen.smoke)
    network = networks.vgg11(width)
    for batch in (2,) if chosen.smoke else (1, 64):
        key = f"{network.name} {STEPS} {batch}"
        if rows.get(key) is None:
            rows.add(key, _measure(network, batch, repeats))
        print(_line(rows.rows[key]), flush=True)
    versions = {name: version(name) for name in ("norse", "nirtorch", "nir")}
    rows.finish(threads=torch.get_num_threads(), versions=versions)
    if rows.keep:
        put("plain_norse", _table(list(rows.rows.values())))


class Plain:
    """The network in Norse, called once a step."""

    def __init__(self, network: Network) -> None:
        graph = _plain_graph(network)
        names = {id(node): name for name, node in graph.nodes.items()}
        self.spikes: dict[str, list[np.ndarray]] = {}

        def module(node: nir.NIRNode) -> nn.Module | None:
            if not isinstance(node, nir.IF):
                return import_nir._import_norse_module(node)
            v0 = network.by_name[names[id(node)]].v0
            start = torch.from_numpy(v0).float().view(-1, 1, 1)
            parameters = Parameters(0.0)
            parameters.threshold = torch.from_numpy(node.v_threshold).float()
            cell = SNNCell(fire, partial(_rest, start), parameters)
            cell.register_forward_hook(partial(self._seen, names[id(node)]))
            return cell

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as from_nir itself calls it
            self.module = nirtorch.load(graph, module).eval()
        self.recording = False

    @torch.inference_mode()
    def run(self, images: np.ndarray) -> np.ndarray:
        """The readout's sums after all steps, (N, classes)."""
        x, state = torch.from_numpy(images).float(), None
        total = torch.zeros(())
        for _ in range(STEPS):
            out, state = self.module(x, state)
            total = total + out
        return total.numpy()

    def _seen(self, name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if self.recording:
            self.spikes.setdefault(name, []).append(output[0].to(torch.int8).numpy())


def _rest(start: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
    return start.expand_as(current)


def _plain_graph(network: Network) -> nir.NIRGraph:
    """Without what only snndeploy knows: the readout's integrator, and what a flatten starts at."""
    graph, readout = to_nir(network), network.output.name
    before = network.sources[readout][0]
    end = next(name for name, node in graph.nodes.items() if isinstance(node, nir.Output))
    nodes = {name: node for name, node in graph.nodes.items() if name != readout}
    for node in nodes.values():
        if isinstance(node, nir.Flatten):
            node.start_dim = 1  # Norse counts the batch
    edges = [(a, b) for a, b in graph.edges if readout not in (a, b)]
    return nir.NIRGraph(nodes, [*edges, (before, end)], type_check=False)


def _measure(network: Network, batch: int, repeats: int) -> Row:
    images, program, plain = networks.images(network, batch), Program(network), Plain(network)
    ours = find_backend("norse")
    run: Callable[..., Any] = partial(simulate, ours, program, steps=STEPS, batch=batch)
    _check(run, plain, images)
    seconds = medians(
        {
            "snndeploy": lambda: run(images, record=False),
            "plain": lambda: plain.run(images),
        },
        repeats,
    )
    rates = {name: batch / value for name, value in seconds.items()}
    return {
        "network": network.name,
        "steps": STEPS,
        "batch": batch,
        "images_per_s": rates,
        "ratio": rates["snndeploy"] / rates["plain"],
        "repeats": repeats,
    }


def _check(run: Callable[..., Any], plain: Plain, images: np.ndarray) -> None:
    """Stop unless every spike, and the readout of all images, are the same."""
    some = images[:CHECKED]
    plain.recording = True
    plain.run(some)
    plain.recording = False
    trace = run(some)
    if set(plain.spikes) != set(trace.spikes):
        raise SystemExit(f"other layers: {sorted(set(plain.spikes) ^ set(trace.spikes))}")
    for name, theirs in plain.spikes.items():
        if not np.array_equal(np.stack(theirs, axis=1), trace.spikes[name]):
            raise SystemExit(f"spikes of {name} differ")
    if not np.array_equal(plain.run(images), run(images, record=False).logits[:, -1]):
        raise SystemExit("the readouts differ")
    plain.spikes.clear()


def _line(row: Row) -> str:
    rates = row["images_per_s"]
    return (
        f"{row['network']} T = {row['steps']}, batch {row['batch']}: {rates['snndeploy']:.1f} "
        f"images/s, plain Norse {rates['plain']:.1f}: {row['ratio']:.1f} times as fast"
    )


def _table(rows: list[Row]) -> str:
    head = ["network", "steps", "batch", "backend `norse`, images/s", "plain Norse", "ratio"]
    body = []
    for row in rows:
        rates = row["images_per_s"]
        case = [row["network"], str(row["steps"]), str(row["batch"])]
        figures = [f"{rates['snndeploy']:.1f}", f"{rates['plain']:.1f}", f"**{row['ratio']:.1f}**"]
        body.append([*case, *figures])
    return table(head, body)


if __name__ == "__main__":
    main()
