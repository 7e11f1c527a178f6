import numpy as np
import pytest

from .cases import Case, each, f32, i64, real, scalar

ORDINARY = np.concatenate([np.linspace(-12, 12, 97, dtype=np.float32), real(2, 3).ravel()])
SPECIAL = f32(0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 88.0, -104.0, 1e30, -1e30)
ABOVE_0 = f32(0.0, 1e-45, 1e-30, 0.5, 1.0, 2.0, 100.0, 3e38, np.inf)

PLAIN = (
    "Sigmoid", "Tanh", "Erf", "Exp", "Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "HardSigmoid", "LeakyRelu",
    "ThresholdedRelu", "Elu", "Selu", "Celu", "Softplus", "Softsign", "Relu", "Reciprocal", "Sqrt", "Log", "Mish",
    "HardSwish", "Gelu", "Swish",
)  # fmt: skip

CASES = [
    *(Case(operator, (ORDINARY,)) for operator in PLAIN),
    *(Case(operator, (SPECIAL,)) for operator in PLAIN),
    *(Case(operator, (ORDINARY.astype(np.float16),), rtol=2e-3, atol=1e-3) for operator in PLAIN),
    *(Case(operator, (ORDINARY.astype(np.float64),)) for operator in PLAIN),
    *(Case(operator, (ABOVE_0,)) for operator in ("Sqrt", "Log", "Reciprocal")),
    *(Case(operator, (i64(-3, 0, 4),)) for operator in ("Abs", "Neg", "Sign", "Relu")),
    Case("Round", (f32(0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 8388609.0),)),
    Case("HardSigmoid", (ORDINARY,), {"alpha": 0.4, "beta": 0.1}),
    Case("LeakyRelu", (ORDINARY,), {"alpha": 0.3}),
    Case("ThresholdedRelu", (f32(-3, 0.5, 1, 2, 2.5),), {"alpha": 2.0}),
    Case("Elu", (ORDINARY,), {"alpha": 0.3}),
    Case("Selu", (ORDINARY,), {"alpha": 2.0, "gamma": 3.0}),
    Case("Celu", (ORDINARY,), {"alpha": 2.0}),
    Case("Gelu", (ORDINARY,), {"approximate": "tanh"}),
    Case("Swish", (ORDINARY,), {"alpha": 0.3}),
    *(
        Case("Pow", (f32(-2, -0.5, 0, 0.5, 1, 3, np.inf), scalar(exponent)))
        for exponent in (0, 1, 2, 3, -1, -2, 0.5, 1.5, 2.5, -0.5, 7, -7.25, 0.1)
    ),
    Case("Pow", (real(2, 3), f32(2))),
    Case("Pow", (f32(-2, 3), scalar(2, np.int64))),
    Case("Pow", (i64(-2, 3), scalar(3, np.int64))),
    Case("Pow", (i64(4, 9), scalar(0.5))),
    # onnx.reference refuses a negative power of integers.
    Case("Pow", (i64(1, -1, 2, -3), scalar(-1, np.int64)), follows="onnxruntime"),
    Case("PRelu", (real(2, 3, 4), scalar(0.25))),
    Case("PRelu", (real(2, 3, 4), f32(0.25))),
    Case("PRelu", (real(2, 3, 4), f32(0.25, -1, 0.5).reshape(3, 1))),
    Case("PRelu", (real(2, 3, 4), real(2, 3, 4, seed=1))),
    Case("Clip", (ORDINARY,), {"min": -1.5, "max": 2.5}),
    Case("Clip", (SPECIAL,), {"min": -1.0}),
    Case("Clip", (SPECIAL,), {"max": 1.0}),
    Case("Clip", (SPECIAL,), opsets=(7, 10)),
    # Without a bound infinity stays; ONNX Runtime makes it the largest float, from opset 11 on too.
    Case("Clip", (SPECIAL,), opsets=(11, 28), follows="reference"),
    Case("Clip", (SPECIAL, None, scalar(2.5)), follows="reference"),
    Case("Clip", (ORDINARY, None, scalar(2.5))),
    Case("Clip", (ORDINARY, scalar(-1.5), scalar(2.5))),
    Case("Clip", (ORDINARY, scalar(2.5), scalar(-1.5))),
    Case("Clip", (ORDINARY, scalar(-1.5))),
    Case("Clip", (i64(-3, 0, 5), scalar(-2, np.int64), scalar(3, np.int64))),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)
