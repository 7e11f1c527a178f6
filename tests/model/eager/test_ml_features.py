"""Selection, scaling and encoding of features, against ONNX Runtime."""

import numpy as np
import pytest
from model.eager.nodes import ML, run, text
from model.ops.cases import Case, each, real

from qengine import QEngineError

DTYPES = (np.float32, np.float64, np.int32, np.int64)
X = {np.dtype(d).name: (real(3, 4) * 3).astype(d) for d in DTYPES}
NAN = X["float32"].copy()
NAN[0, 0] = np.nan


def case(operator, *inputs, **attributes):
    return Case(operator, inputs, attributes, domain=ML, opsets=(1, 5), follows="onnxruntime")


def by_hand(expected, operator, *inputs, **attributes):
    """Return a case for which ONNX Runtime has no kernel."""
    return Case(operator, inputs, attributes, domain=ML, opsets=(1, 5), expected=(expected,))


CASES = [
    *(case("ArrayFeatureExtractor", x, np.array([0, 3, 1])) for x in (*X.values(), text(*"abcd"))),
    case("ArrayFeatureExtractor", X["float32"][0], np.array([[2, 2]])),
    case("ArrayFeatureExtractor", real(2, 3, 4), np.array([3])),
    *(case("Binarizer", x, threshold=t) for x in (X["float32"], real(2, 3, 4)) for t in (0.0, 0.5)),
    *(by_hand((X[d] > 1).astype(d), "Binarizer", X[d], threshold=1.0) for d in ("float64", "int32", "int64")),
    *(case("Scaler", x, scale=[2.0], offset=[0.5]) for x in (*X.values(), real(2, 3, 4), X["float32"][0])),
    *(case("Scaler", x, scale=[2.0, 1.0, 3.0, 0.1], offset=[0.0, 1.0, 2.0, 3.0]) for x in (*X.values(), X["int64"][0])),
    *(case("Normalizer", x, norm=n) for x in X.values() for n in ("MAX", "L1", "L2")),
    *(
        case("Normalizer", x, norm=n)
        for x in (-abs(NAN[1:]), np.zeros((2, 3), np.float32))
        for n in ("MAX", "L1", "L2")
    ),
    case("Normalizer", X["float32"][0]),
    case("Normalizer", real(0, 3), norm="L1"),
    *(case("Imputer", NAN, imputed_value_floats=v, replaced_value_float=np.nan) for v in ([9.0], [9.0, 8.0, 7.0, 6.0])),
    case("Imputer", NAN, imputed_value_floats=[9.0], replaced_value_float=float(NAN[1, 1])),
    case("Imputer", X["int64"], imputed_value_int64s=[7], replaced_value_int64=int(X["int64"][0, 0])),
    by_hand(
        np.array([[5, 1], [2, 6]], np.int32),
        "Imputer",
        np.array([[0, 1], [2, 0]], np.int32),
        imputed_value_int64s=[5, 6],
    ),
    by_hand(
        np.array([1.5, 2.0]),
        "Imputer",
        np.array([1.5, np.nan]),
        imputed_value_floats=[2.0],
        replaced_value_float=np.nan,
    ),
    *(case("OneHotEncoder", X[d], cats_int64s=[1, 2, 1, 0, -1]) for d in ("float32", "float64", "int64")),
    case("OneHotEncoder", text(*"abca").reshape(2, 2), cats_strings=["a", "b"]),
    case("OneHotEncoder", text(*"aba"), cats_strings=["a", "b"], zeros=0),
    by_hand(np.array([[0, 1], [0, 0]], np.float32), "OneHotEncoder", np.array([4, 3], np.int32), cats_int64s=[1, 4]),
    by_hand(
        np.zeros((2, 1), np.float32), "OneHotEncoder", np.array([np.nan, 1e30], np.float32), cats_int64s=[-(2**63)]
    ),
    *(case("FeatureVectorizer", x, x[:, :2], inputdimensions=d) for x in X.values() for d in ([4, 2], [3, 5])),
    case("FeatureVectorizer", X["float32"][0], X["float32"][1], inputdimensions=[4, 4]),
    case("FeatureVectorizer", real(2, 3, 2), inputdimensions=[5]),
]


@pytest.mark.parametrize(**each(CASES))
def test_case(case, version):
    case.check(version)


ERRORS = {
    "index": ("ArrayFeatureExtractor", (X["float32"], np.array([4])), {}),
    "negative index": ("ArrayFeatureExtractor", (X["float32"], np.array([-1])), {}),
    "huge index": ("ArrayFeatureExtractor", (X["float32"], np.array([2**62])), {}),
    "no index": ("ArrayFeatureExtractor", (X["float32"], np.zeros(0, np.int64)), {}),
    "scale": ("Scaler", (X["float32"],), {"scale": [1.0, 2.0], "offset": [0.0, 0.0]}),
    "offset": ("Scaler", (X["float32"],), {"scale": [1.0, 2.0, 1.0, 1.0], "offset": [0.0]}),
    "list expected": ("Scaler", (X["float32"],), {"scale": 1, "offset": [0.0]}),
    "text in list": ("Scaler", (X["float32"],), {"scale": ["a"], "offset": [0.0]}),
    "norm": ("Normalizer", (X["float32"],), {"norm": "L3"}),
    "imputed": ("Imputer", (X["float32"],), {"imputed_value_floats": [1.0, 2.0]}),
    "imputed type": ("Imputer", (X["float32"],), {"imputed_value_int64s": [1]}),
    "imputed range": ("Imputer", (X["int32"],), {"imputed_value_int64s": [2**40]}),
    "categories": ("OneHotEncoder", (X["float32"],), {}),
    "category": ("OneHotEncoder", (X["int64"],), {"cats_int64s": [100], "zeros": 0}),
    "category type": ("OneHotEncoder", (text("a"),), {"cats_int64s": [1]}),
    "dimensions": ("FeatureVectorizer", (X["float32"],), {"inputdimensions": [4, 4]}),
    "negative dimension": ("FeatureVectorizer", (X["float32"],), {"inputdimensions": [-4]}),
    "huge dimension": ("FeatureVectorizer", (X["float32"],), {"inputdimensions": [2**62]}),
    "rows": ("FeatureVectorizer", (X["float32"], real(2, 4)), {"inputdimensions": [4, 4]}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_not_valid_is_refused(name):
    operator, inputs, attributes = ERRORS[name]
    with pytest.raises(QEngineError):
        run(operator, inputs, domain=ML, opset=1, **attributes)
