"""Folding: the same bits as a run's own, under the model's own names; and nothing folded where that is asked for."""

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, zoo
from qengine.errors import FeedError
from qengine.model.loader import load
from qengine.model.passes import optimize
from qengine.quantization.correction import fold_all_but_batchnorm, fold_graph

NORM = {"g": np.float32([1.5, -0.5, 2]), "b": np.float32([0.5, 1, -1]), "m": np.float32([0, 1, 2]),
        "v": np.float32([1, 2, 0.5])}  # fmt: skip


def digits():
    return load(zoo.find("digits").path), {"image": zoo.find("digits").sample().feeds["image"][:20]}


def normalized(*, opset=17, **options):
    nodes = [("Conv", "x w", "c"), ("BatchNormalization", "c g b m v", "n"), ("Relu", "n", "y")]
    return load(network(nodes, constants={"w": weights(3, 3, 2, 2), **NORM}, opset=opset, **options))


def test_it_computes_what_a_run_computes():
    graph, feeds = digits()
    (wanted,) = InferenceSession(graph).run(None, feeds)
    np.testing.assert_array_equal(InferenceSession(fold_graph(graph)).run(None, feeds)[0], wanted, strict=True)
    formats = {"stem.weight": "Q1.4", "relu": "UQ3.5", "classifier.weight": ["Q0.7", "Q1.6"] * 5}
    for one in (graph, fold_graph(graph)):
        session = InferenceSession(one, qformat="Q3.4", formats=formats, per_channel=True)
        codes = session.run(None, feeds, raw=True)[0]
        np.testing.assert_array_equal(
            codes,
            InferenceSession(graph, qformat="Q3.4", formats=formats, per_channel=True).run(None, feeds, raw=True)[0],
        )
        assert str(session.formats["stem.weight"]) == "Q1.4"


def test_constants_keep_the_names_of_the_model():
    graph, _ = digits()
    found = fold_graph(graph)
    assert set(found.constants) <= set(graph.constants)
    assert "block1.depthwise.weight" in found.constants
    assert not found.derived
    assert not any(node.operator == "BatchNormalization" for node in found.nodes)
    assert fold_graph(found).constants.keys() == found.constants.keys()


def test_what_became_several_constants_is_named_by_what_it_stands_for():
    nodes = [
        ("Conv", "x w", "c"),
        ("BatchNormalization", "c g b m v", "y"),
        ("Conv", "x w", "d"),
        ("BatchNormalization", "d g m b v", "z"),
    ]
    graph = load(network(nodes, outputs=["y", "z"], constants={"w": weights(3, 3, 2, 2), **NORM}))
    found = fold_graph(graph)
    assert sorted(source for source in found.derived.values() if source == "w") == ["w", "w"]
    x = {"x": weights(1, 3, 6, 5)}
    for formats in ({"w": "Q2.3"}, {"w": ["Q2.3", "Q1.4", "Q0.5"]}):
        codes = [InferenceSession(g, qformat="Q3.4", formats=formats).run(None, x, raw=True) for g in (graph, found)]
        np.testing.assert_array_equal(codes[0], codes[1])
    assert str(InferenceSession(found, qformat="Q3.4", formats={"w": "Q2.3"}).formats["w"]) == "Q2.3"


def test_a_constant_that_is_read_beside_keeps_its_name():
    nodes = [("Conv", "x w", "c"), ("BatchNormalization", "c g b m v", "y"), ("Conv", "x w", "z")]
    found = fold_graph(load(network(nodes, outputs=["y", "z"], constants={"w": weights(3, 3, 2, 2), **NORM})))
    np.testing.assert_array_equal(found.constants["w"], weights(3, 3, 2, 2))
    assert "w" in found.derived.values()


def test_an_initializer_that_was_folded_can_no_longer_be_fed():
    graph = normalized(overridable=["w"])
    x = weights(1, 3, 6, 5)
    InferenceSession(graph).run(None, {"x": x, "w": weights(3, 3, 2, 2, seed=3)})
    with pytest.raises(FeedError, match="w"):
        InferenceSession(fold_graph(graph)).run(None, {"x": x, "w": weights(3, 3, 2, 2, seed=3)})
    plain = load(network([("Conv", "x w", "y")], constants={"w": weights(3, 3, 2, 2)}, overridable=["w"]))
    assert [value.name for value in fold_graph(plain).overridable] == ["w"]


def test_a_normalization_that_is_kept_is_a_convolution_that_nothing_folds():
    graph, feeds = digits()
    kept = fold_all_but_batchnorm(graph)
    convolutions = [node for node in optimize(kept)[-1].nodes if node.operator == "Conv"]
    assert len(convolutions) == 14
    assert sum(kept.constants[node.inputs[1]].shape[1:] == (1, 1, 1) for node in convolutions) == 7
    (wanted,) = InferenceSession(graph).run(None, feeds)
    np.testing.assert_allclose(InferenceSession(kept).run(None, feeds)[0], wanted, rtol=1e-4, atol=1e-4)
    session = InferenceSession(kept, qformat="Q3.4")
    assert {"stem", "relu"} <= session.rounded  # both are brought to their format
    assert "stem" not in InferenceSession(fold_graph(graph), qformat="Q3.4").rounded


def test_of_what_is_no_image_it_is_a_linear_operator_of_its_own():
    nodes = [("BatchNormalization", "x g b m v", "y")]
    graph = load(network(nodes, inputs={"x": ["n", 3]}, constants=NORM))
    assert [node.operator for node in fold_all_but_batchnorm(graph).nodes] == ["ScaleShift"]
    x = weights(4, 3)
    (wanted,) = InferenceSession(graph).run(None, {"x": x})
    np.testing.assert_array_equal(InferenceSession(fold_all_but_batchnorm(graph)).run(None, {"x": x})[0], wanted)
