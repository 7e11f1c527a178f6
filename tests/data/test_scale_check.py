"""Warnings about pictures on another scale than the network's, on networks that were trained here."""

import numpy as np
import pytest
from networks import network

import qengine
from qengine import zoo
from qengine.data.applied import Applied, Base
from qengine.data.preprocessing import Preprocessing
from qengine.data.scale_check import scale_notes

PLAIN, UNIT = Preprocessing(), Preprocessing.of(scale=1 / 255)
SCALES = {"pixels": (0.0, 1.0), "unit": (0.0, 255.0), "signed": (127.5, 127.5)}
DIGITS = dict(np.load(zoo.find("digits").data))
PICTURES = next(array for array in DIGITS.values() if array.ndim >= 3).reshape(-1, 1, 28, 28)
LABELS = next(array for array in DIGITS.values() if array.ndim == 1).astype(int)


def trained(scale):
    """Return weights and biases of a network with a hidden layer, trained on pictures on a scale."""
    mean, std = SCALES[scale]
    x = ((PICTURES[:300].reshape(300, -1) - mean) / std).astype(np.float32)
    rng = np.random.default_rng(3)
    size = np.sqrt(np.mean(x**2) * x.shape[1])
    w1, b1 = rng.normal(size=(784, 32)) / size, np.zeros(32)
    w2, b2 = rng.normal(size=(32, 10)) / 6, np.zeros(10)
    rates = 3.0 / size**2, 0.1
    truth = np.eye(10)[LABELS[:300]]
    for _ in range(100):
        h = np.maximum(x @ w1 + b1, 0)
        z = h @ w2 + b2
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        d = (p - truth) / len(x) * 5
        dh = (d @ w2.T) * (h > 0)
        w2, b2 = w2 - rates[1] * h.T @ d, b2 - rates[1] * d.sum(0)
        w1, b1 = w1 - rates[0] * 10 * x.T @ dh, b1 - rates[1] * dh.sum(0)
    return [array.astype(np.float32) for array in (w1, b1, w2, b2)]


WEIGHTS = {scale: trained(scale) for scale in SCALES}


def classifier(scale, **around):
    """Return a session of a trained network, with operators before and after it."""
    return qengine.InferenceSession(model_of(scale, **around))


def model_of(scale, *, before=(), after=None):
    """Return a trained network."""
    w1, b1, w2, b2 = WEIGHTS[scale]
    end = [("Softmax", "z", "y", {"axis": 1})] if after == "softmax" else [("Identity", "z", "y")]
    first = before[-1][2] if before else "x"
    nodes = [
        *before,
        ("Flatten", first, "f"),
        ("Gemm", "f w1 b1", "h"),
        ("Relu", "h", "r"),
        ("Gemm", "r w2 b2", "z"),
        *end,
    ]
    constants = {"w1": w1, "b1": b1, "w2": w2, "b2": b2, "mean": np.float32(127.5), "std": np.float32(127.5)}
    constants |= {"white": np.float32(255)}
    used = {name for _, reads, *_ in nodes for name in reads.split()}
    kept = {name: np.asarray(array) for name, array in constants.items() if name in used}
    return network(nodes, inputs={"x": ["N", 1, 28, 28]}, constants=kept)


def notes(session, preprocessing, count=8, **options):
    numbers = np.stack(
        [preprocessing.to_numbers(picture.transpose(1, 2, 0)) for picture in PICTURES[600 : 600 + count]]
    )
    return scale_notes(session, {"x": numbers}, Applied(preprocessing, ("x",)), Base(), **options)


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("after", [None, "softmax"])
@pytest.mark.parametrize("scale", SCALES)
def test_pixels_in_a_network_of_small_numbers_are_told(scale, after, count):
    found = notes(classifier(scale, after=after), PLAIN, count)
    if scale == "pixels":
        assert found == ()
    else:
        assert len(found) == 1
        assert "scores differ by" in found[0]
        assert found[0].endswith("try --scale 1/255, or --mean and --std as in training")
        assert "\n" not in found[0]


def test_very_large_scores_need_less_certainty_of_small_numbers():
    """A 255th of pixels is itself not what a network of ImageNet's mean is certain about."""
    weights = np.float32([[2.0, -2.0]])
    shift = np.float32([-0.6, 0.6])

    def found(gain):
        nodes = [("GlobalAveragePool", "x", "m"), ("Flatten", "m", "f"), ("MatMul", "f w", "s"), ("Add", "s b", "y")]
        constants = {"w": weights * np.float32(gain), "b": shift * np.float32(gain)}
        return notes(
            qengine.InferenceSession(network(nodes, inputs={"x": ["N", 1, 28, 28]}, constants=constants)), PLAIN
        )

    assert found(0.3) == ()  # scores of some tens
    assert len(found(2.0)) == 1


@pytest.mark.parametrize("scale", SCALES)
def test_numbers_on_a_small_scale_are_not_told(scale):
    for one in (UNIT, Preprocessing.of(mean=0.5, std=0.5), Preprocessing.of(mean=0.13, std=0.31)):
        assert notes(classifier(scale), one) == ()


@pytest.mark.parametrize(
    ("scale", "before"),
    [
        ("signed", [("Sub", "x mean", "s"), ("Div", "s std", "n")]),
        ("unit", [("Div", "x white", "n")]),
    ],
)
def test_a_network_that_normalizes_pixels_itself_is_not_told(scale, before):
    assert notes(classifier(scale, before=before), PLAIN) == ()


@pytest.mark.parametrize(("scale", "told"), [(1, True), (1 / 255, False)])
def test_batch_normalization_knows_the_numbers_of_training(scale, told):
    entry = zoo.find("digits")
    one = Preprocessing.of(scale=scale)
    session = qengine.InferenceSession(entry.path)
    found = scale_notes(session, entry.sample(one).feeds, Applied(one, ("image",)), Base())
    assert [("BatchNormalization" in note) for note in found] == [True] * told


@pytest.mark.parametrize("end", [[("Sigmoid", "c", "y")], [("Identity", "c", "y")]])
def test_a_picture_that_does_not_resemble_its_input(end):
    """An autoencoder by hand: the picture itself, up to what a Sigmoid or a bias of its scale does."""
    bias = np.full(1, -0.5 * 4 if end[0][0] == "Sigmoid" else 0.02, np.float32)
    weight = np.full((1, 1, 1, 1), 4.0 if end[0][0] == "Sigmoid" else 1.0, np.float32)
    session = qengine.InferenceSession(
        network([("Conv", "x w b", "c"), *end], inputs={"x": ["N", 1, 28, 28]}, constants={"w": weight, "b": bias})
    )
    found = notes(session, PLAIN)
    assert bool(found) is (end[0][0] == "Sigmoid")  # without one the scale makes no plain difference
    assert notes(session, UNIT) == ()


def test_pixels_that_are_divided_twice():
    session = classifier("unit")
    bits = (PICTURES[600:604] > 100).astype(np.uint8)
    numbers = np.stack([UNIT.to_numbers(one.transpose(1, 2, 0)) for one in bits])
    (found,) = scale_notes(session, {"x": numbers}, Applied(UNIT, ("x",)), Base())
    assert "are 0 and 1, and divided by 255" in found
    (found,) = scale_notes(session, {"x": PICTURES[600:604].astype(np.float32) / 255 / 255}, Applied(), Base())
    assert "divided by 255 twice?" in found
    assert scale_notes(session, {"x": np.zeros((1, 1, 28, 28), np.float32)}, Applied(UNIT, ("x",)), Base()) == ()


def test_real_numbers_that_are_pixels_where_pixels_have_a_scale():
    feeds = {"x": PICTURES[600:604].astype(np.float32)}
    (found,) = scale_notes(classifier("unit"), feeds, Applied(), Base(UNIT, "f.json", is_recorded=True))
    assert "f.json takes pixel / 255, which is not applied to real numbers" in found
    assert scale_notes(classifier("pixels"), feeds, Applied(), Base()) == ()
    (found,) = scale_notes(classifier("unit"), feeds, Applied(), Base())
    assert found.endswith("divide the arrays by 255, or store them as uint8 and give --scale 1/255")


def test_an_input_far_beyond_the_format_that_was_chosen_for_it():
    session = classifier("pixels").with_options(qengine.SessionOptions(formats={"x": "UQ0.8"}, qformat="Q8.7"))
    (found,) = notes(session, PLAIN, has_formats=True)
    assert "are beyond UQ0.8, which the formats file has for it" in found
    assert notes(session, UNIT, has_formats=True) == ()
    assert notes(session, PLAIN) == ()
    model = network([("Relu", "x", "y")], inputs={"x": ["N", 6]})
    sensor = qengine.InferenceSession(model, formats={"x": "Q0.7"}, qformat="Q4.3")
    (found,) = scale_notes(sensor, {"x": np.full((2, 6), 90.5, np.float32)}, Applied(), Base(), has_formats=True)
    assert "scale the input as for them" in found


@pytest.mark.parametrize("bad", [np.full((1, 1, 28, 28), np.nan, np.float32), np.zeros((0, 1, 28, 28), np.float32)])
def test_what_cannot_be_looked_at_is_no_warning(bad):
    assert scale_notes(classifier("unit"), {"x": bad}, Applied(), Base()) == ()


DATA = {
    "array": lambda x: x,
    "iterator": lambda x: iter([{"x": x[:4]}, {"x": x[4:]}]),
    "runs": lambda x: [{"x": x[:4]}, {"x": x[4:]}],
    "dataset": lambda x: qengine.open_dataset(x, classifier("unit")),
}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("function", [qengine.calibrate, qengine.quantize_model, qengine.search])
def test_functions_that_choose_formats_tell_it_once_and_read_all_data(function, kind):
    model = model_of("unit")
    options = {"metric": "sqnr", "max_drop": 60, "max_runs": 1, "bits": [8, 16]} if function is qengine.search else {}
    pixels = PICTURES[600:608].astype(np.float32)
    found = function(model, DATA[kind](pixels), **options)
    assert len([note for note in found.notes if "the network seems to be trained on other numbers" in note]) == 1
    assert not [note for note in function(model, DATA[kind](pixels / 255), **options).notes if "trained" in note]
    if function is qengine.calibrate:
        assert dict(found) == dict(qengine.calibrate(model, pixels))
