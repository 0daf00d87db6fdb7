"""The walk over the layers with time folded into the batch.

Each layer sees all the steps of its sources at once: one kernel call over (steps * samples) rows
for the currents, then a scan over time for the spikes. In exact mode a layer needs no more steps
than its input has, and the few (at most L) until it is silent again; so the network stops by
itself when every sample has settled. Where memory does not hold all steps, the walk is repeated
over spans of steps, membranes and counts being carried along.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snndeploy.backend import Folded
from snndeploy.nodes import MaxPool2d
from snndeploy.numerics import Int8Array, Int64Array
from snndeploy.program import Program
from snndeploy_backends.exact_floats import exact_kernels
from snndeploy_backends.reference.currents import Drive, Spikes
from snndeploy_backends.reference.kernels import channels_last, windows
from snndeploy_backends.reference.plan import LayerPlan, Options, Plan, plan
from snndeploy_backends.reference.scan import Population, scan


@exact_kernels()
def fold(
    program: Program, inputs: Int64Array, steps: int, record: bool, options: Options
) -> list[Folded]:
    """Run grid integers (N, *input shape) for at most `steps` steps; parts in sample order."""
    prepared = plan(program, steps, options)
    most = min(steps, program.settle_bound) if prepared.signed else steps
    rows, span = _sizes(prepared, len(inputs), most, record, options)
    chunks = [inputs[first : first + rows] for first in range(0, len(inputs), rows)]

    def run(chunk: Int64Array, pool: ThreadPoolExecutor | None = None) -> Folded:
        with torch.inference_mode():
            return _Walk(prepared, chunk, record, options, pool).run(span)

    threads = torch.get_num_threads()
    if options.workers < 2:
        return [run(chunk) for chunk in chunks]
    if len(chunks) < 2:
        with ThreadPoolExecutor(1) as pool:
            return [run(chunk, pool) for chunk in chunks]
    try:
        with ThreadPoolExecutor(options.workers, initializer=_one_thread) as pool:
            return list(pool.map(run, chunks))
    finally:
        torch.set_num_threads(threads)


def _one_thread() -> None:
    """Each worker runs its kernels on one thread: two such beat one worker of two."""
    torch.set_num_threads(1)


def _sizes(plan: Plan, rows: int, steps: int, record: bool, options: Options) -> tuple[int, int]:
    """Samples per chunk, and steps per span, that keep all workers within the memory."""
    spikes = sum(x.layer.neurons for x in plan.layers) if record else plan.spike_bytes
    share = max(options.memory // options.workers - 2 * options.piece, 1)
    most = share // (plan.state_bytes + spikes * steps)
    if most:
        wanted = -(-rows // options.workers)
        return max(1, min(wanted, most, options.rows)), steps
    return 1, max(1, min(steps, (share - plan.state_bytes) // spikes))


@dataclass
class _Pool:
    """A max-pool's state: counts (n, H, W, C) of what it pools, and the maxima so far."""

    count: Tensor
    pooled: Tensor


class _Walk:
    """One chunk of n samples on its way through the layers."""

    def __init__(
        self,
        plan: Plan,
        inputs: Int64Array,
        record: bool,
        options: Options,
        pool: ThreadPoolExecutor | None,
    ) -> None:
        self.plan, self.rows, self.record = plan, len(inputs), record
        self.options, self.pool, self.zero = options, pool, int(plan.signed)
        self.neurons: dict[str, Population] = {}
        self.pools: dict[str, _Pool] = {}
        self.total = np.zeros(0, np.int64)
        self.constant: dict[str, Tensor] = {}
        samples = torch.from_numpy(np.ascontiguousarray(inputs))
        for layer in plan.layers:
            if layer.constant:
                x = channels_last(samples.to(layer.dtype))
                current = sum(linear(x) for linear in layer.constant)
                assert isinstance(current, Tensor)
                self.constant[layer.layer.name] = current.reshape(1, self.rows, -1)

    def run(self, span: int) -> Folded:
        """All steps, `span` of them at a time."""
        parts: list[Folded] = []
        done = 0
        while done < self.plan.steps:
            part, settled = self._advance(done, min(span, self.plan.steps - done))
            parts.append(part)
            done += part.logits.shape[1]
            if settled:
                break
        if len(parts) == 1:
            return parts[0]
        return Folded(
            np.concatenate([p.logits for p in parts], axis=1),
            {k: np.concatenate([p.spikes[k] for p in parts], axis=1) for k in parts[0].spikes},
            {k: np.concatenate([p.events[k] for p in parts], axis=1) for k in parts[0].events},
        )

    def _advance(self, start: int, span: int) -> tuple[Folded, bool]:
        """Steps `start` to `start + span`, or to silence; and whether all have settled."""
        left = min(max(self.plan.window - start, 0), span) if self.plan.signed else span
        values: dict[str, Spikes] = {}
        events: dict[str, Int64Array] = {}
        *spiking, readout = self.plan.layers
        for index, layer in enumerate(spiking):
            name = layer.layer.name
            if isinstance(layer.layer.node, MaxPool2d):
                source = values[layer.layer.projections[0].source]
                found = self._max_pool(layer, layer.layer.node, source)
            else:
                found = self._integrate(layer, self._drive(layer, values, start, left), span)
            values[name], events[name] = found
            if not self.record:
                for other in self.plan.layers[:index]:
                    if other.last_use == index:
                        values.pop(other.layer.name, None)
        active = max((len(x) for x in events.values()), default=0)
        steps = min(span, max(active + 1, left)) if self.plan.signed else span
        logits = self._read_out(readout, self._drive(readout, values, start, left), steps)
        settled = self.plan.signed and active < steps and start + steps >= self.plan.window
        spikes = (
            {k: self._recorded(x.bytes, steps) for k, x in values.items()} if self.record else {}
        )
        return Folded(logits, spikes, {k: _filled(e, steps) for k, e in events.items()}), settled

    def _drive(self, layer: LayerPlan, values: dict[str, Spikes], start: int, left: int) -> Drive:
        constant = self.constant.get(layer.layer.name)
        window, piece = self.plan.window, self.options.piece
        return Drive(layer, values, constant, left, start, window, piece, self.pool)

    def _integrate(self, layer: LayerPlan, drive: Drive, span: int) -> tuple[Spikes, Int64Array]:
        """What a population emits, and its events (T, n)."""
        driven = drive.steps
        steps = min(span, driven + layer.levels) if self.plan.signed else span
        state = self._population(layer)
        out = torch.empty((steps, *state.membrane.shape), dtype=torch.uint8)
        events = np.zeros((steps, self.rows), np.int64)
        for a, b in [*drive.pieces(self.rows), (driven, steps)]:
            if a < b:
                current, shares = drive.current(a, b, self.rows), drive.bias(a, b)
                bias = None if shares is None else torch.from_numpy(shares).to(layer.dtype)
                events[a:b] = scan(self.options.scan, state, current, bias, out[a:b], self.pool)
        return self._spikes(layer, out, events)

    def _spikes(
        self, layer: LayerPlan, out: Tensor, events: Int64Array
    ) -> tuple[Spikes, Int64Array]:
        """Both without the silence at their end."""
        last = int(np.flatnonzero(events.any(axis=1))[-1]) + 1 if events.any() else 0
        rates = events[:last].sum(axis=1) / (self.rows * layer.layer.neurons)
        bytes_ = out[:last].view(last, self.rows, *layer.shape)
        return Spikes(bytes_, rates), events[:last]

    def _population(self, layer: LayerPlan) -> Population:
        name, width = layer.layer.name, layer.layer.neurons
        if name not in self.neurons:
            v0 = layer.v0.repeat(-(-width // len(layer.v0)))[:width]
            membrane = v0.repeat(self.rows, 1)
            count = torch.zeros_like(membrane) if self.plan.signed else membrane[:, :0]
            self.neurons[name] = Population(
                layer.theta, membrane, count, layer.levels, self.plan.signed
            )
        return self.neurons[name]

    def _max_pool(
        self, layer: LayerPlan, node: MaxPool2d, source: Spikes
    ) -> tuple[Spikes, Int64Array]:
        """What the maxima of the counts gain at each step, and the events (T, n) of that."""
        name, x = layer.layer.name, source.bytes
        if name not in self.pools:
            dtype = torch.uint8 if layer.levels < 256 else torch.int32
            self.pools[name] = _Pool(
                torch.zeros(x.shape[1:], dtype=dtype),
                torch.zeros((self.rows, *layer.shape), dtype=dtype),
            )
        state = self.pools[name]
        out = torch.empty((len(x), self.rows, *layer.shape), dtype=torch.uint8)
        for t in range(len(x)):
            state.count += x[t]
            state.count -= self.zero
            first, *others = windows(state.count, node.kernel, node.stride, node.padding, 0)
            pooled = first.clone(memory_format=torch.contiguous_format)
            for other in others:
                torch.maximum(pooled, other, out=pooled)
            out[t] = pooled - state.pooled + self.zero
            state.pooled = pooled
        differs = (out.flatten(2) != self.zero).numpy()
        found = [np.count_nonzero(row) for step in differs for row in step]
        events = np.array(found, np.int64).reshape(differs.shape[:2])
        return self._spikes(layer, out, events)

    def _read_out(self, layer: LayerPlan, drive: Drive, steps: int) -> Int64Array:
        """The readout's membranes after each step, int64 (n, T, classes)."""
        gains = np.zeros((steps, self.rows, layer.layer.neurons), np.int64)
        if not self.total.size:
            self.total = gains[:1].copy()
        for a, b in drive.pieces(self.rows):
            current, bias = drive.current(a, b, self.rows), drive.bias(a, b)
            if current is not None:
                gains[a:b] = current.numpy()
            if bias is not None:
                gains[a:b] += bias[:, None]
        logits = self.total + np.cumsum(gains, axis=0)
        self.total = logits[-1:]
        return logits.transpose(1, 0, 2)

    def _recorded(self, x: Tensor, steps: int) -> Int8Array:
        """Spikes (T, n, *channels last) as int8 (n, steps, *channels first)."""
        last, rows = x.shape[:2]
        spikes = x.permute(1, 0, 4, 2, 3) if x.ndim == 5 else x.transpose(0, 1)
        full = np.zeros((rows, steps, *spikes.shape[2:]), np.int8)
        np.subtract(spikes.numpy().view(np.int8), self.zero, out=full[:, :last])
        return full


def _filled(events: Int64Array, steps: int) -> Int64Array:
    """(T, n) as (n, steps), silent after T."""
    return np.pad(events, ((0, steps - len(events)), (0, 0))).T
