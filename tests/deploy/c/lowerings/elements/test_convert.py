"""Conversions in C beside the reference: casts of indices, truth values and integers."""

import numpy as np
import pytest
from deploy.c.lowerings.element_cases import case
from deploy.c.running import differences, needs_gcc, with_sanitizers

from qengine.deploy.c.lowerings.elements.convert import enough
from qengine.kernels.reference.rounding import shift_right
from qengine.kernels.reference.rounding_table import ROUNDINGS

pytestmark = needs_gcc


@with_sanitizers
def test_integers_as_codes(tmp_path, flags):
    """Indices and truth values become codes, which saturate or wrap."""
    cases = []
    for number, fmt in enumerate(("Q3.4", "Q1.2", "Q8.-3", "Q3.12", "UQ5.3", "Q4.3", "Q9.-2")):
        formats = {"y": fmt, "r": fmt, "x": "Q3.4"}
        nodes = [("ArgMax", "x", "i", {"axis": 1}), ("Cast", "i", "r", {"to": 1}), ("Neg", "r", "y")]
        cases.append(case(nodes, {"x": [3, 40]}, number=number, formats=formats, qformat=fmt))
        nodes = [("Cast", "x", "r", {"to": 1}), ("Neg", "r", "y")]
        formats = {"y": fmt, "r": fmt}
        cases.append(case(nodes, {"x": (bool, [3, 5])}, number=number, formats=formats, qformat=fmt))
        cases.append(case(nodes, {"x": (np.int8, [3, 5])}, number=number, formats=formats, qformat=fmt))
    assert differences(cases, tmp_path, flags) == []


@with_sanitizers
def test_stored_integers(tmp_path, flags):
    """Integers with a zero point come in and go out, signed and unsigned."""
    cases = []
    for number, (stored, zero) in enumerate(((np.uint8, 128), (np.int8, 0), (np.uint8, 0), (np.uint8, 128))):
        constants = {"s": np.float32(2.0**-number), "t": np.float32(0.25), "z": np.array(zero, stored)}
        nodes = [
            ("DequantizeLinear", "x s z", "a"),
            ("Mul", "a a", "b"),
            ("Sub", "b a", "c"),
            ("QuantizeLinear", "c t z", "y"),
        ]
        cases += [
            case(nodes, {"x": (stored, [3, 5])}, constants, number=number, qformat=qformat)
            for qformat in ("Q3.4", "Q3.12")
        ]
    assert differences(cases, tmp_path, flags) == []


@pytest.mark.parametrize("rounding", sorted(ROUNDINGS))
def test_long_shifts_round_alike(rounding):
    """A shift beyond the length of the numbers rounds them as a shorter one does."""
    numbers = np.arange(-9, 10, dtype=np.int64)
    cut = enough(40, 9)
    assert cut < 10
    assert np.array_equal(shift_right(numbers, 40, rounding), shift_right(numbers, cut, rounding))
    assert enough(-3, 9) == -3
    assert enough(2, 9) == 2
