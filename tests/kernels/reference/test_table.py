from fractions import Fraction

import numpy as np
import pytest

from qengine.kernels.reference.requantize import LARGEST, SATURATED, TOTAL, UNDERFLOWED, new_tally
from qengine.kernels.reference.table import count_table, look_up, make_table
from qengine.kernels.reference.word import Word


@pytest.mark.parametrize("source", [Word(8, True), Word(8, False), Word(5, True), Word(10, True)])
@pytest.mark.parametrize(("n_in", "n_out"), [(3, 3), (-2, 5), (7, -3), (0, 60)])
def test_every_entry_is_the_function_rounded_once(source, n_in, n_out, word, code_of):
    def function(x):
        return x * x * x / 7.0 - x

    entries, saturates, underflows = make_table(function, source, n_in, n_out, word)
    codes = range(source.least, source.most + 1)
    exact = [Fraction(float(function(np.float64(c * 2.0**-n_in)))) * Fraction(2) ** n_out for c in codes]
    assert entries.dtype == word.dtype
    assert entries.tolist() == [code_of(v, word) for v in exact]
    unbounded = [code_of(v, word._replace(bits=500, signed=True)) for v in exact]
    assert saturates.tolist() == [not word.lowest <= v <= word.most for v in unbounded]
    assert underflows.tolist() == [v == 0 != e for v, e in zip(unbounded, exact, strict=True)]


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_poles_saturate_and_the_undefined_is_0(overflow):
    def function(x):
        return np.where(x == -1, np.nan, np.where(x == 0, -np.inf, np.where(x == 1, np.inf, 0.25)))

    entries, saturates, underflows = make_table(function, Word(3, True), 0, 0, Word(8, True, overflow=overflow))
    #        codes:  -4 -3 -2 -1     0    1 2 3
    assert entries.tolist() == [0, 0, 0, 0, -128, 127, 0, 0]
    assert saturates.tolist() == [False] * 3 + [True] * 3 + [False] * 2
    assert underflows.tolist() == [True] * 3 + [False] * 3 + [True] * 2


def test_warnings_of_the_function_do_not_escape():
    entries, *_ = make_table(lambda x: np.log(x) / x, Word(8, True), 0, 0, Word(8, True))
    assert entries[128] == -128


def test_huge_and_tiny_values():
    entries, saturates, underflows = make_table(
        lambda x: np.where(x < 0, -5e-324, 1.7e308), Word(2, True), 0, -112, Word(8, True, "floor")
    )
    assert entries.tolist() == [-1, -1, 127, 127]
    assert saturates.tolist() == [False, False, True, True]
    entries, saturates, underflows = make_table(
        lambda x: np.where(x < 0, -5e-324, 1.7e308), Word(2, True), 0, 149, Word(8, True)
    )
    assert entries.tolist() == [0, 0, 127, 127]
    assert underflows.tolist() == [True, True, False, False]


@pytest.mark.parametrize("source", [Word(8, True), Word(8, False), Word(16, True), Word(16, False), Word(6, True)])
def test_look_up_takes_every_code_to_its_entry(source):
    codes = np.arange(source.least, source.most + 1).astype(source.dtype)
    entries, *_ = make_table(lambda x: -x, source, 0, 0, Word(16, True))
    shuffled = np.random.default_rng(0).permutation(codes).reshape(2, -1)
    expected = np.clip(-shuffled.astype(np.int64), -32768, 32767)
    assert np.array_equal(look_up(shuffled, entries, source.least), expected)


def test_tally_counts_elements_not_entries():
    source = Word(4, True)
    entries, saturates, underflows = make_table(lambda x: x * 20, source, 2, 0, Word(4, True))
    #  x 20 / 4 = 5 per code; -8..7 is the word
    codes = np.array([[0, 1, 1], [2, -2, -8]], np.int8)
    out = look_up(codes, entries, source.least)
    tally = new_tally()
    count_table(codes, out, source.least, saturates, underflows, tally)
    assert out.tolist() == [[0, 5, 5], [7, -8, -8]]
    assert (tally[SATURATED], tally[UNDERFLOWED], tally[LARGEST], tally[TOTAL]) == (3, 0, 8, 6)
    entries, saturates, underflows = make_table(lambda x: x / 4, source, 0, 0, Word(4, True))
    count_table(codes, look_up(codes, entries, source.least), source.least, saturates, underflows, tally)
    assert tally.tolist() == [3, 4, 8, 12, 0]
