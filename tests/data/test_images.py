import io
import os
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from qengine.data.images import is_picture, pixels_of, planes_of, read_image, write_image
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, OptionError
from qengine.metrics.psnr import psnr

PIXELS = np.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=np.uint8)
UNIT = Preprocessing(scale=(1 / 255,))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def refused(path, reason, **limits):
    with pytest.raises(FeedError) as caught:
        read_image(path, 3, **limits)
    message = str(caught.value)
    assert str(path) in message
    assert reason in message
    assert "\n" not in message


def test_colours_and_grey(tmp_path):
    path = saved(tmp_path, Image.fromarray(PIXELS))
    np.testing.assert_array_equal(read_image(path, 3), PIXELS)
    grey = read_image(path, 1)
    assert grey.shape == (4, 6, 1)
    assert abs(grey[..., 0] - PIXELS @ [0.299, 0.587, 0.114]).max() <= 1


@pytest.mark.parametrize("name", ["a.bmp", "a.tif", "a.webp", "a.ppm", "a.gif"])
def test_every_kind_that_keeps_pixels(tmp_path, name):
    grey = Image.fromarray(PIXELS[..., 0])
    path = saved(tmp_path, grey, name, lossless=True)
    np.testing.assert_array_equal(read_image(path, 3), np.repeat(PIXELS[..., :1], 3, axis=2))


def test_other_ways_to_hold_colours(tmp_path):
    palette = Image.fromarray(PIXELS // 128 * 128).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(read_image(saved(tmp_path, palette), 3), PIXELS // 128 * 128)
    clear = Image.fromarray(np.dstack([PIXELS, np.zeros((4, 6), np.uint8)]))
    np.testing.assert_array_equal(read_image(saved(tmp_path, clear), 3), PIXELS)
    bits = Image.fromarray(PIXELS[..., 0] > 100)
    np.testing.assert_array_equal(read_image(saved(tmp_path, bits), 1)[..., 0], (PIXELS[..., 0] > 100) * 255)
    ink = Image.new("CMYK", (2, 2), (255, 0, 0, 0))
    assert read_image(saved(tmp_path, ink, "a.tif"), 3)[0, 0].tolist() == [0, 255, 255]


def test_a_picture_is_turned_upright(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter clockwise to see it
    path = saved(tmp_path, Image.fromarray(PIXELS), exif=turned)
    np.testing.assert_array_equal(read_image(path, 3), np.rot90(PIXELS, -1))


def test_more_than_8_bits_is_refused_never_cut(tmp_path):
    deep = "more than 8 bits"
    refused(saved(tmp_path, Image.fromarray(np.zeros((2, 2), np.uint16))), deep)
    refused(saved(tmp_path, Image.fromarray(np.zeros((2, 2), np.float32)), "f.tif"), deep)
    rgb = tmp_path / "rgb16.png"
    rgb.write_bytes(png(2, 2, 16, 2, bytes(2 * 13)))
    refused(rgb, deep)
    alpha = tmp_path / "grey_alpha16.png"
    alpha.write_bytes(png(2, 2, 16, 4, bytes(2 * 9)))
    refused(alpha, deep)
    ppm = tmp_path / "deep.ppm"
    ppm.write_bytes(b"P6 2 2 65535\n" + bytes(24))
    refused(ppm, deep)
    plain = tmp_path / "plain.ppm"
    plain.write_bytes(b"P3 1 1 1023\n 1000 0 3\n")
    refused(plain, deep)


@pytest.mark.parametrize("rows", [0, 1, 3.9])
def test_missing_rows_are_refused_never_black(tmp_path, rows):
    path = tmp_path / "cut.png"
    path.write_bytes(png(2, 4, 8, 2, bytes(int(rows * 7))))
    refused(path, "rows of pixels are missing")
    path.write_bytes(png(2, 4, 8, 2, bytes(4 * 7)))
    assert read_image(path, 3).shape == (4, 2, 3)


def test_fewer_than_8_bits_is_read(tmp_path):
    ppm = tmp_path / "few.ppm"
    ppm.write_bytes(b"P6 1 1 15\n" + bytes([15, 0, 5]))
    assert read_image(ppm, 3).tolist() == [[[255, 0, 85]]]
    header = (
        b"BM" + struct.pack("<IHHI", 54 + 4, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 0, 4, 0, 0, 0, 0)
    )
    bmp = tmp_path / "few.bmp"
    bmp.write_bytes(header + bytes([0xFF, 0x7F, 0, 0]))  # 5 bits a channel
    assert read_image(bmp, 3).tolist() == [[[255, 255, 255]]]


def test_several_frames_are_refused(tmp_path):
    frames = [Image.fromarray(PIXELS[..., i]) for i in range(3)]
    refused(saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:]), "3 frames")
    refused(saved(tmp_path, frames[0], "a.tif", save_all=True, append_images=frames[1:]), "3 frames")
    refused(saved(tmp_path, frames[0], "a.png", save_all=True, append_images=frames[1:]), "3 frames")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "not an image"),
        ("text.png", b"hello", "not an image"),
        ("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image"),
        ("program.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        ("nothing.png", png(0, 0, 8, 2, b""), "not an image"),
        ("rows.png", png(9, 9, 8, 2, bytes(10)), "cannot be read"),
        ("bomb.png", png(60000, 60000, 8, 2, bytes(10)), "more pixels"),
        ("large.png", png(13000, 13000, 8, 2, bytes(10)), "cannot be read"),
    ],
)
def test_what_is_no_image(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    refused(path, reason)


def test_a_missing_file_and_a_folder(tmp_path):
    refused(tmp_path / "no.png", "No such file")
    refused(tmp_path, "directory")


def test_an_image_has_no_more_elements_than_the_limit(tmp_path):
    path = saved(tmp_path, Image.fromarray(PIXELS))
    assert read_image(path, 3, max_elements=72).shape == (4, 6, 3)
    assert read_image(path, 1, max_elements=24).shape == (4, 6, 1)
    refused(path, "6 x 4 pixels, 72 elements, more than 71", max_elements=71)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_damaged_files_are_read_or_refused(tmp_path, kind):
    made, chance = io.BytesIO(), random.Random(kind)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(PIXELS).save(made, format=kind, exif=turned)
    whole, path = made.getvalue(), tmp_path / "damaged.png"
    for _ in range(150):
        data = bytearray(whole[: chance.randrange(len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(chance.randrange(6)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        reason = ""
        try:
            read_image(path, 3, max_elements=10_000)
        except FeedError as error:
            reason = str(error)
        assert "\n" not in reason


def test_numbers_and_pixels_undo_each_other():
    scale = Preprocessing((0.5, 0.25, 2.0), (10.0, 20.0, 30.0), bgr=True)
    numbers = scale.to_numbers(PIXELS)
    assert numbers.shape == (3, 4, 6)
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers[0], (PIXELS[..., 2] - 10.0) * 0.5)
    np.testing.assert_array_equal(numbers[2], (PIXELS[..., 0] - 30.0) * 2)
    np.testing.assert_array_equal(scale.to_pixels(numbers), PIXELS)


def test_pixels_are_clipped_and_not_rounded():
    tensor = np.array([-0.1, 0.5, 1.1], np.float32).reshape(1, 1, 3)
    assert UNIT.to_pixels(tensor).ravel().tolist() == [0.0, 127.5, 255.0]


@pytest.mark.parametrize("numbers", [0.0, float("nan"), float("inf"), 1e300, 1e-300])
def test_a_scale_must_be_of_use(numbers):
    with pytest.raises(OptionError, match=r"scale .* must be a finite number"):
        Preprocessing(scale=(1.0, numbers))


@pytest.mark.parametrize("number", [float("nan"), float("-inf"), 1e300])
def test_a_mean_must_be_of_use(number):
    with pytest.raises(OptionError, match=r"mean .* must be a finite number"):
        Preprocessing(mean=(number,))


def test_as_many_numbers_as_channels():
    with pytest.raises(OptionError, match=r"scale has 2 numbers, and the image 3 channel"):
        Preprocessing(scale=(1.0, 2.0)).to_numbers(PIXELS)
    with pytest.raises(OptionError, match=r"mean has 3 numbers, and the image 1 channel"):
        Preprocessing(mean=(1.0, 2.0, 3.0)).to_pixels(np.zeros((1, 2, 2)))
    assert Preprocessing(mean=(1.0, 2.0, 3.0)).fits(3)
    assert not Preprocessing(mean=(1.0, 2.0, 3.0)).fits(1)
    assert UNIT.fits(7)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((1, 3, 4, 5), (3, 4, 5)),
        ((1, 4, 5), (1, 4, 5)),
        ((3, 4, 5), (3, 4, 5)),
        ((2, 3, 4, 5), None),
        ((1, 2, 4, 5), None),
        ((1, 3, 0, 5), None),
        ((4, 5), None),
        ((1, 1, 3, 4, 5), None),
    ],
)
def test_which_tensors_are_images(shape, found):
    planes = planes_of(np.zeros(shape))
    assert (None if planes is None else planes.shape) == found


def test_elements_of_type_uint8_are_pixels():
    tensor = np.moveaxis(PIXELS, -1, 0)[None]
    np.testing.assert_array_equal(pixels_of(tensor, UNIT), PIXELS)
    np.testing.assert_array_equal(pixels_of(tensor, Preprocessing(bgr=True)), PIXELS[..., ::-1])
    assert pixels_of(tensor.astype(np.int64), UNIT) is None
    assert is_picture(tensor)
    assert not is_picture(tensor.astype(np.int64))
    assert not is_picture(tensor[0, 0])


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.tif", "a.tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read_again(tmp_path, name, channels):
    wanted = PIXELS[..., :channels]
    write_image(tmp_path / name, [wanted[:1] + 0.4, wanted[1:] + 0.4])
    np.testing.assert_array_equal(read_image(tmp_path / name, channels), wanted.clip(0, 255))
    assert os.listdir(tmp_path) == [name]


def test_psnr():
    a, b = np.zeros((2, 2, 1)), np.array([[[3.0], [0]], [[0], [4.0]]])
    assert psnr(a, b) == pytest.approx(10 * np.log10(255**2 / (25 / 4)))
    assert psnr(a, a) == float("inf")


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4"])
def test_compressed_tiffs_are_refused(tmp_path, compression, capfd):
    """Their decoder takes damage for pixels, and talks to standard error."""
    picture = Image.fromarray(PIXELS).convert("1" if compression == "group4" else "RGB")
    picture.save(tmp_path / "a.tif", compression=compression)
    refused(tmp_path / "a.tif", "compressed TIFF, which is not read; save it as PNG")
    picture.save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif", 3).shape == (4, 6, 3)
    assert capfd.readouterr() == ("", "")


def test_a_size_that_is_needed_is_checked_before_unpacking(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(PIXELS))
    assert read_image(path, 3, height=4, width=6).shape == (4, 6, 3)
    assert read_image(path, 3, height="H", width=None).shape == (4, 6, 3)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=turned)
    assert read_image(tmp_path / "turned.png", 3, height=6, width=4).shape == (6, 4, 3)
    monkeypatch.setattr("PIL.Image.Image.convert", None)
    refused(path, "is 6 x 4 pixels, and 4 x 6 are needed; give --convert size, with which", height=6, width=4)
    refused(path, "is 6 x 4 pixels, and ? x 5 are needed", height=5)
