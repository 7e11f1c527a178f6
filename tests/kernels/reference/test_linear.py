from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional

from qengine.kernels.reference import linear
from qengine.kernels.reference.linear import (
    convolution,
    exact_product,
    linear_fixed,
    linear_float,
    matrix_product,
    transposed_convolution,
)
from qengine.kernels.reference.requantize import new_tally
from qengine.kernels.reference.word import Word

CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}

# batch, channels, size, filters, group, kernel, strides, dilations, pads
CONVOLUTIONS = [
    (1, 3, (9,), 4, 1, (3,), (1,), (1,), ((0, 0),)),
    (2, 4, (11,), 6, 2, (3,), (2,), (3,), ((2, 1),)),
    (1, 3, (8, 9), 5, 1, (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))),
    (3, 2, (8, 9), 4, 1, (3, 2), (2, 3), (1, 2), ((0, 2), (3, 1))),
    (2, 4, (9, 7), 4, 4, (3, 3), (1, 2), (2, 1), ((1, 0), (0, 1))),
    (1, 4, (9, 7), 8, 4, (1, 1), (2, 2), (1, 1), ((0, 0), (0, 0))),
    (2, 6, (10, 8), 4, 2, (5, 3), (1, 1), (1, 1), ((-1, -2), (2, -1))),
    (2, 2, (5, 6, 4), 4, 2, (2, 3, 2), (2, 1, 1), (1, 2, 1), ((1, 0), (0, 1), (1, 1))),
    (0, 3, (8, 9), 5, 1, (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))),
    (0, 4, (8,), 4, 2, (3,), (1,), (1,), ((1, 1),)),
]


def arrays(batch, channels, size, filters, group, kernel, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (batch, channels, *size)).astype(np.int8)
    w = rng.integers(-128, 128, (filters, channels // group, *kernel)).astype(np.int8)
    return x, w


def torch_pads(pads):
    return [p for pair in reversed(pads) for p in pair]


@pytest.mark.parametrize(
    ("batch", "channels", "size", "filters", "group", "kernel", "strides", "dilations", "pads"), CONVOLUTIONS
)
@pytest.mark.parametrize("strip_bytes", [None, 1, 600])
def test_convolution_is_torch_s(
    monkeypatch, strip_bytes, batch, channels, size, filters, group, kernel, strides, dilations, pads
):
    if strip_bytes:
        monkeypatch.setattr(linear, "_STRIP_BYTES", strip_bytes)
    x, w = arrays(batch, channels, size, filters, group, kernel)
    options = {"strides": strides, "dilations": dilations, "group": group}
    tx, tw = torch.from_numpy(x).double(), torch.from_numpy(w).double()
    expected = CONV[len(size)](
        functional.pad(tx, torch_pads(pads)), tw, stride=strides, dilation=dilations, groups=group
    ).numpy()
    for dtype in (np.float64, np.int64, object):
        got = convolution(x.astype(dtype), w.astype(dtype), pads=pads, **options)
        assert got.dtype == dtype
        assert np.array_equal(got, expected)  # whole numbers: exact in every type
    real = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    tx, tw = torch.from_numpy(real), tw.float() / 64
    expected = CONV[len(size)](
        functional.pad(tx, torch_pads(pads)), tw, stride=strides, dilation=dilations, groups=group
    ).numpy()
    got = convolution(real, w.astype(np.float32) / 64, pads=pads, **options)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)


def test_convolution_by_loops():
    """The one case that rests on nothing but the formula."""
    x, w = arrays(2, 4, (6, 5), 6, 2, (2, 3), seed=3)
    strides, dilations, pads = (2, 1), (1, 2), ((1, 0), (2, -1))
    got = convolution(x.astype(np.int64), w.astype(np.int64), strides=strides, dilations=dilations, pads=pads, group=2)
    assert got.shape == (2, 6, 3, 2)
    for n, m, i, j in np.ndindex(got.shape):
        total = 0
        for c, u, v in product(range(2), range(2), range(3)):
            row, column = i * 2 + u - 1, j + 2 * v - 2
            if 0 <= row < 6 and 0 <= column < 4:  # the last column is cropped
                total += int(x[n, m // 3 * 2 + c, row, column]) * int(w[m, c, u, v])
        assert got[n, m, i, j] == total


def test_convolution_of_no_channels():
    for dtype in (np.float32, np.int64, object):
        got = convolution(
            np.zeros((2, 0, 4, 5), dtype), np.zeros((3, 0, 2, 2), dtype),
            strides=(1, 1), dilations=(1, 1), pads=((0, 0), (0, 0)), group=1,
        )  # fmt: skip
        assert got.dtype == dtype
        assert got.tolist() == np.zeros((2, 3, 3, 4)).tolist()


# batch, channels, size, filters per group, group, kernel, strides, dilations, pads, output_padding
TRANSPOSES = [
    (1, 3, (5,), 4, 1, (3,), (1,), (1,), ((0, 0),), (0,)),
    (2, 4, (5,), 3, 2, (4,), (3,), (2,), ((1, 1),), (2,)),
    (2, 3, (4, 5), 2, 1, (3, 3), (2, 2), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    (1, 4, (4, 5), 1, 4, (4, 2), (2, 3), (1, 2), ((1, 1), (0, 0)), (0, 2)),
    (1, 2, (3, 4), 2, 2, (2, 2), (4, 3), (1, 1), ((3, 3), (2, 2)), (3, 2)),
    (1, 1, (1, 1), 1, 1, (1, 1), (4, 4), (1, 1), ((0, 0), (0, 0)), (3, 1)),
    (1, 2, (3, 2, 2), 2, 1, (2, 3, 2), (2, 1, 2), (1, 2, 1), ((0, 0), (1, 1), (1, 1)), (1, 0, 1)),
    (0, 2, (3, 4), 2, 2, (3, 3), (2, 2), (1, 1), ((1, 1), (1, 1)), (1, 1)),
]


@pytest.mark.parametrize(
    ("batch", "channels", "size", "filters", "group", "kernel", "strides", "dilations", "pads", "output_padding"),
    TRANSPOSES,
)
def test_transposed_convolution_is_torch_s(
    batch, channels, size, filters, group, kernel, strides, dilations, pads, output_padding
):
    rng = np.random.default_rng(5)
    x = rng.integers(-128, 128, (batch, channels, *size))
    w = rng.integers(-128, 128, (channels, filters, *kernel))
    expected = TRANSPOSED[len(size)](
        torch.from_numpy(x).double(),
        torch.from_numpy(w).double(),
        stride=strides,
        padding=[a for a, _ in pads],
        output_padding=output_padding,
        dilation=dilations,
        groups=group,
    ).numpy()
    options = {"strides": strides, "dilations": dilations, "output_padding": output_padding, "group": group}
    for dtype in (np.float32, np.int64, object):
        got = transposed_convolution(x.astype(dtype), w.astype(dtype), pads=pads, **options)
        assert got.dtype == dtype
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("pads", [((0, 2), (1, 0)), ((-1, 2), (0, -3)), ((7, 0), (0, 7)), ((-4, -5), (-2, 9))])
def test_transposed_convolution_cuts_its_pads_from_the_whole(pads):
    """Asymmetric and negative pads: what torch cannot do is a slice of, or zeros around, what it can."""
    rng = np.random.default_rng(7)
    x, w = rng.integers(-9, 9, (1, 2, 4, 3)), rng.integers(-9, 9, (2, 3, 2, 3))
    options = {"strides": (3, 4), "dilations": (1, 1), "output_padding": (1, 0), "group": 1}
    whole = transposed_convolution(x, w, pads=((0, 0), (0, 0)), **options)
    (top, bottom), (left, right) = pads
    grown = np.pad(whole, [(0, 0), (0, 0), (9, 9), (9, 9)])
    rows, columns = whole.shape[2:]
    expected = grown[:, :, 9 + top : 9 + rows - bottom, 9 + left : 9 + columns - right]
    assert np.array_equal(transposed_convolution(x, w, pads=pads, **options), expected)


@pytest.mark.parametrize(
    "shapes", [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 0), (0, 3))]
)
@pytest.mark.parametrize("dtype", [np.float32, np.int64, object])
def test_matrix_product(shapes, dtype):
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-9, 9, shape) for shape in shapes)
    got = matrix_product(x.astype(dtype), w.astype(dtype))
    assert (type(got), got.dtype) == (np.ndarray, dtype)
    assert np.array_equal(got, np.matmul(x, w))


def vectors_with_sum(total):
    """Large products first, a 1 last: a type with fewer bits than the sum's loses the 1."""
    largest = 255 if total < 1 << 30 else 65535
    count, rest = divmod(total - 1, largest * largest)
    a = [*[largest] * count, rest // largest, rest % largest, 1]
    b = [*[largest] * count, largest, 1, 1]
    return np.array(a, np.uint16), np.array(b, np.uint16)


@pytest.mark.parametrize("total", [(1 << 24) - 1, 1 << 24, (1 << 24) + 1, (1 << 25) + 1, (1 << 40) + 12345])
def test_exact_product_about_the_bound_of_float32(total):
    a, b = vectors_with_sum(total)
    got = exact_product(a, b, matrix_product, total)
    assert (got.dtype, int(got)) == (np.int64, total)
    assert int(exact_product(-a.astype(np.int32), b, matrix_product, total)) == -total


def test_exact_product_picks_the_narrowest_exact_type():
    seen = []

    def product(x, w):
        seen.append((x.dtype, w.dtype))
        return matrix_product(x, w)

    x, w = np.array([[-3, 5]], np.int8), np.array([7, 11], np.int16)
    cases = [
        ((1 << 24) - 1, np.float32, np.int64),
        (1 << 24, np.float64, np.int64),
        ((1 << 53) - 1, np.float64, np.int64),
        (1 << 53, np.int64, np.int64),
        ((1 << 60) - 1, np.int64, np.int64),
        (1 << 60, object, object),
    ]
    for bound, inside, outside in cases:
        got = exact_product(x, w, product, bound)
        assert seen.pop() == (inside, inside)
        assert got.dtype == outside
        assert got.tolist() == [34]


@pytest.mark.parametrize("bits", [53, 54, 59, 60, 62, 63, 70])
def test_exact_product_beyond_float64_and_int64(bits):
    """Few huge terms stand in for the billions of codes that it would take to get there."""
    x, w = np.array([1 << (bits - 20), 1], object), np.array([1 << 20, 1])
    total = (1 << bits) + 1
    assert int(exact_product(x, w, matrix_product, total)) == total


def exact_codes(x, w, b, shift, word, accumulator_bits, low, high, code_of):
    """linear_fixed for a matrix product, one exact integer at a time."""
    rows = []
    for row in x.tolist():
        codes = []
        for j in range(w.shape[1]):
            acc = b[j] + sum(p * q for p, q in zip(row, w[:, j].tolist(), strict=True))
            if accumulator_bits:
                half = 1 << (accumulator_bits - 1)
                acc = (acc + half) % (2 * half) - half
            code = code_of(Fraction(acc) * Fraction(2) ** -shift[j], word, shift[j])
            codes.append(min(max(code, low), high))
        rows.append(codes)
    return rows


@pytest.mark.parametrize("accumulator_bits", [None, 2, 8, 16, 20, 24, 31, 32, 33, 48, 62, 63, 64])
@pytest.mark.parametrize("bias", [0, 1 << 30, 1 << 61])
@pytest.mark.parametrize("modes", ["half_even saturate", "half_up wrap", "trunc saturate", "floor wrap"])
def test_linear_fixed(code_of, accumulator_bits, bias, modes):
    word = Word(8, True, *modes.split())
    rng = np.random.default_rng(11)
    x = rng.integers(-32768, 32768, (4, 5)).astype(np.int16)
    w = rng.integers(-32768, 32768, (5, 3)).astype(np.int16)
    b = [bias, -bias, bias // 3 + 1]
    bound = 5 * (1 << 30) + bias + 1
    options = {"bound": bound, "word": word, "accumulator_bits": accumulator_bits, "low": -50, "high": 100}
    for shift in (0, 9, 23, -3, [30, -2, 0]):
        given = shift if isinstance(shift, int) else np.array(shift)
        got = linear_fixed(x, w, np.array(b), matrix_product, shift=given, **options)
        shifts = [shift] * 3 if isinstance(shift, int) else shift
        assert got.dtype == word.dtype
        assert got.tolist() == exact_codes(x, w, b, shifts, word, accumulator_bits, -50, 100, code_of)


def test_an_accumulator_just_wide_enough_does_not_wrap():
    x, w, word = np.array([[1]], np.int8), np.array([[127]], np.int8), Word(16, True)
    for bits, expected in [(8, 127), (7, -1), (9, 127)]:
        got = linear_fixed(
            x, w, None, matrix_product,
            bound=127, shift=0, word=word, accumulator_bits=bits, low=None, high=None,
        )  # fmt: skip
        assert got.tolist() == [[expected]]
    # -128 fits 8 bits and 128 does not: the bound, a magnitude, asks for wrapping and wrapping decides.
    for code, expected in [(-128, -128), (128, -128)]:
        got = linear_fixed(
            x, np.array([[code]], np.int16), None, matrix_product,
            bound=128, shift=0, word=word, accumulator_bits=8, low=None, high=None,
        )  # fmt: skip
        assert got.tolist() == [[expected]]


def test_linear_fixed_of_a_convolution_with_a_shift_per_channel(code_of):
    x, w = arrays(2, 3, (5, 6), 4, 1, (3, 3), seed=13)
    b = np.array([0, 1000, -1000, 1 << 20]).reshape(4, 1, 1)
    shift = np.array([7, 8, 0, 12]).reshape(4, 1, 1)
    options = {"strides": (1, 1), "dilations": (1, 1), "pads": ((1, 1), (1, 1)), "group": 1}
    word, tally = Word(8, True, "half_up"), new_tally()
    got = linear_fixed(
        x, w, b, lambda p, q: convolution(p, q, **options),
        bound=27 * 128 * 128 + (1 << 20), shift=shift, word=word, accumulator_bits=None, low=0, high=None,
        tally=tally,
    )  # fmt: skip
    acc = convolution(x.astype(object), w.astype(object), **options) + b
    for at in np.ndindex(acc.shape):
        assert got[at] == max(0, code_of(Fraction(acc[at], 1 << int(shift[at[1], 0, 0])), word))
    assert tally[3] == got.size
    assert tally[0] == sum(acc[at] / (1 << int(shift[at[1], 0, 0])) >= 127.5 for at in np.ndindex(acc.shape))


def test_linear_fixed_of_vectors():
    for bound in (100, 1 << 65):
        got = linear_fixed(
            np.array([2, 3], np.int8), np.array([4, 5], np.int8), np.array(1), matrix_product,
            bound=bound, shift=1, word=Word(8, True), accumulator_bits=64, low=None, high=None,
        )  # fmt: skip
        assert (type(got), got.shape, int(got)) == (np.ndarray, (), 12)


def test_linear_float():
    x, w = np.array([[1.0, -2.0]], np.float32), np.array([[3.0, 1.0], [0.5, 4.0]], np.float32)
    b = np.array([0.25, 0.0], np.float32)

    def run(b, low, high):
        got = linear_float(x, w, b, matrix_product, low, high)
        assert got.dtype == np.float32
        return got.tolist()

    assert run(None, None, None) == [[2.0, -7.0]]
    assert run(b, None, None) == [[2.25, -7.0]]
    assert run(b, 0.0, None) == [[2.25, 0.0]]
    assert run(b, None, 2.0) == [[2.0, -7.0]]
    assert run(b, -1.0, 2.0) == [[2.0, -1.0]]
    assert linear_float(x * np.nan, w, b, matrix_product, 0.0, 6.0).tolist() != [[0.0, 0.0]]  # NaN stays
