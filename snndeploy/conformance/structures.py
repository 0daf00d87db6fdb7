"""The structures of the suite: every kind of layer, and every way in which layers meet.

Each is a function that goes on with a `Sketch`, and whose docstring says what it is there for.
All fit Loihi's words, unless that is the point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from snndeploy.conformance.sketch import Sketch
from snndeploy.network import Mode, Network
from snndeploy.nodes import Grid

Draw: TypeAlias = Callable[[Sketch], object]

IMAGE, SIGNAL, FLAT = (2, 6, 7), (3, 1, 12), (9,)


@dataclass(frozen=True)
class Structure:
    """How a network of the suite is made.

    Attributes:
        name: unique, an identifier.
        about: what it is there for, in one line.
        samples: how many it is run on.
        frames: steps of an input that comes step by step; 0 for a constant one.
    """

    name: str
    about: str
    sketch: Callable[[], Sketch]
    draw: Draw
    samples: int
    frames: int

    def network(self, mode: Mode) -> Network:
        """The network, in one of the modes."""
        sketch = self.sketch()
        self.draw(sketch)
        return sketch.network(mode)


STRUCTURES: dict[str, Structure] = {}


def structure(
    *shape: int, samples: int = 3, frames: int = 0, **options: Any
) -> Callable[[Draw], Draw]:
    """Add a structure on samples of that shape; `options` are those of `Sketch`."""

    def register(draw: Draw) -> Draw:
        name, about = draw.__name__, (draw.__doc__ or "").partition("\n")[0]
        sketch = partial(Sketch, name, shape, per_step=frames > 0, **options)
        STRUCTURES[name] = Structure(name, about, sketch, draw, samples, frames)
        return draw

    return register


# Convolutions of images


@structure(*IMAGE)
def conv_plain(net: Sketch) -> None:
    """Convolutions without padding, on an image that is not square."""
    net.conv(4, (3, 3)).neurons().conv(3, (2, 3)).neurons()


@structure(*IMAGE)
def conv_padded(net: Sketch) -> None:
    """Convolutions that pad, one behind the other."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons().conv(3, (3, 3), padding=(2, 2)).neurons()


@structure(*IMAGE)
def conv_strided(net: Sketch) -> None:
    """Strides that differ along height and width."""
    net.conv(4, (3, 3), stride=(2, 1), padding=(1, 1)).neurons().conv(4, (2, 3), stride=(1, 2))
    net.neurons()


@structure(*IMAGE)
def conv_four_sides(net: Sketch) -> None:
    """Padding that differs on all four sides."""
    net.conv(3, (3, 3), padding=(0, 1, 2, 1)).neurons()
    net.conv(3, (2, 3), stride=(2, 2), padding=(1, 0, 0, 2)).neurons()


@structure(*IMAGE)
def conv_dilated(net: Sketch) -> None:
    """Dilation that differs along height and width."""
    net.conv(4, (3, 2), dilation=(2, 3), padding=(2, 1)).neurons()
    net.conv(3, (2, 2), dilation=(1, 2)).neurons()


@structure(4, 6, 5)
def conv_grouped(net: Sketch) -> None:
    """Two groups of channels, then three."""
    net.conv(6, (3, 3), padding=(1, 1), groups=2).neurons()
    net.conv(3, (3, 3), groups=3).neurons()


@structure(3, 6, 6)
def conv_depthwise(net: Sketch) -> None:
    """A kernel a channel, then a pointwise convolution."""
    net.conv(3, (3, 3), padding=(1, 1), groups=3).neurons().conv(5, (1, 1)).neurons()


@structure(3, 6, 6)
def conv_depthwise_multiplied(net: Sketch) -> None:
    """Two kernels a channel, strided, then one."""
    net.conv(6, (3, 3), stride=(2, 2), padding=(1, 1), groups=3).neurons()
    net.conv(6, (2, 2), groups=6).neurons()


@structure(4, 7, 8)
def conv_everything(net: Sketch) -> None:
    """Strided, dilated, grouped, and padded on four sides at once."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons()
    net.conv(6, (3, 2), stride=(2, 1), padding=(2, 0, 1, 3), dilation=(1, 2), groups=2).neurons()


@structure(*IMAGE)
def conv_over_everything(net: Sketch) -> None:
    """A kernel as large as the image, behind a layer that keeps its size."""
    net.conv(3, (3, 3), padding=(1, 1)).neurons().conv(5, (6, 7)).neurons()


# Convolutions of signals


@structure(*SIGNAL)
def signal_plain(net: Sketch) -> None:
    """A 1-d convolution: an image of height one."""
    net.conv(4, (1, 3)).neurons().conv(3, (1, 2)).neurons()


@structure(*SIGNAL)
def signal_strided(net: Sketch) -> None:
    """A 1-d convolution, strided and padded on one side more than on the other."""
    net.conv(4, (1, 4), stride=(1, 2), padding=(0, 1, 0, 3)).neurons()
    net.conv(3, (1, 3), padding=(0, 1)).neurons()


@structure(*SIGNAL)
def signal_dilated(net: Sketch) -> None:
    """Causal 1-d convolutions with dilation, depthwise the second time."""
    net.conv(3, (1, 3), padding=(0, 2, 0, 0)).neurons()
    net.conv(3, (1, 3), dilation=(1, 2), padding=(0, 4, 0, 0), groups=3).neurons()


@structure(*SIGNAL)
def signal_pooled(net: Sketch) -> None:
    """1-d pools: the maximum of counts, then the mean of everything."""
    net.conv(4, (1, 3), padding=(0, 1)).neurons().conv(4, (1, 3)).neurons()
    net.max_pool((1, 3), (1, 2), (0, 1)).sum_pool()


# Dense layers


@structure(*FLAT)
def dense(net: Sketch) -> None:
    """One dense layer of neurons."""
    net.linear(7).neurons()


@structure(*FLAT, levels=7)
def dense_deep(net: Sketch) -> None:
    """Four dense layers of neurons."""
    net.linear(8).neurons().linear(6).neurons().linear(7).neurons().linear(5).neurons()


@structure(*FLAT)
def readout_only(net: Sketch) -> None:
    """No neurons that fire: the readout integrates the input."""
    net.linear(4).readout()


@structure(*IMAGE)
def flatten_dense(net: Sketch) -> None:
    """An image that is flattened in front of its first layer."""
    net.flatten().linear(8).neurons()


@structure(*IMAGE)
def conv_dense(net: Sketch) -> None:
    """Dense neurons behind convolved ones."""
    net.conv(3, (3, 3), stride=(2, 2)).neurons().linear(6).neurons()


# Neurons


@structure(2, 5, 5)
def thresholds_unlike(net: Sketch) -> None:
    """Thresholds from 1 to thousands, a channel each."""
    net.conv(5, (3, 3), padding=(1, 1)).neurons(threshold=np.array([1, 7, 300, 2500, 9000]))
    net.linear(5).neurons(threshold=np.array([1, 60, 400, 900, 1500]))


@structure(2, 5, 5)
def biases_large(net: Sketch) -> None:
    """Biases that saturate a channel, and that keep one silent."""
    net.conv(4, (3, 3)).neurons(bias=np.array([40_000, -40_000, 3, -2]))
    net.linear(4).neurons(bias=np.array([2_000, -2_000, 1, -1]))


@structure(1, 4, 4, window=5)
def biases_indivisible(net: Sketch) -> None:
    """Biases that no step's share divides, of either sign."""
    net.conv(4, (2, 2)).neurons(bias=np.array([1, -1, 7, -13]))
    net.conv(4, (2, 2)).neurons(bias=np.array([3, -3, 11, -17]))


@structure(*FLAT)
def membranes_start_anywhere(net: Sketch) -> None:
    """First membranes below zero, at zero, and beyond the threshold."""
    theta = np.array([900, 1100, 1300, 1500, 1700])
    net.linear(5).neurons(threshold=theta, v0=np.array([-700, 0, 1299, 1500, 4000]))
    net.linear(4).neurons(v0=np.array([-90, -1, 0, 250]))


@structure(*FLAT)
def weights_with_exponents(net: Sketch) -> None:
    """Weights of 8 bits times a power of two, another one a layer."""
    net.linear(7, exponent=5).neurons().linear(6, exponent=9).neurons()


@structure(*IMAGE, levels=1)
def levels_one(net: Sketch) -> None:
    """Neurons that fire at most once, in a window of one step."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons().conv(4, (3, 3)).neurons()


@structure(*IMAGE, levels=15)
def levels_fifteen(net: Sketch) -> None:
    """Fifteen spikes a neuron, at most."""
    net.conv(4, (3, 3)).neurons().conv(3, (3, 3)).neurons()


@structure(*FLAT, window=4)
def levels_unlike(net: Sketch) -> None:
    """Layers of other levels than the window."""
    net.linear(7).neurons(levels=7).linear(6).neurons(levels=1).linear(6).neurons(levels=3)


@structure(*FLAT, levels=7, window=2)
def window_short(net: Sketch) -> None:
    """More levels than steps of input: neurons go on firing when it is over."""
    net.linear(7).neurons().linear(6).neurons()


@structure(*FLAT, levels=3, window=12)
def window_long(net: Sketch) -> None:
    """More steps of input than levels."""
    net.linear(7).neurons().linear(6).neurons()


# Inputs


@structure(*IMAGE, grid=Grid(0.125, -8, 7))
def input_signed(net: Sketch) -> None:
    """An image on a grid with negative integers."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons().conv(3, (3, 3)).neurons()


@structure(*IMAGE, grid=Grid(1.0, 0, 1))
def input_binary(net: Sketch) -> None:
    """An image of zeros and ones."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons()


@structure(3, 5, 5, grid=Grid(1 / 255, 0, 255))
def input_bytes(net: Sketch) -> None:
    """An image of bytes, in three channels."""
    net.conv(4, (3, 3), stride=(2, 2), padding=(1, 1)).neurons()


@structure(*IMAGE, frames=4, window=4)
def steps_of_images(net: Sketch) -> None:
    """Input step by step, as long as the window."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons().conv(3, (3, 3)).neurons()


@structure(*FLAT, frames=3, window=6, grid=Grid(0.5, -4, 4))
def steps_fewer_than_the_window(net: Sketch) -> None:
    """Input step by step, on a signed grid, that ends before the window does."""
    net.linear(7).neurons().linear(5).neurons()


@structure(*FLAT, frames=5, window=5)
def steps_into_several_layers(net: Sketch) -> None:
    """Input step by step that reaches two layers, one of them past the other."""
    first = net.linear(6).neurons().last
    late = net.at("x").linear(6).last
    net.sum(net.at(first).linear(6).last, late).neurons()


@structure(*IMAGE, samples=1)
def one_sample(net: Sketch) -> None:
    """A batch of one."""
    net.conv(4, (3, 3)).neurons().max_pool((2, 2)).conv(3, (1, 1)).neurons()


@structure(*FLAT, samples=17)
def many_samples(net: Sketch) -> None:
    """A batch of seventeen, which settle at unlike steps."""
    net.linear(6).neurons().linear(6).neurons().linear(6).neurons()


# Sums of branches


@structure(*IMAGE)
def add_identity(net: Sketch) -> None:
    """A residual block: a convolution and a weighted identity."""
    stem = net.conv(4, (3, 3), padding=(1, 1)).neurons().last
    branch = net.conv(4, (3, 3), padding=(1, 1)).last
    net.sum(branch, net.at(stem).scale().last).neurons()


@structure(*IMAGE)
def add_plain_identity(net: Sketch) -> None:
    """A residual whose identity has no weights: a spike counts one."""
    stem = net.conv(3, (3, 3), padding=(1, 1)).neurons().last
    branch = net.conv(3, (1, 1)).last
    net.sum(branch, stem).neurons(threshold=np.array([40, 90, 160]))


@structure(*IMAGE)
def add_shortcut(net: Sketch) -> None:
    """A residual whose shortcut is a strided 1x1 convolution."""
    stem = net.conv(3, (3, 3), padding=(1, 1)).neurons().last
    inner = net.conv(4, (3, 3), stride=(2, 2), padding=(1, 1)).neurons().last
    branch = net.at(inner).conv(4, (3, 3), padding=(1, 1)).last
    net.sum(branch, net.at(stem).conv(4, (1, 1), stride=(2, 2)).last).neurons()


@structure(*IMAGE)
def add_three(net: Sketch) -> None:
    """Three branches from three depths."""
    stem = net.conv(4, (3, 3), padding=(1, 1)).neurons().last
    inner = net.conv(4, (3, 3), padding=(1, 1)).neurons().last
    branch = net.conv(4, (1, 3), padding=(0, 1)).last
    net.sum(branch, net.at(stem).scale().last, net.at("x").conv(4, (1, 1)).last).neurons()
    net.sum(net.conv(4, (1, 1)).last, net.at(inner).scale().last).neurons()


@structure(*IMAGE)
def add_four(net: Sketch) -> None:
    """Four branches: convolved, dilated, weighted identity, and from the input."""
    stem = net.conv(3, (3, 3), padding=(1, 1)).neurons().last
    branches = [net.conv(3, (3, 3), padding=(1, 1)).last]
    branches.append(net.at(stem).conv(3, (2, 3), padding=(1, 2), dilation=(2, 2)).last)
    branches.append(net.at(stem).scale().last)
    branches.append(net.at("x").conv(3, (3, 1), padding=(1, 0)).last)
    net.sum(*branches).neurons()


@structure(*IMAGE)
def add_over_four_layers(net: Sketch) -> None:
    """An identity past four layers, which a pipeline must hold back for as many steps."""
    stem = net.conv(3, (3, 3), padding=(1, 1)).neurons().last
    for _ in range(4):
        net.conv(3, (3, 3), padding=(1, 1)).neurons()
    net.sum(net.conv(3, (1, 1)).last, net.at(stem).scale().last).neurons()


@structure(*FLAT)
def add_twice_the_same(net: Sketch) -> None:
    """The same spikes on two branches of a sum, and a sum in a sum."""
    first = net.linear(6).neurons().last
    scaled = net.scale().last
    inner = net.sum(scaled, first, first).last
    net.sum(inner, net.at(first).linear(6).last, scaled).neurons()


@structure(*FLAT)
def add_weight_shared(net: Sketch) -> None:
    """One dense layer that feeds two layers of neurons."""
    shared = net.linear(6).neurons().linear(5).last
    one = net.neurons().last
    other = net.at(shared).neurons().last
    net.sum(net.at(one).linear(3).last, net.at(other).linear(3).last).readout()


@structure(*IMAGE)
def add_into_the_readout(net: Sketch) -> None:
    """Two branches into the readout, from unlike depths."""
    first = net.conv(3, (3, 3)).neurons().last
    late = net.conv(3, (3, 3)).neurons().linear(3).last
    net.sum(late, net.at(first).linear(3).last).readout()


# Concat, which is a sum of branches with unlike numbers of channels


@structure(*IMAGE)
def concat_channels(net: Sketch) -> None:
    """Two layers of unlike numbers of channels, joined in front of a convolution."""
    one = net.conv(3, (3, 3), padding=(1, 1)).neurons().last
    two = net.at("x").conv(2, (1, 1)).neurons(levels=2).last
    parts = [net.at(branch).conv(4, (3, 3), padding=(1, 1)).last for branch in (one, two)]
    net.sum(*parts).neurons()


@structure(*IMAGE)
def concat_dense_block(net: Sketch) -> None:
    """Each layer takes all those before it, as in a DenseNet."""
    layers = [net.conv(3, (3, 3), padding=(1, 1)).neurons().last]
    for _ in range(3):
        parts = [net.at(layer).conv(2, (3, 3), padding=(1, 1)).last for layer in layers]
        layers.append((net.sum(*parts) if len(parts) > 1 else net).neurons().last)
    net.sum(*(net.at(layer).linear(3).last for layer in layers)).readout()


@structure(*FLAT)
def concat_features(net: Sketch) -> None:
    """Flat layers of unlike width, joined in front of a dense one."""
    one, two = net.linear(7).neurons().last, net.at("x").linear(3).neurons().last
    net.sum(*(net.at(part).linear(5).last for part in (one, two))).neurons()


# Max-pools on counts


@structure(*IMAGE)
def max_pool_plain(net: Sketch) -> None:
    """Windows side by side."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons().max_pool((2, 2)).conv(3, (2, 2)).neurons()


@structure(*IMAGE)
def max_pool_overlapping(net: Sketch) -> None:
    """Windows that overlap, padded."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons().conv(4, (3, 3), padding=(1, 1)).neurons()
    net.max_pool((3, 3), (1, 1), (1, 1))
    net.conv(3, (3, 3)).neurons()


@structure(*IMAGE)
def max_pool_four_sides(net: Sketch) -> None:
    """Windows that are not square, with other padding on each side."""
    net.conv(3, (3, 3), padding=(1, 1)).neurons().conv(3, (3, 3), padding=(1, 1)).neurons()
    net.max_pool((3, 2), (2, 1), (0, 1, 2, 0))
    net.conv(3, (2, 2)).neurons()


@structure(2, 8, 8)
def max_pool_of_max_pool(net: Sketch) -> None:
    """A max-pool of a max-pool, then one over everything."""
    net.conv(3, (3, 3), padding=(1, 1)).neurons().conv(3, (3, 3), padding=(1, 1)).neurons()
    net.max_pool((2, 2), (1, 1)).max_pool((2, 2), (2, 2))
    net.conv(4, (1, 1)).neurons().max_pool((3, 3))


@structure(*IMAGE)
def max_pool_on_a_branch(net: Sketch) -> None:
    """Pooled counts as one branch of a sum, and what was pooled as another."""
    stem = net.conv(3, (3, 3), padding=(1, 1)).neurons().conv(3, (1, 1)).neurons().last
    pooled = net.max_pool((2, 2), (1, 1), (0, 0, 1, 1)).scale().last
    net.sum(pooled, net.at(stem).conv(3, (3, 3), padding=(1, 1)).last).neurons()


@structure(*IMAGE, frames=3, levels=3)
def max_pool_of_steps(net: Sketch) -> None:
    """A max-pool of counts that fall as well as rise."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons().max_pool((2, 2)).conv(3, (2, 2)).neurons()


# Sum pools: what average pools leave


@structure(*IMAGE)
def sum_pool_plain(net: Sketch) -> None:
    """An average in front of a convolution."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons().conv(4, (3, 3), padding=(1, 1)).neurons()
    net.sum_pool((2, 2)).conv(4, (2, 2)).neurons()


@structure(*IMAGE)
def sum_pool_overlapping(net: Sketch) -> None:
    """An average over windows that overlap, with other padding on each side."""
    net.conv(3, (3, 3), padding=(1, 1)).neurons()
    net.sum_pool((3, 2), (2, 1), (1, 0, 2, 1)).conv(4, (2, 2)).neurons()


@structure(*IMAGE)
def sum_pool_without_weights(net: Sketch) -> None:
    """An average straight into neurons, and one behind an identity."""
    net.conv(3, (3, 3), padding=(1, 1)).neurons().sum_pool((2, 2), (1, 1))
    net.neurons(threshold=np.array([2, 4, 5])).sum_pool((2, 2)).scale().neurons()


@structure(*IMAGE)
def sum_pool_global(net: Sketch) -> None:
    """The mean of everything in front of the readout."""
    net.conv(6, (3, 3), padding=(1, 1)).neurons().conv(6, (1, 1)).neurons().sum_pool()


@structure(*IMAGE)
def sum_pool_on_a_branch(net: Sketch) -> None:
    """An average as the shortcut of a strided block, and one of the input."""
    stem = net.conv(4, (3, 3), padding=(1, 1)).neurons().last
    branch = net.conv(4, (2, 2), stride=(2, 2)).last
    shortcut = net.at(stem).sum_pool((2, 2)).scale().last
    image = net.at("x").sum_pool((2, 2)).conv(4, (1, 1)).last
    net.sum(branch, shortcut, image).neurons()


# Whole networks


@structure(3, 8, 8, levels=7)
def resnet(net: Sketch) -> None:
    """A stem, a max-pool, an identity block, a strided block, a global mean, a dense readout."""
    net.conv(4, (3, 3), padding=(1, 1)).neurons().max_pool((3, 3), (2, 2), (1, 1))
    for out, stride in ((4, (1, 1)), (6, (2, 2))):
        stem = net.last
        net.conv(out, (3, 3), stride=stride, padding=(1, 1)).neurons()
        branch = net.conv(out, (3, 3), padding=(1, 1)).last
        net.at(stem)
        shortcut = net.scale() if stride == (1, 1) else net.conv(out, (1, 1), stride=stride)
        net.sum(branch, shortcut.last).neurons()
    net.sum_pool()


@structure(3, 6, 6)
def mobilenet(net: Sketch) -> None:
    """An inverted residual: expand, depthwise, project, and the identity."""
    stem = net.conv(3, (3, 3), padding=(1, 1)).neurons().last
    net.conv(6, (1, 1)).neurons().conv(6, (3, 3), padding=(1, 1), groups=6).neurons()
    net.sum(net.conv(3, (1, 1)).last, net.at(stem).scale().last).neurons().sum_pool()


@structure(1, 8, 8)
def vgg(net: Sketch) -> None:
    """Convolutions in pairs, max-pools between, two dense layers."""
    for out in (3, 4):
        net.conv(out, (3, 3), padding=(1, 1)).neurons().conv(out, (3, 3), padding=(1, 1))
        net.neurons().max_pool((2, 2))
    net.linear(8).neurons()


@structure(*FLAT)
def names_that_are_reserved(net: Sketch) -> None:
    """Names that Python, PyTorch and NIR use themselves."""
    net.linear(5).neurons().scale().neurons().linear(3).readout()
    names = ("forward", "state", "for", "input", "output", "type")
    net.renamed(dict(zip([node.name for node in net.nodes], names, strict=False)))


# Numbers that are larger than some targets hold


@structure(500, grid=Grid(1 / 255, 0, 255))
def membranes_of_26_bits(net: Sketch) -> None:
    """Sums beyond 24 bits, and beyond what float32 holds exactly."""
    net.linear(5, largest=127).neurons()


@structure(*FLAT)
def weights_of_12_bits(net: Sketch) -> None:
    """Weights that are no bytes times a power of two."""
    net.linear(6, largest=2047).neurons()


@structure(16, grid=Grid(1.0, 0, 1 << 20))
def membranes_of_56_bits(net: Sketch) -> None:
    """Sums beyond what float64 holds exactly."""
    net.linear(5, largest=1 << 31).neurons()
