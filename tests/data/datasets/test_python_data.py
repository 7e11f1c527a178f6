"""Data in Python: arrays, frames, loaders and lists are the same samples as in files; what does not fit is one line."""

import numpy as np
import pandas
import pytest
import torch
from networks import network
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import qengine
from qengine import InferenceSession, calibrate
from qengine.data.datasets import open_dataset, runs_of
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, OptionError, QEngineError
from qengine.model.loader import load

RNG = np.random.default_rng(11)
FLAT = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3]}))
OPEN = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3, 4, 5]}))
TWO = load(network([("Add", "a b", "y")], inputs={"a": ["N", 3], "b": ["N", 3]}))
FIXED = load(network([("Relu", "x", "y")], inputs={"x": [2, 3]}))
X = RNG.normal(size=(6, 3)).astype(np.float32)
Y = np.array([2, 0, 1, 1, 0, 2])


class Indexed:
    """A data set as torch has them: items by number, and a length, and no end of iteration."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i % len(X)], int(Y[i % len(X)])


def loader(batch, **options):
    return DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=batch, **options)


FORMS = {
    "array": (X, False),
    "tensor": (torch.from_numpy(X), False),
    "lists": (X.tolist(), False),
    "mapping": ({"x": X}, False),
    "other name": ({"images": X, "labels": Y}, True),
    "pair": ((X, Y), True),
    "pair of lists": ((X.tolist(), Y.tolist()), True),
    "pair with names": (({"x": X}, ["c", "a", "b", "b", "a", "c"]), True),
    "loader": (loader(4), True),
    "torch dataset": (Indexed(), True),
    "list of pairs": ([(x, y) for x, y in zip(X, Y, strict=True)], True),
    "list of samples": (list(X), False),
    "list of feeds": ([{"x": x[None]} for x in X], False),
    "dict batches": ([{"pixel_values": torch.from_numpy(X[i : i + 3]), "labels": Y[i : i + 3]} for i in (0, 3)], True),
    "generator": ((x for x in X), False),
    "frame": (pandas.DataFrame({"p": X[:, 0], "label": Y, "q": X[:, 1], "r": X[:, 2].astype(float)}), True),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    data, has_labels = FORMS[form]
    if form == "generator":
        data = (x for x in X)
    found = open_dataset(data, FLAT, batch=4)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([feeds["x"] for feeds in found]), X)
    assert [len(feeds["x"]) for feeds in found] == [4, 2]
    assert (found.labels is not None) == has_labels
    if has_labels:
        assert found.labels.tolist() == Y.tolist()
        np.testing.assert_array_equal(np.concatenate([one.labels for one in found.batches()]), Y)
    assert len(found.digest) == 64


@pytest.mark.parametrize("form", [one for one in FORMS if one != "generator"])
def test_every_form_calibrates(form):
    formats = calibrate(FLAT, FORMS[form][0]).formats
    assert formats == calibrate(FLAT, [{"x": X}]).formats


def test_digests_tell_arrays_apart():
    digests = [
        open_dataset(X, FLAT).digest,
        open_dataset(X + 1, FLAT).digest,
        open_dataset(X, FLAT, limit=3).digest,
        open_dataset((X, Y), FLAT).digest,
        open_dataset(X, FLAT, labels=np.roll(Y, 1)).digest,
        open_dataset(list(X), FLAT).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert open_dataset(X.copy(), FLAT).digest == digests[0]


def test_pixels():
    pixels = RNG.integers(0, 256, (4, 4, 5, 3), dtype=np.uint8)
    scale = Preprocessing(scale=(1 / 255,), bgr=True)
    wanted = (pixels[..., ::-1].transpose(0, 3, 1, 2) / 255).astype(np.float32)
    images = [Image.fromarray(one) for one in pixels]
    forms = [pixels, list(pixels), images, [(one, 1) for one in images], {"x": pixels}, DataLoader(list(pixels), 3)]
    for data in forms:
        found = open_dataset(data, OPEN, preprocessing=scale)
        assert found.reads_pixels
        np.testing.assert_allclose(np.concatenate([feeds["x"] for feeds in found]), wanted, rtol=1e-6)


def test_several_inputs_and_targets():
    a, b = X, X[::-1].copy()
    loaded = DataLoader(TensorDataset(torch.from_numpy(a), torch.from_numpy(b)), 2)
    for data in ({"a": a, "b": b}, list(zip(a, b, strict=True)), loaded):
        found = open_dataset(data, TWO, batch=6)
        (feeds,) = found
        np.testing.assert_array_equal(feeds["a"], a)
        np.testing.assert_array_equal(feeds["b"], b)
    (one,) = open_dataset([{"a": a, "b": b, "labels": Y}], TWO, batch=6).batches()
    assert one.labels.tolist() == Y.tolist()
    for data in ((X, X + 1), {"x": X, "y": X + 1}, [(x, x + 1) for x in X]):
        (one,) = open_dataset(data, FLAT, batch=6).batches()
        np.testing.assert_array_equal(one.targets["y"], X + 1)


def test_inputs_that_are_the_same_in_all():
    found = open_dataset({"a": X}, TWO, fixed={"b": [1, 2, 3]}, batch=6)
    (feeds,) = found
    assert (feeds["b"].tolist(), feeds["b"].dtype) == ([1, 2, 3], np.float32)


def test_a_generator_is_asked_only_for_what_is_used():
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield X[0]

    assert len(open_dataset(endless(), FLAT, limit=5)) == 5
    assert len(asked) == 5


@pytest.mark.parametrize("limit", [2, 3, None])
def test_labels_of_all_samples_go_with_a_limit(limit):
    labels = np.arange(len(X)) % 2
    for found in (
        open_dataset(iter(X), FLAT, labels=labels, limit=limit),
        open_dataset((iter(X), labels), FLAT, limit=limit),
        open_dataset([X[:2], X[2:]], FLAT, labels=labels.tolist(), limit=limit),
    ):
        assert found.labels.tolist() == labels[:limit].tolist()
    with pytest.raises(FeedError, match="one for each"):
        open_dataset(iter(X), FLAT, labels=labels[:-1])
    with pytest.raises(FeedError, match="one for each"):
        open_dataset(iter(X), FLAT, labels=[*labels, 0])


def test_feeds_are_read_lazily_and_once():
    asked = []

    def feeds():
        for x in X:
            asked.append(1)
            yield {"x": x[None]}

    runs = iter(runs_of(feeds(), FLAT))
    next(runs)
    assert len(asked) == 1
    assert len(list(runs)) == len(X) - 1


def test_runs_stay_runs():
    feeds = [{"x": X[:4]}, {"x": X[4:]}]
    assert [len(one["x"]) for one in runs_of(feeds, FLAT)] == [4, 2]
    assert [len(one["x"]) for one in runs_of({"x": X}, FLAT)] == [6]
    assert [len(one["x"]) for one in runs_of({"x": X}, FIXED)] == [2, 2, 2]  # the model takes two
    assert [len(one["x"]) for one in runs_of(X, FLAT, {"batch": 4})] == [4, 2]
    assert [len(one["x"]) for one in open_dataset(feeds, FLAT)] == [4, 2]


def test_a_data_set_is_data():
    first = open_dataset((X, Y), FLAT)
    found = open_dataset(first, FLAT, batch=4, limit=5)
    assert [len(feeds["x"]) for feeds in found] == [4, 1]
    with pytest.raises(OptionError, match="data is a Dataset already"):
        open_dataset(first, FLAT, labels=Y)


def test_models():
    model = network([("Relu", "x", "y")], inputs={"x": ["N", 3]})
    for one in (model, InferenceSession(model), load(model)):
        assert len(open_dataset(X, one)) == 6


@pytest.mark.parametrize(
    ("data", "graph", "message"),
    [
        (X[:, :, None], FLAT, "input 'x' needs shape"),
        (X[0], FLAT, "data has 1 axes; input 'x' needs 2"),
        ({"z": X}, FLAT, r"data has no array 'x' for that input; it holds 'z'"),
        ({"x": X, "z": X}, FLAT, "holds 'z', which is neither"),
        ({0: X}, FLAT, "by the name of the input, not by 0"),
        ({"x": [[1, 2], [3]]}, FLAT, r"data\['x'\]"),
        ({"x": np.array([None])}, FLAT, r"data\['x'\] holds Python objects"),
        ({"a": X, "b": X[:3]}, TWO, "different lengths"),
        (X, TWO, "one array feeds one input, and the model needs 'a', 'b'"),
        ((X, Y[:3]), FLAT, "labels are 3, and data arrays has 6 samples"),
        ([X[0], X[1, :2, None, None]], FLAT, r"data\[1\] has 3 axes"),
        ([(X[0], 1, 2)], FLAT, r"data\[0\] has 3 parts"),
        ([(X[0], 1), X[1]], FLAT, "some elements of the data have labels, and others none"),
        ([(X[:2], [1])], FLAT, r"data\[0\] has 2 samples and 1 labels"),
        ([(X[0], "cat")], FLAT, "has the label 'cat'"),
        ([{"q": X[0]}], FLAT, r"data\[0\] has no array for input 'x'; it holds 'q'"),
        ([X[0]], TWO, r"data\[0\] is one array, and the model needs 'a', 'b'"),
        ([], FLAT, "holds no samples"),
        (7, FLAT, "data"),
        (b"abc", FLAT, "data is a path, an array"),
        (object(), FLAT, "data is a path, an array, .* not object"),
        (pandas.DataFrame({"p": ["a"]}), FLAT, "column 'p' holds no numbers"),
        (pandas.DataFrame({"p": [1.0]}), FLAT, "x"),
    ],
)
def test_what_does_not_fit(data, graph, message):
    with pytest.raises(QEngineError, match=message) as raised:
        run_all(data, graph)
    assert "\n" not in str(raised.value)


def run_all(data, graph):
    session = InferenceSession(graph)
    for feeds in open_dataset(data, graph):
        session.run(None, feeds)


def test_more_than_fits_in_memory(monkeypatch):
    monkeypatch.setattr("qengine.data.datasets.gathered.default_limit", lambda: 100)
    with pytest.raises(FeedError, match=r"more than 50 bytes in memory: give a limit"):
        open_dataset((x for x in X), FLAT)
    assert len(open_dataset((x for x in X), FLAT, limit=4)) == 4


@pytest.mark.parametrize("function", [qengine.calibrate, qengine.evaluate, qengine.search, qengine.open_dataset])
@pytest.mark.parametrize("given", [{"mean": [0.5]}, 1 / 255])
def test_another_preprocessing_is_refused_with_an_example(function, given):
    model, data = "digits", np.zeros((4, 1, 28, 28), np.uint8)
    arguments = (data, model) if function is qengine.open_dataset else (qengine.zoo.path_of(model), data)
    with pytest.raises(
        QEngineError, match=r"a qengine.Preprocessing, such as Preprocessing.of\(mean=.*not (dict|float)"
    ):
        function(*arguments, preprocessing=given)
