"""Functions of one variable in C: every code of every table, and the bytes that tables take."""

import numpy as np
import pytest
from deploy.c.one_operator import node, session_of
from deploy.c.running import differences, needs_gcc, with_sanitizers

from qengine.deploy.c.lowerings.tables.rank_table import rank_coded, trimmed
from qengine.deploy.c.network import network_of
from qengine.model.rules import Rules, TableRule
from qengine.qformat import QFormat

pytestmark = needs_gcc

FORMATS = (
    ("Q4.3", "Q0.7"),
    ("Q4.3", "UQ0.8"),
    ("UQ2.4", "Q1.4"),
    ("Q0.1", "Q3.12"),
    ("Q3.4", "UQ4.12"),
    ("Q3.12", "Q0.15"),
    ("Q7.8", "Q3.12"),
    ("Q5.10", "Q3.4"),
    ("UQ4.12", "UQ1.15"),
    ("Q3.8", "Q-1.6"),
)
FUNCTIONS = ("Sigmoid", "Tanh", "Exp", "HardSwish", "Gelu", "Reciprocal", "Sqrt", "Neg", "Sign")


def all_codes(text):
    """Return every number of a format; of long words every 17th, and the last ones. (An export checks all entries.)"""
    fmt = QFormat.parse(text)
    word = fmt.word()
    codes = np.arange(word.least, word.most + 1, dtype=np.float64)
    if len(codes) > 4096:
        codes = np.concatenate([codes[::17], codes[-40:]])
    return np.ldexp(codes, -fmt.fraction_bits).astype(np.float32).reshape(1, -1)


def case(op, x, y, **options):
    feeds = {"x": all_codes(x)}
    session = session_of([node(op, "x")], feeds["x"].shape, qformat=x, formats={"x": x, "y": y}, **options)
    return session, [feeds]


def table_bytes(session, feeds):
    network = network_of(session, feeds)
    return sum(c.array.nbytes for one in network.operations for c in one.constants)


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_every_code_of_every_table(tmp_path, overflow):
    cases = [
        case(op, x, y, overflow=overflow, rounding="half_up" if i % 2 else "half_even")
        for i, op in enumerate(FUNCTIONS)
        for x, y in FORMATS[i % 2 :: 2]
    ]
    assert not differences(cases, tmp_path)


@with_sanitizers
def test_tables_of_devices(tmp_path, flags):
    rules = [
        TableRule("cut", 256, 8),
        TableRule("interpolated", 256, "input", has_end=True),
        TableRule("shared_sigmoid"),
        TableRule("interpolated", 64, 4, entry_bits=8, entry_fraction_bits=6),
    ]
    cases = [case(op, "Q3.12", "Q0.15", rules=Rules(table=rule)) for rule in rules for op in ("Sigmoid", "Tanh")]
    assert not differences(cases, tmp_path, flags)


@with_sanitizers
def test_orders_of_memory(tmp_path, flags):
    """A result in the order of ONNX of a tensor with its channels last, and the other way round in the arena."""
    nodes = [node("AveragePool", "x", kernel_shape=[2, 2], to="p"), node("Sigmoid", "p"), node("Tanh", "p", to="z")]
    weights = np.ones((3, 3, 1, 1), np.float32)
    nodes.append(node("Conv", "z", "w", to="c"))
    shape, rng = (2, 3, 5, 6), np.random.default_rng(1)
    cases = []
    for x, p in (("Q4.3", "Q4.3"), ("Q3.12", "Q3.12"), ("Q4.3", "Q3.12"), ("Q3.12", "Q4.3")):
        session = session_of(nodes[:3], shape, [("w", weights)], ["y", "z"], qformat=x, formats={"p": p})
        cases.append((session, [{"x": rng.uniform(-4, 4, shape).astype(np.float32)}]))
    assert not differences(cases, tmp_path, flags)


@pytest.mark.parametrize(
    ("op", "x", "y", "most"),
    [
        ("Sigmoid", "Q4.3", "Q0.7", 256),
        ("Sigmoid", "UQ4.4", "Q0.7", 256),
        ("Sigmoid", "Q3.12", "Q0.15", 14_400),
        ("Tanh", "Q7.8", "Q7.8", 400),
        ("Gelu", "Q3.12", "Q3.12", 11_000),
        ("Reciprocal", "Q7.8", "Q7.8", 13_000),
        ("Neg", "Q7.8", "Q7.8", 4_100),
    ],
)
def test_bytes_of_tables(op, x, y, most):
    session, (feeds,) = case(op, x, y)
    assert 0 < table_bytes(session, feeds) <= most


def test_only_codes_that_are_reached_have_entries():
    nodes = [node("Relu", "x", to="r"), node("Sigmoid", "r")]
    session = session_of(nodes, (1, 4), qformat="Q4.3")
    assert table_bytes(session, {"x": np.zeros((1, 4), np.float32)}) == 128


def falling(n):
    return -np.cumsum(np.arange(n) % 7 < 3)


@pytest.mark.parametrize(
    ("entries", "words", "most"),
    [
        (np.zeros(100), 0, 8),
        (3 * np.arange(1000) - 500, 0, 64),
        (np.arange(1000) // 3, 1, 200),
        (falling(1000), 1, 200),
        (np.abs(np.arange(-512, 512)) * 5 // 3, 1, 224),
        (np.where(np.arange(1024) < 500, 0, 9000), 0, 160),
        (np.arange(1), 0, 2),
        (np.arange(33), 0, 4),
    ],
)
def test_rank_coded_tables_have_all_entries(entries, words, most):
    coded = rank_coded(entries.astype(np.int16))
    assert coded.entries().tolist() == entries.tolist()
    assert coded.bits.shape[1] == words
    assert coded.bytes <= most


def test_random_tables_are_exact():
    rng = np.random.default_rng(5)
    for steps in (2, 3, 9, 5000):
        for n in (1, 31, 32, 33, 777):
            entries = np.cumsum(rng.integers(-steps, steps, n)).astype(np.int16)
            assert np.array_equal(rank_coded(entries).entries(), entries)


def test_constant_ends_are_left_out():
    assert trimmed(np.array([1, 1, 1, 2, 3, 3])) == (2, 4)
    assert trimmed(np.array([4, 4])) == (0, 0)
