"""From many levels to few: the passes in their order, each correction tried on held-out samples.

    remove-levels, equalize-channels    the float original
    choose-ceilings                     few levels                               (none)
    correct-biases, twice               with new ceilings in between             (light)
    tune-weights                        a short distillation                     (advanced)

A correction is kept if it does not take the answers' probabilities p (softmax), on a held-out fifth
of the samples, further from those of the float original, q: if the mean over samples of

    sum over classes of min(p, q)

does not fall. With labels, q is 1 for the right class, and that is the mean probability of the
right answer. Counted right answers are too coarse to judge by: on a hundred samples they move by a
point at a time. The history tells either way. In rate mode the last pass corrects biases once more,
for what neurons emit in time; in `light` it is the only one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from snndeploy.float_ann.responses import logits
from snndeploy.network import Mode, Network
from snndeploy.nodes import Activation, Relu
from snndeploy.passes.base import Pass
from snndeploy.passes.calibration_data import CalibrationData
from snndeploy.passes.calibration_options import FewLevels
from snndeploy.passes.choose_ceilings import ChooseCeilings
from snndeploy.passes.correct_biases import CorrectBiases
from snndeploy.passes.equalize_channels import EqualizeChannels
from snndeploy.passes.remove_levels import RemoveLevels
from snndeploy.passes.tune_weights import TuneWeights
from snndeploy.simulate import Progress

ROUNDS, EPOCHS, BATCH = 2, 40, 32
"""Of `CorrectBiases` and `TuneWeights`; found on a ResNet-20 and a ResNet8."""

RATE_TIMES_LEVELS = 0.015
"""The finer the levels, the smaller the steps of `TuneWeights`."""

SIMULATED = 128
"""The most samples that are simulated to correct biases in rate mode."""


def few_levels(
    network: Network,
    data: CalibrationData,
    options: FewLevels,
    mode: Mode = "exact",
    window: int = 0,
    progress: Progress | None = None,
) -> Network:
    """A float network whose activations have at most `options.levels` levels.

    Args:
        network: folded, with `Relu`s or activations of more levels, its input grid set.
        data: samples on that grid.
        options: what is asked for.
        mode: `rate`: biases are corrected for what neurons emit in `window` steps.
        window: steps with input; 0: as many as there are levels.
        progress: told (done, in all) by each pass.
    """
    levels = options.levels
    network = RemoveLevels(levels)(network)
    if not any(_is_to_change(node, levels) for node in network.nodes):
        return network
    how = (levels, options.thresholds, options.percentile)
    fit, held_out = data.split(options.seed)
    if options.per_channel:
        network = EqualizeChannels(*how, fit, progress)(network)
    original = network
    steps = 0 if mode == "exact" else window or levels
    ceilings = ChooseCeilings(*how, fit, original, progress)
    biases = CorrectBiases(0, 0, ROUNDS, fit, original, progress)
    in_time = replace(biases, steps=steps, window=steps, data=fit.some(SIMULATED, options.seed))
    rate = RATE_TIMES_LEVELS / levels
    weights = TuneWeights(EPOCHS, rate, BATCH, options.seed, fit, held_out, original, progress)
    network = ceilings(network)
    if options.calibrate != "none" and (mode == "exact" or options.calibrate == "advanced"):
        as_ann = _Trial(original, held_out, 0)
        network = as_ann.kept(network, [biases])
        network = as_ann.kept(network, [ceilings, biases])
        if options.calibrate == "advanced":
            network = as_ann.kept(network, [weights])
    if options.calibrate != "none" and mode == "rate":
        network = _Trial(original, held_out, steps).kept(network, [in_time])
    return network


def _is_to_change(node: object, levels: int) -> bool:
    return isinstance(node, Relu) or (isinstance(node, Activation) and node.levels > levels)


class _Trial:
    """Tries corrections on held-out samples."""

    def __init__(self, original: Network, held_out: CalibrationData, steps: int) -> None:
        self.data, self.steps = held_out, steps
        goal = _probabilities(logits(original, held_out.x))
        if held_out.labels is not None:
            goal = torch.eye(goal.shape[1], dtype=goal.dtype)[torch.from_numpy(held_out.labels)]
        self.goal = goal

    def kept(self, network: Network, passes: Iterable[Pass]) -> Network:
        """The network after the passes, or as it is if that comes nearer to the goal."""
        (before, right_before), changed = self.score(network), network
        for rewrite in passes:
            changed = rewrite(changed)
        after, right_after = self.score(changed)
        told = (
            f"held-out-before={before:.4f} held-out-after={after:.4f} "
            f"right-before={right_before:.4f} right-after={right_after:.4f} data={self.data}"
        )
        if after >= before:
            return replace(changed, history=(*changed.history, f"keep{{{told}}}"))
        undone = " ".join(changed.history[len(network.history) :])
        return replace(network, history=(*network.history, f"undo{{{undone} {told}}}"))

    def score(self, network: Network) -> tuple[float, float]:
        """The mean overlap of the probabilities with the goal's, and the share of right answers."""
        found = _probabilities(logits(network, self.data.x, self.steps, self.steps))
        overlap = torch.minimum(found, self.goal).sum(1).mean()
        right = (found.argmax(1) == self.goal.argmax(1)).double().mean()
        return float(overlap), float(right)


def _probabilities(found: torch.Tensor) -> torch.Tensor:
    return found.double().softmax(1)
