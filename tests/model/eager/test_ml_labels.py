"""CategoryMapper and LabelEncoder against ONNX Runtime."""

import numpy as np
import pytest
from model.eager.nodes import ML, run, text
from model.ops.cases import Case, each

from qengine import QEngineError

KEYS = {"floats": [1.0, 2.5, 4.0], "int64s": [1, 2, 3], "strings": ["a", "b", "c"]}
VALUES = {"floats": [0.5, 0.25, 7.0], "int64s": [10, 20, 30], "strings": ["A", "B", "C"]}
X = {
    "floats": np.array([[1, np.nan], [2.5, 9]], np.float32),
    "int64s": np.array([[1, 2], [3, 9]]),
    "strings": text("a", "b", "c", "q").reshape(2, 2),
}
DEFAULTS = {"default_float": 3.5, "default_int64": -7, "default_string": "none"}
NUMBERS = np.array([[1, 2], [3, 9]])


def case(operator, x, first, last=5, expected=None, **attributes):
    result = None if expected is None else (expected,)
    return Case(operator, (x,), attributes, domain=ML, opsets=(first, last), follows="onnxruntime", expected=result)


CASES = [
    *(
        case("CategoryMapper", x, 1, cats_int64s=[3, 4], cats_strings=["a", "b"])
        for x in (np.array([4, 5]), text(*"aq"))
    ),
    case("CategoryMapper", text(*"aq"), 1, cats_int64s=[3, 4, 5], cats_strings=["a", "b", "a"], default_int64=77),
    case("CategoryMapper", np.array([[3]]), 1, cats_int64s=[3, 3], cats_strings=["a", "b"], default_string="x"),
    *(
        case("LabelEncoder", x, 1, 1, classes_strings=["z", "a", "z"], **more)
        for x in (text(*"zaq"), np.array([[0, 1], [5, -1]]))
        for more in ({}, {"default_int64": 77, "default_string": "none"})
    ),
    *(
        case("LabelEncoder", X[k], 2, **{f"keys_{k}": KEYS[k], f"values_{v}": VALUES[v]}, **more)
        for k in KEYS
        for v in VALUES
        for more in ({}, DEFAULTS)
    ),
    # ONNX Runtime has no kernels for most of these pairs.
    *(
        case(
            "LabelEncoder",
            NUMBERS.astype(k),
            4,
            expected=np.array([[4, 5], [6, default]], v),
            keys_tensor=np.array([1, 2, 3], k),
            values_tensor=np.array([4, 5, 6], v),
            **({} if default in (-1, -0.0) else {"default_tensor": np.array([default], v)}),
        )
        for k in (np.int16, np.int64, np.float32, np.float64)
        for v, default in ((np.int16, 7), (np.int32, 9), (np.int64, -1), (np.float32, -0.0), (np.float64, 2.5))
    ),
    # Since version 4 the specification takes the last of equal keys, and ONNX Runtime still the first.
    case("LabelEncoder", np.array([1]), 2, 3, keys_int64s=[1, 1], values_int64s=[5, 6]),
    case("LabelEncoder", np.array([1]), 4, expected=np.array([6]), keys_int64s=[1, 1], values_int64s=[5, 6]),
    # The specification maps NaN, which ONNX Runtime does since version 4 only.
    case(
        "LabelEncoder",
        X["floats"],
        2,
        expected=np.array([[-1, 5], [-1, -1]]),
        keys_floats=[np.nan],
        values_int64s=[5],
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_case(case, version):
    case.check(version)


ERRORS = {
    "categories differ": ("CategoryMapper", text("a"), 1, {"cats_int64s": [1], "cats_strings": ["a", "b"]}),
    "no keys": ("LabelEncoder", text("a"), 2, {"values_int64s": [1]}),
    "keys twice": ("LabelEncoder", text("a"), 2, {"keys_strings": ["a"], "keys_int64s": [1], "values_int64s": [1]}),
    "lengths": ("LabelEncoder", text("a"), 2, {"keys_strings": ["a"], "values_int64s": [1, 2]}),
    "key type": ("LabelEncoder", text("a"), 2, {"keys_int64s": [1], "values_int64s": [1]}),
    "not a vector": (
        "LabelEncoder",
        np.array([1]),
        4,
        {"keys_tensor": np.array([[1]]), "values_tensor": np.array([1])},
    ),
    "default type": (
        "LabelEncoder",
        np.array([1]),
        4,
        {"keys_int64s": [1], "values_int64s": [1], "default_tensor": np.array([1.5], np.float32)},
    ),
    "default range": (
        "LabelEncoder",
        np.array([5]),
        4,
        {"keys_int64s": [1], "values_tensor": np.array([1], np.int16), "default_int64": 2**40},
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_not_valid_is_refused(name):
    operator, x, opset, attributes = ERRORS[name]
    with pytest.raises(QEngineError):
        run(operator, (x,), domain=ML, opset=opset, **attributes)
