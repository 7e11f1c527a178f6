"""Evaluators on bfloat16: results are those in float32, rounded once."""

import ml_dtypes
import numpy as np
import pytest
from model.eager.nodes import run, scalar
from model.ops.cases import i64, real

HEADS = {"q_num_heads": 2, "kv_num_heads": 2, "update_rule": "linear"}
NODES = [
    ("Attention", (real(2, 3, 4, 8), real(2, 3, 5, 8), real(2, 3, 5, 6)), {"is_causal": 1}, 23, 3),
    ("RotaryEmbedding", (real(2, 3, 4, 8), real(10, 4), real(10, 4), np.full((2, 4), 3)), {}, 23, 1),
    ("SwiGLU", (real(2, 3), real(2, 3, seed=1)), {"alpha": 1.5}, 28, 1),
    ("TensorScatter", (real(2, 4, 5), real(2, 2, 5)), {}, 24, 1),
    ("LinearAttention", (real(2, 3, 8),) * 3, HEADS, 27, 2),
    ("CausalConvWithState", (real(2, 3, 5), real(3, 1, 3)), {"activation": "silu"}, 27, 2),
    ("NegativeLogLikelihoodLoss", (real(3, 5), i64(0, 4, 1), np.abs(real(5))), {}, 22, 1),
    ("SoftmaxCrossEntropyLoss", (real(3, 5), i64(0, 4, 1)), {"reduction": "none"}, 13, 2),
    ("DFT", (real(3, 6, 2),), {}, 20, 1),
    ("STFT", (real(2, 20, 1), scalar(3), real(8)), {}, 17, 1),
    ("Einsum", (real(3, 40), real(40, 2)), {"equation": "ij,jk->ik"}, 28, 1),
    ("Det", (real(2, 3, 3),), {}, 22, 1),
    ("QuantizeLinear", (real(2, 6), scalar(0.25, np.float32), scalar(3, np.int8)), {}, 23, 1),
]


@pytest.mark.parametrize("node", NODES, ids=[one[0] for one in NODES])
def test_results_are_rounded_once(node):
    operator, inputs, attributes, version, outputs = node
    narrow = [a.astype(ml_dtypes.bfloat16) if a.dtype == np.float32 else a for a in inputs]
    wide = [a.astype(np.float32) if a.dtype == ml_dtypes.bfloat16 else a for a in narrow]
    found = run(operator, narrow, outputs, opset=version, **attributes)
    wanted = run(operator, wide, outputs, opset=version, **attributes)
    for ours, theirs in zip(found, wanted, strict=True):
        kind = ml_dtypes.bfloat16 if theirs.dtype == np.float32 else theirs.dtype
        np.testing.assert_array_equal(ours, theirs.astype(kind), strict=True)


@pytest.mark.parametrize("name", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows(name):
    (y,) = run(name, (scalar(7),), opset=17, output_datatype=16)
    (wide,) = run(name, (scalar(7),), opset=17, output_datatype=11)
    np.testing.assert_array_equal(y, wide.astype(ml_dtypes.bfloat16), strict=True)
