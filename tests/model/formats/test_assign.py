import json

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import QFormat
from qengine.analysis.report import compare
from qengine.errors import FormatError, OptionError
from qengine.model.formats.files import read_formats
from qengine.qformat import ChannelFormats

Q = QFormat.parse
X = weights(1, 3, 6, 5, seed=1)


def session(nodes, formats=None, **options):
    """A session of a network with weights W (4, 3, 1, 1), V (4, 4, 1, 1), b (4) and a scalar k."""
    build = {key: options.pop(key) for key in ("inputs", "outputs", "opset") if key in options}
    constants = {
        "W": weights(4, 3, 1, 1),
        "V": weights(4, 4, 1, 1, seed=8),
        "b": weights(4, seed=9),
        "k": 3.0,
        **options.pop("constants", {}),
    }
    model = network(nodes, constants=constants, **build)
    return qengine.InferenceSession(model, formats=formats, **options)


CONV = ("Conv", "x W b", "c")
CHAIN = [CONV, ("Relu", "c", "r"), ("MaxPool", "r", "p", {"kernel_shape": [2, 2]}), ("Conv", "p V b", "y")]


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


def test_constants_have_the_most_fraction_bits_that_hold_them():
    s = session(CHAIN, qformat="Q4.3")
    for name, value in (("W", weights(4, 3, 1, 1)), ("V", weights(4, 4, 1, 1, seed=8))):
        form = s.formats[name]
        assert form.bits == 8
        codes = np.rint(value.astype(np.float64) * 2.0**form.fraction_bits)
        assert -128 <= codes.min() <= codes.max() <= 127
        codes = np.rint(value.astype(np.float64) * 2.0 ** (form.fraction_bits + 1))
        assert codes.min() < -128 or codes.max() > 127


@pytest.mark.parametrize("named", ["c", "r", "p"])
def test_operators_that_keep_the_format_share_one(named):
    s = session(CHAIN, {named: "Q2.5"}, qformat="Q4.3")
    assert {s.formats[name] for name in ("c", "r", "p")} == {Q("Q2.5")}
    assert {s.formats[name] for name in ("x", "y")} == {Q("Q4.3")}


def test_two_names_of_a_group_may_agree():
    assert session(CHAIN, {"c": "Q2.5", "p": "Q2.5"}, qformat="Q4.3").formats["r"] == Q("Q2.5")


def test_two_formats_in_a_group_are_named():
    with pytest.raises(FormatError, match=r"^'c' \(Q2\.5\) and 'p' \(Q3\.4\) share one format"):
        session(CHAIN, {"p": "Q3.4", "c": "Q2.5"}, qformat="Q4.3")


PRESERVING = {
    "Reshape": ("Reshape", "x shape", "y"),
    "Flatten": ("Flatten", "x", "y"),
    "Transpose": ("Transpose", "x", "y"),
    "Slice": ("Slice", "x from to", "y"),
    "Squeeze": ("Squeeze", "x from", "y"),
    "Tile": ("Tile", "x times", "y"),
    "Pad": ("Pad", "x pads", "y"),
    "Identity": ("Identity", "x", "y"),
    "Gather": ("Gather", "x i", "y"),
    "MaxPool": ("MaxPool", "x", "y", {"kernel_shape": [2, 2]}),
    "GlobalMaxPool": ("GlobalMaxPool", "x", "y"),
    "ReduceMax": ("ReduceMax", "x", "y"),
    "nearest": ("Resize", "x - scales", "y", {"mode": "nearest"}),
    "Clip": ("Clip", "x", "y"),
    "Expand": ("Expand", "x wide", "y"),
}
NOT_PRESERVING = {
    "Sigmoid": ("Sigmoid", "x", "y"),
    "Add": ("Add", "x k", "y"),
    "Concat": ("Concat", "x x", "y", {"axis": 0}),
    "Max": ("Max", "x k", "y"),
    "AveragePool": ("AveragePool", "x", "y", {"kernel_shape": [2, 2]}),
    "linear": ("Resize", "x - scales", "y", {"mode": "linear"}),
    "ReduceMean": ("ReduceMean", "x", "y"),
    "Softmax": ("Softmax", "x", "y"),
}
INDICES = {
    "shape": [3, 30],
    "from": [0],
    "to": [1],
    "times": [1, 1, 2, 2],
    "pads": [0, 0, 1, 1, 0, 0, 1, 1],
    "i": [0, 0],
    "scales": [1.0, 1.0, 2.0, 2.0],
    "wide": [2, 3, 6, 5],
}


@pytest.mark.parametrize("kind", [*PRESERVING, *NOT_PRESERVING])
def test_which_operators_hand_their_format_through(kind):
    node = (PRESERVING | NOT_PRESERVING)[kind]
    s = session([node], {"x": "Q2.5"}, qformat="Q4.3", constants=INDICES)
    assert s.formats["y"] == Q("Q2.5" if kind in PRESERVING else "Q4.3")
    (codes,) = s.run(None, {"x": X}, raw=True)
    real = s.run(None, {"x": X})[0]
    np.testing.assert_array_equal(real, qengine.dequantize(codes, s.formats["y"]))


def test_all_outputs_of_a_split_are_in_the_group():
    s = session(
        [("Split", "x", "a y z", {"axis": 1}), ("Relu", "a", "r")], {"r": "Q2.5"}, qformat="Q4.3", outputs=["y", "r"]
    )
    assert {s.formats[name] for name in "xayzr"} == {Q("Q2.5")}


def test_a_table_that_is_looked_up_has_the_format_of_what_comes_out():
    nodes = [("Gather", "E i", "g"), ("Transpose", "g", "y")]
    inputs, constants = {"i": (np.int64, ["N"])}, {"E": weights(5, 2)}
    s = session(nodes, qformat="Q4.3", inputs=inputs, constants=constants)
    assert s.formats == dict.fromkeys("Egy", Q("Q4.3"))
    s = session(nodes, {"E": "Q0.7"}, qformat="Q4.3", inputs=inputs, constants=constants)
    assert s.formats == dict.fromkeys("Egy", Q("Q0.7"))
    (y,) = s.run(None, {"i": np.array([4, 1])})
    np.testing.assert_allclose(y, np.clip(weights(5, 2), -1, 127 / 128)[[4, 1]].T, atol=2**-8)


@pytest.mark.parametrize("computed", ["Transpose", "Mul"])
def test_a_table_that_is_computed_from_constants(computed):
    nodes = [
        {"Transpose": ("Transpose", "E", "F"), "Mul": ("Mul", "E k", "F")}[computed],
        ("Gather", "F i", "y"),
    ]
    wanted = weights(5, 2).T if computed == "Transpose" else weights(5, 2) * 3
    inputs, constants = {"i": (np.int64, ["N"])}, {"E": weights(5, 2)}
    s = session(nodes, qformat="Q2.13", inputs=inputs, constants=constants)
    assert s.formats == dict.fromkeys("Fy", Q("Q2.13"))
    (y,) = s.run(None, {"i": np.array([1, 0])})
    np.testing.assert_allclose(y, wanted[[1, 0]], atol=2**-14)


def test_an_unknown_name_is_an_error_with_a_suggestion():
    with pytest.raises(
        FormatError, match=r"^formats name 'conv_1', and the model has no such tensor; did you mean 'conv1'"
    ):
        session([("Relu", "x", "conv1"), ("Relu", "conv1", "y")], {"conv_1": "Q4.3"}, qformat="Q4.3")
    with pytest.raises(FormatError, match=r"no such tensor$"):
        session(CHAIN, {"entirely different": "Q4.3"}, qformat="Q4.3")


NOT_QUANTIZED = {
    "b": "a bias has 32 bits",
    "shape": "it holds no real numbers",
    "scales": "decide shapes or options",
    "s": "it holds no real numbers",
    "found": "it holds no real numbers",
    "spare": "no operator reads its elements",
}


@pytest.mark.parametrize("name", NOT_QUANTIZED)
def test_what_is_not_quantized_has_no_format(name):
    nodes = [
        ("Conv", "x W b", "c"),
        ("Shape", "c", "s"),
        ("Resize", "c - scales", "z"),
        ("ArgMax", "z", "found"),
        ("Reshape", "z shape", "y"),
    ]
    constants = {"shape": [-1], "scales": [1.0, 1.0, 2.0, 2.0], "spare": 1.0}
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
    nodes = [("Sigmoid", "x" if i == 0 else f"t{i - 1}", f"t{i}") for i in range(8)]
    with pytest.raises(FormatError, match=r"^no format for 'x', 't0', 't1', 't2', 't3' and 5 more: name"):
        session([*nodes, ("Relu", "t7", "y")], {})


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
    assert [note.partition(":")[0] for note in s.notes] == [
        "the format of 'c' has no effect",
        "the format of 'k' has no effect",
    ]
    assert s.formats["kk"] == Q("Q5.2")
    assert s.formats["W"] == Q("Q1.6")


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_formats_of_weights_apply_to_what_the_passes_made_of_them(overflow):
    norm = {"g": np.full(4, 2, np.float32), "h": np.zeros(4, np.float32), "m": np.zeros(4, np.float32)}
    norm["v"] = np.ones(4, np.float32)
    nodes = [("Conv", "x W", "c"), ("BatchNormalization", "c g h m v", "y", {"epsilon": 0.0})]
    s = session(nodes, {"W": "Q0.3"}, qformat="Q4.11", constants=norm, overflow=overflow)
    (y,) = s.run(None, {"x": X}, raw=True)
    x = qengine.quantize(X, "Q4.11").astype(np.int64)
    w = qengine.quantize(weights(4, 3, 1, 1) * 2, "Q0.3").astype(np.int64)
    acc = np.einsum("ochw,ncyx->noyx", w, x)
    np.testing.assert_array_equal(y, qengine.quantize(acc / 2.0**14, "Q4.11", overflow=overflow))


def test_weight_qformat_is_of_constants():
    s = session(CHAIN, {"V": "Q3.4"}, qformat="Q4.3", weight_qformat="Q1.6")
    assert s.formats["W"] == Q("Q1.6")
    assert s.formats["V"] == Q("Q3.4")


def test_unsigned_activations_have_signed_weights():
    s = session(CHAIN, qformat="UQ4.4")
    assert s.formats["W"].signed
    assert s.formats["W"].bits == 8
    assert s.run(None, {"x": np.abs(X)}, raw=True)[0].dtype == np.uint8


def test_per_channel():
    w = weights(4, 3, 1, 1) * np.float32([1, 4, 1 / 64, 0]).reshape(4, 1, 1, 1)
    s = session(CHAIN, qformat="Q4.3", per_channel=True, constants={"W": w})
    form = s.formats["W"]
    assert isinstance(form, ChannelFormats)
    assert (form.axis, form.bits) == (0, 8)
    alone = [session(CHAIN, qformat="Q4.3", constants={"W": w[[i] * 4]}).formats["W"] for i in range(4)]
    assert form.formats == tuple(alone)
    assert s.formats["x"] == Q("Q4.3")


@pytest.mark.parametrize(
    ("node", "shape", "axis"),
    [
        (("Conv", "x U", "y"), (4, 3, 1, 1), 0),
        (("ConvTranspose", "x U", "y"), (3, 4, 1, 1), 1),
        (("MatMul", "x U", "y"), (5, 4), 1),
        (("MatMul", "x U", "y"), (3, 5, 4), 2),
        (("MatMul", "x U", "y"), (5,), None),
        (("Mul", "x U", "y"), (3, 1, 1), None),
    ],
)
def test_which_axis_counts_channels(node, shape, axis):
    given = weights(*shape) * np.linspace(0.01, 1, shape[-1], dtype=np.float32)
    s = session([node], qformat="Q4.3", per_channel=True, constants={"U": given})
    assert getattr(s.formats["U"], "axis", None) == axis
    assert np.isfinite(s.run(None, {"x": X})[0]).all()


def biased(operator, bias, attributes=None, **options):
    """The fraction bits of weights (4, 4, 1, 1) or (4, 4) of at most 2^-7 beside a bias, x having 11, and the notes."""
    shape = (4, 4) if operator == "Gemm" else (4, 4, 1, 1)
    constants = {"U": np.full(shape, 2.0**-7, np.float32), "v": np.float32(bias)}
    inputs = {"x": [3, 4] if operator == "Gemm" else [1, 4, 6, 5]}
    options = {"qformat": "Q4.11", **options}
    s = session([(operator, "x U v", "y", attributes or {})], constants=constants, inputs=inputs, **options)
    form = s.formats["U"]
    comparison = compare(s, s, {"x": np.ones(inputs["x"], np.float32)})
    n = [f.fraction_bits for f in form.formats] if isinstance(form, ChannelFormats) else form.fraction_bits
    return n, [note for note in comparison.notes if "bias" in note]


@pytest.mark.parametrize(
    ("bias", "n"),
    [
        ([0, 0, 0, 0], 21),  # 2^-7 alone is less the bit that +2^-7 needs
        ([0.25, 0, 0, 0], 21),  # 2^-2 2^32 = 2^30
        ([0.5, 0, 0, 0], 20),  # 2^-1 2^32 = 2^31 does not fit
        ([-0.5, 0, 0, 0], 21),  # -2^31 does
        ([np.nextafter(np.float32(0.5), np.float32(0)), 0, 0, 0], 21),
        ([-0.500001, 0, 0, 0], 20),
        ([1e-30, 0, 0, -100], 13),
        ([np.inf, 0, 0, 1], 19),  # an infinity saturates whatever n is
    ],
)
def test_weights_leave_room_for_the_bias_beside_them(bias, n):
    found, notes = biased("Conv", bias)
    assert found == n
    assert bool(notes) == bool(np.isinf(bias).any())
    # One more fraction bit does not do.
    if n < 21:
        assert biased("Conv", bias, formats={"U": f"Q{14 - n}.{n + 1}"})[1]


@pytest.mark.parametrize(
    ("operator", "bias", "attributes", "n"),
    [
        ("Conv", [100, 0.5, 1e-9, 0], {}, [13, 20, 21, 21]),
        ("ConvTranspose", [100, 0.5, 1e-9, 0], {}, [13, 20, 21, 21]),
        ("ConvTranspose", [100, 0, 0, 0, 1, 0.5, 0, 0], {"group": 2}, [13, 20, 21, 21]),
        ("Gemm", [100, 0.5, 1e-9, 0], {}, [13, 20, 21, 21]),
        ("Gemm", [[100, 0.5, 0, 0], [0, 1, 0, 0], [0] * 4], {}, [13, 19, 21, 21]),
        ("Gemm", [[1], [0.5], [0]], {}, [19] * 4),
        ("Gemm", 1, {}, [19] * 4),
        ("Gemm", [1], {"transB": 1}, [19] * 4),
    ],
)
def test_every_channel_leaves_room_for_its_own_bias(operator, bias, attributes, n):
    assert biased(operator, bias, attributes, per_channel=True) == (n, [])
    assert biased(operator, bias, attributes) == (min(n), [])


def test_given_formats_are_not_changed_for_a_bias():
    for options in ({"formats": {"U": "Q-6.21"}}, {"weight_qformat": "Q-6.21"}, {"formats": {"U": ["Q-6.21"] * 4}}):
        found, notes = biased("Conv", [100, 0, 0, 0], **options)
        assert found in (21, [21] * 4)
        assert len(notes) == 1


def test_every_reader_of_shared_weights_has_room_for_its_bias():
    constants = {"U": np.full((4, 4, 1, 1), 2.0**-7, np.float32), "v": np.float32([1, 0, 0, 0])}
    constants["w"] = np.float32([0, 0, 4, 0])
    nodes = [("Conv", "x U v", "c"), ("Conv", "c U w", "d"), ("Conv", "d U", "y")]
    s = session(nodes, {"x": "Q4.11", "c": "Q6.9", "d": "Q6.9"} | {"y": "Q4.11"}, constants=constants,
                inputs={"x": [1, 4, 6, 5]})  # fmt: skip
    assert s.formats["U"] == Q("Q-4.19")
    s = session(nodes, {"x": "Q4.11", "c": "Q4.11", "d": "Q6.9"} | {"y": "Q4.11"}, constants=constants,
                inputs={"x": [1, 4, 6, 5]})  # fmt: skip
    assert s.formats["U"] == Q("Q-2.17")


def test_a_bias_that_no_format_has_room_for_saturates():
    found, notes = biased("Conv", [3e38, 0, 0, 0], qformat="Q-2.17")
    assert found == -112
    assert len(notes) == 1


def test_weights_that_are_data_too_have_one_format():
    s = session(
        [("Conv", "x W", "c"), ("Mul", "x W", "y")],
        qformat="Q4.3",
        per_channel=True,
        inputs={"x": [4, 3, 6, 5]},
        outputs=["y", "c"],
    )
    assert isinstance(s.formats["W"], QFormat)
    s.run(None, {"x": weights(4, 3, 6, 5)})


def test_a_list_gives_weights_one_format_per_channel():
    formats = ["Q0.7", "Q1.6", "Q2.5", "Q3.4"]
    s = session(CHAIN, {"W": formats, "V": [Q("Q0.7")] * 4}, qformat="Q4.3")
    assert s.formats["W"] == ChannelFormats(tuple(Q(f) for f in formats), 0)
    s.run(None, {"x": X})


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ({"W": ["Q0.7"] * 3}, r"^formats give 'W' 3 formats for 4 channels"),
        ({"W": ["Q0.7", "Q0.7", "Q0.7", "Q0.6"]}, r"^format of 'W': .*differ in word length"),
        ({"W": []}, r"^format of 'W': \[\] is neither"),
        ({"W": ["Q0.7", 3]}, r"^format of 'W': .* is neither"),
        ({"c": ["Q0.7", "Q0.7"]}, r"^formats give 'c' 2 formats; only weights"),
        ({"k": ["Q0.7"]}, r"^formats give 'k' 1 formats, and it has no output channels"),
        ({"c": 3}, r"^format of 'c': 3 is neither a format"),
        ({"c": None}, r"^format of 'c': None is neither a format"),
        ({"c": {"m": 1}}, r"^format of 'c': "),
        ({"c": "4.3"}, r"^format of 'c': '4\.3' is not .*did you mean Q4\.3"),
    ],
)
def test_formats_that_are_none(formats, message):
    with pytest.raises(FormatError, match=message):
        session([*CHAIN[:-1], ("Mul", "p k", "y")], formats, qformat="Q4.3")


def test_per_channel_and_a_weight_format_exclude_each_other():
    with pytest.raises(OptionError, match="per-channel"):
        session(CHAIN, qformat="Q4.3", weight_qformat="Q0.7", per_channel=True)


@pytest.mark.parametrize("lowest", [-np.inf, np.finfo(np.float32).min])  # masks spell it in either way
def test_infinities_saturate_and_do_not_count(lowest):
    s = session([("Max", "x m", "y")], qformat="Q4.3", constants={"m": np.float32([lowest, 0.5, 0.25, 0, 0])})
    assert s.formats["m"] == Q("Q0.7")
    (y,) = s.run(None, {"x": X}, raw=True)
    assert y[..., 0].min() < 0


def test_not_a_number_in_a_constant_is_named():
    with pytest.raises(FormatError, match="constant 'W' holds NaN"):
        session(CHAIN, qformat="Q4.3", constants={"W": np.full((4, 3, 1, 1), np.nan, np.float32)})
    with pytest.raises(FormatError, match="constant 'W' holds NaN"):
        session(
            CHAIN, qformat="Q4.3", weight_qformat="Q4.3", constants={"W": np.full((4, 3, 1, 1), np.nan, np.float32)}
        ).run(None, {"x": X})
    with pytest.raises(FormatError, match="constant 'b' holds NaN"):
        session(CHAIN, qformat="Q4.3", constants={"b": np.full(4, np.nan, np.float32)}).run(None, {"x": X})


def test_shared_weights_have_the_format_that_holds_both():
    norm = {"g": np.full(4, 100, np.float32), "h": np.zeros(4, np.float32)}
    norm |= {"m": np.zeros(4, np.float32), "v": np.ones(4, np.float32)}
    nodes = [("Conv", "x V", "c"), ("BatchNormalization", "c g h m v", "n"), ("Conv", "n V", "y")]
    inputs = {"x": [1, 4, 6, 5]}
    both = session(nodes, qformat="Q4.11", constants=norm, inputs=inputs).formats["V"]
    folded = session([*nodes[:2], ("Relu", "n", "y")], qformat="Q4.11", constants=norm, inputs=inputs).formats["V"]
    plain = session([("Conv", "x V", "y")], qformat="Q4.11", inputs=inputs).formats["V"]
    assert both == folded
    assert folded.fraction_bits < plain.fraction_bits


@pytest.mark.parametrize("options", [{"qformat": "Q4.3"}, {"qformat": "Q4.11", "per_channel": True}])
def test_what_a_session_tells_makes_the_same_session(options):
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


def test_a_file_of_formats(tmp_path):
    path = tmp_path / "formats.json"
    path.write_text(json.dumps({"c": "Q2.5", "W": ["Q0.7"] * 4}))
    assert session(CHAIN, path, qformat="Q4.3").formats == session(CHAIN, str(path), qformat="Q4.3").formats
    assert session(CHAIN, path, qformat="Q4.3").formats["p"] == Q("Q2.5")
    path.write_text("\ufeff{}", encoding="utf-8")  # as Windows writes it
    assert read_formats(path) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[]", "not an object"),
        (b'"Q4.3"', "not an object"),
        (b'{"c": "Q4.3", "c": "Q4.3"}', "'c' is given twice"),
        (b"\xff\xfe{}", "decode"),
        (b"[" * 100_000, "recursion|nested"),
    ],
)
def test_files_that_hold_no_formats(tmp_path, content, message):
    path = tmp_path / "formats.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"^formats file .*formats\.json: .*({message})") as error:
        read_formats(path)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FormatError, match=r"none\.json: No such file"):
        read_formats(tmp_path / "none.json")
    with pytest.raises(FormatError, match=r": Is a directory"):
        read_formats(tmp_path)
    with pytest.raises(FormatError, match=r"null"):
        read_formats("a\0b")


def test_a_long_chain_shares_one_format():
    nodes = [("Relu", f"t{i}", f"t{i + 1}") for i in range(1500)]
    model = network(nodes, inputs={"t0": [1]}, outputs=["t1500"])
    s = qengine.InferenceSession(model, qformat="Q4.3", formats={"t7": "Q2.5"})
    assert {str(form) for form in s.formats.values()} == {"Q2.5"}
    assert len(s.formats) == 1501


def test_the_least_float16_is_infinity_too():
    mask = np.float16([0, -65504, 0.5, 0.25, 0])
    found = session([("Max", "x m", "y")], qformat="Q3.4", inputs={"x": (np.float16, [5])}, constants={"m": mask})
    assert found.formats["m"] == Q("Q0.7")
