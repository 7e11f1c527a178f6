import numpy as np
import pytest
from model.formats.sessions import CHAIN, Q, X, session
from networks import weights

import qengine
from qengine import QFormat
from qengine.analysis.report import compare
from qengine.errors import FormatError, OptionError
from qengine.model.formats.constants import _exact
from qengine.qformat import ChannelFormats, channel_formats


def test_constants_have_the_most_fraction_bits_that_hold_them():
    s = session(CHAIN, qformat="Q4.3")
    for name, value in (("W", weights(4, 3, 1, 1)), ("V", weights(4, 4, 1, 1, seed=8))):
        form = s.formats[name]
        assert form.bits == 8
        codes = np.rint(value.astype(np.float64) * 2.0**form.fraction_bits)
        assert -128 <= codes.min() <= codes.max() <= 127
        codes = np.rint(value.astype(np.float64) * 2.0 ** (form.fraction_bits + 1))
        assert codes.min() < -128 or codes.max() > 127


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
    user_formats = weights(*shape) * np.linspace(0.01, 1, shape[-1], dtype=np.float32)
    s = session([node], qformat="Q4.3", per_channel=True, constants={"U": user_formats})
    assert getattr(s.formats["U"], "axis", None) == axis
    assert np.isfinite(s.run(None, {"x": X})[0]).all()


def biased(operator, bias, attributes=None, **options):
    """Return the fraction bits of weights of 2^-7 beside a bias, with 11 fraction bits for x, and the notes."""
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


def test_a_bias_has_at_most_as_many_fraction_bits_as_a_scale_of_float32():
    nodes, constants = [("Conv", "x U v", "y")], {"U": np.ones((2, 4, 1, 1), np.float32), "v": np.float32([0, 1e-40])}
    constants["U"][1] = 1e-36
    s = session(nodes, {"x": "Q3.12", "y": "Q3.12"}, constants=constants, per_channel=True)
    assert [one.fraction_bits for one in s.formats["U"].formats] == [14, 126 - 12]


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


def test_per_channel_and_a_weight_format_exclude_each_other():
    with pytest.raises(OptionError, match="per-channel"):
        session(CHAIN, qformat="Q4.3", weight_qformat="Q0.7", per_channel=True)


@pytest.mark.parametrize("lowest", [-np.inf, np.finfo(np.float32).min])  # masks spell it in either way
def test_infinities_saturate_and_take_only_the_range_that_saturates_every_result(lowest):
    s = session([("Max", "x m", "y")], qformat="Q4.3", constants={"m": np.float32([lowest, 0.5, 0.25, 0, 0])})
    assert s.formats["m"] == Q("Q4.3")
    x, y = s.run(["x", "y"], {"x": X}, raw=True)
    np.testing.assert_array_equal(y[..., 0], x[..., 0])
    s = session([("Add", "x m", "y")], qformat="Q4.3", constants={"m": np.float32([lowest, 0.5, 0.25, 0, 0])})
    assert s.formats["m"] == Q("Q5.2")
    (y,) = s.run(["y"], {"x": np.full_like(X, 15.875)}, raw=True)
    assert (y[..., 0] == -128).all()


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


def test_the_least_float16_is_infinity_too():
    mask = np.float16([0, -65504, 0.5, 0.25, 0])
    found = session([("Max", "x m", "y")], qformat="Q3.4", inputs={"x": (np.float16, [5])}, constants={"m": mask})
    assert found.formats["m"] == Q("Q3.4")


@pytest.mark.parametrize(
    ("stored", "axis", "wanted"),
    [
        (Q("Q5.2"), None, Q("Q5.2")),
        (Q("Q5.2"), 0, Q("Q5.2")),
        (Q("Q6.1"), None, Q("Q5.2")),  # it does not hold 0.25
        (Q("Q0.7"), None, Q("Q5.2")),  # it does not hold 3
        (channel_formats(["Q7.0", "Q5.2"], 0), 0, channel_formats(["Q7.0", "Q5.2"], 0)),
        (channel_formats(["Q5.2", "Q7.0"], 0), 0, Q("Q5.2")),
        (channel_formats(["Q5.2", "Q5.2"], 0), 1, Q("Q5.2")),
        (channel_formats(["Q5.2", "Q5.2"], 0), None, Q("Q5.2")),
        (None, None, Q("Q5.2")),
        (None, 0, Q("Q5.2")),
    ],
    ids=str,
)
def test_the_stored_format_stays_where_it_holds_every_value(stored, axis, wanted):
    assert _exact(stored, axis, [np.float32([[3, -1], [0.25, 1]]), np.float32([[2, 2], [0.5, 0]])]) == wanted


@pytest.mark.parametrize("lowest", [-np.inf, np.finfo(np.float32).min])
def test_a_mask_that_shapes_decide_saturates_every_result(lowest):
    fill = {"value": np.float32([lowest])}
    nodes = [("Shape", "x", "lengths"), ("ConstantOfShape", "lengths", "fill", fill), ("Add", "x fill", "y")]
    (y,) = session(nodes, qformat="Q4.3").run(["y"], {"x": np.full_like(X, 15.875)}, raw=True)
    assert (y == -128).all()


def test_a_scalar_has_no_format_per_channel():
    """A number that scales pixels has formats per channel where it is merged with others, and one where it is alone."""
    nodes = [("Mul", "x k", "s"), ("Sub", "s m", "n"), ("Mul", "n d", "y")]
    per_channel = np.arange(1, 4, dtype=np.float32).reshape(3, 1, 1)
    s = session(
        nodes, per_channel=True, qformat="Q4.3", constants={"k": np.float32(0.25), "m": per_channel, "d": per_channel}
    )
    (inside,) = s.run(["s"], {"x": X})
    np.testing.assert_allclose(inside, X * 0.25, atol=0.125)
