"""Metrics batch by batch, against NumPy by hand and scikit-image."""

import hashlib
import math
from contextlib import nullcontext

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from qengine.analysis.sweep.measure import CodesMeter, metrics_of
from qengine.data.datasets import Batch
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, SweepError, UnsupportedError
from qengine.metrics.declaration import EvaluatedBatch, all_metrics
from qengine.metrics.tasks import Task, check_labels, task_of

UNIT = Preprocessing(scale=(1 / 255,))


def batches(real, exact, labels=None, targets=None, size=4):
    for start in range(0, len(real), size):
        rows = slice(start, start + size)
        part = {} if targets is None else {"y": targets[rows]}
        batch = Batch({}, part, None if labels is None else labels[rows], len(real[rows]))
        yield batch, {"y": (real[rows] * 8).astype(np.int8)}, {"y": real[rows]}, {"y": exact[rows]}


def measured(task, *args, scale=UNIT, ssim=True, **options):
    meter = CodesMeter(task, "y", scale, metrics_of(task, ssim=ssim))
    for one in batches(*args, **options):
        meter.add(*one)
    return meter.measures()


def test_sqnr_is_of_sums_over_all_data():
    rng = np.random.default_rng(0)
    exact = (rng.normal(size=(10, 3)) * np.logspace(0, 3, 10)[:, None]).astype(np.float32)
    real = (exact + rng.normal(size=(10, 3))).astype(np.float32)
    wide = exact.astype(np.float64)
    expected = 10 * math.log10(np.sum(wide**2) / np.sum((wide - real) ** 2))
    found = measured(Task.OTHER, real, exact)
    assert found.sqnr_db == pytest.approx(expected, rel=1e-12)
    assert found.sqnr_by_output == {"y": found.sqnr_db}
    each = [10 * math.log10(np.sum(e**2) / np.sum((e - r) ** 2)) for e, r in zip(wide, real, strict=True)]
    assert abs(np.mean(each) - expected) > 3  # the mean of decibels is another number
    assert measured(Task.OTHER, exact, exact).sqnr_db == math.inf
    assert measured(Task.OTHER, exact, exact * 0).sqnr_db is None


def test_classes():
    exact = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [3, 2, 1]])
    real = np.float32([[1, 0, 0], [1, 0, 0], [0, 0, 1], [1, 1, 0], [1, 2, 1]])
    found = measured(Task.CLASSES, real, exact, labels=np.int64([0, 0, 2, 1, 0]), size=2)
    assert found.top1 == 3 / 5  # of equal scores the first counts
    assert found.agreement == 3 / 5
    assert measured(Task.CLASSES, real, exact).top1 is None
    assert measured(Task.CLASSES, real[:1], exact[:1], labels=np.int64([0])).top1 == 1.0
    assert (found.psnr_db, found.ssim, found.against) == (None, None, None)


def test_classes_that_a_model_names_itself():
    exact, real = np.int64([3, 1, 2, 0, 4]), np.int64([3, 1, 1, 0, 0])
    found = measured(Task.CLASSES, real, exact, labels=np.int64([3, 0, 1, 0, 1]), size=2)
    assert (found.top1, found.agreement, found.sqnr_db) == (3 / 5, 3 / 5, None)
    assert measured(Task.CLASSES, real[:, None], exact[:, None]).agreement == 3 / 5


@pytest.mark.parametrize("channels", [1, 3])
def test_images(channels):
    rng = np.random.default_rng(channels)
    truth = rng.random((3, channels, 20, 24)).astype(np.float32)
    real = (truth + 0.1 * rng.normal(size=truth.shape)).astype(np.float32)
    pixels, original = (np.clip(a.astype(np.float64) * 255, 0, 255) for a in (real, truth))
    psnr = peak_signal_noise_ratio(original, pixels, data_range=255)
    options = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    each = [structural_similarity(a, b, channel_axis=0, **options) for a, b in zip(pixels, original, strict=True)]
    for targets, exact, against in ((truth, real * 0, "target"), (None, truth, "float32")):
        found = measured(Task.IMAGES, real, exact, targets=targets, size=2)
        assert found.psnr_db == pytest.approx(psnr, rel=1e-12)
        assert found.ssim == pytest.approx(np.mean(each), rel=1e-9)
        assert found.against == against
    assert measured(Task.IMAGES, real, truth, ssim=False).ssim is None
    same = measured(Task.IMAGES, truth, truth)
    assert (same.psnr_db, same.ssim) == (math.inf, 1.0)


@pytest.mark.parametrize(("sides", "has_ssim"), [((10, 30), False), ((30, 10), False), ((11, 11), True)])
def test_pictures_smaller_than_the_window_have_no_ssim(sides, has_ssim):
    real = np.zeros((2, 1, *sides), np.float32)
    assert (measured(Task.IMAGES, real, real + 0.1).ssim is not None) == has_ssim


def test_a_target_of_another_shape():
    with pytest.raises(UnsupportedError, match="cannot be compared with target of shape"):
        measured(Task.IMAGES, *np.zeros((2, 1, 1, 16, 16), np.float32), targets=np.zeros((1, 1, 32, 32)))


def test_the_digest_is_of_the_codes():
    real = np.float32([[1, 2], [3, 4]])
    meter = CodesMeter(Task.OTHER, "y", UNIT, [])
    meter.add(*next(batches(real, real)))
    expected = hashlib.sha256(b"y |i1 (2, 2) " + np.int8([[8, 16], [24, 32]]).tobytes()).hexdigest()
    assert meter.codes() == expected


def test_tasks():
    scores, picture = np.zeros((2, 5), np.float32), np.zeros((2, 3, 16, 16), np.float32)

    def task(outputs, labels=False, targets=()):
        return task_of(outputs, has_labels=labels, targets=dict.fromkeys(targets), preprocessing=UNIT)

    assert task({"a": scores}) == (Task.CLASSES, "a")
    assert task({"a": picture, "b": scores}) == (Task.CLASSES, "b")
    assert task({"a": picture, "b": scores}, targets="a") == (Task.IMAGES, "a")
    assert task({"a": picture, "b": scores}, labels=True, targets="a") == (Task.CLASSES, "b")
    assert task({"a": picture}) == (Task.IMAGES, "a")
    classes = np.zeros(3, np.int64)
    assert task({"i": classes, "a": picture[:, :2]}) == (Task.OTHER, "a")
    assert task({"i": classes, "a": picture}, labels=True) == (Task.CLASSES, "i")
    assert task({"i": classes[:, None]}) == (Task.CLASSES, "i")
    assert task({"i": classes[:1], "a": picture}, labels=True) == (Task.CLASSES, "i")
    assert task({"i": classes, "a": scores}, labels=True) == (Task.CLASSES, "a")
    assert task({"i": np.zeros((3, 8, 8), np.int64)}) == (Task.OTHER, "i")
    assert task({"a": picture[:, :, :4]}) == (Task.OTHER, "a")
    last = {"a": np.moveaxis(picture, 1, -1)}
    assert task(last) == (Task.OTHER, "a")  # (N, H, W, 3) may as well be boxes or points
    nhwc = Preprocessing((1 / 255,), layout="nhwc")
    assert task_of(last, has_labels=False, targets={}, preprocessing=nhwc) == (Task.IMAGES, "a")


def test_pictures_with_their_channels_last_have_the_same_figures():
    exact = np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)
    output = exact + np.float32(0.01)
    figures = []
    for layout in ("nchw", "nhwc"):
        pair = [np.moveaxis(a, 1, -1) if layout == "nhwc" else a for a in (output, exact)]
        accumulator = next(one for one in all_metrics() if one.name == "psnr").accumulator()
        accumulator.add(EvaluatedBatch(*pair, preprocessing=Preprocessing((1 / 255,), layout=layout)))
        figures.append(accumulator.value())
    assert figures[0] == pytest.approx(figures[1])


@pytest.mark.parametrize(("labels", "is_wrong"), [([0, 4], False), ([1, 5], True), ([-1, 0], True)])
def test_labels_are_classes_of_the_scores(labels, is_wrong):
    outputs, labels = {"y": np.zeros((2, 5), np.float32)}, np.int64(labels)
    with (
        pytest.raises(FeedError, match="the 5 classes of output 'y' are counted from 0 to 4")
        if is_wrong
        else nullcontext()
    ):
        check_labels(Task.CLASSES, "y", outputs, labels)
    check_labels(Task.OTHER, "y", outputs, labels)
    check_labels(Task.CLASSES, "y", outputs, None)


def test_without_scikit_image(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage.metrics", None)
    metrics_of(Task.CLASSES, ssim=True)
    metrics_of(Task.IMAGES, ssim=False)
    with pytest.raises(SweepError, match=r"SSIM needs scikit-image: pip install 'qengine\[ssim\]'"):
        metrics_of(Task.IMAGES, ssim=True)
