"""Functions of rows in C: the codes of the reference, for rows along any axes of memory in any order."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from deploy.c.running import SANITIZED, differences, needs_gcc
from networks import network
from oracle import OVERFLOWS, ROUNDINGS

import qengine.deploy.c.network as network_module
from qengine import InferenceSession, QFormat
from qengine.deploy.c.lowerings.rows.powers import power_numbers, power_words
from qengine.deploy.c.network import network_of
from qengine.errors import UnsupportedError
from qengine.kernels.reference.softmax_fixed import power_table

pytestmark = needs_gcc


def codes_of(shape, text, seed):
    """Numbers that reach over a format: a third of them normal, rows of equal ones, and both ends."""
    fmt, rng = QFormat.parse(text), np.random.default_rng(seed)
    x = np.clip(rng.standard_normal(shape) * fmt.max / 3, fmt.min, fmt.max).astype(np.float32)
    x.reshape(-1)[::7] = fmt.min
    x.reshape(-1)[3::11] = fmt.max
    return x


def rows(
    operator, shape, *parameters, x="Q4.11", y="Q3.12", opset=23, options=None, computed=(), nodes=None, **attributes
):
    """A session with one operator on rows, and feeds: random codes, all at the ends, all equal, small ones."""
    given = {f"p{i}": codes_of(p, "Q1.6", i) + np.float32(0.5) for i, p in enumerate(parameters)}
    fed = {name: a for i, (name, a) in enumerate(given.items()) if i in computed}
    model = network(
        nodes or [(operator, " ".join(["x", *given]), "y", attributes)],
        inputs={"x": list(shape), **{name: list(a.shape) for name, a in fed.items()}},
        constants={name: a for name, a in given.items() if name not in fed},
        opset=opset,
    )
    options = {"formats": {"x": x, "y": y}, "qformat": "Q3.4", "strict": True, **(options or {})}
    session = InferenceSession(model, isa="reference", **options)
    fmt = QFormat.parse(x)
    arrays = [codes_of(shape, x, 5), np.full(shape, fmt.min, np.float32), np.full(shape, fmt.max, np.float32)]
    arrays.append(np.where(np.arange(np.prod(shape)).reshape(shape) % 2, fmt.min, fmt.max).astype(np.float32))
    arrays.append(np.full(shape, fmt.step, np.float32))
    arrays.append(np.random.default_rng(6).integers(-3, 4, shape).astype(np.float32) * np.float32(fmt.step))
    return session, [{"x": a, **fed} for a in arrays]


WRAPS = {"rounding": "half_away", "overflow": "wrap"}
SOFTMAX = {
    "last axis": rows("Softmax", (2, 3, 50), y="UQ0.16"),
    "bytes": rows("Softmax", (4, 197), x="Q4.3", y="UQ0.8"),
    "bytes, short": rows("Softmax", (5, 3), x="UQ4.4", y="Q0.7", options={"rounding": "floor"}),
    "one element": rows("Softmax", (5, 1), x="Q4.3", y="Q1.6"),
    "an axis": rows("Softmax", (2, 19, 5), x="Q4.3", y="Q0.7", axis=1),
    "an axis, wide": rows("Softmax", (2, 5, 37), y="Q0.15", axis=1, options={"rounding": "half_up"}),
    "coerced": rows("Softmax", (2, 5, 7), y="UQ0.8", opset=11, options=WRAPS),
    "coarse": rows("Softmax", (3, 40), x="Q9.-2", y="UQ4.-1", options={"rounding": "ceil"}),
    "coarser": rows("Softmax", (3, 40), x="Q9.-2", y="Q9.-2", options={"rounding": "away"}),
    "fine": rows("Softmax", (3, 40), x="Q-2.9", y="Q-21.36"),
    "finest": rows("Softmax", (2, 300), x="Q-2.9", y="Q-41.56", options=WRAPS),
    "ties": rows("Softmax", (4, 16), x="Q4.3", y="Q4.3"),
    "logarithm": rows("LogSoftmax", (2, 3, 50), y="Q5.10"),
    "logarithm, axis": rows("LogSoftmax", (2, 19, 5), x="UQ3.5", y="Q4.3", axis=1, options=WRAPS),
    "logarithm, fine": rows("LogSoftmax", (2, 40), x="Q-2.17", y="Q3.4", options={"rounding": "trunc"}),
    "logarithm, finer": rows("LogSoftmax", (2, 40), x="Q-34.41", y="Q3.4"),
    "logarithm, low bits": rows("LogSoftmax", (3, 40), x="Q4.3", y="Q-21.36", options=WRAPS),
    "logarithm, coarse": rows("LogSoftmax", (3, 40), x="Q14.-7", y="Q14.-7", options={"rounding": "half_up"}),
    "logarithm, coerced": rows("LogSoftmax", (2, 5, 7), y="Q5.10", opset=11),
}
NORMALIZATIONS = {
    "layer": rows("LayerNormalization", (2, 9, 256), (256,), (256,)),
    "bytes": rows("LayerNormalization", (3, 33), (33,), (33,), x="Q4.3", y="Q2.5"),
    "one number": rows("LayerNormalization", (4, 50), (1,), x="UQ3.5", y="UQ2.6", options=WRAPS),
    "long": rows("LayerNormalization", (2, 20000), (20000,), (20000,), options={"rounding": "half_up"}),
    "longest": rows("LayerNormalization", (1, 70000), (1,), x="UQ0.16", y="Q-6.21", options=WRAPS),
    "fine": rows("LayerNormalization", (4, 50), (50,), (50,), x="Q-14.29", epsilon=1.0),
    "large epsilon": rows("LayerNormalization", (4, 50), (50,), (50,), x="Q-20.35", epsilon=1000.0),
    "no epsilon": rows("LayerNormalization", (4, 50), (50,), (50,), x="Q4.3", epsilon=0.0),
    "two axes": rows("LayerNormalization", (2, 5, 7), (5, 7), (7,), axis=1, options={"rounding": "floor"}),
    "one element": rows("LayerNormalization", (4, 1), (1,), (1,)),
    "root mean square": rows("RMSNormalization", (2, 9, 256), (256,), x="UQ0.16"),
    "instance": rows("InstanceNormalization", (2, 6, 5, 7), (6,), (6,), options={"rounding": "trunc"}),
    "groups": rows("GroupNormalization", (2, 6, 5, 7), (6,), (6,), num_groups=3, x="Q4.3"),
    "groups, gains of groups": rows("GroupNormalization", (2, 6, 5, 7), (3,), (3,), num_groups=3, opset=18),
    "norm": rows("LpNormalization", (3, 40), y="Q0.15"),
    "norm, axis": rows("LpNormalization", (2, 40, 3), axis=1, x="Q4.3", y="Q0.7"),
    "mean and variance": rows("MeanVarianceNormalization", (2, 6, 5, 7), axes=[2, 3]),
    "mean and variance, an axis": rows("MeanVarianceNormalization", (2, 6, 17), axes=[1], options=WRAPS),
    "mean and variance, outer axes": rows("MeanVarianceNormalization", (3, 4, 5, 2), axes=[0, 2]),
    "mean and variance, low bits": rows("MeanVarianceNormalization", (200, 5, 3), axes=[1], y="Q-9.24", options=WRAPS),
    "computed, ties of offsets": rows(
        "LayerNormalization",
        (3, 33),
        (33,),
        (33,),
        computed=(0, 1),
        options={"formats": {"x": "Q3.4", "y": "Q-7.22", "p0": "Q9.-2", "p1": "Q-8.23"}, "overflow": "wrap"},
    ),
    "computed": rows("LayerNormalization", (3, 33), (33,), (33,), computed=(0, 1)),
    "computed offset": rows(
        "LayerNormalization",
        (3, 33),
        (33,),
        (33,),
        computed=(1,),
        options={"formats": {"x": "Q3.4", "y": "Q3.12", "p0": "Q-21.36", "p1": "Q9.6"}},
    ),
    "computed, fine": rows(
        "LayerNormalization",
        (3, 33),
        (33,),
        (33,),
        computed=(0, 1),
        options={"formats": {"x": "Q3.4", "y": "Q3.12", "p0": "Q9.-2", "p1": "Q-20.35"}},
    ),
}
TABLES = {"softmax": SOFTMAX, "normalizations": NORMALIZATIONS}


@pytest.mark.parametrize("name", TABLES)
def test_codes_are_those_of_the_reference(name, tmp_path):
    assert differences(list(TABLES[name].values()), tmp_path) == []


@pytest.mark.exhaustive
def test_nothing_is_undefined(tmp_path):
    names = (
        ["an axis, wide", "finest", "coarser", "logarithm, finer"],
        ["long", "fine", "large epsilon", "computed, fine"],
    )
    cases = [table[name] for table, some in zip(TABLES.values(), names, strict=True) for name in some]
    assert differences(cases, tmp_path, SANITIZED) == []


def between_tables(operator, shape, *parameters, **attributes):
    """A session in which an operator reads and writes tensors of the arena, which may have any order."""
    names = " ".join(["t", *(f"p{i}" for i in range(len(parameters)))])
    nodes = [("Sigmoid", "x", "t"), (operator, names, "u", attributes), ("Tanh", "u", "y")]
    return rows(operator, shape, *parameters, x="Q2.5", y="Q0.7", nodes=nodes)


BETWEEN = [
    ("Softmax", (2, 3, 4, 5), (), {"axis": 1}),
    ("Softmax", (2, 3, 4, 5), (), {"axis": 3}),
    ("LogSoftmax", (3, 4, 5), (), {"axis": 0}),
    ("LayerNormalization", (2, 3, 4, 5), ((3, 4, 5), (4, 5)), {"axis": 1}),
    ("LayerNormalization", (2, 3, 4, 5), ((5,),), {"axis": -1}),
    ("InstanceNormalization", (2, 3, 4, 5), ((3,), (3,)), {}),
    ("GroupNormalization", (2, 6, 4, 5), ((6,), (6,)), {"num_groups": 3}),
    ("MeanVarianceNormalization", (2, 3, 4, 5), (), {"axes": [0, 2, 3]}),
    ("LpNormalization", (2, 3, 4, 5), (), {"axis": 2}),
]


@pytest.mark.parametrize("seed", range(2))
def test_axes_may_have_any_order_in_memory(seed, tmp_path, monkeypatch):
    rng = np.random.default_rng(seed)
    orders = {"last": lambda rank: (0, *range(2, rank), 1), "any": lambda rank: tuple(map(int, rng.permutation(rank)))}
    order = orders["any" if seed else "last"]
    monkeypatch.setattr(network_module, "order_of", lambda step, shape, orders: order(len(shape)))
    cases = [between_tables(operator, shape, *given, **attributes) for operator, shape, given, attributes in BETWEEN]
    assert differences(cases, tmp_path) == []


FEW = {
    "softmax": lambda **o: rows("Softmax", (3, 37), x="Q4.3", y="UQ-1.8", options=o),
    "logarithm": lambda **o: rows("LogSoftmax", (3, 37), x="Q4.3", y="Q2.3", options=o),
    "layer": lambda **o: rows("LayerNormalization", (4, 50), (50,), (50,), x="Q4.3", y="Q1.6", options=o),
}


def test_every_rounding_and_overflow(tmp_path):
    combinations = [one.values for one in covering(FEW, ROUNDINGS, OVERFLOWS) if not one.marks]
    cases = [FEW[name](rounding=rounding, overflow=overflow) for name, rounding, overflow in combinations]
    assert differences(cases, tmp_path) == []


def test_a_long_table_of_powers_takes_few_bytes():
    powers = power_table(11, 16)
    words, numbers = power_words(powers, 11), power_numbers(powers, 11)
    assert powers.nbytes // 2 > 24 * words.nbytes
    assert numbers["highs"] == len(powers) // 256 + 1


def test_rows_of_codes_lie_on_their_input():
    session, feeds = between_tables("Softmax", (4, 6))
    (softmax,) = (one for one in network_of(session, feeds[0]).operations if one.node.operator == "Softmax")
    assert softmax.overlap == (0,)


def test_too_many_fraction_bits_are_refused():
    session, feeds = rows("Softmax", (3, 4), x="Q4.3", y="Q-55.70")
    with pytest.raises(
        UnsupportedError, match=r"Softmax 'the_y': its output has 70 fraction bits, and C divides up to 60"
    ):
        network_of(session, feeds[0])
    session, feeds = rows("LogSoftmax", (3, 4), x="Q35.-20", y="Q4.3")
    with pytest.raises(UnsupportedError, match=r"its sums need \d+ bits and C has 64"):
        network_of(session, feeds[0])
