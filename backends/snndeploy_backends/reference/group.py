"""Samples whose state lies together in memory, so that any neighbours can walk together."""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from torch import Tensor

from snndeploy.nodes import MaxPool2d
from snndeploy.numerics import Int64Array
from snndeploy_backends.reference.plan import Options, Plan
from snndeploy_backends.reference.walk import Walk


class Group(Walk):
    """A walk that is done by `part`s, each by a thread of its own.

    The state is allocated here and set by each part's `begin`, so that the threads share that too.
    """

    def __init__(
        self, plan: Plan, inputs: Int64Array, options: Options, keep_spikes: bool, watch: str = ""
    ) -> None:
        super().__init__(plan, inputs, options, keep_spikes, None, watch)
        shapes = {layer.layer.name: layer.shape for layer in plan.layers}
        for layer in plan.layers[:-1]:
            name = layer.layer.name
            if isinstance(layer.layer.node, MaxPool2d):
                source = shapes[layer.layer.projections[0].source]
                self.pools[name] = layer.pool(self.rows, source)
            else:
                self.neurons[name] = layer.population(self.rows, plan.signed, plan.hard)
        for layer in plan.layers if not plan.per_step else ():
            if layer.entry:
                size = (1, self.rows, layer.layer.neurons)
                current = self.inputs.new_empty(size, dtype=layer.dtype)
                self.constant[layer.layer.name] = current

    def begin(self) -> None:
        """Put the neurons at rest, and compute what a constant input brings."""
        for layer in self.plan.layers[:-1]:
            if layer.layer.name in self.neurons:
                self.neurons[layer.layer.name].begin(layer.v0)
        for pool in self.pools.values():
            pool.begin()
        if not self.plan.per_step:
            for name, current in self.input_currents(self.inputs[None]).items():
                self.constant[name].copy_(current)

    def refilled(self, inputs: Int64Array) -> Group:
        """A group of new samples, no more than were here, in the same memory."""
        group = self.part(slice(len(inputs)))
        group.time, group.total = 0, np.zeros_like(group.total)
        group.inputs = torch.from_numpy(inputs.copy()).to(self.inputs.device)
        return group

    def part(self, rows: slice) -> Group:
        """Some of the samples, neighbours, in the same memory."""
        part = copy(self)
        part.inputs, part.total = self.inputs[rows], self.total[rows]
        part.rows = len(part.total)
        part.neurons = {name: state.part(rows) for name, state in self.neurons.items()}
        part.pools = {name: state.part(rows) for name, state in self.pools.items()}
        part.constant = {name: current[:, rows] for name, current in self.constant.items()}
        return part

    def kept(self, rows: Int64Array) -> tuple[Group, Int64Array]:
        """The group of some of the samples, in this one's memory, and where each of them is there.

        Those at the end move into the places that become free: little is copied.
        """
        kept, places = len(rows), rows.copy()
        moving = rows >= kept
        places[moving] = np.setdiff1d(np.arange(kept), rows)
        holes, movers = places[moving], rows[moving]
        to, here = (torch.from_numpy(x).to(self.inputs.device) for x in (holes, movers))

        def move(state: Tensor) -> None:
            if len(movers) and state.numel():  # indexing would take 25 times as long
                state.index_copy_(0, to, state.index_select(0, here))

        for neurons in self.neurons.values():
            move(neurons.membrane)
            move(neurons.count)
        for pool in self.pools.values():
            move(pool.count)
            move(pool.pooled)
        for current in self.constant.values():
            move(current[0])
        if self.plan.per_step:
            move(self.inputs)
        self.total[holes] = self.total[movers]
        return self.part(slice(kept)), places
