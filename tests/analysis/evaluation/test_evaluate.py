import numpy as np
import pytest
from networks import network, weights
from PIL import Image

import qengine
from qengine import InferenceSession, Preprocessing, zoo
from qengine.analysis.evaluation import evaluate
from qengine.analysis.report import compare
from qengine.errors import FeedError, OptionError
from qengine.metrics.declaration import Reference
from qengine.metrics.tasks import Task

DIGITS = zoo.ENTRIES["digits"]
N = 60


@pytest.fixture(scope="module")
def digits():
    return evaluate("digits", limit=N, batch=20, qformat="Q2.2")


def whole(options):
    feeds = {"image": DIGITS.sample().feeds["image"][:N]}
    session = InferenceSession(DIGITS.path, **options)
    return compare(session, session.in_float32(), feeds)


def test_counts_over_batches_are_those_of_one_run_of_all_samples(digits):
    one = whole({"qformat": "Q2.2"})
    assert len(digits.tensors) == len(one.tensors) > 5
    for found, wanted in zip(digits.tensors, one.tensors, strict=True):
        assert found.sqnr_db == pytest.approx(wanted.sqnr_db, abs=1e-6)  # sums in float32 depend on the batch
        assert vars(found) | {"sqnr_db": None} == vars(wanted) | {"sqnr_db": None}
    assert any(t.saturated for t in digits.tensors)
    assert any(t.underflowed for t in digits.tensors)


def test_metrics_are_those_of_the_outputs(digits):
    one, labels = whole({"qformat": "Q2.2"}), DIGITS.sample().labels[:N]
    exact, fixed = (outputs["logits"].argmax(axis=1) for outputs in (one.float_outputs, one.outputs))
    assert digits.float32["top1"] == np.mean(exact == labels)
    assert digits.fixed["top1"] == np.mean(fixed == labels)
    assert digits.fixed["agreement"] == np.mean(exact == fixed)
    assert digits.float32["agreement"] is None
    assert digits.flips == np.sum(exact != fixed) > 0
    assert (digits.task, digits.evaluated_output, digits.samples) == (Task.CLASSES, "logits", N)
    assert [str(m.metric) for m in digits.metrics] == ["top1", "agreement", "sqnr"]
    assert digits.metrics[0].difference == pytest.approx(np.mean(fixed == labels) - np.mean(exact == labels))


def test_worst_samples_are_those_that_become_wrong_then_flips_then_noisy_ones(digits):
    one, labels = whole({"qformat": "Q2.2"}), DIGITS.sample().labels[:N]
    exact, fixed = (outputs["logits"].argmax(axis=1) for outputs in (one.float_outputs, one.outputs))
    lost = {i for i in range(N) if exact[i] == labels[i] != fixed[i]}
    flipped = {i for i in range(N) if exact[i] != fixed[i]}
    worst = [w.index for w in digits.worst]
    assert len(worst) == len(set(worst)) == 10
    assert set(worst[: len(lost)]) == lost
    assert set(worst[: len(flipped)]) == flipped
    noise = [w.sqnr_db for w in digits.worst[len(flipped) :]]
    assert noise == sorted(noise)
    for one_sample in digits.worst:
        i = one_sample.index
        assert (one_sample.float32_class, one_sample.fixed_class, one_sample.label) == (exact[i], fixed[i], labels[i])


def test_confusion_has_a_row_for_each_label(digits):
    labels = DIGITS.sample().labels[:N]
    confusion = digits.confusion
    assert confusion.reference is Reference.LABELS
    for counts, share in ((confusion.fixed, digits.fixed), (confusion.float32, digits.float32)):
        np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(labels, minlength=10))
        assert np.trace(counts) / N == share["top1"]


def test_float32_has_its_own_metrics_alone():
    found = evaluate("digits", limit=20)
    assert not found.in_fixed_point
    assert [(str(m.metric), m.fixed) for m in found.metrics] == [("top1", None)]
    assert (found.tensors, found.worst, found.flips, dict(found.formats)) == ((), (), None, {})
    assert found.confusion.fixed is None
    assert found.records()[0]["float32"] == found.float32["top1"]


def test_images_are_compared_with_their_target():
    found = evaluate("srcnn", limit=2, qformat="Q2.6")
    own = {str(m.metric): m for m in found.metrics}
    assert found.task is Task.IMAGES
    assert own["psnr"].reference is Reference.TARGET
    assert own["psnr"].float32 > own["psnr"].fixed > 20
    assert own["sqnr"].float32 is None
    assert [w.index for w in found.worst] in ([0, 1], [1, 0])
    assert found.preprocessing == Preprocessing(scale=(1 / 255,))


def write(tmp_path, **arrays):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    return str(path)


def test_outputs_of_other_numbers_have_an_sqnr_and_each_output_its_own(tmp_path):
    model = network([("Relu", "x", "y"), ("Neg", "x", "z")], inputs={"x": ["N", 4]}, outputs=["y", "z"])
    x = weights(6, 4)
    found = evaluate(model, write(tmp_path, x=x), qformat="Q1.4", batch=2)
    fixed = np.rint(x * 16) / 16
    wanted = 10 * np.log10(np.sum(np.maximum(x, 0) ** 2) / np.sum((np.maximum(x, 0) - np.maximum(fixed, 0)) ** 2))
    assert set(found.sqnr_by_output) == {"y", "z"}
    assert found.sqnr_by_output["y"] == pytest.approx(wanted, rel=1e-6)


def test_a_quantity_that_only_one_batch_has_is_counted_once(tmp_path):
    model = network([("Neg", "x", "y")], inputs={"x": ["N", 2]})
    x = np.array([[0.5, 0.25], [9.0, 0.01], [1.0, 1.0]], np.float32)
    found = evaluate(model, write(tmp_path, x=x), qformat="Q2.2", batch=1)
    first = found["x"]
    assert (first.saturated, first.underflowed, first.elements, first.largest) == (1, 1, 6, 15)


def test_a_session_and_its_options_are_taken():
    session = InferenceSession(DIGITS.path, qformat="Q2.2", isa="reference")
    found = evaluate(session, "digits", limit=10)
    assert found.formats == session.formats
    other = evaluate(session, "digits", limit=10, qformat="Q3.4")
    assert {str(f) for n, f in other.formats.items() if "weight" not in n} >= {"Q3.4"}
    assert found["logits"].sqnr_db == evaluate("digits", limit=10, qformat="Q2.2", isa="reference")["logits"].sqnr_db


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"metrics": ["psnr"]}, OptionError, "psnr needs an output of images"),
        ({"metrics": ["speed"]}, OptionError, "no metric is named 'speed'"),
        ({"limit": 0}, OptionError, "limit"),
        ({"qformat": "Q1"}, qengine.QEngineError, "Q1"),
    ],
)
def test_bad_options_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        evaluate("digits", **options)


@pytest.mark.parametrize("label", [-1, 10])
@pytest.mark.parametrize("options", [{}, {"qformat": "Q2.2"}])
def test_a_label_beyond_the_classes_is_refused_wherever_it_is(label, options):
    sample = DIGITS.sample()
    labels = sample.labels[:20].copy()
    labels[15] = label
    data = {"image": sample.feeds["image"][:20], "labels": labels}
    with pytest.raises(FeedError, match="labels reach from"):
        evaluate(DIGITS.path, data, batch=10, **options)


def test_data_is_needed_for_a_model_that_has_none():
    with pytest.raises(OptionError, match="data is needed"):
        evaluate(DIGITS.path)


def test_a_sample_that_cannot_run_is_named(tmp_path):
    model = network([("Neg", "x", "y")], inputs={"x": ["N", 2]})
    path = write(tmp_path, x=np.array([[0, 1], [np.nan, 1]], np.float32))
    with pytest.raises(FeedError, match=r"run 2 of data .*NaN"):
        evaluate(model, path, qformat="Q2.2", batch=1)


def test_check_names_what_falls_short(digits):
    assert digits.check(top1=0.1, agreement="10%") == ()
    (found,) = digits.check(top1=1.0)
    assert str(found) == f"top1 is {digits.fixed['top1']:.2%}, less than the 100.00% asked for"
    with pytest.raises(OptionError, match="no figure of psnr"):
        digits.check(psnr=30)


def test_samples_and_classes_have_the_names_of_folders(tmp_path):
    pixels = (DIGITS.sample().feeds["image"][:8, 0] * 255).astype(np.uint8)
    labels = [int(label) for label in DIGITS.sample().labels[:8]]
    names = [f"number {n}" for n in range(10)]
    for i, label in enumerate(labels):
        (tmp_path / names[label]).mkdir(exist_ok=True)
        Image.fromarray(pixels[i]).save(tmp_path / names[label] / f"{i}.png")
    for name in names:
        (tmp_path / name).mkdir(exist_ok=True)
    found = evaluate(DIGITS.path, tmp_path, preprocessing=Preprocessing(scale=(1 / 255,)), qformat="Q1.2")
    assert found.samples == 8
    assert found.worst
    for one in found.worst:
        folder, file = one.name.split("/")
        assert labels[int(file.removesuffix(".png"))] == int(folder.removeprefix("number "))


@pytest.mark.parametrize("form", ["array", "pair", "mapping", "labels", "iterable", "dataset"])
def test_data_in_python(form):
    x, labels = DIGITS.sample().feeds["image"][:20], DIGITS.sample().labels[:20]
    data, keywords = {
        "array": (x, {}),
        "pair": ((x, labels), {}),
        "mapping": ({"image": x}, {}),
        "labels": (x, {"labels": labels}),
        "iterable": ([(x[:10], labels[:10]), (x[10:], labels[10:])], {}),
        "dataset": (qengine.open_dataset((x, labels), DIGITS.path, batch=5), {}),
    }[form]
    found = evaluate(DIGITS.path, data, qformat="Q2.2", **keywords)
    wanted = evaluate("digits", limit=20, qformat="Q2.2")
    assert found.fixed["agreement"] == wanted.fixed["agreement"]
    assert found.fixed.get("top1") == (None if form in ("array", "mapping") else wanted.fixed["top1"])
