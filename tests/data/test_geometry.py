"""Pictures are resized and cropped as torchvision's Resize and CenterCrop do it."""

import numpy as np
import pytest
from networks import network
from PIL import Image

from qengine.data.datasets import open_dataset
from qengine.data.geometry import changed_size
from qengine.data.images import read_image
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError
from qengine.model.loader import load

PIXELS = np.random.default_rng(4).integers(0, 256, (37, 50, 3), dtype=np.uint8)


def saved(tmp_path, pixels=PIXELS, orientation=1):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    return tmp_path / "a.png"


@pytest.mark.parametrize(
    ("size", "typed", "wanted"),
    [
        ((37, 50), {"resize": 37}, (37, 50)),
        ((37, 50), {"resize": 20}, (20, 27)),  # 27.03 is cut
        ((50, 37), {"resize": 20}, (27, 20)),
        ((500, 333), {"resize": 256}, (384, 256)),  # 384.38
        ((3, 4), {"resize": 5}, (5, 6)),  # 6.67 is cut, not rounded
        ((37, 50), {"resize": (10, 90)}, (10, 90)),
        ((37, 50), {"resize": 20, "crop": 20}, (20, 20)),
        ((37, 50), {"crop": (9, 50)}, (9, 50)),
        ((7, 7), {"resize": 9, "crop": (9, 8)}, (9, 8)),
    ],
)
def test_sizes(size, typed, wanted):
    assert changed_size(size, Preprocessing.of(**typed), "image") == wanted


@pytest.mark.parametrize(
    ("height", "crop", "top"),
    [(37, 37, 0), (37, 36, 0), (38, 37, 0), (39, 36, 2), (37, 34, 2), (41, 36, 2), (43, 36, 4), (40, 10, 15)],
)
def test_a_border_that_is_odd_has_half_a_pixel_to_the_even_side(tmp_path, height, crop, top):
    rows = np.repeat(np.arange(height, dtype=np.uint8)[:, None], 50, axis=1)
    found = read_image(saved(tmp_path, rows), 1, preprocessing=Preprocessing.of(crop=(crop, 50)))
    assert found[0, 0, 0] == top
    assert found.shape == (crop, 50, 1)


@pytest.mark.parametrize(
    ("typed", "size", "box"),
    [
        ({"resize": 20, "crop": 17}, (27, 20), (5, 2, 22, 19)),
        ({"resize": (64, 30), "crop": (60, 30)}, (30, 64), (0, 2, 30, 62)),
        ({"crop": (30, 40)}, (50, 37), (5, 4, 45, 34)),
        ({"resize": 74}, (100, 74), (0, 0, 100, 74)),
    ],
)
def test_pixels_are_those_of_pillow(tmp_path, typed, size, box):
    wanted = Image.fromarray(PIXELS).resize(size, Image.Resampling.BILINEAR).crop(box)
    found = read_image(saved(tmp_path), 3, preprocessing=Preprocessing.of(**typed))
    np.testing.assert_array_equal(found, np.asarray(wanted))


def test_a_resize_weights_all_pixels(tmp_path):
    """The numbers are a triangle of the width of two pixels of the result, by hand."""
    row = np.array([[0, 0, 0, 240, 0, 0, 0, 0]], np.uint8)
    found = read_image(saved(tmp_path, row), 1, preprocessing=Preprocessing.of(resize=(1, 4)))
    assert found[0, :, 0].tolist() == [0, 90, 30, 0]  # 240 * 3/8 and 240 * 1/8


def test_a_picture_is_turned_upright_first(tmp_path):
    found = read_image(
        saved(tmp_path, orientation=6), 3, preprocessing=Preprocessing.of(resize=(50, 37), crop=(50, 20))
    )
    np.testing.assert_array_equal(found, np.rot90(PIXELS, -1)[:, 8:28])


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            {"crop": (38, 10)},
            "is 50 x 37 pixels, and a crop of 10 x 38 is larger: give a smaller --crop, or",
        ),
        ({"resize": 20, "crop": 28}, "is 27 x 20 pixels after the resize, and a crop of 28 x 28 is larger"),
        (
            {"resize": 20},
            "is 27 x 20 pixels as --resize and --crop make it, and 24 x 24 are needed; give --convert",
        ),
        ({}, "is 50 x 37 pixels, and 24 x 24 are needed; give --convert size, with which"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(tmp_path, typed, message):
    with pytest.raises(FeedError, match="--resize") as caught:
        read_image(saved(tmp_path), 3, height=24, width=24, preprocessing=Preprocessing.of(**typed))
    assert message in str(caught.value)


def test_a_crop_of_another_size_is_resized_where_that_is_allowed(tmp_path):
    typed = Preprocessing.of(crop=30, convert=["size"])
    found = read_image(saved(tmp_path), 3, height=24, width=24, preprocessing=typed)
    wanted = Image.fromarray(PIXELS[4:34, 10:40]).resize((24, 24), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found, np.asarray(wanted))


def test_a_huge_result_is_refused_before_it_is_made(tmp_path):
    thin = saved(tmp_path, np.zeros((1, 60000), np.uint8))
    with pytest.raises(FeedError, match="resized, has 15360000 x 256 pixels"):
        read_image(thin, 1, 10**9, preprocessing=Preprocessing.of(resize=256))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("stored_last", [True, False])
def test_arrays_of_pixels_are_resized_as_files_of_them(tmp_path, layout, stored_last):
    shape = ["N", 3, 17, 17] if layout == "nchw" else ["N", 17, 17, 3]
    graph = load(network([("Relu", "x", "y")], inputs={"x": shape}))
    typed = Preprocessing.of(resize=20, crop=17, scale=1 / 255, layout=layout)
    np.savez(tmp_path / "set.npz", x=PIXELS[None] if stored_last else PIXELS.transpose(2, 0, 1)[None])
    (from_array,) = open_dataset(str(tmp_path / "set.npz"), graph, preprocessing=typed)
    (from_file,) = open_dataset(str(saved(tmp_path)), graph, preprocessing=typed)
    np.testing.assert_array_equal(from_array["x"], from_file["x"])


@pytest.mark.parametrize(
    ("shape", "arrays", "message"),
    [
        (["N", 6], {"x": np.zeros((2, 6), np.uint8)}, "are for pictures with 4 axes"),
        (["N", 3, 9, 9], {"x": np.zeros((1, 3, 20, 20), np.uint8)}, "is 12 x 12 pixels"),
        (
            ["N", 3, 12, 12],
            {"x": np.zeros((1, 3, 20, 20), np.uint8), "y": np.zeros((1, 3, 20, 20), np.uint8)},
            "holds targets, which --resize and --crop do not change",
        ),
    ],
)
def test_arrays_that_cannot_be_resized_are_refused(tmp_path, shape, arrays, message):
    graph = load(network([("Relu", "x", "y")], inputs={"x": shape}))
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(FeedError, match=message):
        list(open_dataset(str(tmp_path / "set.npz"), graph, preprocessing=Preprocessing.of(resize=12)))


def test_arrays_of_real_numbers_are_taken_as_they_are(tmp_path):
    graph = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3, 5, 6]}))
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype(np.float32)
    np.savez(tmp_path / "set.npz", x=x)
    typed = Preprocessing.of(resize=4, crop=3, mean=0.5, std=0.5)
    found = np.concatenate(
        [feeds["x"] for feeds in open_dataset(str(tmp_path / "set.npz"), graph, preprocessing=typed)]
    )
    np.testing.assert_array_equal(found, x)
