"""PyTorch models in: what is read, and what is refused with which words."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import torch
from models import float_network, images, small_net
from torch import nn

from snndeploy import from_torch, integer_ann, load
from snndeploy.deploy import convert, grid_inputs
from snndeploy.errors import FileFormatError, UnsupportedModelError
from snndeploy.nodes import Activation, Add, AvgPool2d, BatchNorm, MaxPool2d, Relu
from snndeploy.training import QCFS


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_reads_every_layer_by_its_module_name():
    network = float_network()
    kinds = {node.name: type(node) for node in network.nodes}
    assert kinds["norm1"] is BatchNorm
    assert kinds["pool"] is MaxPool2d
    assert kinds["act2"] is Activation
    assert kinds["average"] is AvgPool2d
    assert Add in kinds.values()
    assert network.input.grid.high == 16
    assert network.shapes["head"] == (3,)


def test_integer_ann_is_faithful_to_the_float_model():
    model, x = small_net(), images(64)
    network = convert(from_torch(model, torch.from_numpy(x[:2])), weight_bits=16)
    found = integer_ann(network, grid_inputs(network, x)).logits * network.output.scale
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    # At 16 bits only values within rounding of a tie can fall on the other side.
    close = np.abs(found - expected).max(axis=1) < 1e-2
    assert close.mean() > 0.95


def test_the_model_is_left_in_the_mode_in_which_it_came():
    model = small_net().train()
    from_torch(model, torch.from_numpy(images(2)))
    assert model.training


def test_all_unsupported_operators_are_named_at_once_with_remedies():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Conv2d(2, 2, 3), nn.Sigmoid(), nn.Flatten(),
        nn.Linear(8, 2), nn.Softmax(dim=1),
    )  # fmt: skip
    with pytest.raises(UnsupportedModelError) as caught:
        from_torch(model, torch.zeros(2, 1, 6, 6))
    text = str(caught.value)
    assert "3 operators" in text
    for part in ("tanh", "sigmoid", "softmax", "QCFS", "leave it out"):
        assert part in text


@pytest.mark.parametrize(
    ("layer", "cap"),
    [
        (nn.ReLU(), None),
        (nn.ReLU(inplace=True), None),
        (nn.ReLU6(), 6.0),
        (nn.ReLU6(inplace=True), 6.0),
        (nn.Hardtanh(0, 4), 4.0),
        (nn.Hardtanh(0, 4, inplace=True), 4.0),
        (Function(lambda x: x.clamp(min=0)), None),
        (Function(lambda x: x.clamp(0, 3)), 3.0),
        (Function(lambda x: x.clip(0, 3)), 3.0),
        (Function(lambda x: x.clamp_min(0)), None),
    ],
)
def test_a_real_valued_relu_is_read_with_its_cap(layer, cap):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), layer, nn.Linear(3, 2))
    nodes = from_torch(model, torch.zeros(2, 1, 2, 2)).nodes
    assert [node.cap for node in nodes if isinstance(node, Relu)] == [cap]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x.clamp(-1, 1), "clips at -1"),
        (lambda x: x.clamp(max=1), "clips at None"),
        (lambda x: x.clamp(0, -1), "clips at -1"),
        (nn.Hardtanh(), "clips at -1"),
        (lambda x: torch.cat([x.view(-1, 3), nn.functional.relu_(x)], 1)[:, :3], "used again"),
    ],
)
def test_other_clips_are_refused(function, words):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), Function(function), nn.Linear(3, 2))
    with pytest.raises(UnsupportedModelError, match=words):
        from_torch(model, torch.zeros(2, 1, 2, 2))


def test_a_model_without_quantized_activations_is_refused():
    network = from_torch(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.zeros(2, 1, 2, 2))
    with pytest.raises(UnsupportedModelError, match="no quantized activation"):
        convert(network, np.ones((2, 1, 2, 2)))


def test_two_weighted_layers_in_a_row_are_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), QCFS(3), nn.Flatten())
    model.append(nn.Linear(8, 2))
    network = from_torch(model, torch.zeros(2, 1, 2, 2))
    with pytest.raises(UnsupportedModelError, match="without an activation"):
        convert(network, np.ones((2, 1, 2, 2)))


def test_a_ceiling_below_zero_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), QCFS(3, -1.0), nn.Linear(2, 2))
    with pytest.raises(UnsupportedModelError, match="ceiling"):
        from_torch(model, torch.zeros(2, 1, 2, 2))


def test_a_pt2_file_gives_the_same_network(tmp_path):
    example = torch.from_numpy(images(2))
    path = tmp_path / "small.pt2"
    torch.export.save(torch.export.export(small_net(), (example,)), path)
    assert load(path).hash == float_network().hash


def test_a_pt2_file_with_a_dynamic_batch_is_read(tmp_path):
    exported = torch.export.export(
        small_net(),
        (torch.from_numpy(images(2)),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    torch.export.save(exported, tmp_path / "small.pt2")
    assert load(tmp_path / "small.pt2").hash == float_network().hash


def test_a_view_may_name_the_size_of_a_dynamic_batch(tmp_path):
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.head = nn.Conv1d(2, 3, 3), QCFS(3), nn.Linear(18, 2)

        def forward(self, x):
            return self.head(self.act(self.conv(x)).view(x.size(0), -1))

    x, model, path = torch.rand(2, 2, 8), Viewed(), tmp_path / "viewed.pt2"
    batch = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(model, (x,), dynamic_shapes=batch), path)
    assert load(path).hash == from_torch(model, x).hash


def _altered(tmp_path, change):
    """A valid .pt2 file with one member changed by `change(name, content)`."""
    buffer = io.BytesIO()
    exported = torch.export.export(small_net(), (torch.from_numpy(images(2)),))
    torch.export.save(exported, buffer)
    path = tmp_path / "altered.pt2"
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"use_pickle": false', b'"use_pickle": true', "stored as a pickle"),
        (b'"path_name": "weight_0"', b'"path_name": "opaque_obj_0"', "custom object"),
        (b'"path_name": "weight_0"', b'"path_name": "../../x"', "custom object"),
    ],
)
def test_a_pt2_file_that_could_run_code_is_refused(tmp_path, old, new, words):
    def change(name, content):
        return content.replace(old, new) if name.endswith(".json") else content

    with pytest.raises(FileFormatError, match=words):
        load(_altered(tmp_path, change))


def test_a_pickle_among_the_sample_inputs_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemExit('the pickle ran')",))

    def change(name, content):
        if "/sample_inputs/" not in name:
            return content
        buffer = io.BytesIO()
        torch.save(((Evil(),), {}), buffer)
        return buffer.getvalue()

    with pytest.raises(FileFormatError, match="more than tensors"):
        load(_altered(tmp_path, change))


def test_an_expression_for_a_shape_is_refused(tmp_path):
    def change(name, content):
        evil = b'{"as_expr": {"expr_str": "__import__(\'os\').getpid()"}}'
        return content.replace(b'{"as_int": 8}', evil, 1) if name.endswith(".json") else content

    with pytest.raises(FileFormatError, match="expression"):
        load(_altered(tmp_path, change))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 not a zip"])
def test_what_is_not_an_archive_is_refused(tmp_path, content):
    path = tmp_path / "model.pt2"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="not a PT2 archive"):
        load(path)


def test_an_unknown_suffix_says_what_is_read(tmp_path):
    with pytest.raises(FileFormatError, match=r"\.pt2: a PyTorch export"):
        load(tmp_path / "model.h5")


EVIL = b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x16raise SystemExit('ran')\x85R."


@pytest.mark.parametrize(
    "member", ["data/sample_inputs/model.pt", "Data/Sample_inputs/model.Pt", "extra/x.pkl"]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_hide_behind_others_are_refused(tmp_path, member):
    path = tmp_path / "altered.pt2"
    exported = torch.export.export(small_net(), (torch.from_numpy(images(2)),))
    torch.export.save(exported, path)
    with zipfile.ZipFile(path) as source:
        members = [(name, source.read(name)) for name in source.namelist()]
    prefix = members[0][0].split("/")[0]
    for first in (True, False):
        with zipfile.ZipFile(path, "w") as target:
            if first:
                target.writestr(f"{prefix}/{member}", EVIL)
            for name, content in members:
                target.writestr(name, content)
            if not first:
                target.writestr(f"{prefix}/{member}", EVIL)
        with pytest.raises(FileFormatError, match=r"two members|no plain export"):
            load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"name": "conv2d"', b'"name": "conv2d=__import__(1)"'),
        (b'"torch.ops.aten.conv2d.default"', b'"torch.ops.aten.conv2d.default;x()"'),
        (b'"guards_code": []', b'"guards_code": ["print(1)"]'),
    ],
)
def test_names_that_would_be_compiled_are_refused(tmp_path, old, new):
    changed = []

    def change(name, content):
        if name.endswith("model.json"):
            changed.append(old in content)
            return content.replace(old, new)
        return content

    path = _altered(tmp_path, change)
    assert any(changed)
    with pytest.raises(FileFormatError, match="refused as unsafe"):
        load(path)


def test_a_graph_inside_the_graph_is_refused(tmp_path):
    class Conditional(nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))

    path = tmp_path / "conditional.pt2"
    torch.export.save(torch.export.export(Conditional(), (torch.zeros(2, 3),)), path)
    with pytest.raises(FileFormatError, match="refused as unsafe"):
        load(path)
