import numpy as np
import pytest

from qengine.kernels.reference.word import Word, wrap


@pytest.mark.parametrize(
    ("word", "least", "most", "dtype"),
    [
        (Word(2, True), -2, 1, np.int8),
        (Word(2, False), 0, 3, np.uint8),
        (Word(8, True), -128, 127, np.int8),
        (Word(8, False), 0, 255, np.uint8),
        (Word(9, True), -256, 255, np.int16),
        (Word(9, False), 0, 511, np.uint16),
        (Word(16, True), -32768, 32767, np.int16),
        (Word(16, False), 0, 65535, np.uint16),
    ],
)
def test_range_and_storage(word, least, most, dtype):
    assert (word.least, word.most, word.dtype) == (least, most, np.dtype(dtype))
    assert np.iinfo(word.dtype).min <= least <= most <= np.iinfo(word.dtype).max


def test_defaults_are_those_of_the_definition():
    assert Word(8, True)[2:] == ("half_even", "saturate")


@pytest.mark.parametrize("bits", [2, 7, 8, 16, 32, 61, 62])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("dtype", [np.int64, object])
def test_wrap_keeps_the_low_bits(bits, signed, dtype):
    edge = 2 ** (bits - 1)
    values = [0, 1, -1, edge - 1, edge, edge + 1, -edge, -edge - 1, 2 * edge - 1, 2**62, -(2**62), 2**63 - 1]
    least = -edge if signed else 0
    expected = [(v - least) % 2**bits + least for v in values]
    wrapped = wrap(np.array(values, dtype), bits, signed)
    assert wrapped.dtype == dtype
    assert wrapped.tolist() == expected


def test_wrap_beyond_int64_and_without_axes():
    v = np.array(2**100 + 5, object)
    assert wrap(v, 64, signed=True)[()] == 5
    assert wrap(np.array(3 << 62, object), 64, signed=True)[()] == -(1 << 62)
    assert wrap(v, 64, signed=True).shape == ()
