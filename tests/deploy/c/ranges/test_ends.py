"""Ends of tensors: codes of random graphs under random rules stay inside, and simple ones are exact."""

from itertools import product

import numpy as np
import pytest
from deploy.c.one_operator import node, session_of
from oracle import Fmt, Net, Options
from random_graphs import OPERATORS, random_case
from random_graphs.rules import random_rules

import qengine
from qengine.deploy.c.network import plan_of
from qengine.deploy.c.ranges.ends import ends_of, word_ends
from qengine.deploy.c.ranges.intervals import fitted, requantized
from qengine.kernels.reference.requantize import requantize
from qengine.kernels.reference.rounding_table import ROUNDINGS
from qengine.kernels.reference.word import Word
from qengine.model.rules import AccumulatorRule, MeanRule, Rules

_MOVES = ("Relu", "Clip", "Identity", "MaxPool", "Pad", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze")


def ends_in(plan):
    found = {t.name: word_ends(t) for t in plan.inputs}
    for bound_step in plan.steps:
        found[bound_step.output.name] = ends_of(bound_step, found)
    return found


def outside(session, feeds):
    """Return the tensors that hold a code outside of their ends, for feeds and for extremes of their shapes."""
    plan = plan_of(session, feeds)
    ends, wrong = ends_in(plan), []
    rng = np.random.default_rng(1)
    real = [name for name, a in feeds.items() if a.dtype.kind == "f"]

    def changed(fill):
        return feeds | {name: fill(feeds[name].shape).astype(feeds[name].dtype) for name in real}

    fills = [lambda s: np.full(s, 1e6), lambda s: np.full(s, -1e6), np.zeros]
    fills += [lambda s: rng.choice([-1e6, 1e6], s), lambda s: rng.standard_normal(s) * 4]
    for one in (feeds, *map(changed, fills)):
        for t, array in plan.trace(session.check_feeds(one)):
            low, high = ends[t.name]
            if array.size and array.dtype.kind in "iub" and (array.min() < low or array.max() > high):
                wrong.append(f"{t.name}: {int(array.min())}..{int(array.max())} outside of {low}..{high}")
    return wrong


@pytest.mark.parametrize("start", range(0, 3 * len(OPERATORS), 30))
def test_codes_of_random_graphs_stay_inside(start):
    wrong = []
    for seed in range(start, start + 30):
        case = random_case(seed, 7, is_apart=seed % 2 == 0)
        rng = np.random.default_rng([seed, 16])
        net = Net(case.model)
        made = sorted({n.output[0] for n in net.nodes if n.op_type not in _MOVES} & set(case.names))
        rules, _ = random_rules(rng, made, Options(Fmt.parse(case.options["qformat"])))
        options = {name: case.options[name] for name in ("qformat", "per_channel")}
        session = qengine.InferenceSession(
            case.model.SerializeToString(), formats=case.formats, rules=rules, isa="reference", **options
        )
        wrong += [f"seed {seed} {case.trail}: {line}" for line in outside(session, case.feeds)]
    assert not wrong, "\n".join(wrong[:5])


def ends_of_y(nodes, shape=(1, 2, 4, 4), weights=(), **options):
    session = session_of(nodes, shape, weights, **options)
    feeds = {"x": np.zeros(shape, np.float32)}
    assert not outside(session, feeds)
    return ends_in(plan_of(session, feeds))["y"]


SQUARE = np.full((1, 2, 1, 1), 0.25, np.float32)


@pytest.mark.parametrize(
    ("one", "weights", "options", "expected"),
    [
        (node("Relu", "x"), (), {}, (0, 127)),
        (node("Clip", "x", "l", "h"), (("l", np.float32(-1)), ("h", np.float32(2))), {}, (-8, 16)),
        (node("Sigmoid", "x"), (), {}, (0, 8)),
        (node("Mul", "x", "x"), (), {"formats": {"y": "Q10.5"}}, (0, 128 * 128 // 2)),
        (node("Add", "x", "x"), (), {"formats": {"y": "Q8.3"}}, (-256, 254)),
        (node("Sub", "x", "x"), (), {"formats": {"y": "Q8.3"}}, (-255, 255)),
        (node("Conv", "x", "w"), (("w", SQUARE),), {"weight_qformat": "Q0.7"}, (-64, 64)),
        (node("Conv", "x", "w", "b"), (("w", SQUARE), ("b", np.float32([1]))), {"weight_qformat": "Q0.7"}, (-56, 72)),
        (node("Conv", "x", "w"), (("w", -SQUARE),), {"weight_qformat": "Q0.7", "overflow": "wrap"}, (-64, 64)),
        (node("Conv", "x", "w"), (("w", 2 * SQUARE),), {"weight_qformat": "Q1.6", "overflow": "wrap"}, (-128, 127)),
        (node("MaxPool", "x", kernel_shape=[2, 2]), (), {}, (-128, 127)),
        (node("Pad", "x", "p", "v"), (("p", np.int64([0] * 7 + [1])), ("v", np.float32(-99))), {}, (-128, 127)),
        (node("GlobalAveragePool", "x"), (), {"formats": {"y": "Q2.5"}, "overflow": "wrap"}, (-128, 127)),
        (node("AveragePool", "x", kernel_shape=[2, 2]), (), {"formats": {"y": "Q6.1"}}, (-32, 32)),
        (node("ReduceSum", "x", "a"), (("a", np.int64([1])),), {"formats": {"y": "Q8.3"}}, (-256, 254)),
        (node("Concat", "x", "k", axis=1), (("k", np.zeros((1, 1, 4, 4), np.float32)),), {}, (-128, 127)),
        (node("Max", "x", "k"), (("k", np.ones((1, 1, 4, 4), np.float32)),), {}, (8, 127)),
        (node("Min", "x", "k"), (("k", np.ones((1, 1, 4, 4), np.float32)),), {}, (-128, 8)),
        (node("Div", "x", "k"), (("k", np.full((1, 1, 4, 4), 2, np.float32)),), {}, (-64, 64)),
        (node("ArgMax", "x", axis=1), (), {}, (-1, 31)),
        (
            node("Resize", "x", "", "s", mode="linear"),
            (("s", np.float32([1, 1, 2, 2])),),
            {"overflow": "wrap"},
            (-128, 127),
        ),
    ],
)
def test_ends_of_one_operator(one, weights, options, expected):
    assert ends_of_y([one], weights=weights, **{"qformat": "Q4.3", **options}) == expected


def test_ends_narrow_the_next_operator():
    relu = node("Sigmoid", "x", to="r")
    conv = node("Conv", "r", "w")
    assert ends_of_y([relu, conv], weights=[("w", SQUARE)], qformat="Q4.3", weight_qformat="Q0.7") == (0, 4)


def test_biases_along_another_axis_are_not_those_of_the_filters():
    """An output of as many rows as columns, with a bias for each row."""
    w, b = np.eye(2, dtype=np.float32) * [1, 0], np.float32([[4], [-4]])
    one = node("Gemm", "x", "w", "b")
    assert ends_of_y([one], (2, 2), [("w", w.astype(np.float32)), ("b", b)], qformat="Q4.3") == (-128, 127)


def test_a_matrix_may_stand_first():
    w = np.float32([[1, -1], [0, 2]])
    found = ends_of_y([node("MatMul", "w", "x")], (2, 2), [("w", w)], qformat="Q4.3", formats={"y": "Q9.3"})
    assert found == (-256, 255)


METHODS = ("exact", "two_pass", "reciprocal", "shifted_count", "accumulator", "float32")
POOLS = (
    node("GlobalAveragePool", "x"),
    node("AveragePool", "x", kernel_shape=[2, 3], pads=[1, 1, 0, 1]),
    node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], count_include_pad=1, ceil_mode=1),
)


@pytest.mark.parametrize(("method", "overflow"), [*product(METHODS, ("saturate", "wrap", "symmetric", "zero"))])
def test_means_stay_inside(method, overflow):
    for pool, y, rounding in product(POOLS, ("Q4.3", "Q3.4", "Q4.0", "UQ1.2"), ("half_even", "tflite", "ruy")):
        rules = Rules(rounding, overflow, mean=MeanRule(method), accumulator=AccumulatorRule(10, fraction_bits=2))
        ends_of_y([pool], qformat="Q4.3", formats={"y": y}, rules=rules)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_intervals_hold_what_they_are_made_of(rounding):
    rng = np.random.default_rng(3)
    for overflow, bits, signed, shift in product(
        ("saturate", "symmetric", "wrap", "zero"), (2, 5), (True, False), (-2, 0, 1, 2, 4)
    ):
        word = Word(bits, signed, rounding, overflow)
        for _ in range(10):
            low, high = sorted(rng.integers(-90, 90, 2).tolist())
            bounds = rng.choice(np.array([None, -3, 0, 2], object), 2)
            codes = requantize(np.arange(low, high + 1), shift, word, low=bounds[0], high=bounds[1])
            least, most = requantized((low, high), shift, word, *bounds)
            assert least <= codes.min()
            assert codes.max() <= most


def test_an_interval_that_wraps_as_a_whole_keeps_its_length():
    word = Word(4, True, "floor", "wrap")
    assert fitted((17, 20), word) == (1, 4)
    assert fitted((6, 9), word) == (-8, 7)
    assert fitted((6, 9), word._replace(overflow="zero")) == (0, 7)
