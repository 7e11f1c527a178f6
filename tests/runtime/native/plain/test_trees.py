"""Ensembles of trees on native kernels: every comparison, NaN, joins, labels and transforms."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from model.eager.nodes import ML, model
from model.eager.random_trees import ensemble, features, lists
from onnx import helper
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check

CLASSES = {"classlabels_int64s": [7, 3, 12]}
TWO = {"classlabels_int64s": [4, 9]}


def case(operator, rows, outputs, attributes, dtype=np.float32, opset=3, has_nan=False, kernel="trees", **more):
    x = features(np.random.default_rng(8), rows, dtype, has_nan=has_nan)
    built, feeds = model(operator, [x], outputs, opset, ML, **attributes, **more)
    proto = onnx.load_from_string(built)
    for output, code in zip(proto.graph.output, (7, 1) if outputs > 1 else (1,), strict=True):
        output.type.CopyFrom(helper.make_tensor_type_proto(code, None))
    if opset == 5:
        proto.graph.output[0].type.CopyFrom(
            helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(x.dtype), None)
        )
    return PlainCase(proto.SerializeToString(), feeds, kernel, 2e-6)


def rng():
    return np.random.default_rng(5)


def regressor(rows=19, trees=11, ids=(0,), join="SUM", dtype=np.float32, has_nan=False, **more):
    attributes = lists(rng(), "target", trees, ids, is_mixed=True, tracks=has_nan)
    attributes |= {"n_targets": 1 + max(ids), "aggregate_function": join} | more
    return case("TreeEnsembleRegressor", rows, 1, attributes, dtype, has_nan=has_nan)


def classifier(ids, labels, post, *, is_positive=False, dtype=np.float32, **more):
    attributes = lists(rng(), "class", 9, ids, is_positive=is_positive) | labels | more
    return case("TreeEnsembleClassifier", 11, 2, attributes, dtype, kernel="tree_results", post_transform=post)


def deep(depth=40):
    """A tree that is a chain: eight searches end at different levels."""
    attributes = {
        "nodes_treeids": [0] * (2 * depth + 1),
        "nodes_nodeids": [*range(2 * depth + 1)],
        "nodes_featureids": [0] * (2 * depth + 1),
        "nodes_modes": ["BRANCH_LEQ"] * depth + ["LEAF"] * (depth + 1),
        "nodes_values": [-(i / 4.0) for i in range(depth)] + [0.0] * (depth + 1),
        "nodes_truenodeids": [i + 1 for i in range(depth)] + [0] * (depth + 1),
        "nodes_falsenodeids": [depth + 1 + i for i in range(depth)] + [0] * (depth + 1),
        "target_treeids": [0] * (depth + 1),
        "target_nodeids": [*range(depth, 2 * depth + 1)],
        "target_ids": [0] * (depth + 1),
        "target_weights": [float(i) for i in range(depth + 1)],
        "n_targets": 1,
    }
    return case("TreeEnsembleRegressor", 29, 1, attributes)


CASES = {
    "one row": regressor(rows=1),
    "three trees": regressor(rows=3, trees=3, base_values=[0.25]),
    "rows of all kinds": regressor(),
    "NaN": regressor(has_nan=True),
    "float64": regressor(dtype=np.float64, has_nan=True),
    "several targets": regressor(ids=[0, 1, 2], base_values=[0.5, -1.0, 2.0]),
    "targets without weights": regressor(ids=(0, 2)),
    **{
        f"{join} of {ids}": regressor(ids=ids, join=join) for join in ("AVERAGE", "MIN", "MAX") for ids in ([0], (0, 2))
    },
    **{
        f"transform {post}": regressor(ids=[0, 1, 2], post_transform=post)
        for post in ("SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")
    },
    "a deep tree": deep(),
    **{
        f"classes {ids} {post}": classifier(ids, CLASSES, post)
        for ids in ([0, 1, 2], (1, 2))
        for post in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")
    },
    "classes with base values": classifier((0, 1, 2), CLASSES, "NONE", base_values=[0.5, 3.0, 0.0]),
    **{
        f"two classes {ids} {post} {'share' if share else 'any'}": classifier(ids, TWO, post, is_positive=share)
        for ids in ([0], [1], [0, 1])
        for post in ("NONE", "LOGISTIC", "SOFTMAX")
        for share in (False, True)
    },
    "two classes with a base value": classifier([0], TWO, "LOGISTIC", base_values=[0.75]),
    **{
        f"TreeEnsemble {np.dtype(dtype).name} {join}": case(
            "TreeEnsemble",
            21,
            1,
            ensemble(rng(), 7, 3, dtype, members=True) | {"aggregate_function": join, "post_transform": join},
            dtype,
            opset=5,
            has_nan=True,
        )
        for dtype in (np.float32, np.float64)
        for join in range(4)
    },
    "TreeEnsemble float16": case(
        *("TreeEnsemble", 21, 1, ensemble(rng(), 7, 3, np.float16) | {"aggregate_function": 1}, np.float16), opset=5
    )._replace(tolerance=1e-3),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_native_equals_the_reference(case):
    check(case, ISAS[0], threads=1)


@pytest.mark.parametrize("isa", ISAS[1:])
@pytest.mark.parametrize("name", ["NaN", "classes (1, 2) SOFTMAX"])
def test_every_instruction_set(name, isa):
    check(CASES[name], isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same(threads):
    check(regressor(rows=2000, trees=20), ISAS[0], threads)


def test_features_of_integers():
    attributes = lists(rng(), "class", 9, (0, 1, 2)) | CLASSES
    check(case("TreeEnsembleClassifier", 9, 2, attributes, np.int64, kernel="tree_results"), ISAS[0], 1)
