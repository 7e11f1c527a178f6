from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import onnxruntime_session
from PIL import Image

from qengine import InferenceSession, zoo
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError

ENTRIES = list(zoo.ENTRIES)


def decibels(found, truth):
    """PSNR of numbers in 0..1, clipped."""
    return -10 * np.log10(np.mean((np.clip(found, 0, 1).astype(np.float64) - truth) ** 2))


@pytest.fixture(scope="module")
def digits():
    return zoo.ENTRIES["digits"].sample()


@pytest.fixture(scope="module")
def digits_scores(digits):
    (scores,) = InferenceSession(zoo.ENTRIES["digits"].path).run(None, digits.feeds)
    return scores


def top1(scores, sample):
    return np.mean(scores.argmax(axis=1) == sample.labels)


def test_what_there_is():
    assert {"srcnn", "digits"} <= set(ENTRIES)
    for name, entry in zoo.ENTRIES.items():
        assert entry.name == name
        assert entry.summary
        assert "\n" not in entry.summary


def test_files_are_there_and_small():
    folder = Path(zoo.__file__).parent
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.suffix != ".pyc") < 3_000_000
    for name in ("digits.onnx", "srcnn.onnx", "digits_heldout.npz", "srcnn_sample.png", "SOURCES.md"):
        assert zoo.bundled(name).is_file()


@pytest.mark.parametrize("name", ENTRIES)
def test_samples_run_and_are_what_onnxruntime_gives(name):
    entry = zoo.ENTRIES[name]
    onnx.checker.check_model(onnx.load(entry.path), full_check=True)
    sample, session = entry.sample(), InferenceSession(entry.path)
    assert set(sample.feeds) == {argument.name for argument in session.get_inputs()}
    assert sample.data_input in sample.feeds
    (found,) = session.run(None, sample.feeds)
    (wanted,) = onnxruntime_session(str(entry.path)).run(None, dict(sample.feeds))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    if sample.target is not None:
        assert (sample.target.shape, sample.target.dtype) == (found.shape, np.float32)
        assert 0 <= sample.target.min() <= sample.target.max() <= 1
    if sample.baseline is not None:
        assert session.run([sample.baseline], sample.feeds)[0].shape == found.shape
    if sample.labels is not None:
        assert (sample.labels.shape, sample.labels.dtype) == (found.shape[:1], np.int64)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_operator_has_a_rule_in_fixed_point(name):
    entry = zoo.ENTRIES[name]
    feeds = dict(entry.sample().feeds)
    feeds[entry.sample().data_input] = feeds[entry.sample().data_input][:2]
    (codes,) = InferenceSession(entry.path, qformat="Q3.12", strict=True).run(None, feeds, raw=True)
    (wanted,) = InferenceSession(entry.path).run(None, feeds)
    assert codes.dtype == np.int16
    assert np.abs(codes / 2.0**12 - np.clip(wanted, -8, 8)).max() < 0.05


def test_pixels_are_in_0_to_1():
    for entry in zoo.ENTRIES.values():
        assert entry.preprocessing == Preprocessing((1 / 255,))
    sample = zoo.ENTRIES["srcnn"].sample()
    for name, found in (("srcnn_sample.png", sample.feeds["input"]), ("srcnn_original.png", sample.target)):
        pixels = np.asarray(Image.open(zoo.bundled(name)))
        np.testing.assert_allclose(found[0], pixels.transpose(2, 0, 1) / 255, atol=1e-7)
    with np.load(zoo.bundled("digits_heldout.npz")) as held_out:
        images, labels = held_out["images"], held_out["labels"]
    digits = zoo.ENTRIES["digits"].sample()
    np.testing.assert_allclose(digits.feeds["image"][:, 0], images / 255, atol=1e-7)
    np.testing.assert_array_equal(digits.labels, labels)


def test_srcnn_is_better_than_no_network():
    sample, session = zoo.ENTRIES["srcnn"].sample(), InferenceSession(zoo.ENTRIES["srcnn"].path)
    assert sample.feeds["factor"].tolist() == [1, 1, 3, 3]
    output, baseline = session.run([session.get_outputs()[0].name, sample.baseline], sample.feeds)
    assert decibels(output, sample.target) >= decibels(baseline, sample.target) + 0.5
    # The baseline is a bicubic enlargement: Pillow's, which takes another cubic, is within half a dB of it.
    small = Image.open(zoo.bundled("srcnn_sample.png"))
    large = np.asarray(small.resize((300, 300), Image.Resampling.BICUBIC)).transpose(2, 0, 1) / 255
    assert abs(decibels(large, sample.target[0]) - decibels(baseline, sample.target)) < 0.5


@pytest.mark.parametrize("factor", [(2, 2), (1.5, 2.5), (1, 1)])
def test_srcnn_enlarges_by_any_factor(factor):
    sample, session = zoo.ENTRIES["srcnn"].sample(), InferenceSession(zoo.ENTRIES["srcnn"].path)
    feeds = {"input": sample.feeds["input"][..., :20, :30], "factor": np.float32([1, 1, *factor])}
    assert session.run(None, feeds)[0].shape == (1, 3, 20 * factor[0], 30 * factor[1])


def test_digits_in_float32(digits, digits_scores):
    assert len(digits_scores) == 1000
    assert np.bincount(digits.labels, minlength=10).min() > 50
    assert top1(digits_scores, digits) >= 0.98


def test_digits_in_fixed_point(digits, digits_scores):
    (scores,) = InferenceSession(zoo.ENTRIES["digits"].path, qformat="Q3.4").run(None, digits.feeds)
    assert top1(scores, digits) >= top1(digits_scores, digits) - 0.005


def test_find(tmp_path):
    for name in ENTRIES:
        assert zoo.find(name) is zoo.ENTRIES[name]
    (tmp_path / "a.onnx").touch()
    assert zoo.find(str(tmp_path / "a.onnx")) is None
    assert zoo.find(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        *((name, "; did you mean srcnn?") for name in ("srcn", "SRCNN", "srcnn.onnx")),
        *(("no/such.onnx", ""), ("", ""), ("a\0b", ""), ("n" * 5000, "")),
    ],
)
def test_models_that_are_not_there(name, near):
    with pytest.raises(OptionError) as caught:
        zoo.find(name)
    message = str(caught.value)
    assert message.startswith(f"there is no file '{name[:1]}")
    assert message.endswith(f"', and no bundled model of that name{near}; bundled are {', '.join(ENTRIES)}")
