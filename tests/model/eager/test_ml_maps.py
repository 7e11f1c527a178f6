"""Maps: ZipMap, DictVectorizer and CastMap, and models as skl2onnx writes them."""

import numpy as np
import onnx
import pytest
from model.eager.nodes import ML, check, map_type, run, same
from model.eager.random_trees import lists
from model.ops.cases import by_onnxruntime, real
from onnx import TensorProto, helper

import qengine
from qengine import QEngineError

FLOAT, DOUBLE, INT64, STRING = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING


@pytest.mark.parametrize("x", [real(3, 2), real(2), real(0, 2)], ids=["matrix", "vector", "empty"])
@pytest.mark.parametrize("labels", [{"classlabels_int64s": [7, 3]}, {"classlabels_strings": ["yes", "no"]}])
def test_zip_map(x, labels):
    check("ZipMap", [x], domain=ML, opset=1, **labels)


def on_map(operator, key, value, feed, **attributes):
    """Return what an operator gives for a map."""
    return run(operator, [feed], domain=ML, opset=1, types={"x0": map_type(key, value)}, **attributes)[0]


@pytest.mark.parametrize(
    ("key", "value", "feed", "attributes", "expected"),
    [
        (INT64, FLOAT, {5: 1.5, 2: 2.0}, {"int64_vocabulary": [2, 3, 5, 2]}, np.float32([[2, 0, 1.5, 2]])),
        (INT64, DOUBLE, {5: 1.5}, {"int64_vocabulary": [5]}, np.array([[1.5]])),
        (INT64, STRING, {5: "x"}, {"int64_vocabulary": [2, 5]}, np.array([["", "x"]], object)),
        (STRING, FLOAT, {"a": 1}, {"string_vocabulary": ["b", "a"]}, np.float32([[0, 1]])),
        (STRING, INT64, {"a": 2**60}, {"string_vocabulary": ["a"]}, np.array([[2**60]])),
    ],
)
def test_dict_vectorizer(key, value, feed, attributes, expected):
    np.testing.assert_array_equal(on_map("DictVectorizer", key, value, feed, **attributes), expected, strict=True)


@pytest.mark.parametrize(
    ("value", "feed", "cast_to", "dense", "sparse"),
    [
        (FLOAT, {3: 1.5, 0: -2.25, 9: 1e9}, "TO_FLOAT", [-2.25, 1.5, 1e9], [-2.25, 0, 0, 1.5]),
        (FLOAT, {3: 1.5, 0: -2.25}, "TO_INT64", [-2, 1], [-2, 0, 0, 1]),
        (FLOAT, {3: 1.5, 0: -2.25}, "TO_STRING", ["-2.250000", "1.500000"], ["-2.250000", "0.f", "0.f", "1.500000"]),
        (STRING, {3: "15", 0: "-2"}, "TO_FLOAT", [-2, 15], [-2, 0, 0, 15]),
        (STRING, {3: "15", 0: "-2"}, "TO_INT64", [-2, 15], [-2, 0, 0, 15]),
        (STRING, {3: "x"}, "TO_STRING", ["x"], ["0.f", "0.f", "0.f", "x"]),
        (FLOAT, {}, "TO_FLOAT", [], [0, 0, 0, 0]),
    ],
)
def test_cast_map(value, feed, cast_to, dense, sparse):
    dtype = {"TO_FLOAT": np.float32, "TO_INT64": np.int64, "TO_STRING": object}[cast_to]
    for form, expected in (("DENSE", dense), ("SPARSE", sparse)):
        found = on_map("CastMap", INT64, value, feed, cast_to=cast_to, map_form=form, max_map=4)
        np.testing.assert_array_equal(found, np.array([expected], dtype), strict=True)


ERRORS = {
    "labels": lambda: run("ZipMap", [real(2, 3)], domain=ML, opset=1, classlabels_int64s=[1, 2]),
    "both labels": lambda: run(
        "ZipMap", [real(2, 1)], domain=ML, opset=1, classlabels_int64s=[1], classlabels_strings=["a"]
    ),
    "no labels": lambda: run("ZipMap", [real(2, 3)], domain=ML, opset=1),
    "list for a map": lambda: on_map("CastMap", INT64, FLOAT, [1.0]),
    "key": lambda: on_map("CastMap", INT64, FLOAT, {"a": 1.0}),
    "value": lambda: on_map("CastMap", INT64, FLOAT, {1: "a"}),
    "integer beyond int64": lambda: on_map("DictVectorizer", STRING, INT64, {"a": 2**70}, string_vocabulary=["a"]),
    "empty map of unknown type": lambda: on_map("DictVectorizer", STRING, FLOAT, {}, string_vocabulary=["a"]),
    "vocabulary": lambda: on_map("DictVectorizer", STRING, FLOAT, {"a": 1.0}, int64_vocabulary=[1]),
    "no vocabulary": lambda: on_map("DictVectorizer", STRING, FLOAT, {"a": 1.0}),
    "cast": lambda: on_map("CastMap", INT64, STRING, {1: "abc"}, cast_to="TO_FLOAT"),
    "cast of a digit group": lambda: on_map("CastMap", INT64, STRING, {1: "1_0"}, cast_to="TO_INT64"),
    "cast of NaN": lambda: on_map("CastMap", INT64, FLOAT, {1: float("nan")}, cast_to="TO_INT64"),
    "cast_to": lambda: on_map("CastMap", INT64, FLOAT, {1: 1.0}, cast_to="TO_BOOL"),
    "map_form": lambda: on_map("CastMap", INT64, FLOAT, {1: 1.0}, map_form="ROUND"),
    "negative key": lambda: on_map("CastMap", INT64, FLOAT, {-1: 1.0}, map_form="SPARSE", max_map=2),
    "max_map": lambda: on_map("CastMap", INT64, FLOAT, {1: 1.0}, map_form="SPARSE", max_map=0),
    "huge max_map": lambda: on_map("CastMap", INT64, FLOAT, {1: 1.0}, map_form="SPARSE", max_map=2**62),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_not_valid_is_refused(name):
    with pytest.raises(QEngineError):
        ERRORS[name]()


def classifier(is_linear, labels):
    """Return a pipeline of a scaler and a classifier with the nodes, names and types that skl2onnx writes."""
    is_text, count, rng = isinstance(labels[0], str), len(labels), np.random.default_rng(0)
    kind, suffix = (STRING, "strings") if is_text else (INT64, "ints" if is_linear else "int64s")
    nodes = [
        helper.make_node("Scaler", ["X"], ["variable"], domain=ML, offset=[0.1, 0.2, 0.3, 0.4, 0.5], scale=[2.0] * 5)
    ]
    if is_linear:
        attributes = {
            "coefficients": rng.normal(size=count * 5).tolist(),
            "intercepts": [0.1] * count,
            "multi_class": 1,
        }
        nodes.append(
            helper.make_node(
                "LinearClassifier",
                ["variable"],
                ["label", "scores"],
                domain=ML,
                post_transform="SOFTMAX" if count > 2 else "LOGISTIC",
                **{f"classlabels_{suffix}": labels},
                **attributes,
            )
        )
        nodes.append(helper.make_node("Normalizer", ["scores"], ["probabilities"], domain=ML, norm="L1"))
    else:
        attributes = lists(rng, "class", 5, [*range(count)] if count > 2 else [0], is_positive=True)
        attributes[f"classlabels_{suffix}"] = labels
        nodes.append(
            helper.make_node(
                "TreeEnsembleClassifier", ["variable"], ["label", "probabilities"], domain=ML, **attributes
            )
        )
    nodes.append(helper.make_node("Cast", ["label"], ["output_label"], to=kind))
    keys = {f"classlabels_{'strings' if is_text else 'int64s'}": labels}
    nodes.append(helper.make_node("ZipMap", ["probabilities"], ["output_probability"], domain=ML, **keys))
    probability = helper.make_sequence_type_proto(map_type(kind, FLOAT))
    graph = helper.make_graph(
        nodes,
        "pipeline",
        [helper.make_tensor_value_info("X", FLOAT, [None, 5])],
        [
            helper.make_tensor_value_info("output_label", kind, [None]),
            helper.make_value_info("output_probability", probability),
        ],
    )
    opsets = [helper.make_opsetid(ML, 1), helper.make_opsetid("", 15)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("labels", [[0, 1], [4, 2, 9], ["no", "yes"], ["x", "y", "z"]], ids=str)
@pytest.mark.parametrize("is_linear", [True, False])
def test_pipelines(is_linear, labels):
    model, feeds = classifier(is_linear, labels).SerializeToString(), {"X": real(6, 5)}
    session = qengine.InferenceSession(model)
    same(session.run(None, feeds), by_onnxruntime(model, feeds))
    kind = "string" if isinstance(labels[0], str) else "int64"
    assert [one.type for one in session.get_outputs()] == [f"tensor({kind})", f"seq(map({kind},tensor(float)))"]


def test_a_pipeline_in_fixed_point():
    """The scaler and the classifier are islands; their results are rounded to the format."""
    model, feeds = classifier(True, [0, 1, 2]), {"X": real(6, 5)}
    exact = qengine.InferenceSession(model).run(["probabilities"], feeds)[0]
    session = qengine.InferenceSession(model, qformat="Q3.12")
    found, maps = session.run(["probabilities", "output_probability"], feeds)
    assert 0 < abs(found - exact).max() < 2**-8
    assert [list(one.values()) for one in maps] == found.tolist()


def test_results_are_new():
    """What a caller changes in a result, or in what was fed, does not change the other."""
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "copy",
        [helper.make_value_info("x", kind)],
        [helper.make_value_info("y", kind)],
    )
    session = qengine.InferenceSession(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )
    x = [np.ones(2, np.float32)]
    (y,) = session.run(None, {"x": x})
    assert type(y) is list
    y[0][0] = 5
    assert x[0].tolist() == [1, 1]


def test_a_map_is_no_tensor():
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "map",
        [helper.make_value_info("x", map_type(INT64, FLOAT))],
        [onnx.ValueInfoProto(name="y")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(QEngineError):
        qengine.InferenceSession(model).run(None, {"x": {1: 2.0}})
