"""The epilogue of kernels: every rounding, overflow and form, at ties and at the ends, against Python's integers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest
from covering import covering
from oracle import OVERFLOWS, ROUNDINGS, Fmt
from oracle.codes import overflow_code, round_fraction

from qengine.kernels import build
from qengine.kernels.epilogue import LANES, Epilogue, choose_epilogue, stored_zero
from qengine.kernels.isa import GENERIC, available
from qengine.kernels.program import Call, Program
from qengine.kernels.reference.word import Word

ISAS = list(dict.fromkeys((available()[0], GENERIC)))
WITHOUT_SIGN = ("half_even", "half_up", "half_down", "floor", "ceil", "ruy")
"""Roundings that treat negative numbers like all others."""
WORDS = {"s8": (8, True), "u8": (8, False), "s16": (16, True), "u16": (16, False), "s5": (5, True)}


@dataclass(frozen=True)
class ApplyEpilogue:
    """A kernel of these tests alone: the epilogue of sums that lie in memory."""

    epilogue: Epilogue

    emitter = "apply_epilogue"
    arguments = ("total", "low", "numbers", "scalars", "y", "count")


def emit(spec, isa, a):
    from qengine.kernels.emit.epilogue import VectorEpilogue
    from qengine.kernels.emit.loops import counted
    from qengine.kernels.emit.sums import WideSum
    from qengine.kernels.emit.vector import I32, I64, load

    form = spec.epilogue
    epilogue = VectorEpilogue(form, a.numbers, a)
    with counted(a.count) as i:
        if form.split:
            total = WideSum(load(a.total + i * 64, I32), load(a.low + i * 64, I32))
        else:
            total = load(a.total + i * 128, I64) if form.wide else load(a.total + i * 64, I32)
        epilogue.codes(total).store(a.y + i * (LANES * form.itemsize))


@pytest.fixture(scope="module", autouse=True)
def kernel(tmp_path_factory):
    """The kernel above is not among the sources that the cache knows."""
    with pytest.MonkeyPatch.context() as patch:
        module = ModuleType("apply_epilogue")
        module.emit = emit
        patch.setitem(sys.modules, "qengine.kernels.emit.apply_epilogue", module)
        patch.setenv(build.CACHE_VARIABLE, str(tmp_path_factory.mktemp("kernels")))
        yield


def test_words_of_either_sign_that_saturate_share_a_kernel():
    bias, word = np.zeros(LANES, np.int64), {"bits": 8, "rounding": "half_even"}
    forms = {
        overflow: [
            choose_epilogue(bias, 1000, 4, Word(signed=signed, overflow=overflow, **word)).epilogue
            for signed in (True, False)
        ]
        for overflow in OVERFLOWS
    }
    assert forms["saturate"][0] == forms["saturate"][1] == forms["symmetric"][0] == forms["symmetric"][1]
    assert forms["wrap"][0].signed
    assert not forms["wrap"][1].signed


def codes_of(data, isa, totals, surplus=None, order=None):
    """Run totals (count, 16) through an epilogue; stored codes."""
    form, count = data.epilogue, len(totals)
    order = np.arange(LANES)[None] if order is None else order
    numbers, scalars = data.packed(order, surplus), data.scalars
    sums = totals if surplus is None else totals + surplus
    low = np.zeros((count, LANES), np.int32)
    if form.split:
        # Some of the low half's sums are sums of several low halves.
        carried = np.arange(count)[:, None] % 4 << 16
        low = ((sums & 0xFFFF) + carried).astype(np.int32)
        total = ((sums - low) >> 16).astype(np.int32)
    else:
        total = np.ascontiguousarray(sums.astype(np.int64 if form.wide else np.int32))
    y = np.zeros((count, LANES), np.uint8 if form.itemsize == 1 else np.int16)
    arrays = {"total": total, "low": low, "numbers": numbers, "scalars": scalars, "y": y}
    arguments = {name: array.ctypes.data for name, array in arrays.items()}
    Program(isa, [[Call(ApplyEpilogue(form), {**arguments, "count": count})]]).run({})
    return y


def expected(v, shift, word, low=None, high=None, accumulator_bits=None):
    """The stored code of one exact sum."""
    fmt = Fmt(word.bits, 0, word.signed)
    if accumulator_bits is not None:
        v = overflow_code(v, Fmt(accumulator_bits, 0), "wrap")
    rounded = round_fraction(Fraction(v) / Fraction(2) ** int(shift), word.rounding, int(shift))
    code = overflow_code(rounded, fmt, word.overflow)
    low = fmt.low if low is None else min(max(low, fmt.low), fmt.high)
    high = fmt.high if high is None else min(max(high, fmt.low), fmt.high)
    return min(max(code, low), high) + stored_zero(word.signed, word.dtype.itemsize)


def edges(shifts, limit, word):
    """Sums (count, 16): ties and their neighbours near 0 and near the ends of the word, and the ends of the range."""
    wanted = []
    for shift in shifts:
        unit, half = (1 << shift, (1 << shift) >> 1) if shift > 0 else (1, 0)
        whole = [0, 1, 2, -1, -2, -3, word.least, word.least - 1, word.most, word.most + 1, 1 << word.bits]
        found = [k * unit + d for k in whole for d in (-1, 0, 1, half - 1, half, half + 1)]
        found += [limit, -limit, limit - 1, 1 - limit]
        found += [sign * (1 << e) + d for e in (19, 30, 31, 39) for sign in (1, -1) for d in (-1, 0, 1)]  # accumulators
        wanted.append([min(max(v, -limit), limit) for v in found])
    return np.array(wanted, np.int64).T.copy()


# Shifts of the 16 channels, the limit of sums, other arguments, and what the form must be.
FORMS = {
    "narrow": (range(16), 1 << 24, {}, {"wide": False}),
    "narrow, far": (range(15, 31), (1 << 30) - 1, {}, {"wide": False}),
    "wide": ((0, 1, 2, 3, 8, 15, 16, 17, 30, 31, 32, 33, 47, 48, 60, 61), 1 << 60, {}, {"wide": True, "split": False}),
    "left": (
        (-45, -40, -39, -16, -8, -2, -1, 0, 0, 1, 2, 3, 8, 16, 30, 31),
        1 << 20,
        {},
        {"wide": True, "shifts_left": True},
    ),
    "accumulator": (range(16), 1 << 40, {"accumulator_bits": 20}, {"wide": False, "wraps_sums": True}),
    "accumulator, 31": (range(16), 1 << 40, {"accumulator_bits": 31}, {"wide": False, "wraps_sums": True}),
    "accumulator, 32": (range(16), 1 << 40, {"accumulator_bits": 32}, {"wide": True, "wraps_sums": True}),
    "wide accumulator": (range(16, 32), 1 << 60, {"accumulator_bits": 40}, {"wide": True, "wraps_sums": True}),
    "split": (range(16, 32), (1 << 45) - 1, {"splits": True}, {"wide": True, "split": True}),
}


@pytest.mark.parametrize(
    ("form", "rounding", "overflow", "isa"), covering(FORMS, ROUNDINGS, OVERFLOWS, available(), strength=3)
)
def test_every_form_rounding_and_overflow(form, rounding, overflow, isa):
    shifts, limit, options, flags = FORMS[form]
    shifts = np.array(list(shifts), np.int64)
    bias = np.arange(-8, 8, dtype=np.int64) * 3
    for name in ("s8", "u16") if isa is ISAS[0] else ("s8",):
        word = Word(*WORDS[name], rounding, overflow)
        data = choose_epilogue(bias, limit, shifts, word, **options)
        assert data is not None
        found = {flag: getattr(data.epilogue, flag) for flag in flags}
        if form == "accumulator, 32" and rounding == "floor":  # what 32 bits lose, the accumulator loses too
            flags = {"wide": False, "wraps_sums": False}
        assert found == flags
        totals = edges(shifts.tolist(), limit, word) - bias
        codes = codes_of(data, isa, totals)
        wanted = [
            [
                expected(int(v + b), s, word, accumulator_bits=options.get("accumulator_bits"))
                for v, b, s in zip(row, bias, shifts, strict=True)
            ]
            for row in totals
        ]
        np.testing.assert_array_equal(codes, wanted)


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("name", WORDS)
def test_words_and_bounds_of_an_activation(name, overflow):
    shifts = np.arange(16, dtype=np.int64) // 2
    for low, high in ((None, None), (0, None), (-3, 5), (None, 2), (-(10**6), 10**6), (10**6, None), (None, -(10**6))):
        word = Word(*WORDS[name], "half_even", overflow)
        data = choose_epilogue(np.zeros(16, np.int64), 1 << 22, shifts, word, low=low, high=high)
        totals = edges(shifts.tolist(), 1 << 22, word)
        codes = codes_of(data, ISAS[0], totals)
        wanted = [[expected(int(v), s, word, low, high) for v, s in zip(row, shifts, strict=True)] for row in totals]
        np.testing.assert_array_equal(codes, wanted)


@pytest.mark.parametrize("form", FORMS)
def test_what_stored_codes_add_to_a_sum_is_taken_off(form):
    shifts, limit, options, _ = FORMS[form]
    shifts = np.array(list(shifts), np.int64)
    surplus = np.arange(-8, 8, dtype=np.int64) * 1001
    word = Word(8, True, "half_even", "saturate")
    data = choose_epilogue(np.zeros(16, np.int64), limit, shifts, word, **options)
    totals = edges(shifts.tolist(), limit, word)
    np.testing.assert_array_equal(codes_of(data, ISAS[0], totals, surplus), codes_of(data, ISAS[0], totals))


def test_a_lane_without_a_channel_ends_in_a_code_of_the_word():
    word = Word(8, True, "half_even", "saturate")
    data = choose_epilogue(np.full(2, 1 << 20, np.int64), 1 << 24, 4, word)
    order = np.where(np.arange(LANES) < 2, np.arange(LANES), -1)[None]
    codes = codes_of(data, ISAS[0], np.zeros((1, LANES), np.int64), order=order)
    assert codes[0, :2].tolist() == [255, 255]
    assert set(codes[0, 2:].tolist()) == {0}


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_32_bits_are_used_up_to_their_end_and_not_beyond(rounding):
    word = Word(16, True, rounding)
    for shift in (0, 1, 8, 30):
        room = (1 << 31) - (1 << shift)
        for limit, wide in ((room - 1, False), (room, True)):
            data = choose_epilogue(np.zeros(1, np.int64), limit, shift, word)
            assert data.epilogue.wide == wide
            totals = np.repeat(np.array([[limit], [-limit], [limit - 1]], np.int64), LANES, axis=1)
            codes = codes_of(data, ISAS[0], totals, order=np.zeros((1, LANES), np.intp))
            np.testing.assert_array_equal(codes[:, 0], [expected(int(v), shift, word) for v in totals[:, 0]])
    assert choose_epilogue(np.zeros(1, np.int64), 100, 31, word).epilogue.wide
    assert choose_epilogue(np.zeros(1, np.int64), 100, -1, word).epilogue.wide


@pytest.mark.parametrize("rounding", WITHOUT_SIGN)
def test_the_stored_code_of_0_is_in_the_bias_only_where_it_fits(rounding):
    word = Word(8, True, rounding)
    shift = 8
    room = (1 << 31) - (1 << shift) - (128 << shift)
    for limit, is_in_bias in ((room - 1, True), (room, False)):
        data = choose_epilogue(np.zeros(1, np.int64), limit, shift, word)
        assert data.epilogue.adds_zero == (not is_in_bias)
        totals = np.repeat(np.array([[limit], [-limit], [127 << 8], [-128 << 8]], np.int64), LANES, axis=1)
        codes = codes_of(data, ISAS[0], totals, order=np.zeros((1, LANES), np.intp))
        assert codes[:, 0].tolist() == [255, 0, 255, 0]


def test_sums_that_64_bits_do_not_hold():
    word = Word(8, True)
    assert choose_epilogue(np.zeros(1, np.int64), (1 << 62) - 2, 0, word) is not None
    assert choose_epilogue(np.zeros(1, np.int64), (1 << 62) - 1, 0, word) is None
    assert choose_epilogue(np.zeros(1, np.int64), 1 << 70, 0, word) is None
    # An accumulator holds what it holds.
    assert choose_epilogue(np.zeros(1, np.int64), 1 << 70, 0, word, accumulator_bits=40) is not None


def test_halves_of_a_sum_are_kept_apart_up_to_46_bits_and_from_16_dropped_bits_on():
    def form(limit, shift, rounding="half_even", **options):
        return choose_epilogue(
            np.zeros(1, np.int64), limit, shift, Word(8, True, rounding), splits=True, **options
        ).epilogue

    assert form((1 << 46) - (1 << 16) - 1, 16).split
    assert not form((1 << 46) - (1 << 16), 16).split
    assert not form(1 << 40, 15).split
    assert form(1 << 40, 16, "half_away").split
    assert not form(1 << 50, 16, accumulator_bits=44).split
    assert not form(1 << 20, 16).split  # 32 bits hold it


def test_an_accumulator_wraps_where_the_sums_of_any_channel_leave_it():
    for limits in ((100, 1 << 40), (1 << 40, 100)):
        data = choose_epilogue(np.zeros(2, np.int64), np.array(limits), 4, Word(8, True), accumulator_bits=20)
        assert data.epilogue.wraps_sums
        assert data.scalars[4] == 32 - 20
    data = choose_epilogue(np.zeros(2, np.int64), np.array((100, 200)), 4, Word(8, True), accumulator_bits=20)
    assert (data.epilogue.wraps_sums, data.scalars[4]) == (False, 0)


def test_a_lane_without_a_channel_has_no_bias_and_no_shift():
    data = choose_epilogue(np.full(2, 5, np.int64), 1 << 40, 4, Word(8, True))
    assert data.epilogue.wide
    numbers = data.packed(np.where(np.arange(LANES) < 1, 0, -1)[None]).view(np.int64).reshape(3, LANES)
    assert numbers[:, 0].tolist() == [5 + 8, 4, 0]
    assert not numbers[:, 1:].any()
