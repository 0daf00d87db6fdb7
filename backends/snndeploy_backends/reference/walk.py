"""The walk over the layers with time folded into the batch.

Each layer sees all the steps of its sources at once: its currents come from one kernel call over
(steps * samples) rows, or from gathering the few spikes, and its spikes from a scan over time. In
exact mode a layer needs no more steps than its input has, and the few (at most L) until it is
silent again; so the network stops by itself when every sample has settled. Membranes and counts
are carried from span to span of steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snndeploy.nodes import MaxPool2d
from snndeploy.numerics import Int64Array
from snndeploy_backends.reference.currents import Drive, Piece, Spikes
from snndeploy_backends.reference.kernels import channels_first, channels_last
from snndeploy_backends.reference.plan import LayerPlan, Options, Plan
from snndeploy_backends.reference.scan import PoolState, Population, scan, scan_pool
from snndeploy_backends.reference.team import Team


@dataclass(frozen=True, eq=False)
class Span:
    """What n samples did in a span of T steps.

    Attributes:
        logits: int64 (n, T, classes).
        spikes: of each spiking layer that was kept, until it fell silent.
        events: int64 (T, n) or shorter per spiking layer, likewise.
        settled: whether nothing will happen after the span.
    """

    logits: Int64Array
    spikes: dict[str, Spikes]
    events: dict[str, Int64Array]
    settled: bool

    @property
    def steps(self) -> int:
        """T."""
        return int(self.logits.shape[1])


class Walk:
    """Some samples on their way through the network.

    Args:
        inputs: grid integers (n, *input shape), or (n, F, *input shape) step by step.
        keep_spikes: whether spans hold the spikes of all layers.
        team: threads that share the work of one layer.
        watch: a layer of neurons whose `current` (T, n, K) is kept until the next span.
    """

    def __init__(
        self,
        plan: Plan,
        inputs: Int64Array,
        options: Options,
        keep_spikes: bool,
        team: Team | None,
        watch: str = "",
    ) -> None:
        self.plan, self.rows, self.time = plan, len(inputs), 0
        self.options, self.keep_spikes, self.team = options, keep_spikes, team
        self.neurons: dict[str, Population] = {}
        self.pools: dict[str, PoolState] = {}
        self.total = np.zeros((self.rows, plan.layers[-1].layer.neurons), np.int64)
        self.inputs = torch.from_numpy(inputs.copy()).to(options.device)
        self.watch, self.current = watch, np.zeros((0, 0, 0), np.int64)
        self.constant: dict[str, Tensor] = {}

    def advance(self, span: int) -> Span:
        """The next `span` steps, or as many of them as there are until all is silent."""
        signed, start = self.plan.signed, self.time
        left = min(max(self.plan.window - start, 0), span) if signed else span
        if self.plan.per_step:
            frames = self.inputs[:, start : start + span].transpose(0, 1)
            fed, currents = len(frames), self.input_currents(frames) if len(frames) else {}
        else:
            self.constant = self.constant or self.input_currents(self.inputs[None])
            fed, currents = left, self.constant
        values: dict[str, Spikes] = {}
        events: dict[str, Int64Array] = {}

        def drive(layer: LayerPlan) -> Drive:
            window, piece = self.plan.window, self.options.piece
            arriving = currents.get(layer.layer.name)
            timing = (arriving, fed, left, start, window, piece)
            return Drive(layer, values, *timing, self.options.below, self.team)

        *spiking, readout = self.plan.layers
        for index, layer in enumerate(spiking):
            name = layer.layer.name
            if isinstance(layer.layer.node, MaxPool2d):
                source = values[layer.layer.projections[0].source]
                values[name] = self._max_pool(layer, layer.layer.node, source)
            else:
                values[name] = self.integrate(layer, drive(layer), span)
            events[name] = values[name].events
            if not self.keep_spikes:
                for other in self.plan.layers[:index]:
                    if other.last_use == index:
                        values.pop(other.layer.name, None)
        active = max((len(x) for x in events.values()), default=0)
        steps = min(span, max(active + 1, left, fed)) if signed else span
        logits = self.read_out(drive(readout), steps)
        self.time += steps
        settled = signed and active < steps and self.time >= self.plan.window
        return Span(logits, values if self.keep_spikes else {}, events, settled)

    def membrane(self, name: str) -> Int64Array:
        """The membranes (n, *shape) of a layer of neurons, as they are now."""
        layer = next(x for x in self.plan.layers if x.layer.name == name)
        state = self._population(layer).membrane.view(self.rows, *layer.shape)
        held: Int64Array = channels_first(state).cpu().numpy().astype(np.int64)
        return held

    def last_current(self) -> Int64Array:
        """What reached the watched layer at the last step, (n, *shape)."""
        layer = next(x for x in self.plan.layers if x.layer.name == self.watch)
        last = torch.from_numpy(self.current[-1]).view(self.rows, *layer.shape)
        found: Int64Array = channels_first(last).numpy()
        return found

    def input_currents(self, frames: Tensor) -> dict[str, Tensor]:
        """The input's current (F, n, K) into each layer that it feeds, from (F, n, *shape)."""
        currents: dict[str, Tensor] = {}
        for layer in self.plan.layers:
            if layer.entry:
                x = channels_last(frames.flatten(0, 1).to(layer.dtype))
                first, *others = (linear(x) for linear in layer.entry)
                for other in others:
                    first = first + other
                currents[layer.layer.name] = first.reshape(len(frames), self.rows, -1)
        return currents

    def integrate(self, layer: LayerPlan, drive: Drive, span: int) -> Spikes:
        """What a population emits."""
        driven = drive.steps
        steps = min(span, driven + layer.levels) if self.plan.signed else span
        state = self._population(layer)
        out = state.membrane.new_empty((steps, *state.membrane.shape), dtype=torch.uint8)
        if layer.layer.name == self.watch:
            self.current = np.zeros(out.shape, np.int64)
        events = np.zeros((steps, self.rows), np.int64)
        for piece, current in drive.currents(self.rows):
            shares = drive.bias(piece)
            self._advance(layer, drive, state, piece, current, shares, out, events)
        if driven < steps:
            rest = out[driven:]
            events[driven:] = scan(self.options.scan, state, None, None, rest, self.team)
        return self._trimmed(layer, out, events)

    def _advance(
        self,
        layer: LayerPlan,
        drive: Drive,
        state: Population,
        piece: Piece,
        current: Tensor | None,
        shares: Int64Array | None,
        out: Tensor,
        events: Int64Array,
    ) -> None:
        """One piece of time: fills its steps of `out` and `events`."""
        steps = slice(piece.first, piece.last)
        if layer.layer.name == self.watch:
            self._note(steps, current, shares)
        if piece.gathered:
            assert layer.gather is not None
            source = drive.sources[layer.gather_source]
            spikes, fired = source.bytes[steps], source.events[steps]
            arguments = (state, spikes, fired, current, shares, out[steps], self.team)
            events[steps] = layer.gather.advance(*arguments)
            return
        bias = None if shares is None else torch.from_numpy(shares).to(state.theta)
        events[steps] = scan(self.options.scan, state, current, bias, out[steps], self.team)

    def _note(self, steps: slice, current: Tensor | None, shares: Int64Array | None) -> None:
        """Keep what reaches the watched layer; what is gathered has no current to keep."""
        kept = self.current[steps]
        if current is not None:
            kept += current.cpu().numpy().astype(np.int64)
        if shares is not None:
            kept += np.tile(shares, kept.shape[2] // shares.shape[1])[:, None]

    def _trimmed(self, layer: LayerPlan, out: Tensor, events: Int64Array) -> Spikes:
        """Without the silence at the end."""
        last = len(events)
        while last and not events[last - 1].any():
            last -= 1
        return Spikes(out[:last].view(last, self.rows, *layer.shape), events[:last])

    def _population(self, layer: LayerPlan) -> Population:
        name = layer.layer.name
        if name not in self.neurons:
            self.neurons[name] = layer.population(self.rows, self.plan.signed, self.plan.hard)
            self.neurons[name].begin(layer.v0)
        return self.neurons[name]

    def _max_pool(self, layer: LayerPlan, node: MaxPool2d, source: Spikes) -> Spikes:
        """What the maxima of the counts gain at each step."""
        name, x = layer.layer.name, source.bytes
        if name not in self.pools:
            self.pools[name] = layer.pool(self.rows, tuple(x.shape[2:]))
            self.pools[name].begin()
        out = x.new_empty((len(x), self.rows, *layer.shape))
        arguments = (node, self.pools[name], x, int(self.plan.signed), out, self.team)
        return self._trimmed(layer, out, scan_pool(self.options.scan, *arguments))

    def read_out(self, drive: Drive, steps: int) -> Int64Array:
        """The readout's membranes after each step, int64 (n, T, classes)."""
        gains = np.zeros((steps, *self.total.shape), np.int64)
        for piece, current in drive.currents(self.rows):
            bias = drive.bias(piece)
            if current is not None:
                gains[piece.first : piece.last] = current.cpu().numpy()
            if bias is not None:
                gains[piece.first : piece.last] += bias[:, None]
        logits = self.total + np.cumsum(gains, axis=0)
        self.total[:] = logits[-1]
        return logits.transpose(1, 0, 2)
