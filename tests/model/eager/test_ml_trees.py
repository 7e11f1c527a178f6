"""Tree ensembles against ONNX Runtime, and trees that are damaged."""

import numpy as np
import pytest
from model.eager import nodes
from model.eager.nodes import ML, check, run
from model.eager.random_trees import ensemble, features, lists
from model.ops.cases import by_reference

import qengine
from qengine import QEngineError

POST = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
DTYPES = [np.float32, np.float64, np.int32, np.int64]


def options(rng, dtype):
    """Return random options of `lists`, and whether the samples hold NaN."""
    names = ("is_mixed", "tracks", "is_positive")
    chosen = {name: bool(rng.integers(2)) for name in names}
    is_real = np.dtype(dtype).kind == "f"
    return chosen | {"tensors": dtype if is_real and rng.integers(2) else None}, is_real and bool(rng.integers(2))


def base_values(rng, count, tensors):
    """Return base values as the list or the tensor that suits the other attributes."""
    values = rng.normal(size=count).astype(np.float32)
    if tensors is None:
        return {"base_values": values.tolist()}
    return {"base_values_as_tensor": values.astype(tensors)}


@pytest.mark.parametrize("seed", range(40))
def test_regressor(seed):
    rng = np.random.default_rng([1, seed])
    dtype, targets = DTYPES[seed % 2], int(rng.integers(1, 4))
    more, has_nan = options(rng, dtype)
    # ONNX Runtime leaves out the base value of a target for which no leaf has a weight.
    ids = [*range(targets)] if seed % 4 < 2 else (*range(targets),)
    attributes = lists(rng, "target", int(rng.choice([1, 3, 90])), ids, **more)
    if isinstance(ids, list):
        attributes |= base_values(rng, targets, more["tensors"])
    attributes |= {"post_transform": POST[rng.integers(4)], "n_targets": targets}
    attributes["aggregate_function"] = str(rng.choice(["SUM", "AVERAGE", "MIN", "MAX"]))
    x = features(rng, int(rng.integers(1, 9)), dtype, has_nan=has_nan)
    check("TreeEnsembleRegressor", [x], domain=ML, opset=3, **attributes)


def test_regressor_of_other_inputs():
    """ONNX Runtime has no kernel for integers, and takes no vector."""
    rng = np.random.default_rng(9)
    attributes = lists(rng, "target", 3, [0, 1]) | {"n_targets": 2}
    x = features(rng, 6, np.float32).round()
    (expected,) = run("TreeEnsembleRegressor", [x], domain=ML, opset=3, **attributes)
    for dtype in (np.int32, np.int64, np.float64):
        (found,) = run("TreeEnsembleRegressor", [x.astype(dtype)], domain=ML, opset=3, **attributes)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert found.dtype == np.float32
    built, _ = nodes.model("TreeEnsembleClassifier", [x], 2, 3, ML, **one_class())
    with pytest.raises(QEngineError, match="a single class"):
        qengine.InferenceSession(built).run(None, {"x0": x})


def test_base_values_of_targets_without_weights():
    attributes = stump(n_targets=2, base_values=[0.25, 0.5])
    (found,) = run("TreeEnsembleRegressor", [np.zeros((1, 1), np.float32)], domain=ML, opset=3, **attributes)
    assert found.tolist() == [[1.25, 0.5]]


@pytest.mark.parametrize("version", [1, 3])
@pytest.mark.parametrize("seed", range(20))
def test_classifier(seed, version):
    rng = np.random.default_rng([2, seed])
    dtype, classes = DTYPES[seed % 4], int(rng.integers(3, 6))
    more, has_nan = options(rng, dtype)
    if version == 1:
        more["tensors"] = None
    ids = (*range(classes),) if seed % 2 else [*range(classes)]
    attributes = lists(rng, "class", int(rng.choice([1, 3, 90])), ids, **more)
    if rng.integers(2):
        attributes |= base_values(rng, classes, more["tensors"])
    labels = {"classlabels_int64s": [*range(5, 5 + classes)]}
    if seed % 3:
        labels = {"classlabels_strings": [f"c{i}" for i in range(classes)]}
    x = features(rng, int(rng.integers(1, 9)), dtype, has_nan=has_nan)
    post = POST[rng.integers(4)]
    check("TreeEnsembleClassifier", [x], 2, domain=ML, opset=version, post_transform=post, **labels, **attributes)


@pytest.mark.parametrize("post", POST[:4])
@pytest.mark.parametrize("is_positive", [True, False])
@pytest.mark.parametrize("base", [[], [0.3]])
@pytest.mark.parametrize("ids", [[0], [1]])
def test_classifier_of_two_classes_with_weights_for_one(ids, base, is_positive, post):
    rng = np.random.default_rng(3)
    attributes = lists(rng, "class", 5, ids, is_positive=is_positive)
    x = features(rng, 8, np.float32)
    attributes |= {"classlabels_strings": ["no", "yes"], "post_transform": post}
    if base:
        attributes["base_values"] = base
    if base and ids == [1]:  # ONNX Runtime leaves base values out
        with pytest.raises(QEngineError, match="base_values with weights for class 1 alone"):
            run("TreeEnsembleClassifier", [x], 2, domain=ML, opset=3, **attributes)
        return
    check("TreeEnsembleClassifier", [x], 2, domain=ML, opset=3, **attributes)


@pytest.mark.parametrize("is_positive", [True, False])
def test_classifier_of_two_classes_with_weights_for_both(is_positive):
    """The larger score decides, as in onnx.reference; ONNX Runtime labels by the sign of the second."""
    rng = np.random.default_rng(4)
    attributes = lists(rng, "class", 5, [0, 1], is_positive=is_positive) | {"classlabels_int64s": [4, 9]}
    model, feeds = nodes.model("TreeEnsembleClassifier", [features(rng, 9, np.float32)], 2, 3, ML, **attributes)
    labels, scores = by_reference(model, feeds)
    nodes.same(
        nodes.run("TreeEnsembleClassifier", [*feeds.values()], 2, opset=3, domain=ML, **attributes), [labels, scores]
    )
    assert len(set(labels)) == 2


@pytest.mark.parametrize("seed", range(24))
def test_ensemble(seed):
    rng = np.random.default_rng([5, seed])
    dtype, targets, members = DTYPES[seed % 2], int(rng.integers(1, 4)), seed % 3 == 0
    attributes = ensemble(rng, int(rng.choice([1, 3, 10])), 1 if members else targets, dtype, members=members)
    x = features(rng, int(rng.integers(1, 9)), dtype, has_nan=bool(rng.integers(2)))
    attributes |= {"aggregate_function": int(rng.integers(4)), "post_transform": int(rng.choice([0, 3]))}
    check("TreeEnsemble", [x * 2 if members else x], domain=ML, opset=5, **attributes)


def test_ensemble_transforms_in_the_order_of_the_specification():
    """1 is SOFTMAX and 2 LOGISTIC; ONNX Runtime has them in the other order."""
    rng = np.random.default_rng(6)
    attributes, x = ensemble(rng, 4, 3, np.float32), features(rng, 6, np.float32)
    plain, softmax, logistic = (
        run("TreeEnsemble", [x], domain=ML, opset=5, post_transform=post, **attributes)[0] for post in range(3)
    )
    powers = np.exp(plain - plain.max(1, keepdims=True))
    np.testing.assert_allclose(softmax, powers / powers.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(logistic, 1 / (1 + np.exp(-plain)), rtol=1e-5)


def test_ensemble_in_float16_is_that_in_float32_rounded_once():
    rng = np.random.default_rng(7)
    attributes, x = ensemble(rng, 4, 2, np.float16), features(rng, 6, np.float16)
    wide = {
        k: v.astype(np.float32) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
        for k, v in attributes.items()
    }
    (narrow,) = run("TreeEnsemble", [x], domain=ML, opset=5, **attributes)
    (exact,) = run("TreeEnsemble", [x.astype(np.float32)], domain=ML, opset=5, **wide)
    np.testing.assert_array_equal(narrow, exact.astype(np.float16), strict=True)


def test_probit():
    rng = np.random.default_rng(8)
    attributes = lists(rng, "target", 1, [0, 1]) | {"n_targets": 2, "post_transform": "PROBIT"}
    attributes["target_weights"] = np.linspace(0.03, 0.9, len(attributes["target_ids"])).tolist()
    check("TreeEnsembleRegressor", [features(rng, 6, np.float32)], rtol=2e-3, domain=ML, opset=3, **attributes)


def one_class():
    """Return a classifier of one class, for which ONNX Runtime labels 1 or 0."""
    nodes_only = {k: v for k, v in stump().items() if k.startswith("nodes")}
    weights = {"class_treeids": [0, 0], "class_nodeids": [1, 2], "class_ids": [0, 0], "class_weights": [1.0, 2.0]}
    return nodes_only | weights | {"classlabels_int64s": [5]}


def stump(**changes):
    """Return a branch with two leaves as a regressor."""
    return {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_values": [0.0, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [1.0, 2.0],
        "n_targets": 1,
    } | changes


DAMAGED = {
    "circle": {"nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], "nodes_falsenodeids": [2, 2, 0]},
    "own child": {"nodes_truenodeids": [0, 0, 0]},
    "no child": {"nodes_truenodeids": [7, 0, 0]},
    "huge child": {"nodes_truenodeids": [2**62, 0, 0]},
    "negative child": {"nodes_falsenodeids": [-1, 0, 0]},
    "child of another tree": {"nodes_treeids": [0, 1, 0]},
    "node twice": {"nodes_nodeids": [0, 1, 1]},
    "shorter list": {"nodes_featureids": [0, 0]},
    "shorter values": {"nodes_values": [0.0]},
    "values twice": {"nodes_values_as_tensor": np.zeros(3, np.float32)},
    "tracks": {"nodes_missing_value_tracks_true": [1]},
    "mode": {"nodes_modes": ["BRANCH_MEMBER", "LEAF", "LEAF"]},
    "feature": {"nodes_featureids": [9, 0, 0]},
    "negative feature": {"nodes_featureids": [-1, 0, 0]},
    "weight of no node": {"target_nodeids": [1, 9]},
    "target": {"target_ids": [0, 1]},
    "huge target": {"target_ids": [0, 2**62]},
    "shorter weights": {"target_weights": [1.0]},
    "targets": {"n_targets": 0},
    "huge targets": {"n_targets": 2**62},
    "base": {"base_values": [1.0, 2.0, 3.0]},
    "aggregate": {"aggregate_function": "MEDIAN"},
    "transform": {"post_transform": "TANH"},
    "tensor": {"target_weights": [], "target_weights_as_tensor": np.zeros((2, 1), np.float32)},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_trees_are_refused(name):
    attributes = {k: v for k, v in stump(**DAMAGED[name]).items() if not (isinstance(v, list) and not v)}
    x = np.zeros((2, 2), np.float32)
    assert run("TreeEnsembleRegressor", [x], domain=ML, opset=3, **stump())[0].tolist() == [[1.0], [1.0]]
    with pytest.raises(QEngineError):
        run("TreeEnsembleRegressor", [x], domain=ML, opset=3, **attributes)


def test_a_path_may_not_be_endless():
    count = 10_050
    attributes = {
        "tree_roots": [0],
        "nodes_featureids": [0] * count,
        "nodes_modes": np.zeros(count, np.uint8),
        "nodes_splits": np.zeros(count, np.float32),
        "nodes_truenodeids": [0] * count,
        "nodes_trueleafs": [1] * count,
        "nodes_falsenodeids": [*range(1, count), 0],
        "nodes_falseleafs": [*[0] * (count - 1), 1],
        "leaf_targetids": [0],
        "leaf_weights": np.ones(1, np.float32),
    }
    x = np.zeros((1, 1), np.float32)
    with pytest.raises(QEngineError, match="more than 10,000 branches on a path"):
        run("TreeEnsemble", [x], domain=ML, opset=5, **attributes)
    attributes |= {"nodes_falsenodeids": [*range(1, count), 0], "nodes_falseleafs": [0] * count}
    with pytest.raises(QEngineError, match="its own descendant"):
        run("TreeEnsemble", [x], domain=ML, opset=5, **attributes)


DAMAGED_5 = {
    "root": {"tree_roots": [99]},
    "negative root": {"tree_roots": [-1]},
    "no roots": {"tree_roots": 0},
    "leaf": {"nodes_truenodeids": [10**6]},
    "mode": {"nodes_modes": np.array([7], np.uint8)},
    "type": {"leaf_weights": np.zeros(1)},
    "members": {"membership_values": np.array([1.0], np.float32)},
    "aggregate": {"aggregate_function": 4},
    "transform": {"post_transform": -1},
}


@pytest.mark.parametrize("name", DAMAGED_5)
def test_damaged_ensembles_are_refused(name):
    whole = {
        "tree_roots": [0],
        "nodes_featureids": [0],
        "nodes_modes": np.zeros(1, np.uint8),
        "nodes_splits": np.zeros(1, np.float32),
        "nodes_truenodeids": [0],
        "nodes_trueleafs": [1],
        "nodes_falsenodeids": [0],
        "nodes_falseleafs": [1],
        "leaf_targetids": [0],
        "leaf_weights": np.ones(1, np.float32),
    }
    x = np.zeros((1, 1), np.float32)
    assert run("TreeEnsemble", [x], domain=ML, opset=5, **whole)[0].tolist() == [[1.0]]
    with pytest.raises(QEngineError):
        run("TreeEnsemble", [x], domain=ML, opset=5, **(whole | DAMAGED_5[name]))
