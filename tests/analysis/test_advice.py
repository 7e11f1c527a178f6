import numpy as np
import pytest
from comparisons import CONV, COPY, UNIT, compared, decibels
from networks import network, run_onnxruntime

from qengine import InferenceSession, QFormat
from qengine.analysis.advice import advise, best_uniform_format
from qengine.errors import FormatError

Q = QFormat.parse


def advised(model, x, qformat):
    """The advice, and the formats that were tried."""
    tried = []

    def run(form):
        tried.append(str(form))
        return {"y": InferenceSession(model, qformat=form).run(["y"], {"x": np.float32(x)})[0]}

    return advise(compared(model, x, qformat), Q(qformat), run), tried


def test_unused_integer_bits():
    found, tried = advised(CONV, UNIT, "Q4.3")
    assert tried == [str(found.format)] == ["Q0.7"]
    assert found.reason == "Q4.3 leaves 4 of its 4 integer bits unused"
    (exact,) = run_onnxruntime(CONV, {"x": UNIT})
    for qformat, told in (("Q4.3", found.sqnr_db_before), ("Q0.7", found.sqnr_db)):
        (own,) = InferenceSession(CONV, qformat=qformat).run(None, {"x": UNIT})
        assert told == pytest.approx(decibels(exact, exact.astype(np.float64) - own).expected, abs=1e-2)
    assert found.sqnr_db > found.sqnr_db_before + 20


COPIES = {
    "unsigned": (UNIT, "UQ4.4", "UQ0.8", "UQ4.4 leaves 4 of its 4 integer bits unused"),
    "half of them": (UNIT * 2, "Q5.10", "Q1.14", "Q5.10 leaves 4 of its 5 integer bits unused"),
    "more than there are": (UNIT / 8, "Q2.5", "Q-3.10", "Q2.5 leaves the top 5 bits of its word unused"),
    "but for one": (
        [*np.linspace(0, 0.99, 40_000), 1.5],
        "Q4.3",
        "Q0.7",
        "Q4.3 leaves 4 of its 4 integer bits unused by all but <0.01% of the values",
    ),
    "too small": (UNIT * 7.9 - 4, "Q0.7", "Q2.5", "Q0.7 lacks 2 integer bits, and 75.56% of 'x' saturates"),
    "too small by one": (UNIT * 1.9, "Q0.7", "Q1.6", "Q0.7 lacks 1 integer bit, and 46.67% of 'x' saturates"),
    "negative": (UNIT - UNIT.flat[44], "UQ0.8", "Q-1.8", "UQ0.8 cannot hold negative values, and 48.89% of 'x' are n"),
}


@pytest.mark.parametrize("kind", COPIES)
def test_reasons(kind):
    x, qformat, wanted, reason = COPIES[kind]
    found, tried = advised(COPY, np.ravel(x), qformat)
    assert tried == [str(found.format)] == [wanted]
    assert found.reason.startswith(reason)
    assert found.sqnr_db >= found.sqnr_db_before + 6


@pytest.mark.parametrize(
    ("operator", "inputs", "x", "qformat", "reason"),
    [
        ("Neg", "x", UNIT - 0.3, "UQ0.8", "70.00% of 'y' are negative"),
        ("Add", "x x", UNIT, "Q0.7", "Q0.7 lacks 1 integer bit, and 50.00% of 'y' saturates"),
    ],
)
def test_the_tensor_that_suffers_most_is_named(operator, inputs, x, qformat, reason):
    model = network([(operator, inputs, "y")], inputs={"x": ["N"]})
    assert advised(model, x.ravel(), qformat)[0].reason.endswith(reason)


@pytest.mark.parametrize(("scale", "qformat"), [(1, "Q0.7"), (1, "UQ0.8"), (15, "Q4.3"), (0, "Q4.3")])
def test_a_good_format_is_left_alone(scale, qformat):
    assert advised(COPY, UNIT.ravel() * scale, qformat) == (None, [])


def test_nothing_is_better_than_exact():
    assert advised(COPY, [0.5, -0.25, 3], "Q4.3")[0] is None


@pytest.mark.parametrize(("gain", "named"), [(5.9, False), (6.1, True), (-1.0, False)])
def test_only_a_format_that_is_clearly_better_is_named(gain, named):
    found = compared(COPY, UNIT.ravel(), "Q4.3")
    noise = (found.outputs["y"] - found.float_outputs["y"]).astype(np.float64)
    better = {"y": found.float_outputs["y"] + noise * 10 ** (-gain / 20)}
    advice = advise(found, Q("Q4.3"), lambda _: better)
    assert (advice is not None) == named
    if advice:
        assert advice.sqnr_db == pytest.approx(advice.sqnr_db_before + gain, abs=1e-6)


def test_a_format_that_does_not_run_is_not_named():
    def refuse(_):
        raise FormatError("no")

    assert advise(compared(COPY, UNIT.ravel()), Q("Q4.3"), refuse) is None


@pytest.mark.parametrize(
    ("values", "options", "wanted"),
    [
        ({"x": np.linspace(-1, 0.99, 500)}, {}, "Q0.7"),
        ({"x": np.linspace(0, 0.99, 500)}, {}, "Q0.7"),
        ({"x": np.linspace(0, 0.99, 500)}, {"unsigned": True}, "UQ0.8"),
        ({"x": np.linspace(-0.5, 0.99, 500)}, {"unsigned": True}, "Q0.7"),
        ({"x": np.linspace(-4, 3.9, 500)}, {}, "Q2.5"),
        ({"x": np.linspace(-1e-9, 1e-9, 500)}, {}, "Q-29.36"),
        # Saturation of the one costs 36.5^2, and no fraction bit 0.5^2 each of the others.
        ({"x": np.array([100.0] + [0.5] * 10_000)}, {}, "Q6.1"),
        # 3/1024 is rounded to 0 or to 1/256, 1 is kept or saturates at 0.5: relative to each.
        ({"x": np.array([3 / 1024]), "y": np.array([1.0])}, {}, "Q-1.8"),
        ({"x": np.zeros(3), "y": np.linspace(-2, 1.9, 500)}, {}, "Q1.6"),
        ({"x": np.zeros(3)}, {}, "None"),
        ({"x": np.zeros(0)}, {}, "None"),
        ({}, {}, "None"),
        ({"x": np.array([1e38])}, {}, "None"),
    ],
)
def test_the_one_format_that_serves_all(values, options, wanted):
    assert str(best_uniform_format(values, 8, **options)) == wanted


def test_more_bits_where_no_format_of_so_many_serves():
    x = np.linspace(-1, 1, 999)
    found, tried = advised(COPY, x, "Q0.1")
    assert tried == [str(found.format)] == ["Q0.7"]
    assert found.reason == "no format of 2 bits is clearly better than Q0.1 for these values"
    assert advised(COPY, x, "Q0.3") == (None, [])  # 4 bits, as good as they can be: above 20 dB
    # One value of 1 among many of 2^-11: 8 bits hold the one or the others.
    uneven = network([("Mul", "x k", "y")], inputs={"x": ["N"]}, constants={"k": [2.0**-11]})
    found, tried = advised(uneven, x, "Q0.7")
    assert str(found.format) == tried[-1] == "Q0.15"
