"""Moves of elements on plain buffers: every kind of element, and codes."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check

from qengine import InferenceSession
from qengine.errors import ModelError

TYPES = (np.float32, np.uint8, np.int16, np.int64, np.bool_, np.float64)
WORDS = ({"qformat": "Q3.4"}, {"qformat": "Q3.12"})


def elements(dtype, shape):
    rng = np.random.default_rng(5)
    return rng.integers(-100, 100, shape).astype(dtype)


def case(
    operator, shape, attributes=None, dtype=np.float32, kernel="", constants=None, outputs="y", others="", **options
):
    names = " ".join(["x", *(others.split() or (constants or {}))])
    model = network(
        [(operator, names, outputs, attributes or {})],
        inputs={"x": (np.dtype(dtype), list(shape))},
        outputs=tuple(outputs.split()),
        constants={name: np.asarray(value) for name, value in (constants or {}).items()},
        opset=19,
    )
    x = elements(dtype, shape)
    return PlainCase(model, {"x": x / 16 if options else x}, kernel, options=options)


TRANSPOSED, RUNS, SINGLE = "copy_transposed", "copy_runs", "copy_elements"
SPELLED = {
    "transpose 10": ("Transpose", (37, 53), {"perm": [1, 0]}, TRANSPOSED, {}),
    "transpose 021": ("Transpose", (3, 19, 40), {"perm": [0, 2, 1]}, TRANSPOSED, {}),
    "transpose 0213": ("Transpose", (2, 5, 7, 33), {"perm": [0, 2, 1, 3]}, RUNS, {}),
    "transpose 0231": ("Transpose", (2, 18, 6, 5), {"perm": [0, 2, 3, 1]}, TRANSPOSED, {}),
    "transpose 0312": ("Transpose", (2, 6, 5, 3), {"perm": [0, 3, 1, 2]}, TRANSPOSED, {}),
    "transpose 43210": ("Transpose", (2, 3, 4, 5, 6), {"perm": [4, 3, 2, 1, 0]}, TRANSPOSED, {}),
    "transpose 2031": ("Transpose", (4, 5, 6, 7), {"perm": [2, 0, 3, 1]}, TRANSPOSED, {}),
    "slice": ("Slice", (5, 40, 70), None, RUNS, {"b": [1, 3, 2], "e": [4, 39, 67]}),
    "slice backwards": (
        "Slice",
        (5, 40, 7),
        None,
        SINGLE,
        {"b": [-1, 30, 6], "e": [-100, 3, -100], "a": [0, 1, 2], "s": [-1, -3, -2]},
    ),
    "slice a row": ("Slice", (5, 40), None, RUNS, {"b": [2], "e": [3]}),
    "slice one column": ("Slice", (5, 40), None, SINGLE, {"b": [7], "e": [8], "a": [1]}),
    "expand rows": ("Expand", (3, 1, 50), None, RUNS, {"s": [2, 3, 9, 50]}),
    "expand columns": ("Expand", (3, 7, 1), None, SINGLE, {"s": [3, 7, 75]}),
    "tile": ("Tile", (3, 4, 5), None, RUNS, {"r": [2, 1, 3]}),
    "pad": ("Pad", (3, 4, 5), {"mode": "constant"}, RUNS, {"p": [0, 2, 1, 1, 0, 3]}),
    "pad and crop": ("Pad", (3, 4, 5), {"mode": "constant"}, RUNS, {"p": [-1, 2, -1, 1, 0, 1]}),
    "pad edge": ("Pad", (3, 4, 5), {"mode": "edge"}, RUNS, {"p": [0, 2, 1, 1, 0, 3]}),
    "pad reflect": ("Pad", (3, 4, 5), {"mode": "reflect"}, SINGLE, {"p": [1, 2, 4, 2, 3, 1]}),
    "pad wrap": ("Pad", (3, 4, 5), {"mode": "wrap"}, RUNS, {"p": [1, 2, 4, 2, 3, 1]}),
    "depth to space": ("DepthToSpace", (2, 12, 5, 6), {"blocksize": 2}, TRANSPOSED, {}),
    "space to depth": ("SpaceToDepth", (2, 3, 6, 8), {"blocksize": 2}, TRANSPOSED, {}),
    "gather rows": ("Gather", (11, 30), {"axis": 0}, "gather", {"i": [[3, -1], [0, 10]]}),
    "gather columns": ("Gather", (4, 11), {"axis": 1}, "gather", {"i": [5, -11, 10]}),
    "gather planes": ("Gather", (4, 11, 70), {"axis": 1}, "gather", {"i": 5}),
    "concat with a constant": ("Concat", (4, 11), {"axis": 1}, RUNS, {"c": 7}),
    "a long copy": ("Slice", (3, 50_001), None, RUNS, {"b": [1], "e": [2]}),
}


def spelled(name, dtype=np.float32, **options):
    operator, shape, attributes, kernel, constants = SPELLED[name]
    if operator == "Concat":
        constants = {"c": np.ones((4, 3), dtype)}
    if name == "pad":
        constants = {**constants, "v": np.dtype(dtype).type(1)}
    return case(operator, shape, attributes, dtype, kernel, constants, **options)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", SPELLED)
def test_native_equals_the_reference(name, isa):
    check(spelled(name), isa, threads=1)


@pytest.mark.parametrize("dtype", TYPES[1:], ids=str)
@pytest.mark.parametrize("name", SPELLED)
def test_elements_of_any_type_move(name, dtype):
    check(spelled(name, dtype), ISAS[0], threads=1)


@pytest.mark.parametrize("word", WORDS, ids=str)
@pytest.mark.parametrize("name", [n for n in SPELLED if n not in ("concat with a constant", "pad edge")])
def test_codes_move(name, word):
    check(spelled(name, **word), ISAS[0], threads=1)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", SPELLED)
def test_any_number_of_threads_gives_the_same(name, threads, monkeypatch):
    monkeypatch.setattr("qengine.runtime.native.schedule._MIN_CYCLES", 0)
    check(spelled(name), ISAS[0], threads)


def test_moves_in_a_row_are_one_segment():
    nodes = [
        ("Split", "x", "a b", {"axis": 1, "num_outputs": 2}),
        ("Reshape", "a s", "c"),
        ("Identity", "c", "d"),
        ("Squeeze", "b", "e"),
        ("Concat", "d e", "y", {"axis": 0}),
        ("Unsqueeze", "y axes", "z"),
    ]
    constants = {"s": np.array([4]), "axes": np.array([0, 2])}
    model = network(nodes, inputs={"x": [1, 8]}, outputs=("y", "z", "x"), constants=constants, opset=18)
    check(PlainCase(model, {"x": elements(np.float32, (1, 8))}, "copy_runs"), ISAS[0], threads=1)


@pytest.mark.parametrize("index", [11, -12, 1 << 40])
def test_an_index_out_of_range_is_an_error(index):
    shapes = {"x": [11, 3], "i": (np.int64, [2])}
    model = network([("Gather", "x i", "y", {"axis": 0})], inputs=shapes)
    session = InferenceSession(model, isa=ISAS[0])
    feeds = {"x": elements(np.float32, (11, 3)), "i": np.array([0, index])}
    with pytest.raises(ModelError, match=r"an index of 'i' is outside of -11\.\.10"):
        session.run(None, feeds)
    np.testing.assert_array_equal(session.run(None, feeds | {"i": np.array([-11, 10])})[0], feeds["x"][[0, 10]])


@pytest.mark.parametrize("isa", ISAS)
def test_a_part_without_elements_is_joined(isa):
    model = network(
        [("Slice", "x two three", "s"), ("Relu", "x", "r"), ("Concat", "s r s", "y", {"axis": 0})],
        inputs={"x": [2, 3]},
        constants={"two": np.array([2]), "three": np.array([3])},
    )
    check(PlainCase(model, {"x": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)}, "copy_runs"), isa, threads=1)
