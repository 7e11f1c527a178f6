import numpy as np
import pytest
import torch
from model.contrib.cases import Draws, RuntimeCase, each, refused, scalar

from qengine.errors import ModelError

DRAWS = Draws(5)
real, codes, bits = DRAWS.real, DRAWS.codes, DRAWS.bits


SUM = (True, False, False, True)


def group_norm(layout, activation, *, skip=None, bias=False, dtype=np.float32):
    last = layout == "NHWC"
    x = real(2, 4, 5, 8) if last else real(2, 8, 4, 5)
    gamma, beta = real(8), real(8)
    inputs, total, outputs = [x, gamma, beta], torch.tensor(x.transpose(0, 3, 1, 2) if last else x), (True,)
    if skip is not None:
        added = real(*skip)
        inputs.append(added)
        shape = (2, 8, 1, 1) if added.ndim == 2 else None
        total = total + torch.tensor(added.reshape(shape) if shape else added.transpose(0, 3, 1, 2))
        outputs = (True, True)
        if bias:
            inputs.append(real(8))
            total = total + torch.tensor(inputs[-1].reshape(8, 1, 1))
    y = torch.nn.functional.group_norm(total, 4, torch.tensor(gamma), torch.tensor(beta), 1e-3)
    y = torch.nn.functional.silu(y) if activation else y
    expected = [one.numpy().transpose(0, 2, 3, 1) if last else one.numpy() for one in (y, total)]
    attributes = {"groups": 4, "activation": activation, "epsilon": 1e-3, "channels_last": int(last)}
    operator = "GroupNorm" if skip is None else "SkipGroupNorm"
    return RuntimeCase(
        operator, tuple(inputs), attributes, outputs, expected=tuple(expected[: len(outputs)]), atol=1e-4
    )


IDS, SEGMENTS = np.array([[1, 2, 9, 0, 3], [4, 4, 4, 5, 6]], np.int32), np.array([[0, 0, 1, 1, 1]] * 2, np.int32)
TABLES = (real(10, 8), real(6, 8), real(2, 8))
ENDS = (real(8), real(8))
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], np.int32)
PLACES = np.array([[0, 5, 4, 3, 2], [1, 1, 2, 2, 3]], np.int32)


def stored_tables(dtype, segments=True):
    tables = [codes(dtype, *shape) for shape in ((10, 8), (6, 8), (2, 8), (8,), (8,))]
    scales = [scalar(0.01 * k + 0.01) for k in range(5)]
    zeros = [scalar(k + np.iinfo(dtype).max // 2, dtype) for k in range(5)]
    inputs = [IDS, SEGMENTS, *tables, MASK, *scales, *zeros]
    if not segments:
        for place in (1, 4, 10, 15):
            inputs[place] = None
    return RuntimeCase("QEmbedLayerNormalization", tuple(inputs), {"epsilon": 1e-4}, (True, True))


def simplified(x, scale, count, **attributes):
    name, atol = "SimplifiedLayerNormalization", 3e-3 if x.dtype == np.float16 else 1e-5
    return RuntimeCase(name, (x, scale), attributes, (True,) * count, domain="", atol=atol)


X = real(2, 5, 8)
CASES = [
    *(
        RuntimeCase("SkipLayerNormalization", (X, real(*skip), real(8), beta, bias), {"epsilon": 1e-3}, SUM)
        for skip in ((2, 5, 8), (1, 5, 8), (5, 8))
        for beta in (None, real(8))
        for bias in (None, real(8))
    ),
    RuntimeCase("SkipLayerNormalization", (X, X, real(8))),
    RuntimeCase("SkipLayerNormalization", (X, X, real(8), real(8)), {"epsilon": 1e-3}, (True,) * 4),
    RuntimeCase("SkipSimplifiedLayerNormalization", (X, X, real(8)), {"epsilon": 1e-3}, (True,) * 4),
    RuntimeCase("SkipLayerNormalization", (real(5, 8), real(5, 8), real(8))),
    RuntimeCase("SkipLayerNormalization", tuple(a.astype(np.float16) for a in (X, X, real(8), real(8))), atol=4e-3),
    *(
        RuntimeCase("SkipSimplifiedLayerNormalization", (X, real(*skip), real(8), bias), {"epsilon": 1e-3}, SUM)
        for skip in ((2, 5, 8), (1, 5, 8))
        for bias in (None, real(8))
    ),
    *(
        simplified(X, real(*X.shape[axis:]), count, axis=axis, epsilon=1e-3)
        for axis in (-1, 0, 1, 2)
        for count in (1, 2)
    ),
    *(simplified(X.astype(dtype), real(8).astype(dtype), 2) for dtype in (np.float16, np.float64)),
    group_norm("NHWC", 0),
    group_norm("NCHW", 1),
    group_norm("NHWC", 1, skip=(2, 4, 5, 8)),
    group_norm("NHWC", 0, skip=(2, 8), bias=True),
    group_norm("NCHW", 0, skip=(2, 8), bias=True),
    RuntimeCase("EmbedLayerNormalization", (IDS, SEGMENTS, *TABLES, *ENDS, MASK), {"epsilon": 1e-4}, (True, True)),
    RuntimeCase("EmbedLayerNormalization", (IDS, SEGMENTS, *TABLES, *ENDS), {}, (True, True, True)),
    RuntimeCase("EmbedLayerNormalization", (IDS, None, *TABLES[:2], None, *ENDS, MASK), {}, (True, True, True)),
    RuntimeCase("EmbedLayerNormalization", (IDS, SEGMENTS, *TABLES, *ENDS, bits(2, 5), PLACES), {}, (True, True, True)),
    RuntimeCase("EmbedLayerNormalization", (IDS, SEGMENTS, *TABLES, *ENDS, None, PLACES[:1]), {}, (True, True)),
    stored_tables(np.uint8),
    stored_tables(np.int8),
    stored_tables(np.uint8, segments=False),
]  # fmt: skip


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case):
    case.check()


def test_nodes_that_do_not_fit_are_refused():
    inputs = (IDS, SEGMENTS, None, *TABLES[1:], *ENDS)
    refused(RuntimeCase("EmbedLayerNormalization", inputs), "'word_embedding' is missing", error=ModelError)
    inputs = (IDS + 10, SEGMENTS, *TABLES, *ENDS)
    refused(RuntimeCase("EmbedLayerNormalization", inputs), "outside of", error=ModelError)
    case = stored_tables(np.uint8)
    refused(RuntimeCase(case.operator, case.inputs[:-1], {}, (True, True)), "18", error=ModelError)
    case = RuntimeCase("SimplifiedLayerNormalization", (X, real(8)), {"axis": 7}, (True, True), domain="")
    refused(case, "axis 7", error=ModelError)
