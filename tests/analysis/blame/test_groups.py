"""Groups of tensors: blocks of the graph, and names."""

import pytest
from networks import network, weights

from qengine import InferenceSession
from qengine.analysis.blame import blame
from qengine.analysis.blame.groups import groups_of
from qengine.analysis.blame.points import points_of
from qengine.errors import OptionError

W = weights(4, 4, 3, 3, seed=1, scale=0.3)
PADDED = {"pads": [1] * 4}


def conv(x, name):
    return ("Conv", f"{x} {name}.w", name, PADDED)


def found(nodes, wanted="auto", outputs=("y",)):
    constants = {word: W for node in nodes for word in node[1].split() if word.endswith(".w")}
    model = network(nodes, inputs={"x": [1, 4, 8, 8]}, outputs=outputs, constants=constants)
    session = InferenceSession(model, qformat="Q3.4")
    arrays = session.check_feeds({"x": weights(1, 4, 8, 8)})
    real = session.in_float32()
    points = points_of([session.plan(arrays)], [real.plan(arrays)])
    assert not points.unmatched
    rounded = [point for point in points.by_name.values() if point.rounds]
    return {name: set(tensors) for name, tensors in groups_of(wanted, real.optimized, rounded).items()}


def tensors(*names):
    return {*names, *(f"{name}.w" for name in names)}


RESIDUAL = [
    conv("x", "stem"),
    *(conv("stem", "a1"), conv("a1", "a2"), ("Sigmoid", "a2", "s"), ("Mul", "s stem", "m"), ("Add", "m a2", "a")),
    *(conv("a", "b1"), ("Add", "b1 a", "b")),
    *(conv("b", "c"), conv("c", "d"), conv("d", "e"), conv("e", "f"), conv("f", "y")),
]


CONVOLUTIONS = ("stem", "a1", "a2", "b1", "c", "d", "e", "f", "y")


def test_residual_blocks_and_chains():
    assert found(RESIDUAL) == {
        "a1..a": tensors("a1", "a2") | {"s", "m", "a"},
        "b1..b": tensors("b1") | {"b"},
        "c..f": tensors("c", "d", "e", "f"),
        "y": tensors("y"),
        "stem": tensors("stem"),
    }


def test_a_long_skip_is_cut_as_if_it_were_not_there():
    levels = [conv("x" if k == 0 else f"n{k - 1}", f"n{k}") for k in range(20)]
    blocks = found([*levels, ("Add", "n19 n0", "y")])
    assert blocks["n0..n3"] == tensors("n0", "n1", "n2", "n3")
    assert all(len(block) <= 9 for block in blocks.values())
    assert set().union(*blocks.values()) == tensors(*(f"n{k}" for k in range(20)))


def test_a_scope_that_names_share_is_the_name():
    blocks = found([conv("x", "layer1.first"), conv("layer1.first", "layer1.second"), conv("layer1.second", "y")])
    assert list(blocks) == ["layer1.first..y"]
    residual = [conv("stem", "layer1.first"), ("Add", "layer1.first stem", "layer1.sum")]
    blocks = found([conv("x", "stem"), *residual, conv("layer1.sum", "y")])
    assert blocks["layer1"] == {"layer1.first", "layer1.first.w", "layer1.sum"}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("^b", {"^b": {"b1", "b1.w", "b"}}),
        (
            ["heads=^[ef]$", r"\.w$"],
            {"heads": {"e", "f"}, r"\.w$": {f"{n}.w" for n in ["a1", "a2", "b1", "c", "d", "e", "f", "y", "stem"]}},
        ),
        ("^([ab])[12]", {"a": tensors("a1", "a2"), "b": tensors("b1")}),
        ("way=^([ab])[12]", {"way a": tensors("a1", "a2"), "way b": tensors("b1")}),
        ({"mine": ["x", "y", "x"]}, {"mine": {"x", "y"}}),
        (None, {}),
    ],
)
def test_names(wanted, expected):
    assert found(RESIDUAL, wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ("^q", r"--group \^q matches no tensor that the run rounds, such as 'x', 'stem.w', 'stem'"),
        ("(", r"--group \(: .* in the regular expression"),
        ({"mine": ["stem", "q"]}, "group 'mine': no tensor that the run rounds is named 'q'"),
        ({"mine": []}, r"group 'mine' is a list of names of tensors, not \[\]"),
        ({"mine": "stem"}, "group 'mine' is a list of names of tensors, not 'stem'"),
    ],
)
def test_errors(wanted, error):
    with pytest.raises(OptionError, match=error):
        found(RESIDUAL, wanted)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ("(", r"^--group \(: .* in the regular expression"),
        (3, "^groups are 'auto', regular expressions, or names of tensors by group, not 3"),
        ([b"y"], "^groups are 'auto', .*, not b'y'"),
    ],
)
def test_errors_come_without_a_run_of_the_data(wanted, error):
    session = InferenceSession(network([("Relu", "x", "y")], inputs={"x": [1, 3]}), qformat="Q3.4")
    with pytest.raises(OptionError, match=error):
        blame(session, [{"x": weights(1, 3)}], groups=wanted)
