"""NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss against ONNX Runtime and torch."""

import numpy as np
import pytest
import torch
from model.eager.nodes import run
from model.ops.cases import Case, each, i64, real

from qengine.errors import QEngineError

LOSSES = ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
WEIGHT = np.abs(real(5))


def targets(*shape, ignored=None, kind=np.int64):
    found = np.random.default_rng([*shape]).integers(0, 5, shape).astype(kind)
    if ignored is not None:
        found.flat[::2] = ignored
    return found


def case(operator, x, target, weight=None, ignored=None, reduction="mean", **given):
    attributes = {"reduction": reduction} if ignored is None else {"reduction": reduction, "ignore_index": ignored}
    inputs = (x, target) if weight is None else (x, target, weight)
    # onnx.reference counts ignored targets of -1 in the mean.
    follows = "onnxruntime" if ignored == -1 else "both"
    return Case(
        operator, inputs, attributes, 1 + (operator == LOSSES[1]), **{"follows": follows, "rtol": 1e-4, **given}
    )


CASES = [
    *(
        case(operator, real(3, 5, *rest), targets(3, *rest, ignored=ignored), weight, ignored, reduction)
        for operator in LOSSES
        for rest in ((), (4,), (4, 2), (2, 3, 2))
        for reduction in ("none", "sum", "mean")
        for weight in (None, WEIGHT)
        for ignored in {(): (None, 1, -1, 255, -100), (4, 2): (None, 1)}.get(rest, (-100,))
    ),
    *(case(operator, real(3, 5), targets(3, kind=np.int32)) for operator in LOSSES),
    *(
        case(operator, real(3, 5).astype(kind), targets(3), WEIGHT.astype(kind), rtol=near, atol=near)
        for operator in LOSSES
        for kind, near in ((np.float64, 1e-9), (np.float16, 4e-3))
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("operator", LOSSES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("count", [0, 3])
def test_nothing_counted(operator, reduction, count):
    x, target = real(count, 5), np.ones(count, np.int64)
    attributes = {"reduction": reduction, "ignore_index": 1}
    y, *_ = run(operator, (x, target), opset=13, **attributes)
    function = torch.nn.functional.nll_loss if operator == LOSSES[0] else torch.nn.functional.cross_entropy
    wanted = function(torch.tensor(x), torch.tensor(target), reduction=reduction, ignore_index=1).numpy()
    np.testing.assert_array_equal(y, wanted, strict=True)


def test_large_scores_do_not_overflow():
    y, log_prob = run(LOSSES[1], (np.float32([[1e4, 0], [-1e30, 1e30]]), i64(1, 1)), 2, opset=13, reduction="none")
    np.testing.assert_array_equal(y, np.float32([1e4, 0]))
    assert np.isfinite(log_prob).all()


ERRORS = [
    ((real(3, 5), i64(0, 5, 1)), {}, "target 5 is out of range for 5 classes"),
    ((real(3, 5), i64(0, -1, 1)), {}, "target -1 is out of range"),
    ((real(3, 5), i64(0, 2**62, 1)), {}, "is out of range"),
    ((real(3, 5), i64(0, -1, 1)), {"ignore_index": -100}, "target -1 is out of range"),
    ((real(3, 5), i64(0, 4, 1), real(4)), {}, "weight [4] must be [5]"),
    ((real(3, 5), i64(0, 4)), {}, "must have the axes of [3, 5] without the second"),
    ((real(3), i64(0, 2, 1)), {}, "must have the axes"),
    ((real(3, 5), i64(1, 1, 1)), {"reduction": "median"}, "is not none, sum or mean"),
]


@pytest.mark.parametrize("operator", LOSSES)
@pytest.mark.parametrize(("inputs", "attributes", "message"), ERRORS, ids=[one[2][:20] for one in ERRORS])
def test_what_onnx_does_not_allow_is_an_error(operator, inputs, attributes, message):
    with pytest.raises(QEngineError) as caught:
        run(operator, inputs, opset=13, **attributes)
    # onnx's own inference refuses some of them first.
    assert message in str(caught.value) or "cannot run" in str(caught.value)
