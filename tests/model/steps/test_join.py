from fractions import Fraction

import numpy as np
import pytest
from networks import network

from qengine import InferenceSession
from qengine.analysis.report import compare
from qengine.kernels.reference.requantize import LARGEST, SATURATED, TOTAL, UNDERFLOWED, new_tally
from qengine.model.steps.join import Join

from .tensors import fixed_kernel, tensor


@pytest.mark.parametrize(("far", "fits"), [("Q-60.75", 0), ("Q60.-53", 2)])
def test_formats_that_are_far_apart(far, fits):
    """Aligned exactly, the inputs have more bits than int64; what is counted is what the exact numbers say."""
    model = network([("Concat", "a b", "y", {"axis": 0})], inputs={"a": [2], "b": [3]})
    step = 2.0 ** -int(far.split(".")[1])
    feeds = {"a": np.float32([0.5, -1]), "b": np.float32([0, 3 * step, -5 * step])}
    formats = {"a": "Q0.7", "b": far, "y": "Q0.7"}
    found = compare(InferenceSession(model, formats=formats), InferenceSession(model), feeds)
    y = found.tensors[-1]
    assert found.codes["y"].tolist() == [64, -128, 0, *([127, -128] if fits else [0, 0])]
    assert (y.name, y.saturated, y.underflowed, y.largest, y.elements) == ("y", fits, 2 - fits, 128, 5)


@pytest.mark.parametrize("n", [(3, 3), (3, 6), (0, 42), (0, 43), (0, 44), (0, 58), (-20, 30), (-40, 22)])
def test_joined_codes_and_what_is_counted(n):
    """The second tensor is picked where the first, a condition, is False; only what is picked counts."""
    forms = [f"Q{7 - k}.{k}" for k in n]
    step = Join(
        tuple(tensor(f"t{i}", form, (4,)) for i, form in enumerate(forms)),
        np.where,
        (4,),
        (tensor("c", None, (4,), bool),),
    )
    a, b, mask = np.int8([1, 100, -128, 0]), np.int8([127, -1, 64, -128]), np.array([True, True, False, False])
    tally = new_tally()
    kernel = fixed_kernel(step, "Q5.2")
    wanted, counted = [], [0, 0]
    for code, k in ((1, n[0]), (100, n[0]), (64, n[1]), (-128, n[1])):
        exact = round(Fraction(code) * Fraction(2) ** (2 - k))
        wanted.append(min(max(exact, -128), 127))
        counted[0] += exact != wanted[-1]
        counted[1] += exact == 0
    assert kernel(mask, a, b).tolist() == kernel(mask, a, b, tally=tally).tolist() == wanted
    assert tally[[SATURATED, UNDERFLOWED]].tolist() == counted
    assert (tally[LARGEST], tally[TOTAL]) == (max(map(abs, wanted)), 4)


def test_one_tensor_joined():
    step = Join((tensor("a", None, (2,), np.int32),), np.asarray, (2,))
    assert step.dtype == np.int32
    assert step.float32()(np.int32([1, 2])).tolist() == [1, 2]
