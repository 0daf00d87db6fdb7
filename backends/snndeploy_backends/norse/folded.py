"""Whole runs without a controller: each Norse cell is stepped on currents that are there already.

The synapses of many steps are computed at once, by the reference engine's kernels, and so are the
max-pools. The neurons and the readout are the Norse cells of the graph module, called step by step.
Chunks of samples and spans of steps are those of the reference engine, with its bounds on memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from snndeploy.backend import Folded
from snndeploy.network import Network
from snndeploy.numerics import Int64Array
from snndeploy.program import Program
from snndeploy_backends.exact_floats import chosen_dtype
from snndeploy_backends.norse.mapping import PREFIX, to_torch
from snndeploy_backends.reference import kernels
from snndeploy_backends.reference.currents import Drive, Spikes
from snndeploy_backends.reference.folded import fold as fold_walks
from snndeploy_backends.reference.kernels import channels_first
from snndeploy_backends.reference.plan import LayerPlan, Options, Plan, default_memory, plan
from snndeploy_backends.reference.team import Team
from snndeploy_backends.reference.walk import Walk

BLOCK = 1 << 18
"""Neurons of all samples of a chunk, about: a step of the largest layer stays in the cache."""

_TEMPORARIES = 4
"""A step's intermediate results take up to three times what membranes and counts do."""

_cells: WeakKeyDictionary[Network, dict[Any, dict[str, nn.Module]]] = WeakKeyDictionary()


def fold(
    program: Program,
    inputs: Int64Array,
    steps: int,
    record: bool,
    options: Options,
    dtype: str | None,
) -> list[Folded]:
    """Run grid integers for at most `steps` steps; parts in sample order.

    Args:
        dtype: of all membranes; default the narrowest that is exact, layer by layer.

    Raises:
        InputError: an unknown type.
        DoesNotFitError: it is not exact, or none is.
    """
    chosen = None if dtype is None else chosen_dtype(program.network, steps, dtype)
    most = max(layer.neurons for layer in program.layers[1:])
    rows = options.rows if options.device != "cpu" else max(1, BLOCK // most)
    options = replace(options, memory=options.memory // _TEMPORARIES, rows=rows)
    cells = cells_of(program.network, plan(program, steps, options), chosen, options.device)
    return fold_walks(program, inputs, steps, record, options, partial(NorseWalk, cells))


def run_options(device: str, workers: int | None = None, memory: int | None = None) -> Options:
    """How runs are cut up: as the reference engine does it, if not said otherwise."""
    held = memory or default_memory(device)
    if device != "cpu":
        return Options("matmul", "torch", 1, held, rows=1 << 62, piece=held // 8, device=device)
    return Options(kernels.available(), "torch", workers or torch.get_num_threads(), held)


def cells_of(
    network: Network, prepared: Plan, dtype: torch.dtype | None, device: str
) -> dict[str, nn.Module]:
    """The Norse cells of the graph module by layer, channels last in memory."""
    stepped = [x for x in prepared.layers if x.layer.kind != "max_pool"]
    dtypes = {x.layer.name: dtype or x.v0.dtype for x in stepped}
    known = _cells.setdefault(network, {})
    key = (device, tuple(dtypes.values()))
    if key not in known:
        module = to_torch(network, torch.float64, "cpu")
        found = {
            name: module.get_submodule(PREFIX + name).to(device, wanted)
            for name, wanted in dtypes.items()
        }
        for cell in found.values():
            _channels_last(cell)
        known[key] = found
    return known[key]


class NorseWalk(Walk):
    """Some samples on their way through the network; Norse's cells are the neurons.

    Args:
        cells: by layer; the others are those of `Walk`.
    """

    def __init__(
        self,
        cells: Mapping[str, nn.Module],
        plan: Plan,
        inputs: Int64Array,
        options: Options,
        keep_spikes: bool,
        team: Team | None,
    ) -> None:
        super().__init__(plan, inputs, options, keep_spikes, team)
        self.cells, self.states = cells, dict.fromkeys(cells)

    def integrate(self, layer: LayerPlan, drive: Drive, span: int) -> Spikes:
        """What a population emits."""
        driven, width = drive.steps, layer.layer.neurons
        steps = min(span, driven + layer.levels) if self.plan.signed else span
        out = self.inputs.new_zeros((steps, self.rows, width), dtype=torch.int8)
        for t, spikes in enumerate(self._stepped(layer, drive, steps)):
            self._shaped(layer, out[t]).copy_(spikes)
            if self.plan.signed and t >= driven and not spikes.any():
                break
        events = _events(out)
        return self._trimmed(layer, out.view(torch.uint8).add_(layer.zero), events)

    def read_out(self, drive: Drive, steps: int) -> Int64Array:
        """The readout's membranes after each step, int64 (n, T, classes)."""
        membranes = list(self._stepped(self.plan.layers[-1], drive, steps))
        logits: Int64Array = torch.stack(membranes, dim=1).cpu().numpy().astype(np.int64)
        return logits

    def _stepped(self, layer: LayerPlan, drive: Drive, steps: int) -> Iterator[Tensor]:
        """What the layer's cell emits at each step, (n, *shape) channels first."""
        name = layer.layer.name
        cell = self.cells[name]
        for current in self._currents(layer, drive, steps):
            emitted, self.states[name] = cell(current, self.states[name])
            yield emitted

    def _currents(self, layer: LayerPlan, drive: Drive, steps: int) -> Iterator[Tensor]:
        """The input of each step without the bias, which the cell injects."""
        dtype = next(self.cells[layer.layer.name].buffers()).dtype
        silence = self.inputs.new_zeros((self.rows, layer.layer.neurons), dtype=dtype)
        for piece, current in drive.currents(self.rows):
            for t in range(piece.last - piece.first):
                x = silence if current is None else current[t % len(current)].to(dtype)
                yield self._shaped(layer, x)
        yield from repeat(self._shaped(layer, silence), steps - drive.steps)

    def _shaped(self, layer: LayerPlan, x: Tensor) -> Tensor:
        """(n, K) with the channels innermost, as a view (n, *shape) with the channels first."""
        return channels_first(x.view(self.rows, *layer.shape))


def _events(spikes: Tensor) -> Int64Array:
    """How many of (T, n, K) are not zero, (T, n); by NumPy, where it can see them."""
    if spikes.device.type != "cpu":
        return (spikes != 0).sum(dim=2).cpu().numpy()
    steps, rows, _ = spikes.shape
    counts = [np.count_nonzero(row) for row in spikes.flatten(0, 1).numpy()]
    return np.array(counts, np.int64).reshape(steps, rows)


def _channels_last(cell: Any) -> None:
    """Lay out the thresholds of images as the currents are."""
    theta = getattr(cell.p, "theta", None)
    if theta is not None and theta.ndim == 4:
        cell.p.theta = theta.contiguous(memory_format=torch.channels_last)
