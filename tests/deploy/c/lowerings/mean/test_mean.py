"""Means and sums in C: every method, rounding and overflow, over windows and axes in any order of memory."""

from itertools import product

import numpy as np
import pytest
from deploy.c.one_operator import node, session_of
from deploy.c.running import INLINED, SANITIZED, differences, needs_gcc, with_sanitizers

from qengine.deploy.c.lowerings.mean.dividers import divider, multiply_shift, quotient_addends, shift_addends
from qengine.deploy.c.lowerings.mean.lines import MeanLines
from qengine.deploy.c.network import plan_of
from qengine.kernels.reference.rounding import divide, shift_right
from qengine.kernels.reference.rounding_table import ROUNDINGS
from qengine.model.rules import AccumulatorRule, MeanRule, Rules
from qengine.qformat import Overflow, Rounding

POOLS = (
    (node("GlobalAveragePool", "x"), (2, 3, 4, 5)),
    (node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2]), (1, 70, 4, 6)),
    (node("AveragePool", "x", kernel_shape=[3, 2], pads=[1, 0, 1, 1]), (1, 2, 5, 6)),
    (node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1, ceil_mode=1), (2, 3, 4, 4)),
    (node("AveragePool", "x", kernel_shape=[3], strides=[2], pads=[1, 1], ceil_mode=1), (2, 3, 8)),
    (node("AveragePool", "x", kernel_shape=[2, 2, 3], pads=[0, 1, 1, 0, 0, 1]), (1, 2, 3, 4, 5)),
)
DILATED = (node("AveragePool", "x", kernel_shape=[2, 3], dilations=[2, 2], pads=[1, 2, 1, 2]), (1, 3, 6, 7))
METHODS = ("exact", "two_pass", "reciprocal", "shifted_count", "accumulator", "float32")


def reduced(op, axes, shape, keepdims=1):
    return node(op, "x", "a", keepdims=keepdims), shape, (("a", np.int64(axes)),)


REDUCTIONS = (
    reduced("ReduceMean", [1], (2, 3, 4)),
    reduced("ReduceMean", [0, 2], (3, 4, 5), 0),
    reduced("ReduceMean", [2, 3], (2, 3, 7, 5)),
    reduced("ReduceMean", [0, 1, 2], (3, 4, 5)),
    reduced("ReduceSum", [0, 2, 4], (2, 3, 2, 3, 2), 0),
    reduced("ReduceMean", [1, 3], (2, 3, 2, 3, 2, 2), 0),
    reduced("ReduceSum", [1], (3, 130)),
)


def case(one, shape, weights=(), *, x="Q4.3", y="Q4.3", seed=0, scale=6.0, **options):
    session = session_of([one], shape, weights, qformat=x, formats={"x": x, "y": y}, **options)
    rng = np.random.default_rng(seed)
    feeds = [{"x": (scale * rng.standard_normal(shape)).astype(np.float32)} for _ in range(2)]
    return session, [*feeds, {"x": np.full(shape, 1e6, np.float32)}, {"x": np.full(shape, -1e6, np.float32)}]


FORMATS = (
    ("Q4.3", "Q4.3"),
    ("Q4.3", "Q3.4"),
    ("Q4.3", "Q5.0"),
    ("UQ4.4", "UQ4.4"),
    ("Q4.11", "Q4.11"),
    ("Q4.3", "Q2.13"),
)


@needs_gcc
@pytest.mark.parametrize("method", METHODS)
@with_sanitizers
def test_every_method(tmp_path, method, flags):
    roundings, overflows = list(Rounding), list(Overflow)
    cases = []
    first = METHODS.index(method)
    for i, (place, half) in enumerate(product(range(len(POOLS)), (0, 3))):
        (pool, shape), (x, y) = POOLS[place], FORMATS[(first + place + half) % len(FORMATS)]
        if method == "shifted_count" and y in ("Q2.13", "Q3.4"):
            x, y = "Q4.3", "Q4.2"  # as others would shift a count to 0
        rules = Rules(
            roundings[i % len(roundings)],
            overflows[i // 2 % len(overflows)],
            mean=MeanRule(method, None if method == "two_pass" else (None, True, False)[i % 3]),
            accumulator=AccumulatorRule(*((None, "wrap"), (12, "wrap"), (20, "wrap"))[i % 3]),
        )
        cases.append(case(pool, shape, x=x, y=y, seed=i, rules=rules))
    assert not differences(cases, tmp_path, flags)


@needs_gcc
def test_every_rounding_and_overflow(tmp_path):
    cases = []
    for i, (rounding, overflow) in enumerate(product(Rounding, Overflow)):
        (pool, shape), (x, y) = POOLS[i % len(POOLS)], FORMATS[i % len(FORMATS)]
        cases.append(case(pool, shape, x=x, y=y, seed=i, rules=Rules(rounding, overflow)))
        one = REDUCTIONS[i % len(REDUCTIONS)]
        cases.append(case(*one, x=x, y=y, seed=i, rules=Rules(rounding, overflow)))
    assert not differences(cases, tmp_path)


@needs_gcc
def test_axes_by_methods(tmp_path):
    cases = [
        case(*one, seed=i, rules=Rules(mean=MeanRule(method)), x="Q4.3", y="Q3.4")
        for i, (one, method) in enumerate(product(REDUCTIONS, METHODS))
    ]
    cases += [case(*DILATED, rules=Rules(mean=MeanRule(method))) for method in METHODS if method != "two_pass"]
    assert not differences(cases, tmp_path)


@needs_gcc
def test_registers_with_other_fraction_bits(tmp_path):
    cases = []
    for bits, n, rounding in (
        (None, 0, "floor"),
        (9, 2, "half_up"),
        (9, 5, "floor"),
        (16, 3, "floor"),
        (16, 2, "floor"),
    ):
        rule = AccumulatorRule(bits, fraction_bits=n, rounding=Rounding(rounding))
        rules = Rules(accumulator=rule, mean=MeanRule("accumulator"))
        cases += [case(*POOLS[2], rules=rules), case(*POOLS[0], x="Q1.6", y="Q6.1", rules=rules)]
    assert not differences(cases, tmp_path)


@needs_gcc
@pytest.mark.parametrize("flags", [SANITIZED, ("-O3", "-march=native"), ("-Os",)])
def test_orders_of_memory(tmp_path, flags):
    pool = node("AveragePool", "x", kernel_shape=[2, 2], to="p")
    shape, cases = (2, 70, 5, 6), []
    for last in (node("GlobalAveragePool", "p"), node("AveragePool", "p", kernel_shape=[3, 3], pads=[1, 1, 1, 1])):
        session = session_of([pool, last], shape, qformat="Q4.3")
        cases.append((session, [{"x": np.random.default_rng(1).uniform(-20, 20, shape).astype(np.float32)}]))
    assert not differences(cases, tmp_path, flags, toolchain=INLINED)


@needs_gcc
@pytest.mark.parametrize("shape", [(1, 1, 180, 180), (1, 2, 1, 16385)])
def test_large_counts(tmp_path, shape):
    pool = node("GlobalAveragePool", "x")
    cases = [case(pool, shape, x=x, y=y) for x, y in (("Q4.3", "Q4.3"), ("Q0.15", "Q0.15"), ("Q0.15", "Q-3.18"))]
    cases.append(case(pool, shape, x="Q0.15", y="Q-5.20", rules=Rules(mean=MeanRule("float32"))))
    assert not differences([(session, feeds[1:3]) for session, feeds in cases], tmp_path)


def brute(lines, x_bytes, y_bytes, lanes):
    """Return the overlap, found by going through all reads and writes."""
    ((numbers, _, _),) = lines.calls()
    windows = [numbers[f"window{i}"] for i in range(3)]
    loops = [numbers[name] for name in ("stack0", "stack1")]
    lane, reads, writes = numbers["lane"], [], []
    for place in product(*(range(one["count"]) for one in (*loops, *windows))):
        x = sum(i * one["x"] for i, one in zip(place, loops, strict=False))
        y = sum(i * one["y"] for i, one in zip(place, (*loops, *windows), strict=True))
        taps = [
            [
                p * w["x"]
                for k in range(w["taps"])
                if 0 <= (p := o * w["step"] - w["before"] + k * w["dilation"]) < w["size"]
            ]
            for o, w in zip(place[2:], windows, strict=True)
        ]
        for first in range(0, lane["count"], lanes):
            block = range(first, min(first + lanes, lane["count"]))
            reads.append(min((x + c * lane["x"] + sum(t) for c in block for t in product(*taps)), default=1 << 40))
            writes.append(max(y + c * lane["y"] for c in block))
    later = [min(reads[i:]) for i in range(len(reads))]
    pairs = zip(later[1:], writes[:-1], strict=True)
    return min((x_bytes * read - y_bytes * (write + 1) for read, write in pairs), default=None)


@pytest.mark.parametrize("order", ["first", "last"])
def test_overlaps_are_exact(order):
    for pool, shape in (*POOLS, DILATED):
        step = plan_of(session_of([pool], shape, qformat="Q4.3"), {"x": np.zeros(shape, np.float32)}).steps[0].step

        def strides(of):
            axes = range(len(of)) if order == "first" else (0, *range(2, len(of)), 1)
            return [int(np.prod([of[b] for b in list(axes)[list(axes).index(a) + 1 :]])) for a in range(len(of))]

        lines = MeanLines.of(step.total, shape, strides(shape), step.shape, strides(step.shape))
        for x_bytes, y_bytes, lanes in ((1, 1, 64), (1, 2, 64), (2, 1, 1)):
            expected = brute(lines, x_bytes, y_bytes, lanes)
            found = lines.overlap(x_bytes, y_bytes, lanes)
            assert expected is None or found == expected, (pool, x_bytes, y_bytes)


@needs_gcc
@with_sanitizers
def test_outputs_share_the_memory_of_inputs(tmp_path, flags):
    cases = []
    for attributes in ({"strides": [2, 2]}, {"pads": [1, 1, 0, 0]}, {"strides": [2, 1], "dilations": [1, 2]}):
        first = node("AveragePool", "x", kernel_shape=[2, 2], to="a")
        second = node("AveragePool", "a", kernel_shape=[2, 2], to="b", **attributes)
        session = session_of([first, second, node("GlobalAveragePool", "b")], (1, 5, 9, 8), qformat="Q4.3")
        rng = np.random.default_rng(2)
        cases.append((session, [{"x": rng.uniform(-16, 16, (1, 5, 9, 8)).astype(np.float32)}]))
    assert not differences(cases, tmp_path, flags)


def computed(one, total):
    """Return the quotient as C computes it, in integers of 32 bits."""
    addend, negative, scale, divisor, ties, multiplier, shift, whole = one.row
    t = (total * scale + (negative if total < 0 else addend)) % (1 << 32)
    product = t * multiplier
    assert product < 1 << (64 if one.is_wide else 32)
    q = product >> shift
    return q - (q & ties & (q * divisor == t)) - whole


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_multiplications_are_exact_divisions(rounding):
    for divisor, scale, end in product((1, 2, 3, 7, 9, 10, 49, 64, 196, 1000), (1, 4), (5, 300, 7000)):
        one = divider(scale, divisor, quotient_addends(rounding, divisor), (-end, end - 1))
        assert one.multiplies
        totals = np.arange(-end, end)
        assert [computed(one, t) for t in totals.tolist()] == divide(scale * totals, divisor, rounding).tolist()


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_shifts_are_divisions(rounding):
    for shift in range(5):
        one = divider(3, 1 << shift, shift_addends(rounding, shift), (-200, 200))
        totals = np.arange(-200, 201)
        expected = shift_right(3 * totals, shift, rounding) if shift else 3 * totals
        assert [computed(one, t) for t in totals.tolist()] == expected.tolist()


def test_the_smallest_multiplication_is_found():
    assert multiply_shift(8, 255) == (1, 3, False)
    for divisor in (3, 49, 641, 65537):
        multiplier, shift, is_wide = multiply_shift(divisor, (1 << 32) - 1) or (0, 0, False)
        for n in (0, divisor - 1, divisor, (1 << 32) - 1, (1 << 32) // divisor * divisor - 1):
            assert n * multiplier >> shift == n // divisor
        assert is_wide
    _, least, _ = multiply_shift(49, 12599)
    assert not any(all(n * -(-(1 << s) // 49) >> s == n // 49 for n in range(12600)) for s in range(least))
