import io
import os
import random
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qengine.errors import QEngineError, UnsupportedError
from qengine.model.graph import Graph
from qengine.model.loader import load

from .models import (
    NEWEST,
    branch,
    call,
    calling,
    info,
    init,
    leaky,
    model,
    node,
    refused,
    relu,
)


def test_path_bytes_and_message_give_the_same(tmp_path):
    proto = relu()
    before = proto.SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(before)
    graphs = [load(source) for source in (path, str(path), before, proto)]
    assert all(graph == graphs[0] for graph in graphs)
    assert proto.SerializeToString() == before


def test_a_nameless_graph_is_called_like_its_file(tmp_path):
    proto = relu()
    proto.graph.name = ""
    onnx.save(proto, tmp_path / "edges.onnx")
    assert load(tmp_path / "edges.onnx").name == "edges"
    assert load(proto).name == "model"


def test_paths_that_are_no_model(tmp_path):
    refused(tmp_path / "no.onnx", "no.onnx", "no such file")
    refused(tmp_path, str(tmp_path), "directory")
    refused("a\0b", "cannot be read")
    unreadable = tmp_path / "secret.onnx"
    unreadable.write_bytes(relu().SerializeToString())
    unreadable.chmod(0)
    if not os.access(unreadable, os.R_OK):
        refused(unreadable, "secret.onnx", "Permission denied")


@pytest.mark.parametrize(
    "content",
    [
        b"This is a text file, not a model.\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0",
        b"PK\x03\x04\x14\0\0\0\x08\0",
        b"\0" * 64,
        bytes(random.Random(0).randrange(256) for _ in range(1000)),
        b"\x08\x08",  # parsed as an IR version alone
        b"\x12\x04text",  # parsed as a producer's name alone
    ],
)
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    refused(path, "m.onnx", "not an ONNX model", "download it again")


def test_an_empty_file_and_a_pointer_of_git_lfs():
    refused(b"", "is empty")
    refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull")


def test_models_without_what_every_model_has():
    for field in ("ir_version", "graph", "opset_import"):
        proto = relu()
        proto.ClearField(field)
        refused(proto, "no " + {"ir_version": "IR version", "opset_import": "opset import"}.get(field, field))
    for field, word in (("node", "nothing produces"), ("output", "no outputs")):
        proto = relu()
        proto.graph.ClearField(field)
        refused(proto, word)


def test_a_graph_may_have_no_nodes():
    proto = relu()
    del proto.graph.node[:]
    proto.graph.output[0].name = proto.graph.input[0].name
    assert load(proto).nodes == ()


def test_versions_that_are_not_supported():
    load(relu(version=7))
    load(relu(version=NEWEST))
    assert [one.version for one in load(relu(version=6)).nodes] == [7]
    refused(relu(version=NEWEST + 1), f"up to {NEWEST}", "upgrade onnx", error=UnsupportedError)
    refused(relu(ir=onnx.IR_VERSION + 1), "IR version", "upgrade onnx", error=UnsupportedError)
    refused(relu(imports=[("", 13)]), "opset 13", "''")
    refused(relu(imports=[("ai.onnx", 13)]), "opset 13", "'ai.onnx'")
    refused(relu(imports=[("", 0)]), "opset 0", "''")
    refused(model([node("Magic", ["x"], ["y"], domain="d")]), "(d.Magic)", "'d'", "not imported")


def test_names_cannot_break_the_line_or_the_terminal():
    message = refused(model([node("Relu", ["a\nb\x1b[31m"], ["y\n"], name="evil\n\x1b[2J" + "n" * 5000)]), "evil")
    assert len(message) < 1100


def test_deep_nesting_is_an_error():
    proto = relu()
    deepest = proto.graph
    for _ in range(400):
        one = deepest.node.add(op_type="If", output=["y"])
        one.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH)
        deepest = one.attribute[0].g
    refused(proto)


def small():
    return calling(
        [
            node("Constant", [], ["k"], value=init("", np.ones(2, np.float32))),
            node("Conv", ["x", "w", "b"], ["a"], name="conv", pads=[1, 1, 1, 1]),
            call("Leaky", ["a"], ["c"], slope=0.5),
            node(
                "If",
                ["flag"],
                ["d"],
                then_branch=branch("t", [node("Abs", ["c"], ["e"])], "e"),
                else_branch=branch("f", [node("Relu", ["c"], ["g"])], "g"),
            ),
            node("Reshape", ["d", "s"], ["y"]),
        ],
        [leaky(attributes=["slope"])],
        inputs=[info("x", ("n", 1, 4, 4)), info("flag", (), TensorProto.BOOL)],
        inits=[
            init("w", np.ones((2, 1, 3, 3), np.float32)),
            helper.make_tensor("b", TensorProto.FLOAT, [2], [0.5, 1.0]),
            init("s", [-1, 2]),
        ],
    ).SerializeToString()


def survives(data):
    try:
        graph = load(data)
    except QEngineError as error:
        message = str(error)
    else:
        return isinstance(graph, Graph)
    assert re.fullmatch(r"model: [^\n]+", message)
    return False


def test_a_flipped_byte_is_a_graph_or_a_named_error():
    data = small()
    assert survives(data)
    rng = random.Random(20)
    good = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        good += survives(bytes(damaged))
    assert 0 < good < 300


def test_a_cut_file_is_a_named_error():
    data = small()
    assert not any(survives(data[:length]) for length in range(0, len(data) - 40, 7))
    for length in range(0, len(data), 7):
        survives(data[:length])


def test_the_path_of_the_file_is_in_the_message(tmp_path, monkeypatch):
    (tmp_path / "cut.onnx").write_bytes(small()[:100])
    monkeypatch.chdir(tmp_path)
    assert refused(Path("cut.onnx")).startswith("cut.onnx: ")
    stream = io.BytesIO(small())
    assert load(stream.read()).name == "net"
