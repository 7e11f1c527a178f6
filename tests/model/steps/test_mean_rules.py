"""Means by the rules of devices, compared with loops in Python's integers, written as the devices' sources compute."""

from fractions import Fraction
from math import ceil, floor, prod

import numpy as np
import pytest

from qengine.errors import FormatError
from qengine.kernels.reference.means import first_pass
from qengine.kernels.reference.requantize import SATURATED, TOTAL, new_tally
from qengine.kernels.reference.word import Word
from qengine.model.rules import AccumulatorRule, Arithmetic, MeanRule
from qengine.model.steps.forms import AxisSum, WindowSum
from qengine.model.steps.mean import Mean
from qengine.model.steps.means import WindowCounts
from qengine.model.steps.step import Tensor
from qengine.qformat import Overflow, QFormat, Rounding

ROUND = {
    "half_even": round,
    "half_up": lambda v: floor(v + Fraction(1, 2)),
    "half_away": lambda v: floor(v + Fraction(1, 2)) if v > 0 else ceil(v - Fraction(1, 2)),
    "floor": floor,
    "trunc": int,
}
# size, kernel, strides, pads, counts_pads
WINDOWS = {
    "2x2": ((4, 6), (2, 2), (2, 2), ((0, 0), (0, 0)), False),
    "3x3": ((7, 9), (3, 3), (2, 2), ((1, 1), (1, 1)), False),
    "3x3, pads count": ((7, 9), (3, 3), (2, 2), ((1, 1), (1, 1)), True),
    "5x3 at every place": ((8, 7), (5, 3), (1, 1), ((0, 0), (0, 0)), False),
    "overlapping, with pads": ((6, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), False),
    "far pads": ((5, 5), (5, 5), (1, 1), ((2, 2), (2, 2)), False),
    "one axis": ((9,), (3,), (2,), ((1, 0),), False),
    "three axes": ((4, 3, 5), (2, 3, 2), (2, 1, 2), ((0, 0), (0, 0), (0, 1)), False),
}


def tensor(name, form, shape):
    return Tensor(name, np.dtype(np.float32), shape, None, QFormat.parse(form))


def pooled(name, form):
    size, kernel, strides, pads, counts = WINDOWS[name]
    out = tuple((n + sum(p) - k) // s + 1 for n, k, s, p in zip(size, kernel, strides, pads, strict=True))
    ones = (1,) * len(size)
    x = tensor("x", form, (1, 2, *size))
    return Mean(
        x,
        WindowSum(kernel, strides, ones, pads),
        (1, 2, *out),
        WindowCounts(size, kernel, strides, ones, pads, out, counts),
    )


def codes(shape, form, seed=0):
    word = QFormat.parse(form).word()
    return np.random.default_rng(seed).integers(word.least, word.most + 1, shape).astype(word.dtype)


def run(step, x, out, tally=None, **rules):
    return step.fixed(tensor("y", out, step.shape), Arithmetic(**rules))(x, tally=tally)


def cells(name, at):
    """The elements of a window that are inside, and how many the padding has."""
    size, kernel, strides, pads, _ = WINDOWS[name]
    inside = [
        [i for i in range(p * s - b[0], p * s - b[0] + k) if 0 <= i < n]
        for p, s, b, k, n in zip(at, strides, pads, kernel, size, strict=True)
    ]
    return inside, prod(kernel)


@pytest.mark.parametrize("rounding", ROUND)
@pytest.mark.parametrize(("form", "out"), [("Q3.4", "Q3.4"), ("Q3.4", "Q2.5"), ("Q3.4", "Q4.3"), ("UQ4.4", "Q3.4")])
@pytest.mark.parametrize("method", ["reciprocal", "shifted_count", "accumulator", "float32"])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows_equal_loops(name, method, form, out, rounding):
    step, fmt, target = pooled(name, form), QFormat.parse(form), QFormat.parse(out)
    x, counts_pads = codes(step.x.shape, form), WINDOWS[name][4]
    y = run(step, x, out, rounding=Rounding(rounding), mean=MeanRule(method))
    n = target.fraction_bits - fmt.fraction_bits
    word = target.word()
    for at in np.ndindex(*step.shape):
        inside, whole = cells(name, at[2:])
        total = int(x[at[:2]][np.ix_(*inside)].astype(int).sum())
        count = whole if counts_pads else prod(map(len, inside))
        if method == "reciprocal":
            value = Fraction(total * (65536 // count), 65536) * Fraction(2) ** n
        elif method == "shifted_count":
            value = Fraction(total, count >> n if n > 0 else count << -n)
        elif method == "accumulator":
            value = int(Fraction(total, count)) * Fraction(2) ** n
        else:
            value = np.float32(total) * (np.float32(1) / np.float32(count)) * np.float32(2.0**n)
            value = Fraction(float(np.float32(float(value) + 0.5))) - Fraction(1, 2) if rounding == "half_up" else value
            value = Fraction(float(value))
        wanted = min(max(ROUND[rounding](value), word.least), word.most)
        assert y[at] == wanted, (at, total, count)


def device_pool(image, kernel, padding, stride, out):
    """An average pool as legacy code for cores with DSP instructions computes it: the first pass in place."""
    image, height, width = [list(row) for row in image], len(image), len(image[0])
    for row in image:
        row += [0] * max(out[1] - width, 0)
        for i in range(out[1]):
            start = i if i * stride - padding < 0 else i * stride - padding
            stop = min(i * stride - padding + kernel, width)
            total, count = row[start], 1
            for v in row[start + 1 : stop]:
                total, count = total + v, count + 1
            row[i] = int(Fraction(total, count))
    result = []
    for i in range(out[0]):
        start = max(i * stride - padding, 0)
        rows = image[start : min(i * stride - padding + kernel, height)]
        result.append([int(Fraction(sum(row[j] for row in rows), len(rows))) for j in range(out[1])])
    return result


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_two_passes_equal_the_device(kernel, stride, padding):
    if padding >= kernel:
        return
    WINDOWS["device"] = ((7, 7), (kernel,) * 2, (stride,) * 2, ((padding,) * 2,) * 2, False)
    step = pooled("device", "Q0.7")
    x = codes(step.x.shape, "Q0.7", kernel * 9 + stride * 3 + padding)
    y = run(step, x, "Q0.7", rounding=Rounding.TRUNC, mean=MeanRule("two_pass"))
    for c in range(2):
        wanted = device_pool(x[0, c].tolist(), kernel, padding, stride, step.shape[2:])
        assert y[0, c].tolist() == wanted
    exact = run(step, x, "Q0.7", rounding=Rounding.TRUNC)
    assert (y != exact).any() or stride > 1


def test_a_first_pass_reads_what_it_has_written():
    """Windows of 3 with one element of padding: (10 + 20) / 2 = 15 is written to place 0; then (15 + 20 + 30) / 3."""
    word = Word(8, True, "trunc")
    row = np.int8([[10, 20, 30, 40]])
    assert first_pass(row, 1, 3, 1, 1, 4, word, None).tolist() == [
        [15, 21, 30, 35]
    ]  # (21 + 30 + 40) // 3, (30 + 40) / 2
    assert first_pass(row, 1, 3, 2, 1, 2, word, None).tolist() == [[15, 30]]
    assert first_pass(row, 1, 2, 1, 0, 3, word, None).tolist() == [[15, 25, 35]]


@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("axes", [(2, 3), (3,), (1, 3), (-1, -2)])
def test_two_passes_over_whole_axes(axes, keepdims):
    shape = (2, 3, 4, 5)
    x = codes(shape, "Q3.4")
    count = prod(shape[a] for a in axes)
    kept = [1 if i in {a % 4 for a in axes} else n for i, n in enumerate(shape)]
    out = tuple(kept) if keepdims else tuple(n for i, n in enumerate(shape) if i not in {a % 4 for a in axes})
    step = Mean(tensor("x", "Q3.4", shape), AxisSum(axes, keepdims), out, count)
    y = run(step, x, "Q3.4", rounding=Rounding.FLOOR, mean=MeanRule("two_pass"))
    wanted = x.astype(int)
    for axis in sorted((a % 4 for a in axes), reverse=True):
        wanted = wanted.sum(axis=axis, keepdims=True) // shape[axis]
    assert np.array_equal(y, wanted.reshape(out))


@pytest.mark.parametrize("method", ["exact", "two_pass", "reciprocal", "shifted_count", "accumulator", "float32"])
def test_a_sum_is_not_divided_by_any_method(method):
    x = codes((2, 3, 4), "Q3.4")
    step = Mean(tensor("x", "Q3.4", x.shape), AxisSum((2,), False), (2, 3), 1)
    assert np.array_equal(run(step, x, "Q7.8", mean=MeanRule(method)), x.astype(int).sum(axis=2) << 4)


@pytest.mark.parametrize("counts_pads", [None, True, False])
@pytest.mark.parametrize("declared", [True, False])
def test_the_rule_decides_whether_pads_count(declared, counts_pads):
    WINDOWS["padded"] = ((4, 4), (3, 3), (2, 2), ((1, 1), (1, 1)), declared)
    step = pooled("padded", "Q3.4")
    x = np.full(step.x.shape, 90, np.int8)
    y = run(step, x, "Q3.4", mean=MeanRule(counts_pads=counts_pads))
    counts = declared if counts_pads is None else counts_pads
    assert y[0, 0].tolist() == ([[40, 60], [60, 90]] if counts else [[90, 90], [90, 90]])


def test_a_register_of_its_own_cuts_the_input_and_wraps():
    """1.75 + 1.75 with one fraction bit is 1.5 + 1.5; a sum of 6 bits wraps at 32 halves."""
    x = np.int8([[[7, 7]], [[127, 127]]])
    step = Mean(tensor("x", "Q5.2", x.shape), AxisSum((2,), False), (2, 1), 2)
    rule = {"mean": MeanRule("accumulator"), "accumulator": AccumulatorRule(6, fraction_bits=1)}
    y = run(step, x, "Q5.2", **rule)
    assert y[0, 0] == 6  # 1.5
    total = 63 * 2  # 63 halves, twice
    wrapped = (total + 32) % 64 - 32
    assert y[1, 0] == int(wrapped / 2) * 2
    wide = run(step, x, "Q5.2", mean=MeanRule("accumulator"), accumulator=AccumulatorRule(20, fraction_bits=4))
    assert wide[:, 0].tolist() == [7, 127]


def test_half_up_in_float32_adds_in_float32():
    """65535/2 - 1/256 plus 1/2 is no float32: the sum rounds up to a whole number."""
    x = np.int16([[32767] * 3 + [32766]])
    step = Mean(tensor("x", "Q7.8", x.shape), AxisSum((1,), False), (1,), 4)
    assert run(step, x, "Q7.8", rounding=Rounding.HALF_UP, mean=MeanRule("float32"))[0] == 32767
    total = sum(x[0].tolist())
    factor = np.float32(1) / np.float32(3)
    step = Mean(tensor("x", "Q7.8", x.shape), AxisSum((1,), False), (1,), 3)
    y = run(step, x, "Q7.8", mean=MeanRule("float32"))
    assert y[0] == min(round(Fraction(float(np.float32(total) * factor))), 32767)


def test_overflow_and_counts():
    x = np.int8([[100, 100, 100]])
    step = Mean(tensor("x", "Q3.4", x.shape), AxisSum((1,), False), (1,), 3)
    for method in ("reciprocal", "accumulator", "float32", "two_pass"):
        for overflow, wanted in (("saturate", 127), ("wrap", -56 if method != "reciprocal" else -57)):
            tally = new_tally()
            y = run(step, x, "Q2.5", tally, rounding=Rounding.FLOOR, overflow=Overflow(overflow), mean=MeanRule(method))
            assert (y[0], tally[SATURATED], tally[TOTAL]) == (wanted, 1, 1), method


def test_what_a_method_cannot_do_is_refused():
    step = pooled("2x2", "Q3.4")
    with pytest.raises(FormatError, match=r"^the mean 'y' has 3 fraction bits more than 'x', .* a count of 4 to 0"):
        run(step, None, "Q0.7", mean=MeanRule("shifted_count"))
    with pytest.raises(FormatError, match=r"accumulator.overflow is saturate"):
        run(step, None, "Q3.4", mean=MeanRule("accumulator"), accumulator=AccumulatorRule(20, "saturate"))
    dilated = Mean(step.x, WindowSum((2, 2), (1, 1), (2, 1), ((0, 0), (0, 0))), (1, 2, 2, 5), step.count)
    with pytest.raises(FormatError, match=r"^the mean 'y' has dilations"):
        run(dilated, None, "Q3.4", mean=MeanRule("two_pass"))
