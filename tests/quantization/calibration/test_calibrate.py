"""Formats for whole models: usable as they are, shared where they must be, and what they cost is told."""

import tracemalloc

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import InferenceSession, QFormat, calibrate, zoo
from qengine.analysis.report import compare
from qengine.errors import FeedError, FormatError
from qengine.metrics.sqnr import sqnr
from qengine.model.formats.files import format_to_json
from qengine.qformat import finest_format
from qengine.quantization.calibration import CalibrationOptions, choose_formats, observe
from qengine.quantization.calibration.error import exact_error

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 1, 3, 6, 5)).astype(np.float32)
FEEDS = [{"x": x} for x in X]
PLAIN = network(
    [
        ("Conv", "x w b", "c", {"pads": [1, 1, 1, 1]}),
        ("Relu", "c", "r"),
        ("MaxPool", "r", "p", {"kernel_shape": [2, 2]}),
        ("Conv", "p v", "y"),
    ],
    constants={"w": weights(4, 3, 3, 3), "b": weights(4), "v": weights(2, 4, 1, 1)},
)


def traced(model, feeds=FEEDS):
    """Return every value of every tensor that float32 computes."""
    found = {}
    session = InferenceSession(model)
    for one in feeds:
        for event in session.trace(session.check_feeds(one)):
            found.setdefault(event.tensor.name, []).append(event.array.ravel())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def ranges(calibration):
    return {one.name: one for one in calibration.tensors}


@pytest.mark.parametrize("bits", [2, 5, 8, 16])
@pytest.mark.parametrize("method", ["mse", "max", "percentile"])
def test_what_comes_out_is_all_that_a_session_needs(method, bits):
    found = calibrate(PLAIN, FEEDS, bits=bits, method=method)
    assert list(found) == ["x", "w", "c", "r", "p", "v", "y"]
    assert dict(found) == found.formats
    session = InferenceSession(PLAIN, formats=found)
    assert session.notes == ()
    assert {name: format_to_json(form) for name, form in session.formats.items()} == found.formats
    assert all(form.bits == bits for form in session.formats.values())


def test_max_is_the_finest_format_of_all_runs_together():
    values, found = traced(PLAIN), calibrate(PLAIN, FEEDS, bits=7, method="max", per_channel=False, unsigned=False)
    for name in ("x", "y"):
        assert found[name] == str(finest_format(values[name], 7))
    assert found["r"] == str(finest_format(np.concatenate([values["r"], values["p"]]), 7))
    assert found["v"] == str(finest_format(weights(2, 4, 1, 1), 7))
    told = ranges(found)
    for name, array in values.items():
        assert (told[name].least, told[name].most, told[name].elements) == (array.min(), array.max(), array.size)


def test_sqnr_is_that_of_the_tensor_alone():
    values = traced(PLAIN)
    for one in calibrate(PLAIN, FEEDS, bits=8, per_channel=False).tensors:
        x = values.get(one.name, weights(4, 3, 3, 3) if one.name == "w" else weights(2, 4, 1, 1))
        own = sqnr(x, qengine.dequantize(qengine.quantize(x, one.format), one.format))
        assert one.sqnr_db == pytest.approx(own, abs=0.3), one.name


def test_a_group_shares_the_best_format_of_all_its_values():
    # What is large is sliced away, and what is left shares the format all the same.
    model = network(
        [
            ("Add", "x x", "a"),
            ("Slice", "a starts ends axes", "s"),
            ("Transpose", "s", "t", {"perm": [0, 1, 3, 2]}),
            ("Mul", "t k", "y"),
        ],
        constants={"starts": np.int64([1]), "ends": np.int64([6]), "axes": np.int64([2]), "k": 2.0},
    )
    x = RNG.normal(size=(1, 3, 6, 5)).astype(np.float32) / 64
    x[:, :, 0] *= 2000
    found = calibrate(model, [{"x": x}], bits=8)
    assert found["a"] == found["s"] == found["t"]
    told = ranges(found)
    values = traced(model, [{"x": x}])
    together = np.concatenate([values[name] for name in "ast"]).astype(np.float64)
    losses = {n: exact_error(together, QFormat(7 - n, n)) for n in range(-10, 20)}
    assert QFormat.parse(found["a"]).fraction_bits == min(losses, key=losses.get)
    assert told["a"].shares == ("s", "t")
    assert told["a"].cost_db == 0
    # Alone, what is left by the slice would have had more fraction bits, and as much more SQNR.
    assert QFormat.parse(told["s"].best).fraction_bits > QFormat.parse(found["s"]).fraction_bits
    gain = sqnr(values["s"], qengine.dequantize(qengine.quantize(values["s"], told["s"].best), told["s"].best))
    own = sqnr(values["s"], qengine.dequantize(qengine.quantize(values["s"], found["s"]), found["s"]))
    assert told["s"].cost_db == pytest.approx(gain - own, abs=1.0)
    assert told["s"].cost_db > 20
    assert told["y"].cost_db == 0


def test_a_group_counts_what_only_a_later_member_holds():
    model = network(
        [("Tanh", "x", "a"), ("Pad", "a pads fill", "p"), ("Neg", "p", "y")],
        constants={"pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "fill": 50.0},
    )
    for method, alone in (("max", "Q1.6"), ("mse", "Q0.7")):  # tanh comes so near to 1 that it rounds to it
        found = calibrate(model, FEEDS, bits=8, method=method)
        assert found["a"] == found["p"] == "Q6.1"
        assert ranges(found)["a"].best == alone
        assert ranges(found)["a"].cost_db > 30


JOIN = network(
    [("Relu", "x", "a"), ("Mul", "x k", "b"), ("Concat", "a b", "c", {"axis": 1}), ("Mul", "c k", "y")],
    constants={"k": np.float32(0.01)},
)


def test_joins_share_a_format_only_if_asked_to():
    free, tied = calibrate(JOIN, FEEDS), calibrate(JOIN, FEEDS, tie_joins=True)
    assert QFormat.parse(free["b"]).fraction_bits > QFormat.parse(free["c"]).fraction_bits
    assert tied["b"] == tied["c"] == tied["a"] == tied["x"]
    assert ranges(tied)["b"].cost_db > 20
    assert ranges(free)["b"].cost_db == 0
    for formats in (free, tied):
        InferenceSession(JOIN, formats=formats).run(None, FEEDS[0])


@pytest.mark.parametrize("method", ["mse", "max"])
def test_weights_per_channel(method):
    scale = np.float32([1, 0.01, 30, 0]).reshape(4, 1, 1, 1)
    w = weights(4, 3, 3, 3) * scale
    model = network([("Conv", "x w", "y")], constants={"w": w})
    found = calibrate(model, FEEDS, bits=8, method=method, per_channel=True)
    assert len(found["w"]) == 4
    for form, channel in zip(found["w"], w, strict=True):
        losses = {n: exact_error(channel.astype(float), QFormat(7 - n, n)) for n in range(-10, 30)}
        expected = finest_format(channel, 8) if method == "max" or not channel.any() else None
        best = expected.fraction_bits if expected else min(losses, key=losses.get)
        assert QFormat.parse(form).fraction_bits == best
    session = InferenceSession(model, formats=found)
    assert [str(form) for form in session.formats["w"].formats] == found["w"]
    one = calibrate(model, FEEDS, bits=8, method=method)
    gain = ranges(found)["w"].sqnr_db - ranges(one)["w"].sqnr_db
    assert gain >= 0
    assert gain < 60


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_bias_has_room(bits, per_channel):
    w, b = weights(4, 3, 3, 3) / 1000, np.float32([100, 1e-3, -3, 0])
    model = network([("Conv", "x w b", "c"), ("Tanh", "c", "y")], constants={"w": w, "b": b})
    found = calibrate(model, FEEDS, bits=bits, per_channel=per_channel)
    session = InferenceSession(model, formats=found)
    notes = compare(session, InferenceSession(model), FEEDS[0]).notes
    assert not [note for note in notes if "bias" in note]
    n = QFormat.parse(found["x"]).fraction_bits
    given = found["w"] if per_channel else [found["w"]] * 4
    for form, added in zip(given, b, strict=True):
        assert abs(float(added)) * 2.0 ** (QFormat.parse(form).fraction_bits + n) < 2**31
    is_bound = bits == 16
    assert (ranges(found)["w"].cost_db > 0) is is_bound
    assert any("'w' has fewer fraction bits" in note for note in found.notes) is is_bound
    if is_bound:  # and not a bit more than is needed
        most = QFormat.parse(given[0]).fraction_bits + n
        assert 100 * 2.0 ** (most + 1) >= 2**31


def test_weights_and_activations_have_words_of_their_own():
    found = calibrate(PLAIN, FEEDS, bits=8, weight_bits=4, activation_bits=12)
    forms = InferenceSession(PLAIN, formats=found).formats
    assert {name: form.bits for name, form in forms.items()} == {**dict.fromkeys("xcrpy", 12), **dict.fromkeys("wv", 4)}
    assert found.formats == calibrate(PLAIN, FEEDS, weight_bits=4, activation_bits=12).formats


def test_unsigned_where_nothing_can_be_negative():
    model = network(
        [
            ("Relu", "x", "r"),
            ("Sigmoid", "x", "s"),
            ("Clip", "x low high", "k"),
            ("Concat", "r s k", "c", {"axis": 1}),
            ("AveragePool", "c", "a", {"kernel_shape": [2, 2]}),
            ("Mul", "x x", "q"),  # never negative, and nobody who looks at one operator knows
            ("Neg", "a", "y"),
        ],
        outputs=["y", "q"],
        constants={"low": 0.25, "high": 1.0},
    )
    signs = {name: QFormat.parse(form).signed for name, form in calibrate(model, FEEDS).items()}
    # r and k share x's format.
    assert signs == {"x": True, "r": True, "s": False, "k": True, "c": False, "a": False, "q": True, "y": True}
    separate = model_of_signs()
    found = calibrate(separate, FEEDS)
    signs = {name: QFormat.parse(form).signed for name, form in found.items() if name in "trskcay"}
    assert signs == {"t": True, "r": False, "s": False, "k": False, "c": False, "a": False, "y": True}
    assert found.notes == ()
    found = calibrate(separate, FEEDS, unsigned=False, per_channel=False)
    assert all(QFormat.parse(form).signed for form in found.values())


def model_of_signs():
    conv = [("Conv", f"x w{i}", f"c{i}") for i in range(2)]
    return network(
        [
            *conv,
            ("Tanh", "x", "t"),
            ("Relu", "c0", "r"),
            ("Sigmoid", "x", "s"),
            ("Clip", "c1 low high", "k"),
            ("Slice", "s starts ends axes", "z"),
            ("Concat", "r k", "c", {"axis": 1}),
            ("AveragePool", "c", "a", {"kernel_shape": [2, 2]}),
            ("Neg", "a", "y"),
        ],
        outputs=["y", "t", "z"],
        constants={
            **{f"w{i}": weights(2, 3, 3, 3, seed=i) for i in range(2)},
            **{"low": 0.25, "high": 1.0, "starts": np.int64([0]), "ends": np.int64([2]), "axes": np.int64([2])},
        },
    )


def test_an_input_is_unsigned_if_it_was_never_negative_and_that_is_told():
    found = calibrate(PLAIN, [{"x": np.abs(x)} for x in X], per_channel=False)
    assert found["x"].startswith("UQ")
    assert found.notes == ("input 'x' is unsigned, as it was never negative: what is negative becomes 0",)
    assert calibrate(PLAIN, FEEDS)["x"].startswith("Q")
    assert all(form.startswith("Q") for name, form in found.items() if name in "wv")


def test_a_pad_with_a_negative_fill_is_signed():
    model = network(
        [("Sigmoid", "x", "s"), ("Pad", "s pads fill", "p"), ("Neg", "p", "y")],
        constants={"pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "fill": -1.0},
    )
    assert calibrate(model, FEEDS, unsigned=True)["s"].startswith("Q")


def test_a_quantized_model_is_observed_without_its_rounding():
    model = network(
        [
            ("QuantizeLinear", "x scale zero", "q"),
            ("DequantizeLinear", "q scale zero", "d"),
            ("Conv", "d w", "y"),
        ],
        constants={"scale": 0.5, "zero": np.int8(0), "w": weights(2, 3, 1, 1)},
    )
    found = calibrate(model, FEEDS, bits=12, method="max")
    assert found["x"] == str(finest_format(X, 12))  # and not the Q6.1 of the model
    session = InferenceSession(model, formats=found)
    (exact,) = session.in_float32().run(None, FEEDS[0])
    assert sqnr(exact, session.run(None, FEEDS[0])[0]) > 55


# The data


def test_feeds_are_read_one_at_a_time():
    alive = []

    def feeds():
        for x in X:
            alive.append("asked")
            yield {"x": x}

    calibrate(PLAIN, feeds())
    assert alive == ["asked"] * 4


def test_memory_does_not_grow_with_the_data():
    model = network([("Relu", "x", "y")], inputs={"x": [1, 3, 64, 64]})

    def peak(count):
        tracemalloc.start()
        calibrate(model, ({"x": RNG.normal(size=(1, 3, 64, 64)).astype(np.float32)} for _ in range(count)))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(60) < peak(3) + 3 * 64 * 64 * 4  # less than one more input, where 57 are more


def test_the_order_of_the_data_does_not_matter():
    assert calibrate(PLAIN, FEEDS).tensors == calibrate(PLAIN, FEEDS[::-1]).tensors


def test_one_observation_serves_any_options():
    seen = observe(PLAIN, FEEDS)
    for bits in (3, 8):
        assert choose_formats(seen, CalibrationOptions(bits=bits)) == calibrate(PLAIN, FEEDS, bits=bits)


def test_zeros_and_what_is_infinite_or_nan():
    model = network(
        [("Mul", "x zero", "z"), ("Log", "x", "l"), ("Div", "x z", "d"), ("Exp", "z", "y")],
        outputs=["y", "l", "d"],
        constants={"zero": 0.0},
    )
    found = calibrate(model, FEEDS)
    assert found["z"] == "Q0.7"
    told = ranges(found)
    assert told["z"].sqnr_db == np.inf
    negative = sum(np.count_nonzero(x < 0) for x in X)
    assert told["l"].nonfinite == negative
    assert told["d"].nonfinite == X.size
    assert (told["d"].least, told["d"].most, found["d"]) == (None, None, "Q0.7")
    for name, count in (("l", negative), ("d", X.size)):
        assert f"{count} values of '{name}' are NaN or infinite in float32, and were left out" in found.notes


def test_a_tensor_of_one_value_has_a_range():
    model = network([("Sigmoid", "x", "y")], inputs={"x": [1]})
    (x, _) = calibrate(model, [{"x": np.float32([0.75])}]).tensors
    assert (x.least, x.most, x.elements) == (0.75, 0.75, 1)


def test_an_input_that_holds_nan_is_named():
    bad = [*FEEDS[:2], {"x": np.full_like(X[0], np.nan)}]
    with pytest.raises(FeedError, match="run 3 of the data: input 'x' holds NaN"):
        calibrate(PLAIN, bad)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ([], "there is no data to calibrate on"),
        ([FEEDS[0], {"z": X[0]}], r"data\[1\] has no array for input 'x'; it holds 'z'"),
        ([{"x": X[0][:, :2]}], r"run 1 of the data: input 'x' needs shape \[1, 3, 6, 5\]"),
        ([{}], "run 1 of the data: no feed for input 'x'"),
        ([7], "data has 1 axes; input 'x' needs 4"),
    ],
)
def test_data_that_does_not_go_with_the_model(feeds, message):
    with pytest.raises(FeedError, match=message):
        calibrate(PLAIN, feeds)


def test_a_constant_that_is_nan():
    model = network([("Conv", "x w", "y")], constants={"w": np.full((1, 3, 1, 1), np.nan, np.float32)})
    with pytest.raises(FormatError, match="constant 'w' holds NaN"):
        calibrate(model, FEEDS)


def test_inputs_that_decide_shapes_have_no_format():
    srcnn = zoo.find("srcnn")
    found = calibrate(srcnn.path, [srcnn.sample().feeds])
    assert "factor" not in found
    InferenceSession(srcnn.path, formats=found).run(None, srcnn.sample().feeds)


def test_a_lookup_table_has_a_range_of_its_own():
    model = network([("Gather", "table i", "y")], inputs={"i": (np.int64, [2])}, constants={"table": [1.0, -3.0, 40.0]})
    found = ranges(calibrate(model, [{"i": np.int64([0, 1])}], bits=8))
    assert (found["table"].kind, found["table"].least, found["table"].most) == ("constant", -3.0, 40.0)
    assert (found["y"].kind, found["y"].least, found["y"].most) == ("activation", -3.0, 1.0)
    assert found["table"].format == found["y"].format == "Q6.1"


def test_nan_in_what_a_bias_is_made_of():
    """A calibration refuses what every run in fixed point would."""
    one = np.ones(3, np.float32)
    constants = {"s": one, "b": one, "m": np.array([0, np.nan, 1], np.float32), "v": one}
    model = network([("BatchNormalization", "x s b m v", "y")], constants=constants)
    feeds = {"x": np.ones((1, 3, 6, 5), np.float32)}
    for refused in (
        lambda: calibrate(model, [feeds]),
        lambda: qengine.InferenceSession(model, qformat="Q3.4").run(None, feeds),
    ):
        with pytest.raises(FormatError, match="constant 'b' holds NaN: fixed point has no code for it"):
            refused()
