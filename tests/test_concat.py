"""Concats become sums: the float network keeps its meaning, the integer one is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snndeploy import certify, convert, from_torch, integer_ann, lower, run
from snndeploy.errors import UnsupportedModelError
from snndeploy.layers import layers
from snndeploy.network import Network
from snndeploy.nirfile import from_nir, to_nir
from snndeploy.nodes import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Output,
)
from snndeploy.passes import FoldBatchNorm, SplitConcat
from snndeploy.training import QCFS, QuantizedInput


def evaluate(network: Network, x: np.ndarray) -> dict[str, torch.Tensor]:
    """Every value of a float network in float64, straight from the definitions of its nodes."""
    values: dict[str, torch.Tensor] = {}
    for node in network.nodes:
        terms = [values[name] for name in network.sources[node.name]]
        values[node.name] = torch.from_numpy(x).double() if not terms else apply(node, terms)
    return values


def apply(node: Node, terms: list[torch.Tensor]) -> torch.Tensor:
    parameters = {
        name: torch.from_numpy(np.ascontiguousarray(value, np.float64))
        for name, value in vars(node).items()
        if isinstance(value, np.ndarray)
    }
    weight, bias, x = parameters.get("weight"), parameters.get("bias"), terms[0]
    match node:
        case Conv2d():
            return F.conv2d(x, weight, bias, node.stride, node.padding, node.dilation, node.groups)
        case Linear():
            return F.linear(x, weight, bias)
        case BatchNorm():
            names = ("mean", "variance", "gamma", "beta")
            return F.batch_norm(x, *(parameters[name] for name in names), eps=node.epsilon)
        case MaxPool2d():
            return F.max_pool2d(x, node.kernel, node.stride, node.padding)
        case AvgPool2d():
            return F.avg_pool2d(x, node.kernel, node.stride, node.padding)
        case Activation():
            step = node.ceiling / node.levels
            return step * (x / step + 0.5).floor().clamp(0, node.levels)
        case Add():
            return torch.stack(terms).sum(0)
        case Concat():
            return torch.cat(terms, 1)
        case Flatten():
            return x.flatten(1)
        case Output():
            return x
    raise TypeError(type(node))


def cat(*branches):
    return torch.cat(branches, dim=1)


def unit(inside, out, kernel=3, levels=7, **options):
    """Convolution, batch-norm and activation; no ceiling is a multiple of another."""
    conv = nn.Conv2d(inside, out, kernel, padding=kernel // 2, **options)
    return nn.Sequential(conv, nn.BatchNorm2d(out), QCFS(levels, (out + kernel) ** 0.5 / 2))


class Two(nn.Module):
    """Branches `a` (4 channels) and `b` (3 channels) of unlike ceilings, joined in `body`."""

    shape = (2, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.grid = QuantizedInput(1 / 16, 0, 16)
        self.a, self.b = unit(2, 4), unit(2, 3, 5, levels=3)
        self.act = QCFS(7, 0.7**0.5)
        self.last, self.head = unit(7, 5, stride=2), nn.Linear(5 * 16, 3)
        self.make()

    def make(self) -> None:
        """More parts, or others."""

    def body(self, x, a, b):
        return cat(a, b)

    def forward(self, x):
        x = self.grid(x)
        return self.head(torch.flatten(self.last(self.body(x, self.a(x), self.b(x))), 1))


class Inception(Two):
    def make(self):
        self.one, self.five, self.pooled = unit(7, 2, 1), unit(7, 3, 5), unit(7, 2, 1)
        self.reduce, self.three = unit(7, 3, 1), unit(3, 4)
        self.last = unit(11, 5, stride=2)

    def body(self, x, a, b):
        y = cat(a, b)
        pooled = self.pooled(F.max_pool2d(y, 3, 1, 1))
        return cat(self.one(y), self.five(y), self.three(self.reduce(y)), pooled)


class PooledParts(Two):
    def make(self):
        self.down, self.head = unit(4, 4, stride=2), nn.Linear(5 * 4, 3)

    def body(self, x, a, b):
        return cat(F.max_pool2d(b, 3, 2, 1), self.down(a))


class DenseNet(Two):
    """Norms in front of their activations, on all that came before, spikes included."""

    def make(self):
        def layer(inside, out, kernel):
            conv = nn.Conv2d(inside, out, kernel, padding=kernel // 2)
            return nn.Sequential(nn.BatchNorm2d(inside), QCFS(7, inside**0.5), conv)

        self.dense = nn.ModuleList([layer(7, 2, 3), layer(9, 2, 3)])
        self.transition, self.second = layer(11, 6, 1), layer(6, 3, 3)
        self.final, self.end = nn.BatchNorm2d(9), nn.Linear(9, 3)

    def forward(self, x):
        x = self.grid(x)
        features = [cat(F.max_pool2d(self.a(x), 3, 2, 1), F.max_pool2d(self.b(x), 2))]
        for layer in self.dense:
            features.append(layer(cat(*features)))
        x = F.avg_pool2d(self.transition(cat(*features)), 2)
        x = self.act(self.final(cat(x, self.second(x))))
        return self.end(x.mean((2, 3)))


class PreActivation(Two):
    """Norms above sums of sums."""

    def make(self):
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])
        self.acts = nn.ModuleList([QCFS(7, 0.9), QCFS(7, 1.1)])
        self.convs = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1) for _ in range(2)])

    def body(self, x, a, b):
        for norm, act, conv in zip(self.norms, self.acts, self.convs, strict=True):
            a = a + conv(act(norm(a)))
        return cat(self.act(a), b)


class CutAlike(Two):
    def make(self):
        self.c, self.d = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 3, 3, padding=1)

    def body(self, x, a, b):
        return self.act(cat(a, b) + cat(self.c(x), self.d(a)))


class CutUnlike(Two):
    """Depthwise, normalised, pooled, summed and identity parts, each cut where others are not."""

    def make(self):
        self.c, self.d = nn.Conv2d(2, 7, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.norm, self.e = nn.BatchNorm2d(3), nn.Conv2d(2, 3, 3, padding=1)

    def body(self, x, a, b):
        pooled = F.avg_pool2d(a, 3, 1, 1)
        left, right = cat(self.d(a) + a, b), cat(self.norm(self.e(x)), pooled)
        return self.act(left + self.c(x) + right)


class Twice(Two):
    def make(self):
        self.norm, self.last = nn.BatchNorm2d(8), unit(14, 5, stride=2)

    def body(self, x, a, b):
        return cat(self.act(self.norm(F.max_pool2d(cat(a, a), 3, 1, 1))), b, b)


class Nested(Two):
    def make(self):
        self.last = unit(18, 5, stride=2)

    def body(self, x, a, b):
        y = cat(a, b)
        return cat(cat(y, a), y)


class WithInput(Two):
    def make(self):
        self.last = unit(9, 5, stride=2)

    def body(self, x, a, b):
        return cat(a, x, b)


class Grouped(Two):
    """Groups within a part, groups of several parts, and a channel a group."""

    def make(self):
        self.wide, self.split = unit(14, 4, groups=2), unit(8, 8, groups=4)
        self.narrow = nn.Conv2d(11, 11, 3, padding=1, groups=11)
        self.last = unit(19, 5, stride=2)

    def body(self, x, a, b):
        wide = self.wide(cat(a, b, b, a))
        return cat(self.act(self.narrow(cat(wide, a, b))), self.split(cat(wide, a)))


class Flat(Two):
    def make(self):
        self.hidden = nn.Sequential(nn.Linear(7 * 16 + 3, 6), QCFS(7, 1.3))
        self.head = nn.Linear(6 + 3, 3)

    def forward(self, x):
        x = self.grid(x)
        a, b = self.a(x), self.b(x)
        pooled = torch.flatten(F.max_pool2d(cat(a, b), 2), 1)
        means = F.adaptive_avg_pool2d(b, 1).flatten(1)
        return self.head(cat(self.hidden(cat(pooled, means)), means))


class TwoHeads(Two):
    def make(self):
        self.map, self.dense = nn.Conv2d(4, 2, 3), nn.Linear(3 * 64, 3)

    def forward(self, x):
        x = self.grid(x)
        a, b = self.a(x), self.b(x)
        return cat(self.map(a).mean((2, 3)), self.dense(b.flatten(1)), b.mean((2, 3)))


class Signals(Two):
    shape = (2, 25)

    def make(self):
        self.a = nn.Sequential(nn.Conv1d(2, 4, 3, padding="same"), nn.BatchNorm1d(4), QCFS(7, 1.1))
        self.b = nn.Sequential(nn.Conv1d(2, 3, 5, padding=2), QCFS(3, 0.8))
        self.last = nn.Sequential(nn.Conv1d(7, 5, 3, stride=2, dilation=2), QCFS(7, 0.9))
        self.head = nn.Linear(5 * 11, 3)


MODELS = [
    Two,
    Inception,
    PooledParts,
    DenseNet,
    PreActivation,
    CutAlike,
    CutUnlike,
    Twice,
    Nested,
    WithInput,
    Grouped,
    Flat,
    TwoHeads,
    Signals,
]


def model_and_samples(kind: type[Two], count: int = 50) -> tuple[Two, np.ndarray]:
    """In float64, with random statistics of the norms."""
    torch.manual_seed(5)
    model = kind().double().eval()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                value.data.copy_(torch.rand(value.shape) + 0.3)
    x = np.random.default_rng(1).integers(0, 17, (count, *kind.shape)) / 16
    return model, x


def float_network(kind: type[Two]) -> Network:
    model, x = model_and_samples(kind, 2)
    return from_torch(model, torch.from_numpy(x), kind.__name__)


@pytest.mark.parametrize("kind", MODELS)
def test_the_float_network_keeps_its_meaning(kind):
    model, x = model_and_samples(kind)
    network = from_torch(model, torch.from_numpy(x[:2]))
    assert any(isinstance(node, Concat) for node in network.nodes)
    lifted = x.reshape(len(x), *network.input.shape)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    for rewrite in (SplitConcat(), FoldBatchNorm()):
        found = evaluate(network, lifted)[network.output.name]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        network = rewrite(network)
    assert not any(isinstance(node, Concat | BatchNorm) for node in network.nodes)


@pytest.mark.parametrize("kind", MODELS)
def test_the_spiking_network_is_exact_and_close(kind):
    model, x = model_and_samples(kind)
    network = convert(float_network(kind), weight_bits=16)
    certify(lower(network), x)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    found = integer_ann(network, x).logits * network.output.scale
    error = np.abs(found - expected).max(axis=1) / np.abs(expected).max()
    assert np.median(error) < 5e-3


@pytest.mark.parametrize("kind", [Inception, DenseNet, CutUnlike, Grouped, TwoHeads, Signals])
def test_the_backends_agree_and_files_lose_nothing(kind):
    network = convert(float_network(kind))
    _, x = model_and_samples(kind, 4)
    again = from_nir(to_nir(network))
    assert again.hash == network.hash
    judge = run(lower(network), x, backend="judge")
    for backend in ("reference", "norse"):
        judge.assert_same_spikes(run(lower(again), x, backend=backend))


def test_branches_of_unlike_scales_have_weight_grids_of_their_own():
    network = convert(float_network(Two))
    last = next(layer for layer in layers(network) if layer.name == "last_2")
    assert [p.weighted.name for p in last.projections] == ["last_0_from_a_2", "last_0_from_b_2"]
    largest = [np.abs(p.weighted.weight).max() for p in last.projections]
    whole = float_network(Two).by_name["last_0"].weight
    worth = [network.by_name[name].scale for name in ("a_2", "b_2")]
    expected = [
        np.abs(w).max() * s for w, s in zip((whole[:, :4], whole[:, 4:]), worth, strict=True)
    ]
    assert largest[0] / largest[1] == pytest.approx(expected[0] / expected[1], rel=0.2)


def test_parts_keep_the_names_of_their_branches():
    names = [node.name for node in SplitConcat()(float_network(Inception)).nodes]
    assert {"max_pool2d_from_a_2", "pooled_0_from_b_2", "last_0_from_three_2"} <= set(names)
    assert len(set(names)) == len(names)


def test_a_network_without_concat_is_left_as_it_is():
    network = SplitConcat()(float_network(Two))
    assert SplitConcat()(network).hash == network.hash


class AcrossGroups(Two):
    def make(self):
        self.last = unit(14, 7, groups=7, stride=2)
        self.head = nn.Linear(7 * 16, 3)

    def body(self, x, a, b):
        return cat(b, a, a, b)


class Rows(Two):
    def make(self):
        self.last, self.head = unit(4, 5, stride=2), nn.Linear(5 * 32, 3)

    def body(self, x, a, b):
        return torch.cat([a, a], dim=2)


class FlatNorm(Two):
    def make(self):
        self.norm, self.head = nn.BatchNorm1d(7 * 64), nn.Linear(7 * 64, 3)

    def forward(self, x):
        y = cat(self.a(self.grid(x)), self.b(self.grid(x)))
        return self.head(self.act(self.norm(y.flatten(1))))


class Constant(Two):
    def body(self, x, a, b):
        return torch.cat([a, torch.ones(2, 3, 8, 8)], dim=1)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (AcrossGroups, r"groups of 2 channels cut across .*'b_2': 3.*multiple of the group"),
        (Rows, "along channels or features, dim 1"),
        (FlatNorm, "BatchNorm 'norm_from_a_2'.*cannot be folded"),
        (Constant, "not computed from the model's input"),
    ],
)
def test_what_cannot_be_split_is_refused(kind, words):
    with pytest.raises(UnsupportedModelError, match=words):
        convert(float_network(kind))


def test_a_concat_between_layers_is_named_where_the_pass_is_left_out():
    with pytest.raises(UnsupportedModelError, match=r"Concat 'cat'.*apply SplitConcat"):
        layers(FoldBatchNorm()(float_network(Two)))


def test_unlike_images_do_not_join():
    nodes = (Input("x", (2, 4, 4)), MaxPool2d("pool", (2, 2), (2, 2)), Concat("cat"))
    with pytest.raises(UnsupportedModelError, match=r"Concat 'cat'.*unlike shapes"):
        edges = (("x", "pool"), ("x", "cat"), ("pool", "cat"), ("cat", "out"))
        Network("odd", (*nodes, Output("out")), edges)


@st.composite
def float_networks(draw) -> Network:
    """Images (C, 4, 4) joined, added, convolved, normalised, pooled and fired at random."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nodes: list[Node] = [Input("x", (draw(st.integers(1, 3)), 4, 4), Grid(1 / 8, -8, 8))]
    edges: list[tuple[str, str]] = []
    channels = {"x": nodes[0].shape[0]}

    def add(node: Node, *sources: str) -> None:
        nodes.append(node)
        edges.extend((source, node.name) for source in sources)
        shapes = [(channels[source], 4, 4) for source in sources]
        channels[node.name] = node.output_shape(shapes)[0]

    def any_value() -> str:
        return draw(st.sampled_from(list(channels)))

    for index in range(draw(st.integers(2, 8))):
        name, source = f"n{index}", any_value()
        c = channels[source]
        match draw(st.sampled_from(["cat", "cat", "add", "conv", "norm", "max", "mean", "act"])):
            case "cat":
                others = [any_value() for _ in range(draw(st.integers(1, 3)))]
                add(Concat(name), source, *others)
            case "add":
                like = [other for other in channels if channels[other] == c]
                others = draw(st.lists(st.sampled_from(like), min_size=1, max_size=3))
                add(Add(name), source, *others)
            case "conv":
                groups = draw(st.sampled_from([g for g in range(1, c + 1) if c % g == 0]))
                out = groups * draw(st.integers(1, 3))
                weight = rng.normal(size=(out, c // groups, 3, 3))
                add(
                    Conv2d(name, weight, rng.normal(size=out), padding=(1, 1), groups=groups),
                    source,
                )
            case "norm":
                mean, gamma, beta = rng.normal(size=(3, c))
                add(BatchNorm(name, mean, rng.random(c) + 0.1, gamma, beta, 1e-5), source)
            case "max":
                add(MaxPool2d(name, (3, 3), (1, 1), (1, 1)), source)
            case "mean":
                add(AvgPool2d(name, (3, 3), (1, 1), (1, 1)), source)
            case "act":
                add(Activation(name, float(rng.random() + 0.5), 7), source)
    ends = [n.name for n in nodes if all(a != n.name for a, _ in edges)]
    if len(ends) > 1:
        add(Concat("end"), *ends)
    end = nodes[-1].name if len(ends) > 1 else ends[0]
    nodes.append(Flatten("flat"))
    edges.append((end, "flat"))
    if draw(st.booleans()):
        nodes.append(Linear("dense", rng.normal(size=(3, channels[end] * 16))))
        edges.append(("flat", "dense"))
    edges.append((nodes[-1].name, "out"))
    return Network("random", (*nodes, Output("out")), tuple(edges))


@settings(max_examples=100)
@given(float_networks(), st.integers(0, 2**32 - 1))
def test_any_network_computes_the_same_without_its_concats(network, seed):
    x = np.random.default_rng(seed).normal(size=(3, *network.input.shape))
    expected = evaluate(network, x)["out"].numpy()
    try:
        split = SplitConcat()(network)
    except UnsupportedModelError as error:
        assert "cut across" in str(error)
        return
    assert not any(isinstance(node, Concat) for node in split.nodes)
    for rewritten in (split, FoldBatchNorm()(split)):
        found = evaluate(rewritten, x)["out"].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7 * abs(expected).max())
