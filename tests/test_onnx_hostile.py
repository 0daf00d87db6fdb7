"""Damaged and hostile `.onnx` files: one clear error each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import Graph
from onnx_mutants import mutant, seeds

from snndeploy import load
from snndeploy.errors import FileFormatError, InputError, UnsupportedModelError
from snndeploy.frontends.onnx import file as reading
from snndeploy.frontends.onnx.file import from_bytes
from snndeploy.network import Network

MODELS = seeds()


def model() -> onnx.ModelProto:
    g = Graph(("N", 4))
    y = g.node("MatMul", "x", g.random(4, 3))
    return g.model(g.node("Relu", y))


def _cycle(proto):
    proto.graph.node[0].input[0] = proto.graph.node[1].output[0]


def _doubled_result(proto):
    proto.graph.node[1].output[0] = proto.graph.node[0].output[0]


def _doubled_tensor(proto):
    proto.graph.initializer.append(proto.graph.initializer[0])


def _hides_a_tensor(proto):
    proto.graph.node[0].output[0] = proto.graph.initializer[0].name


def _missing_tensor(proto):
    del proto.graph.initializer[:]


def _missing_result(proto):
    proto.graph.output[0].name = "nowhere"


def _huge_shape(proto):
    proto.graph.initializer[0].dims[:] = [1 << 40, 1 << 40]


def _negative_shape(proto):
    proto.graph.initializer[0].dims[:] = [-4, -3]


def _deep_shape(proto):
    proto.graph.initializer[0].dims[:] = [1] * 40


def _short_data(proto):
    proto.graph.initializer[0].dims[:] = [400, 3]


def _long_data(proto):
    proto.graph.initializer[0].raw_data += b"\0" * 400


def _text_tensor(proto):
    proto.graph.initializer[0].data_type = TensorProto.STRING


def _unknown_type(proto):
    proto.graph.initializer[0].data_type = 99


def _segment(proto):
    proto.graph.initializer[0].segment.begin = 0


def _sparse(proto):
    proto.graph.sparse_initializer.add()


def _no_opset(proto):
    del proto.opset_import[:]


def _old_opset(proto):
    proto.opset_import[0].version = 6


def _future_opset(proto):
    proto.opset_import[0].version = 1 << 40


def _two_opsets(proto):
    proto.opset_import.append(helper.make_opsetid("ai.onnx", 17))


def _no_operators(proto):
    del proto.graph.node[:]


def _many_operators(proto):
    node = onnx.NodeProto(op_type="Relu", input=["x"])
    proto.graph.node.extend([node] * 20_001)


def _doubled_attribute(proto):
    proto.graph.node[0].attribute.extend([helper.make_attribute("axis", 1)] * 2)


def _text_that_is_none(proto):
    proto.graph.node[0].attribute.append(helper.make_attribute("axis", b"\xff\xfe"))


def _functions(proto, bodies):
    opsets = [helper.make_opsetid("", 17)]
    for name, calls in bodies.items():
        nodes, last = [], "a"
        for index, kind in enumerate(calls):
            domain = "f" if kind in bodies else ""
            nodes.append(helper.make_node(kind, [last], [f"v{index}"], domain=domain))
            last = f"v{index}"
        proto.functions.append(helper.make_function("f", name, ["a"], [last], nodes, opsets))
    node = proto.graph.node[1]
    node.op_type, node.domain = next(iter(bodies)), "f"


def _recursive_function(proto):
    _functions(proto, {"a": ["b"], "b": ["a"]})


def _exploding_functions(proto):
    names = "abcdefghijklmnopqrst"
    bodies = {name: [names[i + 1]] * 4 for i, name in enumerate(names[:-1])}
    _functions(proto, {**bodies, names[-1]: ["Relu"]})


BROKEN: list[tuple[Callable[[onnx.ModelProto], None], str]] = [
    (_cycle, "cycle"),
    (_doubled_result, "two values are called"),
    (_doubled_tensor, "two stored tensors are called"),
    (_hides_a_tensor, "two values are called"),
    (_missing_tensor, "which nothing computes or stores"),
    (_missing_result, "'nowhere' is not computed"),
    (_huge_shape, "has the shape"),
    (_negative_shape, "has the shape"),
    (_deep_shape, "has the shape"),
    (_short_data, "48 values or bytes of 4800"),
    (_long_data, "448 values or bytes of 48"),
    (_text_tensor, "is STRING"),
    (_unknown_type, "is type 99"),
    (_segment, "in segments"),
    (_sparse, "sparse"),
    (_no_opset, "0 versions of the standard operators"),
    (_old_opset, "opset 6"),
    (_future_opset, "opset 1099511627776"),
    (_two_opsets, "2 versions"),
    (_no_operators, "0 operators"),
    (_many_operators, "20003 operators, expected 1 to 20000"),
    (_doubled_attribute, "two attributes of one name"),
    (_text_that_is_none, "is no text"),
    (_recursive_function, "calls itself"),
    (_exploding_functions, "operators, expected 1 to 20000"),
]


@pytest.mark.parametrize(("damage", "words"), BROKEN, ids=[d.__name__ for d, _ in BROKEN])
def test_a_broken_file_gives_one_clear_error(tmp_path, damage, words):
    proto, path = model(), tmp_path / "broken.onnx"
    damage(proto)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(FileFormatError, match=words) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x07", bytes(range(256)), b"\x0a" * 99])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="is not an ONNX model"):
        load(path)


def test_every_beginning_of_a_file_is_refused():
    content = model().SerializeToString()
    for end in range(0, len(content) - 1, 3):
        with pytest.raises(InputError):
            from_bytes(content[:end])


def test_a_file_that_is_not_there_or_too_large(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    with pytest.raises(FileFormatError, match="cannot be read"):
        load(path)
    path.write_bytes(b"x" * 100)
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 99)
    with pytest.raises(FileFormatError, match="100 bytes, the limit is 99"):
        load(path)


# -- tensors in other files ------------------------------------------------------------------------


def external(location: str, **entries: object) -> onnx.ModelProto:
    proto = model()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return proto


def test_a_tensor_beside_the_model_is_read(tmp_path):
    data = np.arange(12, dtype=np.float32)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/data").write_bytes(b"head" + data.tobytes() + b"tail")
    proto, path = external("weights/data", offset=4, length=48), tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    np.testing.assert_array_equal(load(path).nodes[1].weight, data.reshape(4, 3).T)


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret", "a/../../secret", "", "C:\\secret", "..\\secret", "link", "a\0b"],
)
def test_a_tensor_outside_the_folder_is_refused(tmp_path, location):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"s" * 48)
    (folder / "link").symlink_to(tmp_path / "secret")
    path = folder / "model.onnx"
    path.write_bytes(external(location).SerializeToString())
    with pytest.raises(FileFormatError, match=r"outside the model's folder|cannot be read"):
        load(path)


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": 40}, {"offset": -8}, {"length": 1 << 60}, {"length": -1},
        {"offset": "many"}, {"length": 8},
    ],
)  # fmt: skip
def test_a_tensor_that_its_file_does_not_hold_is_refused(tmp_path, entries):
    (tmp_path / "data").write_bytes(b"\0" * 48)
    path = tmp_path / "model.onnx"
    path.write_bytes(external("data", **entries).SerializeToString())
    with pytest.raises(FileFormatError, match=r"ends before|cannot be read|of 48"):
        load(path)


def test_a_file_of_tensors_that_is_missing_or_too_large(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(external("data").SerializeToString())
    with pytest.raises(FileFormatError, match="copy the tensors' file beside the model"):
        load(path)
    (tmp_path / "data").write_bytes(b"\0" * 48)
    monkeypatch.setattr(reading, "MAX_EXTERNAL_BYTES", 47)
    with pytest.raises(FileFormatError, match="more than 47 bytes of external data"):
        load(path)


# -- sound messages that ask for too much ----------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda g: g.node("ConstantOfShape", g.store([1 << 20, 1 << 20], np.int64)),
        lambda g: g.node("Expand", g.store([1.0]), g.store([1 << 40], np.int64)),
        lambda g: g.node("Range", g.store(0.0), g.store(1e30), g.store(1e-9)),
        lambda g: g.node("Gather", g.store([1.0]), g.store([5], np.int64)),
        lambda g: g.node("Add", g.random(1 << 14, 1), g.random(1 << 14)),
        lambda g: g.node("Div", g.store(4, np.int64), g.store(0, np.int64)),
        lambda g: g.node("Reshape", g.random(4), g.store([-1, -1], np.int64)),
        lambda g: g.node("Concat", g.random(4), g.random(2, 2), axis=7),
        lambda g: g.node("Transpose", g.random(4, 2), perm=[5, 5]),
    ],
)
def test_stored_tensors_that_cannot_be_computed(build):
    g = Graph(("N", 4))
    weight = build(g)
    with pytest.raises(UnsupportedModelError):
        from_bytes(g.model(g.node("MatMul", "x", weight)).SerializeToString())


def test_layers_that_are_too_large():
    g = Graph(("N", 1, 4, 4))
    y = g.node("Conv", "x", g.random(2, 1, 1, 1), pads=[60_000] * 4)
    with pytest.raises(UnsupportedModelError, match="elements"):
        from_bytes(g.model(y).SerializeToString())


def test_many_operators_on_large_values():
    g = Graph(("N", 1 << 12, 1 << 12))
    y = "x"
    for _ in range(100):
        y = g.node("Transpose", y, perm=[0, 2, 1])
    with pytest.raises(UnsupportedModelError, match="elements in all"):
        from_bytes(g.model(y).SerializeToString())


def test_weights_that_are_no_numbers():
    g = Graph(("N", 4))
    proto = g.model(g.node("MatMul", "x", g.store(np.full((4, 3), np.nan))))
    with pytest.raises(UnsupportedModelError, match="NaN or infinity"):
        from_bytes(proto.SerializeToString())


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 1 << 32))
def test_every_mutant_loads_or_gives_one_error_of_ours(seed):
    try:
        network = from_bytes(mutant(seed, MODELS))
    except InputError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 20_000
    else:
        assert isinstance(network, Network)


def test_a_number_always_gives_the_same_mutant():
    assert mutant(17, MODELS) == mutant(17, seeds())
    tensors = [numpy_helper.to_array(t) for t in MODELS[0].graph.initializer]
    assert all(np.isfinite(t).all() for t in tensors)
