"""Figures of a single run: which metrics an output has, and what each is compared with."""

import numpy as np
import pytest

from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError
from qengine.metrics.quality import Quality, Truth, qualities, read_truth
from qengine.metrics.tasks import is_scores

UNIT = Preprocessing((1 / 255,))
BYTES = Preprocessing()
GREY = np.zeros((1, 1, 2, 2), np.float32)
SCORES = np.float32([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4], [0.2, 0.2, 0.1], [0.0, 0.1, 0.9]])  # classes 1 0 0 2
BETTER = np.float32([[0.1, 0.7, 0.2], [0.1, 0.5, 0.4], [0.2, 0.2, 0.1], [0.0, 0.1, 0.9]])  # classes 1 1 0 2
KEYS = ("against_float32", "against_target", "float32_against_target", "baseline_against_target")


def grey(*pixels):
    return np.float32(pixels).reshape(1, 1, 2, 2)


def decibels(*differences):
    """PSNR of pixels that differ by so much."""
    return pytest.approx(10 * np.log10(255**2 * len(differences) / sum(d * d for d in differences)))


def figures(*args, **options):
    found = qualities(*args, **options)
    assert all(isinstance(one, Quality) and tuple(one.figures()) == KEYS for one in found)
    return {str(one.metric): tuple(one.figures().values()) for one in found}


def psnr(*args, **options):
    """Return the figures of the PSNR, without those at the end that are None."""
    found = figures(*args, **options).get("psnr", (None,) * 4)
    return found[: max((i + 1 for i in range(4) if found[i] is not None), default=0)]


def test_a_run_in_float32_without_a_truth_has_no_figures():
    assert qualities(GREY, None, BYTES) == qualities(GREY, None, BYTES, Truth(baseline=GREY)) == []


# --- pictures


def test_each_is_compared_with_what_is_known():
    output, exact, target, baseline = grey(10, 20, 30, 40), grey(13, 20, 30, 44), grey(9, 20, 30, 40), grey(9, 20, 0, 0)
    assert psnr(output, exact, BYTES, Truth(image=target, baseline=baseline)) == (
        decibels(3, 0, 0, 4), decibels(1, 0, 0, 0), decibels(4, 0, 0, 4), decibels(0, 0, 30, 40),
    )  # fmt: skip
    assert psnr(output, exact, BYTES) == (decibels(3, 0, 0, 4),)
    assert psnr(output, None, BYTES, Truth(image=target)) == (None, decibels(1, 0, 0, 0))
    assert psnr(output, None, BYTES, Truth(baseline=baseline)) == ()
    assert psnr(output, output, BYTES) == (float("inf"),)
    assert psnr(output, exact, BYTES, Truth(image=target), is_image=False) == ()


def test_pixels_are_scaled_clipped_and_not_rounded():
    found = psnr(grey(-1, 0.5, 1, 7), grey(0, 0.5, 1, 1), UNIT, Truth(image=grey(0, 0.502, 1, 1)))
    assert found[:2] == (float("inf"), pytest.approx(10 * np.log10(4 / 0.002**2), abs=1e-3))


def test_bytes_are_pixels_whatever_the_scale():
    target = np.uint8([[[[0, 0], [0, 3]]]])
    assert psnr(GREY, None, UNIT, Truth(image=target)) == (None, decibels(0, 0, 0, 3))
    assert psnr(target, None, UNIT, Truth(image=GREY)) == (None, decibels(0, 0, 0, 3))


def test_what_has_another_shape_is_left_out():
    truth = Truth(image=np.zeros((1, 1, 2, 3), np.float32), baseline=np.zeros((1, 3, 2, 2), np.float32))
    assert psnr(GREY, None, BYTES, truth) == ()
    assert psnr(GREY, GREY, BYTES, truth) == (float("inf"),)
    assert psnr(GREY, GREY, BYTES, Truth(image=np.zeros_like(GREY, np.int64))) == (float("inf"),)


@pytest.mark.parametrize(
    "output",
    [
        np.zeros((2, 1, 4, 4), np.float32),
        np.zeros((1, 2, 4, 4), np.float32),
        np.zeros((4, 4), np.float32),
        np.zeros((1, 1, 0, 4), np.float32),
        np.zeros((1, 1, 4, 4), np.int64),
    ],
)
def test_no_picture(output):
    assert psnr(output, output, BYTES, Truth(image=output)) == ()


def test_a_scale_of_other_channels():
    three = Preprocessing((1.0, 2.0, 3.0))
    assert psnr(GREY, GREY, three) == ()
    assert psnr(np.zeros((3, 2, 2), np.float32), np.zeros((3, 2, 2), np.float32), three) == (float("inf"),)


# --- classes


def test_classes():
    labels = np.array([1, 1, 0, 0])

    def classes(*args):
        found = figures(*args[:2], BYTES, *args[2:])
        return found.get("agreement", (None,))[0], found.get("top1", (None,) * 3)[1:3]

    assert classes(SCORES, BETTER, Truth(labels=labels)) == (0.75, (0.5, 0.75))
    assert classes(BETTER, SCORES, Truth(labels=labels)) == (0.75, (0.75, 0.5))
    assert classes(SCORES, None, Truth(labels=labels)) == (None, (0.5, None))
    for truth in (None, Truth(), Truth(image=SCORES), Truth(labels=labels[:3])):
        assert classes(SCORES, BETTER, truth) == (0.75, (None, None))
    assert classes(SCORES, None, None) == (None, (None, None))


def test_of_equal_scores_the_first_counts():
    flat = np.ones((2, 5), np.float32)
    found = figures(flat, flat, BYTES, Truth(labels=np.array([0, 1])))
    assert (found["agreement"][0], found["top1"]) == (1.0, (None, 0.5, 0.5, None))


def test_every_real_output_has_an_sqnr():
    found = figures(SCORES.ravel(), SCORES.ravel() * np.float32(1.1), BYTES)
    assert found == {"sqnr": (pytest.approx(10 * np.log10(1.1**2 / 0.1**2), abs=1e-4), None, None, None)}
    assert figures(np.arange(3), np.arange(3), BYTES) == {}


@pytest.mark.parametrize(
    ("output", "scores"),
    [
        (SCORES, True),
        (SCORES[:1], True),
        (SCORES.astype(np.float16), True),
        (SCORES[:, :1], False),
        (SCORES[:0], False),
        (SCORES[0], False),
        (SCORES[None], False),
        (SCORES.astype(np.int64), False),
        (SCORES > 0, False),
    ],
)
def test_which_outputs_are_scores(output, scores):
    assert is_scores(output) == scores
    assert ("agreement" in figures(output, output, BYTES)) == scores


# --- what is given as the right answer


@pytest.mark.parametrize("shape", [(1, 3, 2, 4), (3, 2, 4)])
@pytest.mark.parametrize("output", [(1, 3, 2, 4), (3, 2, 4)])
def test_a_true_picture(shape, output):
    value = np.arange(24, dtype=np.uint8).reshape(shape)
    truth = read_truth(value, np.zeros(output, np.float32))
    np.testing.assert_array_equal(truth.image, value.reshape(output), strict=True)
    assert (truth.baseline, truth.labels) == (None, None)


def test_a_grey_picture_with_or_without_its_channel():
    for shape in ((2, 4), (1, 2, 4), (1, 1, 2, 4)):
        value = np.arange(8, dtype=np.float32).reshape(shape)
        for output in ((1, 2, 4), (1, 1, 2, 4)):
            assert read_truth(value, np.zeros(output, np.float32)).image.tolist() == value.reshape(output).tolist()


@pytest.mark.parametrize("shape", [(1, 3, 4, 2), (2, 4, 3), (24,), (2, 3, 2, 4), (1, 1, 2, 4), ()])
def test_a_picture_of_another_shape(shape):
    with pytest.raises(
        OptionError, match=rf"^the target has shape \[{', '.join(map(str, shape))}\], the output \[1, 3"
    ):
        read_truth(np.zeros(shape, np.float32), np.zeros((1, 3, 2, 4), np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (1, 4)])
def test_labels(dtype, shape):
    truth = read_truth(np.array([2, 0, 1, 2], dtype).reshape(shape), SCORES)
    np.testing.assert_array_equal(truth.labels, np.int64([2, 0, 1, 2]), strict=True)
    assert truth.image is None


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [-1, 0, 0, 0], [0.5, 0, 0, 0], [np.nan, 0, 0, 0], [np.inf, 0, 0, 0]])
def test_labels_of_no_class(labels):
    with pytest.raises(OptionError, match=r"labels must be whole numbers from 0 to 2$"):
        read_truth(np.float32(labels), SCORES)


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 3), (), (0,)])
def test_other_than_one_label_for_each_item(shape):
    with pytest.raises(OptionError, match=r"^the target has shape \[.*\]; 4 label\(s\) are needed, one for each item$"):
        read_truth(np.zeros(shape, np.int64), SCORES)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 3, 4, 5), (0, 3), ()])
def test_an_output_that_is_neither(shape):
    with pytest.raises(OptionError, match=r"^no target can be compared with an output \[.*\]: neither image nor class"):
        read_truth(np.zeros(4, np.int64), np.zeros(shape, np.float32))
