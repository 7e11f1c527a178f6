import numpy as np
import pytest
from data.reading import PIXELS, pictured, read, refused
from PIL import Image

from qengine.data.preprocessing import Preprocessing
from qengine.data.read import is_image, read_value
from qengine.errors import FeedError
from qengine.model.graph import Value


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        (("N", 3, "H", "W"), PIXELS.transpose(2, 0, 1)[None]),
        ((1, None, 4, 6), PIXELS.transpose(2, 0, 1)[None]),
        (None, PIXELS.transpose(2, 0, 1)[None]),
        ((3, "H", "W"), PIXELS.transpose(2, 0, 1)),
        (("N", 1, "H", "W"), PIXELS[None, None, ..., 0]),
        ((1, 4, 6), PIXELS[None, ..., 0]),
        ((None, 6), PIXELS[..., 0]),
    ],
)
@pytest.mark.parametrize("dtype", [None, np.float32, np.float64, np.float16, np.uint8, np.int16])
def test_images_in_the_declared_shape_and_type(tmp_path, shape, wanted, dtype):
    grey = wanted.size == PIXELS[..., 0].size
    found = read(pictured(tmp_path, PIXELS[..., 0] if grey else PIXELS), dtype, shape)
    np.testing.assert_array_equal(found, wanted.astype(dtype or np.float32), strict=True)


def test_colours_become_grey_where_there_is_one_channel(tmp_path):
    for shape in ((None, None), (1, 4, 6), ("N", 1, "H", "W")):
        found = read(pictured(tmp_path), np.float32, shape)
        assert np.abs(found.reshape(4, 6) - PIXELS @ [0.299, 0.587, 0.114]).max() <= 1


def test_pixels_are_scaled(tmp_path):
    scale = Preprocessing((0.5, 0.25, 2.0), (1.0, 2.0, 3.0), bgr=True)
    found = read(pictured(tmp_path), np.float32, (3, None, None), scale)
    wanted = (PIXELS[..., ::-1] - [1.0, 2.0, 3.0]) * [0.5, 0.25, 2.0]
    np.testing.assert_array_equal(found, wanted.transpose(2, 0, 1).astype(np.float32), strict=True)


@pytest.mark.parametrize(
    ("dtype", "shape", "scale", "reason"),
    [
        (np.float32, (6,), 1.0, "it has 1 axes"),
        (np.float32, (), 1.0, "it has 0 axes"),
        (np.float32, (1, 1, 3, 4, 6), 1.0, "it has 5 axes"),
        (np.float32, (1, 2, 4, 6), 1.0, "it has 2 channels, where an image has 3 (RGB) or 1 (grey)"),
        (np.float32, (0, 4, 6), 1.0, "it has 0 channels"),
        (bool, (3, 4, 6), 1.0, "it takes bool, and pixels are numbers"),
        (np.int8, (3, 4, 6), 1.0, "it takes int8, which cannot hold the scaled pixels"),
        (np.uint8, (3, 4, 6), -1.0, "it takes uint8, which cannot hold the scaled pixels"),
        (np.uint8, (3, 4, 6), 1 / 255, "it takes uint8, which cannot hold the scaled pixels"),
    ],
)
def test_images_that_do_not_fit_the_input(tmp_path, dtype, shape, scale, reason):
    refused(pictured(tmp_path), reason, dtype, shape, Preprocessing((scale,)))


def test_which_values_are_images():
    assert is_image("a/b.PNG")
    assert not any(map(is_image, ("a.npy", "png", "1,2", "a.png.npy")))


def test_pixels_at_the_edge_of_a_type_are_not_wrapped(tmp_path):
    """2^31 - 1 is no float32 number, and 2^31 is no int32."""
    grey = np.full((2, 2), 128, np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    declared = Value("x", np.dtype(np.int32), (2, 2))
    assert read_value(str(tmp_path / "grey.png"), declared, Preprocessing((2.0**23,))).tolist() == [[2**30] * 2] * 2
    with pytest.raises(FeedError, match="int32, which cannot hold the scaled pixels"):
        read_value(str(tmp_path / "grey.png"), declared, Preprocessing((2.0**24,)))


@pytest.mark.parametrize("dtype", [None, np.float32, np.uint8, np.int16])
@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((1, 4, 6, 3), PIXELS[None]),
        (("N", "H", "W", 3), PIXELS[None]),
        ((None, 4, 6, None), PIXELS[None]),
        ((4, 6, 3), PIXELS),
        (("N", None, None, 1), PIXELS[None, ..., :1]),
    ],
)
def test_images_into_channels_last(tmp_path, shape, wanted, dtype):
    found = read(pictured(tmp_path, PIXELS[..., 0] if wanted.shape[-1] == 1 else PIXELS), dtype, shape)
    np.testing.assert_array_equal(found, wanted.astype(dtype or np.float32), strict=True)
    assert found.flags.c_contiguous


def test_scale_mean_and_order_are_those_of_the_channels_wherever_they_are(tmp_path):
    scale = Preprocessing((0.5, 0.25, 2.0), (1.0, 2.0, 3.0), bgr=True)
    found = read(pictured(tmp_path), np.float32, (1, 4, 6, 3), scale)
    np.testing.assert_array_equal(found[0], ((PIXELS[..., ::-1] - [1.0, 2.0, 3.0]) * [0.5, 0.25, 2.0]))


def test_a_layout_that_is_given_decides(tmp_path):
    square = PIXELS[:3, :3]
    Image.fromarray(square).save(tmp_path / "square.png")
    refused(tmp_path / "square.png", "say which with --layout nchw or --layout nhwc", np.float32, (1, 3, 3, 3))
    for layout, wanted in {"nchw": square.transpose(2, 0, 1), "nhwc": square}.items():
        found = read(tmp_path / "square.png", np.uint8, (1, 3, 3, 3), Preprocessing(layout=layout))
        np.testing.assert_array_equal(found[0], wanted)
    reason = "it has 6 channels, where an image has 3 (RGB) or 1 (grey)"
    refused(pictured(tmp_path), reason, np.float32, (1, 3, 4, 6), Preprocessing(layout="nhwc"))


PICTURES = {
    "grey": (Image.fromarray(PIXELS[..., 0]), np.repeat(PIXELS[..., :1], 3, axis=2)),
    "alpha": (Image.fromarray(np.dstack([PIXELS, np.full((4, 6), 9, np.uint8)])), PIXELS),
    "depth": (Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 256 + 255), PIXELS[..., 0]),
    "size": (Image.fromarray(PIXELS).resize((12, 8), Image.Resampling.NEAREST), None),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_does_not_fit_is_changed_only_where_that_is_asked_for(tmp_path, name):
    picture, wanted = PICTURES[name]
    picture.save(tmp_path / "p.png")
    shape = (1, 4, 6, 1) if name == "depth" else (1, 4, 6, 3)
    refused(tmp_path / "p.png", f"give --convert {name}, with which", np.uint8, shape)
    others = Preprocessing(convert=tuple(other for other in PICTURES if other != name))
    refused(tmp_path / "p.png", f"give --convert {name}, with which", np.uint8, shape, others)
    found = read(tmp_path / "p.png", np.uint8, shape, Preprocessing(convert=(name,)))
    assert found.shape == shape
    if wanted is not None:
        np.testing.assert_array_equal(found.squeeze(), wanted)


def test_what_no_conversion_changes(tmp_path):
    opaque = np.dstack([PIXELS, np.full((4, 6), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read(tmp_path / "opaque.png", np.uint8, (1, 4, 6, 3))[0], PIXELS)
    Image.fromarray(PIXELS[..., 0].astype(np.float32)).save(tmp_path / "real.tif")
    every = Preprocessing(convert=tuple(PICTURES))
    refused(tmp_path / "real.tif", "has more than 8 bits a channel: convert it to .npy", np.uint8, None, every)
    Image.fromarray(np.full((2, 2), 1 << 20, np.int32)).save(tmp_path / "deep.tif")
    refused(tmp_path / "deep.tif", "has more than 16 bits a channel", np.uint8, (1, 1, None, None), every)
    huge = Preprocessing(convert=("size",))
    refused(
        *(pictured(tmp_path), "200 x 100 pixels, 60,000 elements, more than 999", None, (3, 100, 200), huge),
        max_elements=999,
    )
