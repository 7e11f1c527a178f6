"""Roundings and overflows beside second sources: apytypes, AMD's table of ap_fixed modes, and QONNX."""

import numpy as np
import pytest

from qengine.kernels.reference.requantize import requantize
from qengine.kernels.reference.word import Word

# Names of the same rounding elsewhere: apytypes, ap_fixed, QONNX.
NAMES = {
    "half_even": ("TIES_EVEN", "RND_CONV", "ROUND"),
    "half_up": ("TIES_POS", "RND", ""),
    "half_down": ("TIES_NEG", "RND_MIN_INF", ""),
    "half_away": ("TIES_AWAY", "RND_INF", "HALF_UP"),
    "half_zero": ("TIES_ZERO", "RND_ZERO", "HALF_DOWN"),
    "floor": ("TO_NEG", "TRN", "FLOOR"),
    "ceil": ("TO_POS", "", "CEIL"),
    "trunc": ("TO_ZERO", "TRN_ZERO", "DOWN"),
    "away": ("TO_AWAY", "", "UP"),
}


def ap_adjust(value, dropped, mode):
    """Round as ap_fixed does (UG1399): cut bits, then add 1 by the last bit, the first dropped one and the rest."""
    kept, first = value >> dropped, value >> (dropped - 1) & 1
    rest = value & (1 << (dropped - 1)) - 1
    is_negative = value < 0
    adds = {
        "TRN": False,
        "TRN_ZERO": is_negative and (first or rest),
        "RND": first,
        "RND_MIN_INF": first and rest,
        "RND_INF": first and (rest or not is_negative),
        "RND_ZERO": first and (rest or is_negative),
        "RND_CONV": first and (rest or kept & 1),
    }[mode]
    return kept + bool(adds)


def qonnx_round(x, mode):
    """The functions that QONNX's rounding modes are, on float64."""
    half = np.floor(np.abs(x) + 0.5) * np.sign(x), np.ceil(np.abs(x) - 0.5) * np.sign(x)
    return {
        "ROUND": np.round(x),
        "CEIL": np.ceil(x),
        "FLOOR": np.floor(x),
        "UP": np.sign(x) * np.ceil(np.abs(x)),
        "DOWN": np.sign(x) * np.floor(np.abs(x)),
        "HALF_UP": half[0],
        "HALF_DOWN": half[1],
    }[mode]


@pytest.mark.parametrize("dropped", [1, 2, 3, 5])
@pytest.mark.parametrize("rounding", NAMES)
def test_ap_fixed_and_qonnx(rounding, dropped):
    _, ap_fixed, qonnx = NAMES[rounding]
    values = np.arange(-700, 700)
    got = requantize(values, dropped, Word(16, True, rounding)).tolist()
    if ap_fixed:
        assert got == [ap_adjust(v, dropped, ap_fixed) for v in values.tolist()]
    if qonnx:
        assert got == qonnx_round(values / (1 << dropped), qonnx).tolist()


@pytest.mark.parametrize("dropped", [1, 2, 3, 5, 9])
@pytest.mark.parametrize(("overflow", "name"), [("saturate", "SAT"), ("wrap", "WRAP")])
@pytest.mark.parametrize("rounding", NAMES)
def test_apytypes(rounding, overflow, name, dropped):
    apytypes = pytest.importorskip("apytypes", reason="apytypes, a package of fixed-point types, is not installed")
    values = np.arange(-9000, 9000)
    array = apytypes.APyFixedArray(values.tolist(), int_bits=16 - dropped, frac_bits=dropped)
    for bits in (3, 8):
        cast = array.cast(
            int_bits=bits,
            frac_bits=0,
            quantization=getattr(apytypes.QuantizationMode, NAMES[rounding][0]),
            overflow=getattr(apytypes.OverflowMode, name),
        )
        got = requantize(values, dropped, Word(bits, True, rounding, overflow))
        np.testing.assert_array_equal(got, cast.to_numpy())
