import numpy as np
import pytest
from model.formats.sessions import CHAIN, CONV, Q, X, session
from networks import weights

from qengine.errors import FormatError


def test_every_activation_has_the_one_format():
    s = session(CHAIN, qformat="Q4.3")
    assert {s.formats[name] for name in ("x", "c", "r", "p", "y")} == {Q("Q4.3")}
    assert set(s.formats) == {"x", "c", "r", "p", "y", "W", "V"}
    assert s.notes == ()


def test_float32_has_none():
    s = session(CHAIN)
    assert s.formats == {}
    assert s.formats == {}
    assert s.notes == ()


def test_an_unknown_name_is_an_error_with_a_suggestion():
    with pytest.raises(
        FormatError, match=r"^formats name 'conv_1', and the model has no such tensor; did you mean 'conv1'"
    ):
        session([("Relu", "x", "conv1"), ("Relu", "conv1", "y")], {"conv_1": "Q4.3"}, qformat="Q4.3")
    with pytest.raises(FormatError, match=r"no such tensor$"):
        session(CHAIN, {"entirely different": "Q4.3"}, qformat="Q4.3")


NOT_QUANTIZED = {
    "offset": "only a bias of a linear operator has a format",
    "shape": "it holds no real numbers",
    "scales": "decide shapes or options",
    "s": "it holds no real numbers",
    "found": "it holds no real numbers",
    "spare": "no operator reads its elements",
}


@pytest.mark.parametrize("name", NOT_QUANTIZED)
def test_what_is_not_quantized_has_no_format(name):
    nodes = [
        ("InstanceNormalization", "x gain offset", "n"),
        ("Conv", "n W b", "c"),
        ("Shape", "c", "s"),
        ("Resize", "c - scales", "z"),
        ("ArgMax", "z", "found"),
        ("Reshape", "z shape", "y"),
    ]
    constants = {"shape": [-1], "scales": [1.0, 1.0, 2.0, 2.0], "spare": 1.0, "gain": weights(3), "offset": weights(3)}
    with pytest.raises(FormatError, match=f"^formats name '{name}', which is not quantized: .*{NOT_QUANTIZED[name]}"):
        session(nodes, {name: "Q4.3"}, qformat="Q4.3", constants=constants, outputs=["y", "s", "found"])
    s = session(nodes, qformat="Q4.3", constants=constants, outputs=["y", "s", "found"])
    assert name not in s.formats


def test_a_bias_that_is_computed_has_a_format():
    model = [("Sigmoid", "z", "bias"), ("Conv", "x W bias", "y")]
    s = session(model, {"bias": "Q0.7"}, qformat="Q4.3", inputs={"x": [1, 3, 6, 5], "z": [4]})
    assert s.formats["bias"] == Q("Q0.7")


def test_formats_alone_name_every_activation():
    with pytest.raises(FormatError, match=r"^no format for 'x', 'y': name them"):
        session(CHAIN, {"c": "Q4.3"})
    s = session(CHAIN, {"x": "Q0.7", "c": "Q4.11", "y": "Q4.3"})
    # A constant is as wide as the widest tensor beside it.
    assert [s.formats[name].bits for name in "WV"] == [16, 16]
    s = session(CHAIN, {"x": "Q0.7", "c": "Q2.3", "y": "Q4.5", "V": "Q1.2"})
    assert [s.formats[name].bits for name in "WV"] == [8, 4]


def test_many_without_a_format_are_counted():
    nodes = [("Softmax", "x" if i == 0 else f"t{i - 1}", f"t{i}") for i in range(8)]
    with pytest.raises(FormatError, match=r"^no format for 'x', 't0', 't1', 't2', 't3' and 5 more: name"):
        session([*nodes, ("Relu", "t7", "y")], {})
    for last, more in (("t4", " and 1 more"), ("t3", "")):
        with pytest.raises(FormatError, match=rf"^no format for 'x', 't0', 't1', 't2', 't3'{more}: name"):
            session(nodes, {}, outputs=[last])


def test_a_tensor_that_the_passes_removed_needs_no_format_until_it_is_asked_for():
    norm = {name: weights(4, seed=i) ** 2 + 0.1 for i, name in enumerate("gmvh")}
    nodes = [CONV, ("BatchNormalization", "c g h m v", "y")]
    s = session(nodes, {"x": "Q4.3", "y": "Q4.3"}, constants=norm)
    s.run(None, {"x": X})
    with pytest.raises(FormatError, match=r"^node 'the_c' \(Conv\): no format for 'c'"):
        s.run(["c"], {"x": X})


def test_what_has_no_effect_is_noted():
    norm = {name: weights(4, seed=i) ** 2 + 0.1 for i, name in enumerate("gmvh")}
    nodes = [CONV, ("BatchNormalization", "c g h m v", "n"), ("Mul", "k k", "kk"), ("Mul", "n kk", "y")]
    s = session(nodes, {"c": "Q2.5", "k": "Q2.5", "kk": "Q5.2", "W": "Q1.6"}, qformat="Q4.3", constants=norm)
    noted = [note.partition(":")[0] for note in s.notes]
    assert noted == [f"the format of '{name}' has no effect" for name in ("c", "k", "kk")]
    assert s.formats["kk"] == Q("Q5.2")
    assert s.formats["W"] == Q("Q1.6")


@pytest.mark.parametrize("options", [{"qformat": "Q4.3"}, {"qformat": "Q4.11", "per_channel": True}])
def test_formats_of_a_session_make_the_same_session(options):
    norm = {name: weights(4, seed=i) ** 2 + 0.1 for i, name in enumerate("gmvh")}
    nodes = [
        ("Conv", "x W", "c"),
        ("BatchNormalization", "c g h m v", "n"),
        ("Conv", "n V b", "d"),
        ("Conv", "d V", "e"),
        ("BatchNormalization", "e g h m v", "f"),
        ("Mul", "f k", "y"),
    ]
    one = session(nodes, constants=norm, **options)
    two = session(nodes, one.formats, constants=norm)
    assert two.formats == one.formats
    np.testing.assert_array_equal(one.run(None, {"x": X}, raw=True)[0], two.run(None, {"x": X}, raw=True)[0])
