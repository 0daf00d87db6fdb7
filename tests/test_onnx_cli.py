"""ONNX models on the command line."""

from __future__ import annotations

import json

import pytest
from onnx_models import Graph
from onnx_mutants import seeds


def write(folder, proto):
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def dense():
    g = Graph(("N", 4))
    y = g.qdq(g.node("Relu", g.node("MatMul", g.qdq("x", 0.5, 0), g.random(4, 6))), 0.1, -128)
    return g.model(g.node("Softmax", g.node("MatMul", y, g.random(6, 3))))


def test_inspect_shows_grids_neurons_synapses_and_steps(snndeploy, tmp_path):
    path = write(tmp_path, dense())
    code, out, err = snndeploy("inspect", path)
    assert (code, err) == (0, "")
    assert "dropped=softmax:Softmax_7" in out
    assert "6 neurons and 42 synapses in 2 layers behind the input" in out
    assert "a window of 32 steps; settles to the quantized ANN after at most 542 steps" in out
    code, out, _ = snndeploy("inspect", path, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["expected"] == {
        "neurons": 6, "synapses": 42, "depth": 2, "window": 32, "settle_bound": 542,
    }  # fmt: skip
    by_kind = {node["kind"]: node for node in found["nodes"]}
    assert by_kind["Input"]["becomes"] == "integers -128 to 127, each worth 0.5"
    assert by_kind["Activation"]["becomes"] == "neurons on 0 to 25.5 in 255 levels"
    assert (by_kind["Activation"]["neurons"], by_kind["Activation"]["synapses"]) == (6, 24)


@pytest.mark.parametrize("proto", seeds())
def test_inspect_shows_every_model_that_is_read(snndeploy, tmp_path, proto):
    code, out, err = snndeploy("inspect", write(tmp_path, proto))
    assert (code, err) == (0, "")
    assert "read as onnx{opset=17" in out
    assert ("neurons and" in out) != ("cannot be converted as it is" in out)


def test_inspect_tells_what_is_in_the_way(snndeploy, tmp_path):
    g = Graph(("N", 2, 6, 6))
    y = g.node("Conv", g.node("Conv", "x", g.random(3, 2, 3, 3)), g.random(3, 3, 3, 3))
    y = g.node("MatMul", g.node("Flatten", y), g.random(12, 3))
    code, out, _ = snndeploy("inspect", write(tmp_path, g.model(y)))
    assert code == 0
    assert "cannot be converted as it is" in out
    assert "follow each other without an activation" in out


def test_refusals_reach_the_reader(snndeploy, tmp_path):
    g = Graph(("N", 2))
    path = write(tmp_path, g.model(g.node("Erf", g.node("Sigmoid", g.node("Tanh", "x")))))
    code, out, err = snndeploy("inspect", path)
    assert (code, out) == (2, "")
    assert "3 operators cannot become spiking: Tanh_0 (Tanh): use Relu" in err


def test_convert_writes_a_spiking_network(snndeploy, tmp_path):
    net = tmp_path / "net.nir"
    assert snndeploy("convert", write(tmp_path, dense()), "-o", net)[0] == 0
    code, out, _ = snndeploy("inspect", net, "--json")
    assert code == 0
    assert json.loads(out)["history"][0] == "onnx{opset=17 dropped=softmax:Softmax_7}"
