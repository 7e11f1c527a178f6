"""Rules: which modes and which arithmetic a step gets."""

import pytest

from qengine.model.rules import KINDS, AccumulatorRule, Arithmetic, Modes, Rules
from qengine.qformat import Overflow, Rounding

RULES = Rules(
    Rounding.HALF_UP,
    Overflow.SATURATE,
    kinds={"mean": Modes(Rounding.TRUNC), "constants": Modes(overflow=Overflow.WRAP)},
    tensors={"pool": Modes(overflow=Overflow.WRAP), "w": Modes(Rounding.FLOOR)},
    accumulator=AccumulatorRule(20),
)


@pytest.mark.parametrize(
    ("kind", "tensor", "rounding", "overflow"),
    [
        ("linear", "conv", "half_up", "saturate"),
        ("mean", "other", "trunc", "saturate"),
        ("mean", "pool", "trunc", "wrap"),
        ("linear", "pool", "half_up", "wrap"),
        ("constants", "b", "half_even", "wrap"),
        ("constants", "w", "floor", "wrap"),
    ],
)
def test_a_tensor_wins_over_its_kind_and_a_kind_over_the_model(kind, tensor, rounding, overflow):
    assert RULES.modes(kind, tensor) == Modes(Rounding(rounding), Overflow(overflow))


def test_a_step_gets_the_modes_of_its_tensor_and_the_other_rules_whole():
    arithmetic = RULES.of("mean", "pool")
    assert (arithmetic.rounding, arithmetic.overflow) == (Rounding.TRUNC, Overflow.WRAP)
    assert arithmetic.accumulator == AccumulatorRule(20)
    assert arithmetic.constants == Modes(Rounding.HALF_EVEN, Overflow.WRAP)


def test_a_narrow_kind_comes_before_the_operator_and_has_the_modes_of_linear_where_it_has_none():
    kinds = {"linear": Modes(Rounding.RUY, Overflow.WRAP), "depthwise": Modes(Rounding.TFLITE)}
    rules = Rules(kinds=kinds, operators={"Conv": Modes(Rounding.FLOOR), "Gemm": Modes(overflow=Overflow.ZERO)})
    assert rules.modes("depthwise", "y", "Conv") == Modes(Rounding.TFLITE, Overflow.WRAP)
    assert rules.modes("linear", "y", "Conv") == Modes(Rounding.FLOOR, Overflow.WRAP)
    assert rules.modes("dense", "y", "Gemm") == Modes(Rounding.RUY, Overflow.ZERO)
    assert rules.modes("dense", "y", "MatMul") == Modes(Rounding.RUY, Overflow.WRAP)


@pytest.mark.parametrize("kind", KINDS)
def test_rules_without_anything_special_are_those_of_onnx(kind):
    assert Rules().of(kind, "x") == Arithmetic()


def test_only_an_add_aligns_its_operands():
    rules = Rules(aligns_add=True)
    assert [kind for kind in KINDS if rules.of(kind, "y").aligns] == ["add"]


def test_differences_name_what_is_not_the_default():
    assert RULES.differences == ("rounding", "kinds", "tensors", "accumulator")
    assert Rules().differences == ()
