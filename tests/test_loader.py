import io
import os
import random
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qengine.errors import ModelError, QEngineError, UnsupportedError
from qengine.graph import Graph, Value
from qengine.loader import load

NEWEST = onnx.defs.onnx_opset_version()
node = helper.make_node
opset = helper.make_opsetid


def info(name, shape=(2,), dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def init(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs=(), outputs=(), inits=(), *, version=17, ir=8, values=(), functions=(), imports=()):
    graph = helper.make_graph(
        nodes,
        "net",
        list(inputs) or [info("x")],
        list(outputs) or [info("y", None)],
        list(inits),
        value_info=values,
    )
    return helper.make_model(
        graph,
        opset_imports=[opset("", version), *(opset(*one) for one in imports)],
        ir_version=ir,
        functions=list(functions),
    )


def relu(**kwargs):
    return model([node("Relu", ["x"], ["y"], name="r")], **kwargs)


def refused(source, *words, error=ModelError):
    with pytest.raises(error) as caught:
        load(source)
    message = str(caught.value)
    assert type(caught.value) is error, message
    assert "\n" not in message
    assert message.isprintable()
    for word in words:
        assert word in message, message
    return message


# ---- what a good model becomes


@pytest.mark.parametrize("version", [7, 13, 17, NEWEST])
def test_nodes_values_and_constants(version):
    weight = np.arange(2 * 3 * 9, dtype=np.float32).reshape(2, 3, 3, 3)
    graph = load(
        model(
            [
                node("Conv", ["x", "w"], ["a"], name="c", pads=[1, 1, 1, 1], auto_pad="NOTSET"),
                node("LeakyRelu", ["a"], ["y"], alpha=0.5),
            ],
            [info("x", ["batch", 3, None, 8])],
            [info("y", None)],
            [init("w", weight)],
            version=version,
            imports=[("com.example", 3)],
        )
    )
    assert graph.name == "net"
    assert graph.inputs == (Value("x", np.dtype(np.float32), ("batch", 3, None, 8)),)
    assert [one.name for one in graph.outputs] == ["y"]
    conv, leaky = graph.nodes
    assert (conv.operator, conv.domain, conv.version, conv.name) == ("Conv", "", version, "c")
    assert (conv.inputs, conv.outputs) == (("x", "w"), ("a",))
    assert conv.attributes == {"pads": (1, 1, 1, 1), "auto_pad": "NOTSET"}
    assert leaky.attributes == {"alpha": 0.5}
    assert type(leaky.attributes["alpha"]) is float
    np.testing.assert_array_equal(graph.constants["w"], weight)
    assert not graph.constants["w"].flags.writeable
    assert graph.values["a"] == Value("a", np.dtype(np.float32), ("batch", 2, None, 8))
    assert graph.outputs[0].shape == ("batch", 2, None, 8)


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


def test_left_out_inputs_and_outputs_stay_in_place():
    graph = load(model([node("Clip", ["x", "", "high"], ["y"])], inits=[init("high", np.float32(6))], version=13))
    assert graph.nodes[0].inputs == ("x", "", "high")
    assert graph.constants["high"].shape == ()


def test_other_domains_are_kept_with_their_version():
    graph = load(model([node("Magic", ["x"], ["y"], domain="com.example")], imports=[("com.example", 3)]))
    assert (graph.nodes[0].domain, graph.nodes[0].version) == ("com.example", 3)


def test_the_long_name_of_the_default_domain():
    proto = relu()
    proto.opset_import[0].domain = "ai.onnx"
    proto.graph.node[0].domain = "ai.onnx"
    assert (load(proto).nodes[0].domain, load(proto).nodes[0].version) == ("", 17)


def test_attributes_of_every_kind():
    attributes = {"i": -3, "f": 0.5, "s": "é", "ii": [1, 2], "ff": [0.5, 1.0], "ss": ["a", "b"], "empty": 0}
    one = node("Magic", ["x"], ["y"], domain="d", t=init("t", [1, 2]), **attributes)
    del one.attribute[[a.name for a in one.attribute].index("ii")].ints[:]
    zero = one.attribute[[a.name for a in one.attribute].index("empty")]
    zero.ClearField("i")  # writers of proto3 leave out what is 0
    found = dict(load(model([one], imports=[("d", 1)])).nodes[0].attributes)
    np.testing.assert_array_equal(found.pop("t"), [1, 2])
    assert found == {"i": -3, "f": 0.5, "s": "é", "ii": (), "ff": (0.5, 1.0), "ss": ("a", "b"), "empty": 0}


def branch(name, nodes, output):
    return helper.make_graph(nodes, name, [], [info(output, None)])


def conditional(then, otherwise=None):
    otherwise = otherwise or branch("else", [node("Abs", ["x"], ["e"])], "e")
    return model(
        [node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=otherwise)],
        [info("x"), info("c", (), TensorProto.BOOL)],
    )


def test_graphs_in_attributes_see_outer_names():
    then = branch("then", [node("Constant", [], ["k"], value_float=2.0), node("Mul", ["x", "k"], ["t"])], "t")
    inner = load(conditional(then)).nodes[0].attributes["then_branch"]
    assert isinstance(inner, Graph)
    assert inner.name == "then"
    assert inner.constants == {"k": np.float32(2)}
    assert inner.nodes[0].inputs == ("x", "k")
    assert [one.name for one in inner.outputs] == ["t"]


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ({"value": init("", np.array([[1, 2]], np.int8))}, np.array([[1, 2]], np.int8)),
        ({"value_float": 0.5}, np.float32(0.5)),
        ({"value_floats": [0.5, 1.0]}, np.array([0.5, 1], np.float32)),
        ({"value_int": 3}, np.int64(3)),
        ({"value_ints": [3, 4]}, np.array([3, 4])),
    ],
)
def test_constant_nodes_become_constants(attribute, expected):
    graph = load(model([node("Constant", [], ["k"], **attribute), node("Relu", ["x"], ["y"])]))
    assert [one.operator for one in graph.nodes] == ["Relu"]
    assert graph.constants["k"].dtype == expected.dtype
    assert not graph.constants["k"].flags.writeable
    np.testing.assert_array_equal(graph.constants["k"], expected, strict=True)


DTYPES = "float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128"


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("dtype", DTYPES.split())
def test_every_dtype_of_numpy(dtype, raw):
    array = np.array([[0, 1, 3], [100, 0, 1]]).astype(dtype)
    code = helper.np_dtype_to_tensor_dtype(array.dtype)
    content = array.tobytes() if raw else array.ravel()
    proto = relu(inits=[helper.make_tensor("w", code, array.shape, content, raw=raw)])
    np.testing.assert_array_equal(load(proto).constants["w"], array, strict=True)


def test_negative_numbers_of_small_types():
    array = np.array([-128, 127], np.int8)
    proto = relu(inits=[helper.make_tensor("w", TensorProto.INT8, [2], array)])
    np.testing.assert_array_equal(load(proto).constants["w"], array, strict=True)


def test_a_boolean_byte_is_made_a_boolean():
    proto = relu(inits=[helper.make_tensor("w", TensorProto.BOOL, [3], b"\x00\x02\x01", raw=True)])
    assert load(proto).constants["w"].tobytes() == b"\x00\x01\x01"


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_scalars_and_empty_tensors(shape):
    array = np.zeros(shape, np.float32)
    assert load(relu(inits=[init("w", array)])).constants["w"].shape == shape
    empty = helper.make_tensor("w", TensorProto.FLOAT, shape, array.ravel())
    assert load(relu(inits=[empty])).constants["w"].shape == shape


# ---- defaults of inputs


def with_default(ir, declared=(2,), dtype=TensorProto.FLOAT):
    return model(
        [node("Add", ["x", "w"], ["y"])],
        [info("x"), info("w", declared, dtype)],
        inits=[init("w", np.ones(2, np.float32))],
        version=8,
        ir=ir,
    )


def test_an_initializer_that_is_an_input_may_be_overridden():
    graph = load(with_default(4))
    assert [one.name for one in graph.inputs] == ["x"]
    assert graph.overridable == (Value("w", np.dtype(np.float32), (2,)),)
    np.testing.assert_array_equal(graph.constants["w"], [1, 1])
    assert load(with_default(4, ("n",))).overridable[0].shape == ("n",)


def test_but_not_before_ir_version_4_where_every_initializer_had_to_be_one():
    graph = load(with_default(3))
    assert ([one.name for one in graph.inputs], graph.overridable) == (["x"], ())


@pytest.mark.parametrize("ir", [3, 4])
def test_overridable_is_as_in_onnxruntime(ir):
    session = pytest.importorskip("onnxruntime")
    options = session.SessionOptions()
    options.log_severity_level = 4
    proto = with_default(ir)
    theirs = session.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    graph = load(proto)
    assert [one.name for one in graph.inputs] == [one.name for one in theirs.get_inputs()]
    assert [one.name for one in graph.overridable] == [one.name for one in theirs.get_overridable_initializers()]


def test_a_default_that_does_not_fit_its_declaration():
    refused(with_default(4, (3,)), "'w'", "(3,)", "(2,)")
    refused(with_default(4, (2,), TensorProto.DOUBLE), "'w'", "float64", "float32")


def test_shapes_that_depend_on_an_overridable_default_are_not_inferred_from_it():
    proto = model(
        [node("Reshape", ["x", "s"], ["y"])],
        [info("x", (4,)), info("s", (2,), TensorProto.INT64)],
        inits=[init("s", [2, 2])],
    )
    assert load(proto).outputs[0].shape == (None, None)


# ---- files


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
    for field, word in (("node", "no nodes"), ("output", "no outputs")):
        proto = relu()
        proto.graph.ClearField(field)
        refused(proto, word)


def test_versions_that_are_not_supported():
    load(relu(version=7))
    load(relu(version=NEWEST))
    refused(relu(version=6), f"7 to {NEWEST}", "opset 6", "onnx.version_converter", error=UnsupportedError)
    refused(relu(version=NEWEST + 1), f"7 to {NEWEST}", "upgrade onnx", error=UnsupportedError)
    refused(relu(ir=onnx.IR_VERSION + 1), "IR version", "upgrade onnx", error=UnsupportedError)
    refused(relu(imports=[("", 13)]), "opset 13", "''")
    refused(relu(imports=[("ai.onnx", 13)]), "opset 13", "'ai.onnx'")
    refused(relu(imports=[("d", 0)]), "opset 0", "'d'")
    refused(model([node("Magic", ["x"], ["y"], domain="d")]), "(d.Magic)", "'d'", "not imported")


def test_text_that_is_not_utf8():
    content = relu(inits=[init("weight", [1.0])]).SerializeToString()
    for word in (b"Relu", b"weight"):
        refused(content.replace(word, b"\xff" + word[1:]), "not UTF-8")
    proto = relu()
    proto.doc_string = "note"
    load(proto.SerializeToString().replace(b"note", b"n\xffte"))


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


# ---- tensors


def tensor_proto(**fields):
    return TensorProto(name="w", data_type=fields.pop("data_type", TensorProto.FLOAT), **fields)


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (tensor_proto(dims=[2, 3], raw_data=bytes(20)), ["(2, 3)", "24 bytes", "20"]),
        (tensor_proto(dims=[2], raw_data=bytes(9)), ["8 bytes", "9"]),
        (tensor_proto(dims=[2, 3], float_data=[1] * 7), ["(2, 3)", "6 numbers", "7"]),
        (tensor_proto(dims=[3], data_type=TensorProto.COMPLEX64, float_data=[1] * 4), ["6 numbers", "4"]),
        (tensor_proto(dims=[2]), ["2 numbers", "0"]),
        (tensor_proto(dims=[-1], float_data=[1]), ["(-1,)", "negative"]),
        (tensor_proto(dims=[2**62] * 3, raw_data=bytes(4)), [str(2**62), "4 are there"]),
        (tensor_proto(dims=[0, 2**62, 2**62]), ["too large"]),
        (tensor_proto(dims=[2**62] * 100_000), ["100000 axes"]),
        (tensor_proto(dims=[1], int32_data=[1]), ["float_data", "int32_data"]),
        (tensor_proto(dims=[1], float_data=[1], raw_data=bytes(4)), ["more than one place"]),
        (tensor_proto(dims=[1], data_type=TensorProto.UINT8, int32_data=[256]), ["uint8", "beyond"]),
        (tensor_proto(dims=[1], data_type=TensorProto.UINT32, uint64_data=[2**32]), ["uint32", "beyond"]),
        (tensor_proto(dims=[1], data_type=TensorProto.FLOAT16, int32_data=[2**16]), ["float16", "beyond"]),
        (tensor_proto(dims=[1], data_type=0, raw_data=bytes(4)), ["element type 0"]),
        (tensor_proto(dims=[1], data_type=99, raw_data=bytes(4)), ["element type 99"]),
    ],
)
def test_tensors_that_contradict_themselves(proto, words):
    adding = model([node("Add", ["x", "w"], ["y"])], inits=[proto])
    refused(adding, "initializer 'w'", *words)
    proto.name = ""
    refused(
        model([node("Constant", [], ["k"], name="hold", value=proto), node("Add", ["x", "k"], ["y"])]),
        "attribute 'value' of node 'hold' (Constant)",
        *words,
    )


UNSUPPORTED = {
    "string": helper.make_tensor("w", TensorProto.STRING, [1], [b"a"]),
    "bfloat16": helper.make_tensor("w", TensorProto.BFLOAT16, [1], [1.0]),
    "float8e5m2": helper.make_tensor("w", TensorProto.FLOAT8E5M2, [1], [1.0]),
    "int4": helper.make_tensor("w", TensorProto.INT4, [2], [1, 2]),
    "segment": tensor_proto(dims=[1], float_data=[1], segment=TensorProto.Segment(begin=0, end=1)),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_tensors_of_unsupported_types(kind):
    proto = model([node("Add", ["x", "w"], ["y"])], inits=[UNSUPPORTED[kind]])
    refused(proto, "initializer 'w'", kind, error=UnsupportedError)


def test_unsupported_tensors_that_nothing_reads_are_dropped():
    proto = relu(inits=[UNSUPPORTED["string"]])
    proto.graph.node.insert(0, node("Constant", [], ["k"], value_string="a"))
    assert load(proto).constants == {}
    read = branch("then", [node("Identity", ["w"], ["t"])], "t")
    proto = conditional(read)
    proto.graph.initializer.append(UNSUPPORTED["string"])
    refused(proto, "'w'", "string", error=UnsupportedError)


def test_sparse_tensors():
    sparse = helper.make_sparse_tensor(init("w", np.ones(1, np.float32)), init("i", [0]), [2])
    proto = model([node("Add", ["x", "w"], ["y"])])
    proto.graph.sparse_initializer.append(sparse)
    refused(proto, "'w'", "sparse", error=UnsupportedError)
    proto = model([node("Constant", [], ["w"], name="k", sparse_value=sparse), node("Add", ["x", "w"], ["y"])])
    refused(proto, "'k'", "sparse_value", error=UnsupportedError)


# ---- external data


@pytest.fixture
def folder(tmp_path):
    inner = tmp_path / "model"
    inner.mkdir()
    (inner / "w.bin").write_bytes(np.arange(10, dtype=np.float32).tobytes())
    (tmp_path / "secret.bin").write_bytes(bytes(40))
    return inner


def external(constant=False, shape=(2,), **entries):
    entries = {"location": "w.bin", **entries}
    proto = tensor_proto(dims=list(shape), data_location=TensorProto.EXTERNAL)
    for key, content in entries.items():
        if content is not None:
            proto.external_data.add(key=key, value=str(content))
    if constant:
        proto.name = ""
        return model([node("Constant", [], ["w"], value=proto), node("Add", ["x", "w"], ["y"])])
    return model([node("Add", ["x", "w"], ["y"])], inits=[proto])


def put(folder, proto):
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({}, [0, 1]),
        ({"offset": 4, "length": 8}, [1, 2]),
        ({"offset": 32, "checksum": "unread"}, [8, 9]),
        ({"location": "./w.bin", "length": 8}, [0, 1]),
    ],
)
def test_external_data(folder, constant, entries, expected):
    graph = load(put(folder, external(constant, **entries)))
    np.testing.assert_array_equal(graph.constants["w"], np.array(expected, np.float32), strict=True)
    assert not graph.constants["w"].flags.writeable


def test_external_data_in_a_folder_below_and_by_a_relative_path(folder, monkeypatch):
    (folder / "data").mkdir()
    (folder / "w.bin").rename(folder / "data" / "w.bin")
    put(folder, external(location="data/w.bin"))
    monkeypatch.chdir(folder)
    np.testing.assert_array_equal(load("m.onnx").constants["w"], [0, 1])


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"location": "../secret.bin"}, ["outside"]),
        ({"location": "a/../../secret.bin"}, ["outside"]),
        ({"location": "..\\secret.bin"}, ["outside"]),
        ({"location": "/etc/passwd"}, ["outside", "/etc/passwd"]),
        ({"location": "C:\\secret.bin"}, ["outside"]),
        ({"location": "C:secret.bin"}, ["outside"]),
        ({"location": "a/../w.bin"}, ["outside"]),
        ({"location": None}, ["names no file"]),
        ({"location": ""}, ["names no file"]),
        ({"location": "w\0.bin"}, ["names no file"]),
        ({"location": "gone.bin"}, ["gone.bin", "beside the model"]),
        ({"location": "."}, ["cannot be read"]),
        ({"offset": 36}, ["8 bytes from offset 36", "has 40"]),
        ({"offset": -4}, ["offset", "'-4'"]),
        ({"offset": "1_0"}, ["offset", "'1_0'"]),
        ({"offset": "9" * 5000}, ["offset"]),
        ({"length": 12}, ["8 bytes", "12"]),
        ({"length": -8}, ["length", "'-8'"]),
        ({"shape": (2**40, 2**40)}, ["from offset 0", "has 40"]),
    ],
)
@pytest.mark.parametrize("constant", [True, False])
def test_external_data_that_is_refused(folder, constant, entries, words):
    refused(put(folder, external(constant, **entries)), "w", *words)


def test_external_data_that_is_named_twice_or_is_inline_too(folder):
    proto = external()
    proto.graph.initializer[0].external_data.add(key="location", value="other.bin")
    refused(put(folder, proto), "'w'", "twice")
    proto = external()
    proto.graph.initializer[0].raw_data = bytes(8)
    refused(put(folder, proto), "'w'", "more than one place")


def test_links_do_not_lead_outside(folder):
    (folder / "out.bin").symlink_to(folder.parent / "secret.bin")
    refused(put(folder, external(location="out.bin")), "'w'", "outside")
    (folder / "up").symlink_to(folder.parent)
    refused(put(folder, external(location="up/secret.bin")), "'w'", "outside")
    (folder / "in.bin").symlink_to("w.bin")
    np.testing.assert_array_equal(load(put(folder, external(location="in.bin"))).constants["w"], [0, 1])


def test_a_folder_with_a_similar_name_is_outside(folder):
    other = folder.parent / "model2"
    other.mkdir()
    (other / "w.bin").write_bytes(bytes(8))
    (folder / "w2").symlink_to(other / "w.bin")
    refused(put(folder, external(location="w2")), "outside")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_does_not_hang(folder):
    os.mkfifo(folder / "pipe.bin")
    refused(put(folder, external(location="pipe.bin")), "'w'", "not a regular file")


def test_external_data_needs_a_path():
    refused(external(), "'w'", "by its path")
    refused(external().SerializeToString(), "'w'", "by its path")


# ---- names and order


def test_names_that_stand_for_two_tensors():
    two = [info("x"), info("x")]
    refused(model([node("Relu", ["x"], ["y"])], two), "input 'x'")
    refused(relu(inits=[init("w", [1.0]), init("w", [1.0])]), "initializer 'w'")
    refused(model([node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"], name="n")]), "node 'n' (Abs)", "'y'")
    refused(model([node("Relu", ["x"], ["x"], name="n")]), "node 'n' (Relu)", "'x'")
    refused(model([node("Split", ["x"], ["y", "y"], name="n")]), "node 'n' (Split)", "'y'")
    refused(conditional(branch("then", [node("Abs", ["x"], ["c"])], "c")), "(Abs)", "'c'")


def test_a_branch_does_not_define_a_name_of_the_graph_around_it():
    then = branch("then", [node("Abs", ["x"], ["t"])], "t")
    then.initializer.append(init("c", [1.0]))
    refused(conditional(then), "initializer 'c'", "another tensor")


def test_both_branches_may_use_a_name():
    load(conditional(branch("then", [node("Abs", ["x"], ["e"])], "e")))


def test_nodes_that_read_what_does_not_exist():
    refused(model([node("Relu", ["q"], ["y"], name="n")]), "node 'n' (Relu)", "'q'", "nothing produces")
    refused(conditional(branch("then", [node("Abs", ["q"], ["t"], name="n")], "t")), "node 'n' (Abs)", "'q'")
    refused(model([node("Relu", ["x"], ["a"])]), "output 'y'", "nothing produces")
    refused(conditional(branch("then", [node("Abs", ["x"], ["t"])], "q")), "output 'q'")


def test_what_a_branch_computes_is_not_seen_outside():
    proto = conditional(branch("then", [node("Abs", ["x"], ["t"])], "t"))
    proto.graph.node.append(node("Relu", ["t"], ["z"]))
    refused(proto, "(Relu)", "'t'", "nothing produces")


def test_a_branch_does_not_see_what_is_computed_after_it():
    proto = conditional(branch("then", [node("Abs", ["late"], ["t"], name="n")], "t"))
    proto.graph.node.append(node("Relu", ["x"], ["late"]))
    refused(proto, "node 'n' (Abs)", "'late'")


def test_unsorted_nodes_are_refused_as_by_the_checker_of_onnx():
    proto = model([node("Relu", ["a"], ["y"], name="late"), node("Abs", ["x"], ["a"], name="early")])
    refused(proto, "'late' (Relu)", "'a'", "'early' (Abs)", "not sorted")
    cycle = model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])])
    refused(cycle, "(Add)", "'b'", "cycle")


def test_names_that_are_missing():
    refused(model([node("Relu", ["x"], ["y"])], [info("x"), info("")]), "input", "no name")
    refused(relu(outputs=[info("y"), info("")]), "output", "no name")
    refused(relu(inits=[init("", [1.0])]), "initializer", "no name")
    proto = relu()
    proto.graph.node[0].op_type = ""
    refused(proto, "'r'", "no operator")


# ---- types


def test_inputs_that_are_not_tensors():
    kinds = {
        "sequence": helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None),
        "optional": helper.make_value_info("x", helper.make_optional_type_proto(info("x").type)),
        "map": helper.make_value_info("x", helper.make_map_type_proto(TensorProto.INT64, info("x").type)),
        "sparse_tensor": helper.make_sparse_tensor_value_info("x", TensorProto.FLOAT, [2]),
        "bfloat16": info("x", (2,), TensorProto.BFLOAT16),
        "string": info("x", (2,), TensorProto.STRING),
    }
    for kind, declared in kinds.items():
        refused(model([node("Relu", ["x"], ["y"])], [declared]), "'x'", kind, error=UnsupportedError)


def test_inputs_without_a_sound_type():
    refused(model([node("Relu", ["x"], ["y"])], [helper.make_empty_tensor_value_info("x")]), "'x'")
    refused(model([node("Relu", ["x"], ["y"])], [onnx.ValueInfoProto(name="x")]), "'x'", "no type")
    refused(model([node("Relu", ["x"], ["y"])], [info("x", (2,), 77)]), "'x'", "77")
    refused(model([node("Relu", ["x"], ["y"])], [info("x", (2, -1))]), "'x'", "negative")


def test_an_input_of_open_rank_and_an_output_without_a_type():
    proto = model([node("Relu", ["x"], ["y"])], [info("x", None)], [helper.make_empty_tensor_value_info("y")])
    graph = load(proto)
    assert graph.inputs[0].shape is None
    assert graph.outputs == (Value("y", np.dtype(np.float32), None),)


# ---- inference


def test_a_shape_that_an_initializer_decides_and_one_that_arithmetic_does():
    proto = model(
        [
            node("Reshape", ["x", "s"], ["a"]),
            node("Shape", ["a"], ["n"]),
            node("Gather", ["n", "one"], ["d"]),
            node("Concat", ["d", "minus"], ["t"], axis=0),
            node("Reshape", ["a", "t"], ["y"]),
        ],
        [info("x", (4, 6))],
        inits=[init("s", [3, 8]), init("one", [1]), init("minus", [-1])],
    )
    graph = load(proto)
    assert graph.values["a"].shape == (3, 8)
    assert graph.values["y"].shape == (8, 3)


def test_long_vectors_are_not_followed_element_by_element():
    doubling = [node("Concat", [f"v{i}", f"v{i}"], [f"v{i + 1}"], axis=0) for i in range(40)]
    proto = model(
        [
            node("Shape", ["x"], ["v0"]),
            *doubling,
            node("Add", ["z", "z"], ["w"]),
            node("ConstantOfShape", ["v40"], ["y"]),
        ],
        [info("x", (1, 3)), info("z", (2**50,))],
    )
    graph = load(proto)
    assert graph.values["v40"].shape == (2**41,)
    assert graph.values["w"].shape == (2**50,)


def test_big_weights_do_not_travel_through_inference(monkeypatch):
    seen = []
    real = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(
        onnx.shape_inference, "infer_shapes", lambda m, **kw: (seen.append(m.ByteSize()), real(m, **kw))[1]
    )
    big = np.zeros((1, 3, 500, 500), np.float32)
    proto = model(
        [
            node("Constant", [], ["k"], value=init("", big)),
            node("Add", ["w", "k"], ["a"]),
            node("Add", ["x", "a"], ["y"]),
        ],
        [info("x", (1,))],
        inits=[init("w", big)],
    )
    assert load(proto).outputs[0].shape == big.shape
    assert max(seen) < 2000


@pytest.mark.parametrize(
    "error",
    [RuntimeError("out of luck"), ValueError("above 2 GB"), onnx.shape_inference.InferenceError("no")],
)
def test_inference_that_fails_is_not_fatal(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", fail)
    graph = load(relu(values=[info("z", (3,))]))
    assert graph.values["x"].shape == (2,)
    assert graph.values["z"].shape == (3,)
    assert graph.outputs[0].name == "y"


def test_nodes_that_contradict_each_other():
    proto = model(
        [node("MatMul", ["x", "w"], ["y"], name="m")],
        [info("x", (1, 3))],
        inits=[init("w", np.ones((4, 5), "f"))],
    )
    refused(proto, "'m'", "(MatMul)", "Incompatible dimensions")


def test_a_wrong_declared_shape_gives_way():
    proto = model(
        [node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["y"])],
        outputs=[info("y", (3,))],
        values=[info("a", (2, 9))],
    )
    graph = load(proto)
    assert (graph.values["a"].shape, graph.outputs[0].shape) == ((2,), (2,))


def test_a_declared_name_of_an_axis_is_kept_and_a_length_is_preferred():
    proto = model(
        [node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["y"])],
        [info("x", (None, 3))],
        [info("y", ("batch", "channels"))],
        values=[info("a", (-1, 3))],
    )
    graph = load(proto)
    assert graph.values["a"].shape == (None, 3)
    assert graph.outputs[0].shape == ("batch", 3)


def test_a_wrong_declared_type_is_an_error():
    proto = model([node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["y"])], values=[info("a", (2,), TensorProto.INT32)])
    refused(proto, "'a'", "int32", "float32")


def test_what_is_declared_after_an_unknown_operator_is_used():
    proto = model(
        [node("Magic", ["x"], ["a"], domain="d"), node("Relu", ["a"], ["y"])],
        values=[info("a", (7,))],
        imports=[("d", 1)],
    )
    assert load(proto).outputs[0].shape == (7,)
    load(model([node("NoSuchThing", ["x"], ["a"]), node("Conv", ["a", "a"], ["y"])]))


def test_external_weights_in_a_branch_are_no_contradiction(folder):
    proto = conditional(branch("then", [node("Reshape", ["x", "s"], ["t"])], "t"))
    inner = proto.graph.node[0].attribute
    then = next(one.g for one in inner if one.name == "then_branch")
    shape = then.initializer.add(name="s", data_type=TensorProto.INT64, dims=[1], data_location=TensorProto.EXTERNAL)
    shape.external_data.add(key="location", value="w.bin")
    load(put(folder, proto))


# ---- attributes


def test_attributes_that_are_not_sound():
    def with_attribute(**fields):
        proto = relu()
        proto.graph.node[0].attribute.add(**fields)
        return proto

    kinds = onnx.AttributeProto
    what = ["'a'", "node 'r' (Relu)"]
    refused(with_attribute(name="a", i=1), *what, "no type")
    refused(with_attribute(name="a", i=1, type=kinds.FLOAT), *what, "what its type says")
    refused(with_attribute(name="a", i=1, f=1.0, type=kinds.FLOAT), *what, "what its type says")
    refused(with_attribute(name="a", type=kinds.TENSOR), *what, "what its type says")
    refused(with_attribute(name="a", s=b"\xff", type=kinds.STRING), *what, "UTF-8")
    refused(with_attribute(name="a", strings=[b"\xff"], type=kinds.STRINGS), *what, "UTF-8")
    refused(with_attribute(name="a", ref_attr_name="b", type=kinds.INT), *what, "'b'")
    refused(with_attribute(i=1, type=kinds.INT), "node 'r' (Relu)", "nameless")
    refused(with_attribute(name="a", type=kinds.TYPE_PROTO), *what, "type_proto", error=UnsupportedError)
    twice = with_attribute(name="a", i=1, type=kinds.INT)
    twice.graph.node[0].attribute.add(name="a", i=2, type=kinds.INT)
    refused(twice, *what, "two attributes")


def test_constant_nodes_that_are_not_sound():
    add = node("Add", ["x", "k"], ["y"])
    refused(model([node("Constant", [], ["k"], name="n"), add]), "node 'n' (Constant)", "one attribute")
    refused(model([node("Constant", [], ["k"], name="n", value=1.0), add]), "node 'n' (Constant)", "'value'")
    refused(model([node("Constant", [], ["k"], name="n", other=1.0), add]), "node 'n' (Constant)", "'other'")
    strings = model([node("Constant", [], ["k"], name="n", value_string="a"), add])
    refused(strings, "node 'n' (Constant)", "value_string", error=UnsupportedError)


# ---- local functions


def function(name, inputs, outputs, nodes, attributes=(), defaults=None, version=17, overload=""):
    made = helper.make_function(
        "f",
        name,
        inputs,
        outputs,
        nodes,
        [opset("", version), opset("f", 1)],
        attributes=list(attributes),
        attribute_protos=[helper.make_attribute(*one) for one in (defaults or {}).items()],
    )
    made.overload = overload
    return made


def reference(made, name, to, kind=onnx.AttributeProto.FLOAT):
    made.attribute.add(name=name, ref_attr_name=to, type=kind)
    return made


def call(function_name, inputs, outputs, **kwargs):
    return node(function_name, inputs, outputs, domain="f", **kwargs)


def leaky(**kwargs):
    body = [
        reference(node("LeakyRelu", ["X"], ["t"], name="inner"), "alpha", "slope"),
        node("Add", ["t", "X"], ["Y"]),
    ]
    return function("Leaky", ["X"], ["Y"], body, **kwargs)


def calling(nodes, functions, **kwargs):
    return model(nodes, functions=functions, imports=[("f", 1)], ir=10, **kwargs)


def listing(proto):
    return [(one.operator, one.inputs, one.outputs, dict(one.attributes)) for one in load(proto).nodes]


def test_functions_are_inlined_under_the_names_of_the_model():
    nodes = [call("Leaky", ["x"], ["t"], slope=0.5, name="first"), call("Leaky", ["t"], ["y"], slope=0.25)]
    proto = calling(nodes, [leaky(attributes=["slope"])])
    before = proto.SerializeToString()
    assert listing(proto) == [
        ("LeakyRelu", ("x",), ("t__1",), {"alpha": 0.5}),
        ("Add", ("t__1", "x"), ("t",), {}),
        ("LeakyRelu", ("t",), ("t__2",), {"alpha": 0.25}),
        ("Add", ("t__2", "t"), ("y",), {}),
    ]
    assert [one.name for one in load(proto).nodes] == ["first/inner", "first", "inner", ""]
    assert proto.SerializeToString() == before
    assert load(proto).values["t"].shape == (2,)


def test_an_attribute_that_a_call_leaves_out():
    assert listing(calling([call("Leaky", ["x"], ["y"])], [leaky(defaults={"slope": 0.25})]))[0][3] == {"alpha": 0.25}
    assert listing(calling([call("Leaky", ["x"], ["y"])], [leaky(attributes=["slope"])]))[0][3] == {}


def test_functions_in_functions_hand_attributes_on():
    def outer(**kwargs):
        body = [reference(call("Leaky", ["X"], ["Y"]), "slope", "s")]
        return [function("Outer", ["X"], ["Y"], body, **kwargs), leaky(defaults={"slope": 0.125})]

    given = calling([call("Outer", ["x"], ["y"], s=0.5)], outer(attributes=["s"]))
    assert listing(given)[0][3] == {"alpha": 0.5}
    default = calling([call("Outer", ["x"], ["y"])], outer(defaults={"s": 0.25}))
    assert listing(default)[0][3] == {"alpha": 0.25}
    neither = calling([call("Outer", ["x"], ["y"])], outer(attributes=["s"]))
    assert listing(neither)[0][3] == {"alpha": 0.125}


def test_functions_with_branches_in_branches():
    inside = reference(node("LeakyRelu", ["X"], ["o"]), "alpha", "slope")
    then = branch("then", [call("Twice", ["X"], ["d"]), inside, node("Add", ["o", "d"], ["p"])], "p")
    pick = function(
        "Pick", ["X", "C"], ["Y"], [node("If", ["C"], ["Y"], then_branch=then, else_branch=then)], ["slope"]
    )
    twice = function("Twice", ["A"], ["B"], [node("Add", ["A", "A"], ["B"])])
    proto = calling(
        [call("Pick", ["x", "c"], ["o"], slope=0.5), call("Pick", ["o", "c"], ["y"], slope=0.25)],
        [pick, twice],
        inputs=[info("x"), info("c", (), TensorProto.BOOL)],
    )
    graph = load(proto)
    inner = graph.nodes[1].attributes["else_branch"]
    assert [one.operator for one in inner.nodes] == ["Add", "LeakyRelu", "Add"]
    assert inner.nodes[0].inputs == ("o", "o")
    assert inner.nodes[1].inputs == ("o",)
    assert inner.nodes[1].attributes == {"alpha": 0.25}
    assert inner.outputs[0].name == inner.nodes[2].outputs[0]


def test_a_graph_that_a_call_gives_keeps_the_names_of_the_caller():
    pick = node("If", ["C"], ["Y"], else_branch=branch("else", [node("Abs", ["X"], ["e"])], "e"))
    reference(pick, "then_branch", "body", onnx.AttributeProto.GRAPH)
    proto = calling(
        [
            node("Neg", ["x"], ["X"]),
            call("Pick", ["x", "c"], ["y"], body=branch("then", [node("Abs", ["X"], ["t"])], "t")),
        ],
        [function("Pick", ["X", "C"], ["Y"], [pick], ["body"])],
        inputs=[info("x"), info("c", (), TensorProto.BOOL)],
    )
    attributes = load(proto).nodes[1].attributes
    assert attributes["then_branch"].nodes[0].inputs == ("X",)
    assert attributes["else_branch"].nodes[0].inputs == ("x",)


def test_functions_compute_what_they_do_in_onnxruntime():
    runtime = pytest.importorskip("onnxruntime")
    nodes = [call("Leaky", ["x"], ["t"], slope=0.5), call("Leaky", ["t"], ["y"])]
    proto = calling(nodes, [leaky(defaults={"slope": 0.25})])
    flat = model([node(n.operator, n.inputs, n.outputs, **n.attributes) for n in load(proto).nodes])
    expected, found = (
        runtime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": np.array([-3, 2], np.float32)}
        )
        for one in (proto, flat)
    )
    np.testing.assert_array_equal(found, expected)


def test_optional_parameters_of_functions():
    body = [node("Clip", ["X", "", "B"], ["Y"]), node("Relu", ["X"], ["Z"])]
    proto = calling([call("Two", ["x"], ["", "y"])], [function("Two", ["X", "B"], ["Y", "Z"], body)])
    assert [one[1:3] for one in listing(proto)] == [(("x", "", ""), ("Y",)), (("x",), ("y",))]


def test_a_function_that_passes_an_input_on():
    proto = calling([call("Same", ["x"], ["y"])], [function("Same", ["X"], ["X"], [node("Relu", ["X"], ["u"])])])
    assert [one[:3] for one in listing(proto)] == [("Relu", ("x",), ("u",)), ("Identity", ("x",), ("y",))]


def test_overloads_of_a_function():
    functions = [
        function("G", ["X"], ["Y"], [node(operator, ["X"], ["Y"])], overload=operator) for operator in ("Relu", "Abs")
    ]
    proto = calling([call("G", ["x"], ["a"], overload="Abs"), call("G", ["a"], ["y"], overload="Relu")], functions)
    assert [one[0] for one in listing(proto)] == ["Abs", "Relu"]


def test_domains_that_only_a_function_imports():
    made = function("G", ["X"], ["Y"], [node("Magic", ["X"], ["Y"], domain="z")])
    made.opset_import.append(opset("z", 4))
    assert load(calling([call("G", ["x"], ["y"])], [made])).nodes[0].version == 4


def test_functions_that_are_not_sound():
    one = [call("G", ["x"], ["y"], name="c")]

    def body(*nodes, **kwargs):
        return [function("G", ["X"], ["Y"], list(nodes), **kwargs)]

    fine = node("Relu", ["X"], ["Y"])
    load(calling(one, body(fine)))
    refused(calling(one, body(call("G", ["X"], ["Y"]))), "calls itself")
    refused(
        calling(one, [*body(call("H", ["X"], ["Y"])), function("H", ["X"], ["Y"], [call("G", ["X"], ["Y"])])]),
        "itself",
    )
    refused(calling(one, body(fine) * 2), "two local functions")
    refused(calling(one, body(node("Relu", ["x"], ["Y"]))), "'x'", "nothing produces")
    refused(calling(one, body(node("Relu", ["X"], ["Z"]))), "'G'", "output 'Y'")
    refused(calling(one, body(reference(node("Relu", ["X"], ["Y"]), "a", "b"))), "'G'", "'b'")
    refused(calling([call("G", ["x", "x"], ["y"], name="c")], body(fine)), "node 'c' (f.G)", "more inputs")
    refused(calling([call("G", ["x"], ["y", "z"], name="c")], body(fine)), "node 'c' (f.G)", "outputs")
    refused(calling([call("G", ["x"], ["y"], name="c", a=1)], body(fine)), "node 'c' (f.G)", "attributes")
    refused(calling(one, body(fine, version=11)), "'G'", "opset 11", "17", error=UnsupportedError)


def test_functions_that_explode_or_are_too_deep(monkeypatch):
    def chain(length, calls):
        links = []
        for i in range(length):
            names = ["X", *(f"t{k}" for k in range(calls - 1)), "Y"]
            links.append(function(f"G{i}", ["X"], ["Y"], [call(f"G{i + 1}", [a], [b]) for a, b in pairwise(names)]))
        return [*links, function(f"G{length}", ["X"], ["Y"], [node("Relu", ["X"], ["Y"])])]

    load(calling([call("G0", ["x"], ["y"])], chain(3, 2)))
    monkeypatch.setattr("qengine.loader.inlining._MOST_NODES", 2000)
    refused(calling([call("G0", ["x"], ["y"])], chain(40, 2)), "inlined")
    refused(calling([call("G0", ["x"], ["y"])], chain(2000, 1)), "too deeply")


# ---- damage


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
