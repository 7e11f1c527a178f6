"""Numbers in other element types, where ONNX leaves the result open; `tests/model/eager/test_casts.py` has the rest."""

import ml_dtypes
import numpy as np
import pytest

from qengine.model.ops.conversion import bits_per_element, converted, is_foreign, is_integer, to_integers

FAR = [300.7, -300.7, 70000, -70000, 1e9, 3e9, -3e9, 9.3e18, 1.9e19, -1e19, 1e30, np.inf, -np.inf, np.nan, -1, -1.5]
INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)


def truncated(value, target):
    """Return how an x86 processor truncates one number, as a bit pattern of 64 bits."""
    bits = 64 if target in (np.int64, np.uint32, np.uint64) else 32
    high = target == np.uint64 and value >= 2.0**63
    value = value - 2.0**63 if high else value
    fits = np.isfinite(value) and -(2.0 ** (bits - 1)) <= np.trunc(value) < 2.0 ** (bits - 1)
    whole = int(value) if fits else -(1 << bits - 1)
    return (whole ^ (1 << 63) if high else whole) & (1 << 64) - 1


@pytest.mark.parametrize("source", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("target", INTEGERS)
@pytest.mark.parametrize("repeats", [1, 40])
def test_numbers_that_no_integer_is_near_convert_the_same_wherever_they_stand(source, target, repeats):
    """NumPy and ONNX Runtime convert some of them in another way in long arrays."""
    with np.errstate(all="ignore"):
        x = np.array(FAR).astype(source)
        found = to_integers(np.tile(x, repeats), np.dtype(target))
    single = np.array([truncated(v, target) for v in x.tolist()], np.uint64).astype(target)
    np.testing.assert_array_equal(found, np.tile(single, repeats))


@pytest.mark.parametrize("target", INTEGERS)
def test_the_ends_of_a_type_convert_exactly(target):
    limits = np.iinfo(target)
    beside = [n for n in (limits.min, limits.min + 1, limits.max - 1, limits.max) if int(float(n)) == n]
    np.testing.assert_array_equal(to_integers(np.array(beside, np.float64), np.dtype(target)), np.array(beside, target))
    fractions = np.array([limits.min - 0.5, limits.max + 0.5]) if limits.bits < 32 else np.array([0.5, -0.5])
    np.testing.assert_array_equal(to_integers(fractions, np.dtype(target)), np.trunc(fractions).astype(target))


def test_arrays_in_another_byte_order_keep_their_numbers():
    x = np.array([1 / 3, 2.0**60 + 1])
    np.testing.assert_array_equal(converted(x.astype(x.dtype.newbyteorder("<")), np.dtype(np.float64)), x)


@pytest.mark.parametrize(
    ("name", "bits", "integer", "foreign"),
    [
        ("int4", 4, True, True),
        ("uint2", 2, True, True),
        ("float4_e2m1fn", 4, False, True),
        ("float6_e2m3fn", 6, False, True),
        ("float8_e5m2", 8, False, True),
        ("bfloat16", 16, False, True),
        ("bool", 8, False, False),
        ("uint64", 64, True, False),
        ("float16", 16, False, False),
        ("complex128", 128, False, False),
    ],
)
def test_what_types_are(name, bits, integer, foreign):
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    assert (bits_per_element(dtype), is_integer(dtype), is_foreign(dtype)) == (bits, integer, foreign)
