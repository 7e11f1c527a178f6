"""Tables of devices, compared with what the devices' own sources compute, written out in Python's integers."""

import math
from fractions import Fraction

import numpy as np
import pytest

from qengine.kernels.reference import functions
from qengine.kernels.reference.device_table import DeviceTable, make_device_table, shared_sigmoid, shared_table
from qengine.kernels.reference.word import Word

FUNCTIONS = {"Sigmoid": (functions.sigmoid, lambda x: 1 / (1 + math.exp(-x))), "Tanh": (np.tanh, math.tanh)}
Q7, Q15 = Word(8, True), Word(16, True)


def table(method, entry, entry_bits, **changes):
    fields = {"entries": 256, "limit_bits": 3, "has_end": False, "index_rounding": "floor", "line_rounding": "floor"}
    return DeviceTable(method=method, entry=entry, entry_fraction_bits=entry_bits, **fields | changes)


def results(name, rule, source, n_in, n_out, word):
    return make_device_table(FUNCTIONS[name][0], rule, source, n_in, n_out, word)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("int_width", range(4))
def test_cut_is_the_table_of_q7(name, int_width):
    """The index is the byte of x >> (3 - int_width); the table has its positive half first."""
    exact = [round(FUNCTIONS[name][1]((i - 256 * (i > 127)) / 16) * 128) for i in range(256)]
    got, saturates, _ = results(name, table("cut", Q7, 7), Q7, 7 - int_width, 7, Q7)
    wanted = [exact[(x >> (3 - int_width)) & 0xFF] for x in range(-128, 128)]
    assert got.tolist() == [min(y, 127) for y in wanted]
    assert saturates.tolist() == [y > 127 for y in wanted]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("int_width", range(4))
def test_interpolated_is_the_table_of_q15(name, int_width):
    """(full - frac) * value + frac * next, shifted right; the last interval is constant."""
    entries = [min(round(FUNCTIONS[name][1]((i - 256 * (i > 127)) / 16) * 32768), 32767) for i in range(256)]
    shift = 11 - int_width
    got, *_ = results(name, table("interpolated", Q15, 15), Q15, 15 - int_width, 15, Q15)
    for x, y in zip(range(-32768, 32768), got.tolist(), strict=True):
        frac, at = x & (0x7FF >> int_width), x >> shift
        first = entries[at & 0xFF]
        wanted = first if at == 0x7F else (((1 << shift) - frac) * first + entries[(at + 1) & 0xFF] * frac) >> shift
        assert y == wanted, x


@pytest.mark.parametrize(("name", "limit_bits"), [("Sigmoid", 3), ("Tanh", 2)])
@pytest.mark.parametrize("n_in", [4, 7, 10])
def test_cut_toward_zero_is_the_table_of_an_hls_generator(name, limit_bits, n_in):
    """data * size / (2 limit) is cut toward zero, and stops at both ends; entries of ap_fixed<18,8> are cut."""
    size, limit, source = 1024, 1 << limit_bits, Word(12, True)
    changes = {"entries": size, "limit_bits": limit_bits, "index_rounding": "trunc"}
    rule = table("cut", Word(18, True, "floor", "wrap"), 10, **changes)
    got, *_ = results(name, rule, source, n_in, 6, Word(8, True, "floor", "wrap"))
    for x, y in zip(range(-2048, 2048), got.tolist(), strict=True):
        index = int(Fraction(x, 1 << n_in) * size / (2 * limit)) + size // 2
        index = min(max(index, 0), size - 1)
        entry = math.floor(np.float32(FUNCTIONS[name][1](2 * limit * (index - size / 2) / size)) * 1024)
        assert y == (entry >> 4), x


@pytest.mark.parametrize("rounding", ["half_up", "half_even"])
def test_the_nearest_of_every_256th_code(rounding):
    """Entries stand at codes -32768, -32512, ..., 32768; the remainder of the code decides."""
    rule = table("cut", Q15, 14, limit_bits=3, has_end=True, index_rounding=rounding)
    got, *_ = results("Tanh", rule, Q15, 12, 14, Q15)
    for x, y in zip(range(-32768, 32768), got.tolist(), strict=True):
        value = x + 32768
        index, rest = value >> 8, value & 255
        index += rest >= 128 if rounding == "half_up" else rest > 128 or (rest == 128 and index & 1)
        assert y == round(math.tanh((index * 256 - 32768) / 4096) * 16384), x


def test_lines_may_be_cut_toward_zero():
    """x + rest * (next - x) / 256 in C."""
    rule = table("interpolated", Q15, 14, has_end=True, line_rounding="trunc")
    got, *_ = results("Tanh", rule, Q15, 12, 14, Q15)
    entries = [round(math.tanh((i * 256 - 32768) / 4096) * 16384) for i in range(257)]
    for x, y in zip(range(-32768, 32768), got.tolist(), strict=True):
        index, rest = (x + 32768) >> 8, x & 255
        assert y == entries[index] + int(Fraction(rest * (entries[index + 1] - entries[index]), 256)), x


def test_the_shared_table_has_known_entries():
    """Entries 0 to 7, some of the middle, and the last three, as TFLite publishes them."""
    found = shared_table().tolist()
    assert found[:8] == [32768, 33451, 34133, 34813, 35493, 36169, 36843, 37513]
    assert [found[i] for i in (28, 30, 86, 135)] == [49975, 50942, 63765, 65301]
    assert found[-3:] == [65534, 65534, 65535]
    assert len(found) == 256


@pytest.mark.parametrize("is_tanh", [False, True])
@pytest.mark.parametrize("n", [11, 12, 13, 15])
def test_the_shared_table_is_used_as_tflite_does(n, is_tanh):
    entries = shared_table().tolist()
    codes = np.arange(-32768, 32768, 7)
    got = shared_sigmoid(codes, n, is_tanh=is_tanh)
    bits = 8 if is_tanh else 9
    for x, y in zip(codes.tolist(), got.tolist(), strict=True):
        data = math.floor(Fraction(3 * x) * Fraction(2) ** (12 - n) + Fraction(1, 2))
        at, rest = abs(data) >> bits, abs(data) % (1 << bits)
        if is_tanh:
            line = 0xFFFF << 8 if at >= 255 else (entries[at] << 8) + rest * (entries[at + 1] - entries[at])
            wanted = line - (1 << 23) + 128 if data >= 0 else -line + (1 << 23) + 127
            wanted >>= 8
        else:
            line = 0x7FFF << 10 if at >= 255 else (entries[at] << 9) + rest * (entries[at + 1] - entries[at])
            wanted = (line + 512 if data >= 0 else (1 << 25) - line + 511) >> 10
        assert y == wanted, x
        exact = math.tanh(x / 2**n) if is_tanh else 1 / (1 + math.exp(-x / 2**n))
        assert abs(y / 32768 - exact) < 2e-4


def test_results_come_to_the_output_s_format_once_more():
    """Entries of Q0.7 in an output of Q1.4: 127 * 2^-3 is 15.875, rounded to 16; a short word saturates."""
    got, saturates, flushes = results("Sigmoid", table("cut", Q7, 7), Q7, 4, 4, Word(8, True))
    assert got.max() == 16
    assert saturates.tolist() == [x / 16 > 5 and 1 / (1 + math.exp(-x / 16)) * 128 >= 127.5 for x in range(-128, 128)]
    got, saturates, flushes = results("Tanh", table("cut", Q7, 7), Q7, 4, 4, Word(4, True))
    assert (got.min(), got.max()) == (-8, 7)
    assert saturates.sum() > 100
    assert flushes[127:130].tolist() == [False, False, False]  # tanh of 0 is 0, of 1/16 it is 8/128


def test_undefined_results_are_0():
    got, saturates, _ = make_device_table(np.log, table("cut", Q7, 4), Q7, 4, 4, Q7)
    assert got[:128].tolist() == [0] * 128
    assert saturates[:128].all()
    assert got[129] == round(math.log(1 / 16) * 16)


@pytest.mark.parametrize("method", ["cut", "interpolated"])
def test_a_table_finer_than_the_input_is_full(method):
    """With 1,024 entries over [-8, 8) every code of Q3.4 has its own."""
    got, *_ = results("Sigmoid", table(method, Q7, 7, entries=1024), Q7, 4, 7, Q7)
    assert got.tolist() == [min(round(128 / (1 + math.exp(-x / 16))), 127) for x in range(-128, 128)]
