"""Adagrad, Adam and Momentum against onnx.reference, and Adam against torch."""

import numpy as np
import pytest
import torch
from model.eager.nodes import run, scalar
from model.ops.cases import Case, each, real

from qengine.errors import QEngineError

DOMAIN = "ai.onnx.preview.training"
X, G, V, X2, G2, V2 = (real(3, 2, seed=i) for i in range(6))
H, H2 = np.abs(real(3, 2, seed=8)), np.abs(real(3, 2, seed=9))
RATE = scalar(0.1, np.float32)
MOMENTUM = {"alpha": 0.8, "beta": 0.9, "norm_coefficient": 0.2}
ADAM = {"alpha": 0.8, "beta": 0.9, "epsilon": 1e-3, "norm_coefficient": 0.2, "norm_coefficient_post": 0.1}
ADAGRAD = {"decay_factor": 0.1, "epsilon": 1e-3, "norm_coefficient": 0.2}


def case(operator, count, tensors, attributes, outputs):
    return Case(
        operator,
        (RATE, scalar(count), *tensors),
        attributes,
        outputs,
        "reference",
        domain=DOMAIN,
        opsets=(1, 1),
        rtol=1e-4,
    )


CASES = [
    *(
        one
        for count in (0, 1, 7)
        for one in (
            case("Adagrad", count, (X, G, H), ADAGRAD, 2),
            case("Adagrad", count, (X, X2, G, G2, H, H2), {}, 4),
            # onnx.reference gives float64 for a single parameter after the first step.
            *([] if count else [case("Adam", count, (X, G, V, H), ADAM, 3)]),
            case("Adam", count, (X, X2, G, G2, V, V2, H, H2), ADAM, 6),
            case("Adam", count, (X, X2, G, G2, V, V2, H, H2), {}, 6),
            *(case("Momentum", count, (X, G, V), {**MOMENTUM, "mode": m}, 2) for m in ("standard", "nesterov")),
            case("Momentum", count, (X, X2, G, G2, V, V2), {**MOMENTUM, "mode": "nesterov"}, 4),
        )
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_reference(case, version):
    case.check(version)


def test_the_type_is_that_of_the_tensors():
    tensors = [a.astype(np.float64) for a in (X, X2, G, G2, V, V2, H, H2)]
    found = run("Adam", (RATE, scalar(3), *tensors), 6, opset=1, domain=DOMAIN, **ADAM)
    assert {y.dtype.name for y in found} == {"float64"}
    narrow = run("Adam", (RATE, scalar(3), X, G, V, H), 3, opset=1, domain=DOMAIN, **ADAM)
    np.testing.assert_allclose(narrow[0], found[0], 1e-5)
    inputs = (scalar(0.1, np.float64), scalar(3), X, G, V)
    (wide, _) = run("Momentum", inputs, 2, opset=1, domain=DOMAIN, **(MOMENTUM | {"mode": "standard"}))
    assert wide.dtype == np.float32


def test_steps_of_adam_are_those_of_torch():
    weight = torch.tensor(X, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.01, betas=(0.9, 0.999), eps=0)
    x, mean, squares = X, np.zeros_like(X), np.zeros_like(X)
    for step in range(1, 4):
        weight.grad = torch.tensor(G * step)
        optimizer.step()
        rate = scalar(0.01, np.float32)
        inputs = (rate, scalar(step), x, G * step, mean, squares)
        x, mean, squares = run("Adam", inputs, 3, opset=1, domain=DOMAIN, epsilon=0.0)
    np.testing.assert_allclose(x, weight.detach().numpy(), 1e-4, 1e-6)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("Adam", (X, G, V), {}),
        ("Adagrad", (X, G, H[:2]), {}),
        ("Momentum", (X, G, V), {**MOMENTUM, "mode": "x"}),
        ("Momentum", (X, G, V), {"mode": "standard"}),
    ],
    ids=["count", "shape", "mode", "missing"],
)
def test_what_onnx_does_not_allow_is_an_error(operator, inputs, attributes):
    with pytest.raises(QEngineError, match=operator):
        run(operator, (RATE, scalar(1), *inputs), 2, opset=1, domain=DOMAIN, **attributes)


def test_gradient_is_refused_by_name():
    with pytest.raises(QEngineError, match="Gradient"):
        run("Gradient", (X,), opset=1, domain=DOMAIN, xs=["x0"], y="y0")
