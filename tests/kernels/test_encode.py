"""Codes of constants and the order of weights on native kernels: what NumPy gives."""

import numpy as np
import pytest
from oracle import ROUNDINGS

from qengine.kernels.dot import packed_weights
from qengine.kernels.encode import encode, gather_taps
from qengine.kernels.isa import AVX512VNNI, available
from qengine.kernels.reference.requantize import quantize
from qengine.kernels.reference.word import Word

ISAS = pytest.mark.parametrize("isa", available(), ids=lambda isa: isa.name)


@pytest.mark.parametrize("bits", [2, 8, 9, 16])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (3, 16), (2, 40_003), (5, 31), (0, 4), (4, 0)], ids=str)
@ISAS
def test_codes_and_their_sums(isa, shape, signed, bits):
    rng = np.random.default_rng(shape[1])
    word, n = Word(bits, signed, "half_even", "saturate"), bits - 3 + np.arange(shape[0]) % 4
    x = rng.normal(size=shape).astype(np.float32)
    x.flat[: x.size // 3] = np.rint(x.flat[: x.size // 3] * 8) / 2.0**bits  # ties
    x.flat[:1], x.flat[1:2], x.flat[2:3] = np.inf, -np.inf, np.float32(1e-45)
    codes, sums = encode(x, np.ldexp(1.0, n), word, isa)
    np.testing.assert_array_equal(codes, quantize(x, n[:, None], word), strict=True)
    wide = codes.astype(np.int64)
    np.testing.assert_array_equal(sums, np.stack([wide.sum(axis=1), np.abs(wide).sum(axis=1)], axis=1))


@pytest.mark.parametrize("bits", [4, 8, 12])
@pytest.mark.parametrize("overflow", ["saturate", "symmetric"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@ISAS
def test_every_rounding(isa, rounding, overflow, bits):
    word = Word(bits, True, rounding, overflow)
    ties = np.arange(-300, 300, dtype=np.float32) / 4
    x = np.concatenate([ties, np.nextafter(ties, np.float32(99)), np.float32([1e-45, -1e-45, np.inf, -np.inf, 3e38])])
    codes, sums = encode(x[None], np.ones(1), word, isa)
    np.testing.assert_array_equal(codes[0], quantize(x, 0, word), strict=True)
    assert sums.tolist() == [[codes.sum(dtype=np.int64), np.abs(codes.astype(np.int64)).sum()]]


@ISAS
def test_codes_whose_sums_leave_32_bits(isa):
    codes, sums = encode(np.full((1, 200_000), -1, np.float32), np.array([2.0**15]), Word(16, True), isa)
    assert (codes == -32768).all()
    assert sums.tolist() == [[-200_000 * 32768, 200_000 * 32768]]


@pytest.mark.parametrize(("dtype", "items"), [(np.int8, 4), (np.int16, 2), (np.float32, 1)])
@pytest.mark.parametrize("channels", [1, 16, 37])
@pytest.mark.parametrize("is_dense", [True, False])
@ISAS
def test_the_order_of_weights(isa, is_dense, channels, dtype, items):
    rng = np.random.default_rng(channels)
    w = rng.integers(-120, 120, (channels, 50)).astype(dtype)
    first = rng.permutation(50 - items)[:9]
    offsets = first[:, None] + np.arange(items) if is_dense else rng.integers(-1, 50, (9, items))
    lanes = np.zeros((-(-channels // 16) * 16, 9, items), dtype)
    lanes[:channels] = np.where(offsets < 0, 0, w[:, offsets])
    out = np.zeros(lanes.nbytes, np.uint8)
    table = offsets[:, :1] if is_dense else offsets
    gather_taps(w, np.ascontiguousarray(table, np.int64), isa, out, is_dense=is_dense)
    np.testing.assert_array_equal(out, packed_weights(lanes, "s16", AVX512VNNI))


@pytest.mark.parametrize("place", [0, 15, 16, 20])
@ISAS
def test_nan_is_refused(isa, place):
    x = np.zeros((1, 21), np.float32)
    x[0, place] = np.nan
    with pytest.raises(ValueError, match="NaN has no code"):
        encode(x, np.ones(1), Word(4, True), isa)
