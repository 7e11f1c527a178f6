"""What each tensor costs: every figure against plain NumPy, or against a model that is changed by hand."""

import tracemalloc

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import InferenceSession, zoo
from qengine.analysis.blame import blame

W1, B1, W2 = weights(6, 5, seed=1), weights(5, seed=2), weights(5, 3, seed=3)
PERCEPTRON = network(
    [("Gemm", "x w1 b1", "h"), ("Relu", "h", "r"), ("Gemm", "r w2", "y")],
    inputs={"x": ["N", 6]},
    constants={"w1": W1, "b1": B1, "w2": W2},
)
FORMATS = {"x": "Q2.5", "w1": "Q1.6", "r": "Q2.3", "w2": "Q1.4", "y": "Q3.4"}


def feeds(count=3, seed=5):
    rng = np.random.default_rng(seed)
    return [{"x": (rng.normal(size=(4, 6)) * 2.0**-i).astype(np.float32)} for i in range(count)]


def rounded(array, form):
    """Return the nearest numbers that a format holds, by its definition."""
    q = qengine.QFormat.parse(form)
    codes = np.clip(np.rint(array.astype(np.float64) * 2.0**q.fraction_bits), *_ends(q))
    return codes / 2.0**q.fraction_bits


def _ends(q):
    return (-(2 ** (q.bits - 1)), 2 ** (q.bits - 1) - 1) if q.signed else (0, 2**q.bits - 1)


def perceptron(x, formats):
    """Return every tensor of the network in float64, those that are named rounded."""
    found = {}

    def at(name, array):
        found[name] = rounded(array, formats[name]) if name in formats else array
        return found[name]

    w1, w2 = at("w1", W1.astype(np.float64)), at("w2", W2.astype(np.float64))
    r = at("r", np.maximum(at("x", x.astype(np.float64)) @ w1 + B1, 0))
    at("y", r @ w2)
    return found


def brute_force(data, formats):
    """Return the SQNR of each tensor over all data, in dB, with some tensors rounded."""
    exact = [perceptron(feed["x"], {}) for feed in data]
    other = [perceptron(feed["x"], formats) for feed in data]

    def sqnr(name):
        signal = sum(np.sum(one[name] ** 2) for one in exact)
        noise = sum(np.sum((a[name] - b[name]) ** 2) for a, b in zip(exact, other, strict=True))
        return 10 * np.log10(signal / noise) if noise else np.inf

    return {name: sqnr(name) for name in exact[0]}


def close(found, expected):
    return found == pytest.approx(expected, abs=2e-3)


def test_every_figure_is_that_of_plain_numpy():
    data = feeds()
    found = blame(InferenceSession(PERCEPTRON, formats=FORMATS), data)
    assert {one.name for one in found.tensors} == FORMATS.keys()
    for name, form in FORMATS.items():
        alone = brute_force(data, {name: form})
        assert close(found[name].own_db, alone[name]), name
        assert close(found[name].output_db, alone["y"]), name
        others = brute_force(data, {other: FORMATS[other] for other in FORMATS if other != name})["y"]
        assert close(found[name].all_but_db, others), name
        assert close(found[name].gain_db, others - found.rounded_db), name
    run = brute_force(data, FORMATS)
    assert close(found.rounded_db, run["y"])
    assert close(found.sum_db, -10 * np.log10(sum(10 ** (-one.output_db / 10) for one in found.tensors)))
    # Nothing is rounded but these tensors: the bias has bits enough, and sums of codes are exact.
    assert all(close(found[name].sqnr_db, run[name]) for name in FORMATS)
    assert close(found.sqnr_db, run["y"])
    assert close(found.constants_db, brute_force(data, {n: FORMATS[n] for n in ("w1", "w2")})["y"])
    assert close(found.activations_db, brute_force(data, {n: FORMATS[n] for n in ("x", "r", "y")})["y"])
    assert (found.runs, found.outputs) == (3, ("y",))


def test_groups_are_rounded_as_one():
    data = feeds()
    groups = {"first": ["x", "w1", "r"], "weights": ["w1", "w2"]}
    found = blame(InferenceSession(PERCEPTRON, formats=FORMATS), data, groups=groups)
    assert {one.name: list(one.tensors) for one in found.groups} == groups
    for one in found.groups:
        chosen = {name: FORMATS[name] for name in one.tensors}
        assert close(one.output_db, brute_force(data, chosen)["y"])
        others = {name: form for name, form in FORMATS.items() if name not in chosen}
        assert close(one.all_but_db, brute_force(data, others)["y"])
        assert close(one.gain_db, one.all_but_db - found.rounded_db)
        assert one.sensitivity == pytest.approx(10 ** (-one.output_db / 10))
    gains = [one.gain_db for one in found.groups]
    assert gains == sorted(gains, reverse=True)
    named = blame(InferenceSession(PERCEPTRON, formats=FORMATS), data, groups="weights=^w")
    assert named.groups[0] == next(one for one in found.groups if one.name == "weights")


def test_noise_is_energy_and_shares_are_of_all_sensitivity():
    data = feeds()
    found = blame(InferenceSession(PERCEPTRON, formats=FORMATS), data)
    exact = [perceptron(feed["x"], {})["y"] for feed in data]
    other = [perceptron(feed["x"], {"r": "Q2.3"})["y"] for feed in data]
    noise = sum(np.sum((a - b) ** 2) for a, b in zip(exact, other, strict=True))
    assert found["r"].noise["y"] == pytest.approx(noise, rel=1e-3)
    assert found["r"].sensitivity == pytest.approx(noise / sum(np.sum(a**2) for a in exact), rel=1e-3)
    assert sum(one.share for one in found.tensors) == pytest.approx(1.0)
    assert [one.sensitivity for one in found.tensors] == sorted(
        (one.sensitivity for one in found.tensors), reverse=True
    )


def test_kinds_and_operators():
    found = blame(InferenceSession(PERCEPTRON, formats=FORMATS), feeds())
    assert {one.name: (one.kind, one.operator) for one in found.tensors} == {
        "x": ("input", "input"),
        "w1": ("constant", "Gemm+Relu"),
        "r": ("activation", "Gemm+Relu"),
        "w2": ("constant", "Gemm"),
        "y": ("activation", "Gemm"),
    }
    assert found["r"].shares == ("h",)


def test_the_cut_of_the_data_into_runs_does_not_matter():
    data = feeds()
    session = InferenceSession(PERCEPTRON, formats=FORMATS)
    apart, at_once = blame(session, data), blame(session, [{"x": np.concatenate([feed["x"] for feed in data])}])
    for one in apart.tensors:
        other = at_once[one.name]
        assert one.output_db == pytest.approx(other.output_db, abs=1e-3)
        assert one.sqnr_db == pytest.approx(other.sqnr_db, abs=1e-3)
        assert (one.elements, one.saturated, one.underflowed, one.unused_bits) == (
            other.elements,
            other.saturated,
            other.underflowed,
            other.unused_bits,
        )


def test_counts_are_those_of_the_run_in_fixed_point():
    data = feeds()
    formats = {**FORMATS, "r": "Q-2.6", "w1": "Q-1.4", "y": "Q8.2"}
    found = blame(InferenceSession(PERCEPTRON, formats=formats), data)
    w1 = np.rint(W1.astype(np.float64) * 16)
    assert found["w1"].saturated == np.count_nonzero((w1 < -8) | (w1 > 7)) > 0
    assert found["w1"].underflowed == np.count_nonzero((w1 == 0) & (W1 != 0)) > 0
    assert found["w1"].elements == W1.size
    runs = [perceptron(feed["x"], {n: formats[n] for n in ("x", "w1")}) for feed in data]
    sums = np.concatenate([np.rint(64 * one["r"]) for one in runs])
    assert found["r"].saturated == np.count_nonzero(sums > 15) > 0
    assert found["r"].elements == sums.size
    codes = np.concatenate([rounded(perceptron(feed["x"], formats)["y"], "Q8.2") * 4 for feed in data])
    assert found["y"].unused_bits == 10 - int(np.abs(codes).max()).bit_length()


CONV = [
    ("Conv", "x w b", "c"),
    ("PRelu", "c slope", "p"),
    ("MaxPool", "p", "m", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("Conv", "m d", "e", {"group": 4, "pads": [1, 1, 1, 1]}),
    ("Add", "e m", "a"),
    ("Mul", "a scale", "s"),
    ("Concat", "s m", "j", {"axis": 1}),
    ("Flatten", "j", "f"),
    ("MatMul", "f v", "y"),
]
CONSTANTS = {
    "w": weights(4, 2, 3, 3, seed=1),
    "b": weights(4, seed=2),
    "slope": np.abs(weights(4, 1, 1, seed=3)),
    "d": weights(4, 1, 3, 3, seed=4),
    "scale": weights(4, 1, 1, seed=5),
    "v": weights(32, 3, seed=6),
}


def branched(constants):
    return network(CONV, inputs={"x": ["N", 2, 6, 6]}, constants=constants)


@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_alone_are_those_of_a_model_with_other_weights(per_channel):
    data = [{"x": weights(2, 2, 6, 6, seed=9)}]
    session = InferenceSession(branched(CONSTANTS), qformat="Q3.4", per_channel=per_channel)
    found = blame(session, data)
    (exact,) = InferenceSession(branched(CONSTANTS)).run(None, data[0])
    blamed = [one.name for one in found.tensors if one.kind == "constant"]
    assert sorted(blamed) == ["d", "scale", "slope", "v", "w"]
    all_rounded = dict(CONSTANTS)
    for name in blamed:
        (codes,) = session.run([name], data[0])  # real numbers that the codes stand for
        all_rounded[name] = codes
        (other,) = InferenceSession(branched({**CONSTANTS, name: codes})).run(None, data[0])
        assert found[name].noise["y"] == pytest.approx(np.sum((exact.astype(np.float64) - other) ** 2), rel=1e-4), name
    (other,) = InferenceSession(branched(all_rounded)).run(None, data[0])
    ratio = np.sum((exact.astype(np.float64) - other) ** 2) / np.sum(exact.astype(np.float64) ** 2)
    assert found.constants_db == pytest.approx(-10 * np.log10(ratio), abs=1e-3)


@pytest.mark.parametrize("place", range(6))
def test_an_activation_alone_is_that_of_a_model_cut_in_two(place):
    name = ["c", "p", "e", "a", "s", "j"][place]
    data = {"x": weights(2, 2, 6, 6, seed=9)}
    found = blame(InferenceSession(branched(CONSTANTS), qformat="Q3.4"), [data])
    float32 = InferenceSession(branched(CONSTANTS))
    exact, at, m = float32.run(["y", name, "m"], data)
    cut = next(i for i, node in enumerate(CONV) if node[2] == name) + 1
    rest = [node for node in CONV[cut:] if node[2] != "m" or name in ("c", "p")]
    reads = {word for node in rest for word in node[1].split()} - {node[2] for node in rest}
    values = {name: rounded(at, "Q3.4").astype(np.float32), "m": m}
    known = {n: array for n, array in values.items() if n in reads}
    model = network(
        rest,
        inputs={n: list(array.shape) for n, array in known.items()},
        constants={n: array for n, array in CONSTANTS.items() if n in reads},
    )
    (other,) = InferenceSession(model).run(None, known)
    assert found[name].noise["y"] == pytest.approx(np.sum((exact.astype(np.float64) - other) ** 2), rel=1e-4)


def test_codes_that_are_only_moved_are_not_blamed():
    found = blame(InferenceSession(branched(CONSTANTS), qformat="Q3.4"), [{"x": weights(2, 2, 6, 6, seed=9)}])
    for name in ("m", "f"):
        one = found[name]
        assert (one.own_db, one.output_db, one.sensitivity, one.noise, one.suggestion) == (None, None, 0.0, {}, None)
        assert one.sqnr_db is not None
    assert set(found["m"].shares) == {"p"}


def test_a_wrong_format_is_named_first():
    digits = zoo.find("digits")
    data = [{"image": digits.sample().feeds["image"][:20]}]
    formats = dict(qengine.calibrate(digits.path, data, per_channel=False, unsigned=False))
    for names, form, text in (
        (("block2.norm1", "block2.relu1"), "Q6.1", "3 fewer integer bits"),
        (("block1.norm2", "block1.relu2"), "Q-1.8", "3 more integer bits"),
        (("block3.pointwise.weight",), "Q6.1", "6 fewer integer bits"),
    ):
        broken = blame(InferenceSession(digits.path, formats={**formats, **dict.fromkeys(names, form)}), data)
        worst = broken.tensors[0]
        assert worst.name == names[-1]
        assert worst.share > 0.5
        assert worst.suggestion.text == text
        assert str(worst.suggestion.format) == formats[names[-1]]


def test_weights_and_activations_apart():
    data = feeds()
    bad_weights = blame(InferenceSession(PERCEPTRON, formats={**FORMATS, "w2": "Q3.0"}), data)
    bad_activations = blame(InferenceSession(PERCEPTRON, formats={**FORMATS, "r": "Q5.0"}), data)
    assert bad_weights.constants_db < bad_weights.activations_db - 10
    assert bad_activations.activations_db < bad_activations.constants_db - 10
    assert bad_weights["w2"].name == bad_weights.tensors[0].name
    assert bad_activations["r"].name == bad_activations.tensors[0].name
    # What is wrong elsewhere leaves a tensor's own figures alone, and not those of the run.
    assert bad_weights["x"].output_db == bad_activations["x"].output_db
    assert bad_weights["y"].sqnr_db < bad_weights["y"].own_db - 10


def test_the_memory_does_not_grow_with_the_data():
    session = InferenceSession(PERCEPTRON, formats=FORMATS)
    rng = np.random.default_rng(1)

    def peak(count):
        tracemalloc.start()
        found = blame(session, ({"x": rng.normal(size=(1000, 6)).astype(np.float32)} for _ in range(count)))
        (_, most), elements = tracemalloc.get_traced_memory(), found["x"].elements
        tracemalloc.stop()
        assert elements == 6000 * count
        return most

    peak(2)
    few, many = peak(3), peak(40)
    assert many < 1.1 * few


def test_noise_can_be_measured_inside_of_the_model():
    data = feeds()
    session = InferenceSession(PERCEPTRON, formats=FORMATS)
    found = blame(session, data, outputs=["r"])
    assert found.outputs == ("r",)
    assert {one.name for one in found.tensors} == {"x", "w1", "r"}
    assert close(found["x"].output_db, brute_force(data, {"x": FORMATS["x"]})["r"])


def test_of_several_outputs_it_is_the_mean():
    data = feeds()
    found = blame(InferenceSession(PERCEPTRON, formats=FORMATS), data, outputs=["y", "r"])
    alone = brute_force(data, {"x": FORMATS["x"]})
    mean = (10 ** (-alone["y"] / 10) + 10 ** (-alone["r"] / 10)) / 2
    assert found["x"].sensitivity == pytest.approx(mean, rel=1e-3)
    assert found["x"].noise.keys() == {"y", "r"}
    assert found["w2"].noise["r"] == 0


def test_what_loses_nothing_is_exact():
    model = network([("Relu", "x", "y")], inputs={"x": [1, 3]})
    found = blame(InferenceSession(model, qformat="Q3.4"), [{"x": np.float32([[1, -2, 0.5]])}])
    assert (found["x"].own_db, found["x"].output_db, found["x"].sensitivity, found["x"].share) == (np.inf, np.inf, 0, 0)
    assert found.sqnr_db == np.inf


def test_rounding_and_overflow_are_those_of_the_session():
    data = feeds()
    floor = blame(InferenceSession(PERCEPTRON, formats=FORMATS, rounding="floor"), data)
    exact = np.concatenate([feed["x"] for feed in data]).astype(np.float64)
    error = exact - np.clip(np.floor(exact * 32), -128, 127) / 32
    assert close(floor["x"].own_db, 10 * np.log10(np.sum(exact**2) / np.sum(error**2)))
    wrap = blame(InferenceSession(PERCEPTRON, formats={**FORMATS, "x": "Q0.7"}, overflow="wrap"), data)
    codes = np.rint(exact * 128)
    error = exact - ((codes + 128) % 256 - 128) / 128
    assert close(wrap["x"].own_db, 10 * np.log10(np.sum(exact**2) / np.sum(error**2)))
    assert any("always fits" in note for note in wrap.notes)
    assert not any("wrap" in note for note in floor.notes)


def test_a_quantized_model_is_blamed_in_its_own_formats():
    scale, zero = np.float32(2**-4), np.int8(0)
    model = network(
        [
            ("QuantizeLinear", "x s z", "q"),
            ("DequantizeLinear", "q s z", "d"),
            ("Gemm", "d w", "g"),
            ("QuantizeLinear", "g s z", "qg"),
            ("DequantizeLinear", "qg s z", "y"),
        ],
        inputs={"x": [2, 6]},
        constants={"s": scale, "z": zero, "w": weights(6, 3)},
    )
    session = InferenceSession(model)
    assert session.in_fixed_point
    data = [{"x": weights(2, 6, scale=1.0)}]
    found = blame(session, data)
    x = data[0]["x"].astype(np.float64)
    noise = np.sum((x - rounded(x, "Q3.4")) ** 2)
    inputs = [one for one in found.tensors if one.own_db is not None and one.kind != "constant"]
    assert any(close(one.own_db, 10 * np.log10(np.sum(x**2) / noise)) for one in inputs)


def test_progress_sums_to_one_for_each_feed():
    done = []
    blame(InferenceSession(branched(CONSTANTS), qformat="Q3.4"), [{"x": weights(1, 2, 6, 6)}] * 3, advance=done.append)
    assert sum(done) == pytest.approx(3)
    assert len(done) > 3 * 10


def test_shapes_may_differ_from_feed_to_feed():
    data = [{"x": weights(n, 6, seed=n)} for n in (1, 3, 1, 2)]
    found = blame(InferenceSession(PERCEPTRON, formats=FORMATS), data)
    assert found["w1"].elements == W1.size
    assert found["x"].elements == 7 * 6
    assert close(found["x"].output_db, brute_force(data, {"x": FORMATS["x"]})["y"])
