import numpy as np
import pytest

from .cases import Case, each, f32, i64, real, scalar

SPECIAL = f32(0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan, 1e-45, 3.4e38)
BOTH = (np.repeat(SPECIAL, 9), np.tile(SPECIAL, 9))
WHOLE = (i64(7, -7, 7, -7, 0, 6), i64(2, 2, -2, -2, 5, -3))
BOOLS = (np.array([True, True, False, False]), np.array([True, False, True, False]))

CASES = [
    *(
        Case(operator, inputs)
        for operator in ("Add", "Sub", "Mul", "Div")
        for inputs in (
            (real(2, 3, 4), real(2, 3, 4, seed=1)),
            (real(2, 3, 4), real(3, 1)),
            (real(4), real(2, 3, 1)),
            (real(2, 3), scalar(1.5)),
            (real(0, 3), real(3)),
            BOTH,
            WHOLE,
            (real(2, 3).astype(np.float64), real(3).astype(np.float64)),
        )
    ),
    Case("Add", (np.array([250, 3], np.uint8), np.array([10, 3], np.uint8))),
    # Toward zero, also where the quotient's magnitude has no negative (the smallest int32).
    Case("Div", (np.array([-(2**31), 2**31 - 1], np.int32), np.array([3, -2], np.int32))),
    Case("Div", (np.array([250, 7], np.uint8), np.array([3, 8], np.uint8))),
    Case("Sum", (real(2, 3),)),
    Case("Sum", (real(2, 3), real(2, 3, seed=1), real(2, 3, seed=2))),
    Case("Sum", (real(2, 3), real(3), real(2, 1)), opsets=(8, 28)),  # before 8 Sum did not broadcast
    *(
        Case(operator, inputs, opsets=opsets)
        for operator in ("Max", "Min")
        for inputs, opsets in (
            ((real(2, 3),), (7, 28)),
            ((real(2, 3), real(2, 3, seed=1), real(2, 3, seed=2)), (7, 28)),
            ((real(2, 3), real(3), real(2, 1)), (8, 28)),  # as Sum
            ((np.array([3, -4], np.int32), np.array([-5, 6], np.int32)), (12, 28)),
        )
    ),
    Case("Max", (SPECIAL, f32(*[0.5] * 9))),
    Case("Where", (np.array([[True], [False]]), real(2, 3), real(3, seed=1))),
    Case("Where", (np.array([True, False]), i64(1, 2), i64(3, 4))),
    Case("Where", (BOOLS[1], BOOLS[0], scalar(True, bool))),
    *(
        Case(operator, inputs)
        for operator in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
        for inputs in (
            (f32(1, 2, 3), f32(3, 2, 1)),
            BOTH,
            (i64(1, 2, 3), scalar(2, np.int64)),
            (real(2, 1), real(1, 3)),
        )
    ),
    Case("Equal", BOOLS),
    *(Case(operator, BOOLS) for operator in ("And", "Or", "Xor")),
    Case("And", (BOOLS[0].reshape(4, 1), BOOLS[1])),
    Case("Not", BOOLS[:1]),
    Case("Mod", WHOLE),
    Case("Mod", WHOLE, {"fmod": 1}),
    Case("Mod", (f32(5.3, -5.3, 5.3, -5.3), f32(2, 2, -2, -2)), {"fmod": 1}),
    Case(
        "Mod", (f32(5.3, -5.3, 5.3, -5.3, -0.0), f32(2, 2, -2, -2, 2)), opsets=(28, 28)
    ),  # fmod 0 is for integers before
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)
