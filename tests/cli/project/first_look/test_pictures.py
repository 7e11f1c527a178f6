"""Headers of picture files, and the resizing that a model needs."""

import numpy as np
import pytest
from PIL import Image

from qengine.cli.project.first_look.pictures import fitting, read_pictures


@pytest.mark.parametrize(
    ("sizes", "height", "width", "expected"),
    [
        ([(224, 224)], 224, 224, (None, None)),
        ([(480, 640), (300, 400)], 224, 224, ("256", "224")),
        ([(256, 256)], 224, 224, ("256", "224")),
        ([(500, 400)], 299, 299, ("342", "299")),
        ([(100, 640)], 224, 224, ("224", "224")),
        ([(48, 40)], 32, 32, ("32", "32")),
        ([(64, 64)], 32, 32, ("32,32", None)),
        ([(28, 28)], 32, 32, ("32,32", None)),
        ([(480, 640)], 240, 320, ("240,320", None)),
        ([(480, 600)], 240, 320, ("240,320", None)),
        ([(480, 640)], "H", "W", (None, None)),
        ([(480, 640)], None, 224, (None, None)),
    ],
)
def test_the_sizes_that_a_model_needs(sizes, height, width, expected):
    assert fitting(sizes, height, width) == expected


@pytest.mark.parametrize(
    ("mode", "channels", "conversions"),
    [
        ("RGB", 3, ()),
        ("L", 1, ()),
        ("L", 3, ("grey",)),
        ("RGBA", 3, ("alpha",)),
        ("LA", 3, ("grey", "alpha")),
        ("I;16", 3, ("grey", "depth")),
        ("RGB", None, ()),
    ],
)
def test_changes_that_pictures_need(tmp_path, mode, channels, conversions):
    Image.new(mode, (5, 4)).save(tmp_path / "a.png")
    found = read_pictures(str(tmp_path), channels)
    assert (found.sizes, found.conversions) == (((4, 5),), conversions)


def test_pictures_are_turned_upright(tmp_path):
    picture = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_pictures(str(tmp_path / "a.jpg"), 3).sizes == ((6, 4),)


def test_pictures_in_folders_of_classes(tmp_path):
    for i, name in enumerate(("cat", "dog", ".hidden")):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 2 + i)).save(tmp_path / name / "a.png")
    (tmp_path / "cat" / "damaged.png").write_bytes(b"no picture")
    (tmp_path / "cat" / "notes.txt").write_text("none")
    found = read_pictures(str(tmp_path), 1)
    assert found.sizes == ((2, 8), (3, 8))
    assert found.described(1234) == "1,234 pictures, 8 x 2 to 8 x 3"


@pytest.mark.parametrize("name", ["gone", "set.npz", "empty"])
def test_data_that_is_no_pictures(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "set.npz").touch()
    assert read_pictures(str(tmp_path / name), 3) is None


def test_other_kinds_of_pictures_are_not_looked_at(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png", format="TGA")
    assert read_pictures(str(tmp_path), 3) is None
    Image.new("RGB", (8, 6)).save(tmp_path / "b.png", format="BMP")  # the content decides
    assert read_pictures(str(tmp_path), 3).sizes == ((6, 8),)
