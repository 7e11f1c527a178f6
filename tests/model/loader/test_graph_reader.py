import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qengine.errors import UnsupportedError
from qengine.model.graph import Graph, Value
from qengine.model.loader import load

from .models import NEWEST, branch, conditional, info, init, model, node, refused, relu


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


def test_left_out_inputs_and_outputs_stay_in_place():
    graph = load(model([node("Clip", ["x", "", "high"], ["y"])], inits=[init("high", np.float32(6))], version=13))
    assert graph.nodes[0].inputs == ("x", "", "high")
    assert graph.constants["high"].shape == ()


def test_other_domains_are_kept_with_their_version():
    graph = load(model([node("Magic", ["x"], ["y"], domain="com.example")], imports=[("com.example", 3)]))
    assert (graph.nodes[0].domain, graph.nodes[0].version) == ("com.example", 3)


def test_attributes_of_every_kind():
    attributes = {"i": -3, "f": 0.5, "s": "é", "ii": [1, 2], "ff": [0.5, 1.0], "ss": ["a", "b"], "empty": 0}
    one = node("Magic", ["x"], ["y"], domain="d", t=init("t", [1, 2]), **attributes)
    del one.attribute[[a.name for a in one.attribute].index("ii")].ints[:]
    zero = one.attribute[[a.name for a in one.attribute].index("empty")]
    zero.ClearField("i")  # writers of proto3 leave out what is 0
    found = dict(load(model([one], imports=[("d", 1)])).nodes[0].attributes)
    np.testing.assert_array_equal(found.pop("t"), [1, 2])
    assert found == {"i": -3, "f": 0.5, "s": "é", "ii": (), "ff": (0.5, 1.0), "ss": ("a", "b"), "empty": 0}


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


STRINGS = helper.make_tensor("w", TensorProto.STRING, [1], [b"a"])


def test_text():
    proto = relu(inits=[STRINGS])
    proto.graph.node.insert(0, node("Constant", [], ["k"], value_string="b"))
    proto.graph.node.insert(0, node("Constant", [], ["l"], value_strings=["c", "d"]))
    found = load(proto).constants
    assert {name: array.tolist() for name, array in found.items()} == {"w": ["a"], "k": "b", "l": ["c", "d"]}
    assert all(array.dtype == object for array in found.values())


def test_what_a_graph_reads_from_around_it():
    proto = conditional(branch("then", [node("Identity", ["w"], ["t"])], "t"))
    proto.graph.initializer.append(STRINGS)
    assert "w" in load(proto).nodes[-1].captures


def test_sparse_tensors():
    sparse = helper.make_sparse_tensor(init("w", np.ones(1, np.float32)), init("i", [0]), [2])
    proto = model([node("Add", ["x", "w"], ["y"])])
    proto.graph.sparse_initializer.append(sparse)
    np.testing.assert_array_equal(load(proto).constants["w"], np.float32([1, 0]), strict=True)
    proto = model([node("Constant", [], ["w"], name="k", sparse_value=sparse), node("Add", ["x", "w"], ["y"])])
    np.testing.assert_array_equal(load(proto).constants["w"], np.float32([1, 0]), strict=True)
    square = helper.make_sparse_tensor(init("w", np.float32([1, 2])), init("i", [[0, 1], [1, 0]]), [2, 2])
    proto = model([node("Constant", [], ["w"], name="k", sparse_value=square), node("Add", ["x", "w"], ["y"])])
    np.testing.assert_array_equal(load(proto).constants["w"], np.float32([[0, 1], [2, 0]]), strict=True)
    square.indices.CopyFrom(init("i", [[0, 1], [1, 2]]))
    proto = model([node("Constant", [], ["w"], name="k", sparse_value=square), node("Add", ["x", "w"], ["y"])])
    refused(proto, "'k'", "indices outside")
    sparse.dims[0] = 1 << 40
    proto = model([node("Constant", [], ["w"], name="k", sparse_value=sparse), node("Add", ["x", "w"], ["y"])])
    refused(proto, "'k'", "too large", error=UnsupportedError)


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


OPEN = [helper.make_empty_tensor_value_info("y")]


def test_inputs_that_are_not_tensors():
    kinds = {
        "seq(tensor(float))": helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None),
        "optional(tensor(float))": helper.make_value_info("x", helper.make_optional_type_proto(info("x").type)),
        "map(int64,tensor(float))": helper.make_value_info(
            "x", helper.make_map_type_proto(TensorProto.INT64, info("x").type)
        ),
        "sparse_tensor(float)": helper.make_sparse_tensor_value_info("x", TensorProto.FLOAT, [2]),
    }
    for kind, declared in kinds.items():
        (found,) = load(model([node("Identity", ["x"], ["y"])], [declared], OPEN)).inputs
        assert (found.container, found.dtype, found.shape) == (kind, None, None)
    for code, dtype in ((TensorProto.BFLOAT16, "bfloat16"), (TensorProto.STRING, "object")):
        (found,) = load(model([node("Identity", ["x"], ["y"])], [info("x", (2,), code)], OPEN)).inputs
        assert (found.container, found.dtype.name, found.shape) == (None, dtype, (2,))


def test_inputs_without_a_sound_type():
    refused(model([node("Relu", ["x"], ["y"])], [helper.make_empty_tensor_value_info("x")]), "'x'")
    refused(model([node("Relu", ["x"], ["y"])], [onnx.ValueInfoProto(name="x")]), "'x'", "no type")
    refused(model([node("Relu", ["x"], ["y"])], [info("x", (2,), 77)]), "'x'", "77")


def test_an_input_of_open_rank_and_an_output_without_a_type():
    proto = model([node("Relu", ["x"], ["y"])], [info("x", None)], [helper.make_empty_tensor_value_info("y")])
    graph = load(proto)
    assert graph.inputs[0].shape is None
    assert graph.outputs == (Value("y", np.dtype(np.float32), None),)


def test_attributes_that_are_not_sound():
    def with_attribute(**fields):
        proto = relu()
        proto.graph.node[0].domain = "custom"  # onnx has no definition of its attributes
        proto.opset_import.add(domain="custom", version=1)
        proto.graph.node[0].attribute.add(**fields)
        return proto

    kinds = onnx.AttributeProto
    what = ["'a'", "node 'r' (custom.Relu)"]
    refused(with_attribute(name="a", i=1), *what, "no type")
    refused(with_attribute(name="a", i=1, type=kinds.FLOAT), *what, "what its type says")
    refused(with_attribute(name="a", i=1, f=1.0, type=kinds.FLOAT), *what, "what its type says")
    refused(with_attribute(name="a", type=kinds.TENSOR), *what, "what its type says")
    refused(with_attribute(name="a", s=b"\xff", type=kinds.STRING), *what, "UTF-8")
    refused(with_attribute(name="a", strings=[b"\xff"], type=kinds.STRINGS), *what, "UTF-8")
    refused(with_attribute(name="a", ref_attr_name="b", type=kinds.INT), *what, "'b'")
    refused(with_attribute(i=1, type=kinds.INT), "node 'r' (custom.Relu)", "without a name")
    refused(with_attribute(name="a", type=kinds.GRAPHS), *what, "several graphs", error=UnsupportedError)
    kept = load(with_attribute(name="a", type=kinds.TYPE_PROTO, tp=info("x").type)).nodes[0].attributes["a"]
    assert onnx.AttributeProto.FromString(kept.data).tp == info("x").type
    twice = with_attribute(name="a", i=1, type=kinds.INT)
    twice.graph.node[0].attribute.add(name="a", i=2, type=kinds.INT)
    refused(twice, *what, "two attributes")


def test_constant_nodes_that_are_not_sound():
    add = node("Add", ["x", "k"], ["y"])
    refused(model([node("Constant", [], ["k"], name="n"), add]), "node 'n' (Constant)", "one attribute")
    refused(model([node("Constant", [], ["k"], name="n", value=1.0), add]), "node 'n' (Constant)", "'value'")
    refused(model([node("Constant", [], ["k"], name="n", other=1.0), add]), "node 'n' (Constant)", "'other'")
