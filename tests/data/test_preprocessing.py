"""Preprocessing as people type it, as it is kept, and as it is recorded."""

import numpy as np
import pytest

from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize(
    ("typed", "scale", "mean"),
    [
        ({}, (1.0,), (0.0,)),
        ({"scale": 1 / 255}, (1 / 255,), (0.0,)),
        ({"mean": 0.5, "std": 0.5}, (1 / 127.5,), (127.5,)),
        ({"mean": 0, "std": 1}, (1 / 255,), (0.0,)),
        ({"mean": 127.5, "std": 127.5}, (1 / 127.5,), (127.5,)),
        ({"mean": (103.94, 116.78, 123.68), "std": 1}, (1.0,), (103.94, 116.78, 123.68)),
        ({"mean": 0.5}, (1 / 255,), (127.5,)),
        ({"mean": 128}, (1.0,), (128.0,)),
        ({"mean": 0}, (1.0,), (0.0,)),
        ({"mean": 0.5, "scale": 1 / 255}, (1 / 255,), (127.5,)),
        ({"std": 0.25}, (1 / 63.75,), (0.0,)),
    ],
)
def test_what_is_typed_becomes_pixels(typed, scale, mean):
    found = Preprocessing.of(**typed)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-15)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-15)


def test_numbers_are_those_of_torchvision():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    mean, std = (np.float32(numbers)[:, None, None] for numbers in IMAGENET.values())
    expected = (np.moveaxis(pixels, -1, 0).astype(np.float32) / 255 - mean) / std
    np.testing.assert_allclose(Preprocessing.of(**IMAGENET).to_numbers(pixels), expected, atol=1e-6)


def test_what_is_left_out_is_that_of_the_base():
    base = Preprocessing((0.5,), (7.0,), layout="nchw", resize=(8,))
    assert Preprocessing.of(base=base) == base
    assert Preprocessing.of(base=base, scale=2) == Preprocessing((2.0,), (7.0,), layout="nchw", resize=(8,))
    assert Preprocessing.of(base=base, crop=3, bgr=True).crop == (3, 3)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"scale": 1, "std": 1}, "both say"),
        ({"std": (0.2, 0, 0.2)}, "positive"),
        ({"std": float("nan")}, "positive"),
        ({"mean": float("inf")}, "finite"),
        ({"scale": 0}, "other than 0"),
        ({"resize": 0}, "resize"),
        ({"crop": (1, 2, 3)}, "crop"),
        ({"layout": "chw"}, "nchw, nhwc"),
        ({"convert": ["gray"]}, "gray"),
    ],
)
def test_contradictions_and_bad_numbers_are_refused(typed, message):
    with pytest.raises(OptionError, match=message):
        Preprocessing.of(**typed)


def test_a_record_gives_back_what_it_came_from():
    for one in (Preprocessing(), Preprocessing.of(**IMAGENET, resize=256, crop=224, bgr=True, convert=["grey"])):
        assert Preprocessing.from_record(one.record()) == one
    assert Preprocessing().record() == {}
    for record in ({"colour": 1}, {"scale": "x"}, {"resize": 3}):
        with pytest.raises(OptionError, match=r"preprocessing|scale"):
            Preprocessing.from_record(record)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ({}, "pixels 0..255"),
        ({"scale": 1 / 255}, "pixel / 255"),
        (
            {"mean": 0.5, "std": 0.5, "resize": 256, "crop": 224},
            "shorter side 256, middle 224 x 224, (pixel - 127.5) / 127.5",
        ),
        ({"mean": 128, "bgr": True, "layout": "nhwc"}, "blue first, nhwc, (pixel - 128)"),
        ({"scale": (2, 3, 4)}, "pixel * [2 3 4]"),
    ],
)
def test_one_line_says_what_is_done(typed, text):
    assert Preprocessing.of(**typed).described() == text
