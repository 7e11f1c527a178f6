"""ImageDecoder: pixels, and streams that are damaged or too large."""

import io
import struct
import zlib

import numpy as np
import pytest
from model.eager.nodes import run
from PIL import Image

from qengine import QEngineError
from qengine.model import pictures

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
PICTURE = Image.fromarray(PIXELS)


def stream(image, name, **options):
    """Return an encoded image as a vector of bytes."""
    file = io.BytesIO()
    image.save(file, format=name, **options)
    return np.frombuffer(file.getvalue(), np.uint8)


def decoded(data, pixel_format="RGB"):
    return run("ImageDecoder", [data], pixel_format=pixel_format)[0]


@pytest.mark.parametrize("name", ["PNG", "BMP", "PPM", "TIFF", "JPEG2000"])
def test_lossless_formats(name):
    np.testing.assert_array_equal(decoded(stream(PICTURE, name)), PIXELS, strict=True)
    np.testing.assert_array_equal(decoded(stream(PICTURE, name), "BGR"), PIXELS[..., ::-1], strict=True)
    grey = np.asarray(PICTURE.convert("L"))
    np.testing.assert_array_equal(decoded(stream(PICTURE, name), "Grayscale"), grey[..., None], strict=True)


@pytest.mark.parametrize("name", ["JPEG", "WEBP"])
def test_lossy_formats(name):
    smooth = Image.fromarray(np.full((16, 16, 3), [200, 100, 50], np.uint8))
    assert abs(decoded(stream(smooth, name)).astype(int) - [200, 100, 50]).max() < 8


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_every_mode_has_the_channels_that_were_asked_for(mode):
    data = stream(PICTURE.convert(mode), "PNG")
    np.testing.assert_array_equal(decoded(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), strict=True)
    assert decoded(data, "Grayscale").shape == (9, 11, 1)


def png(width, height, depth=8, rows=0):
    """Return a PNG file with the size of a large image, and the data of a few rows."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(bytes(int(rows * (1 + 3 * width * depth // 8))))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in parts]
    return np.frombuffer(b"\x89PNG\r\n\x1a\n" + b"".join(chunks), np.uint8)


@pytest.mark.parametrize("size", [(12_000, 8_000), (13_000, 13_000), (60_000, 60_000)])
def test_bombs_are_refused_before_they_are_unpacked(size, monkeypatch):
    monkeypatch.setattr(Image.Image, "convert", None)  # no pixel is read
    with pytest.raises(QEngineError, match=r"has .* more than 89,478,485|more than 89,478,485 pixels"):
        decoded(png(*size))


DAMAGED = {
    "cut short": stream(PICTURE, "PNG")[:200],
    "cut short JPEG": stream(PICTURE, "JPEG")[:400],
    "rows are missing": png(10, 10, rows=3),
    "the last row is cut": png(10, 10, rows=9.97),
    "nothing": np.zeros(0, np.uint8),
    "noise": np.random.default_rng(1).integers(0, 256, 500).astype(np.uint8),
    "program": np.frombuffer(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", np.uint8),
    "16 bits": png(4, 4, depth=16, rows=4),
    "frames": stream(PICTURE, "TIFF", save_all=True, append_images=[PICTURE]),
    "compressed TIFF": stream(PICTURE, "TIFF", compression="tiff_lzw"),
    "matrix": stream(PICTURE, "PNG")[None],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_cannot_be_decoded_is_an_error(name, capfd):
    with pytest.raises(QEngineError) as caught:
        decoded(DAMAGED[name])
    assert "\n" not in str(caught.value)
    assert not capfd.readouterr().err


def test_pixel_formats():
    with pytest.raises(QEngineError, match="pixel_format is 'YUV'"):
        decoded(stream(PICTURE, "PNG"), "YUV")


def test_no_file_is_opened(monkeypatch):
    monkeypatch.setattr("builtins.open", None)
    np.testing.assert_array_equal(pictures.decode(stream(PICTURE, "PNG").tobytes(), "RGB"), PIXELS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (9, 11), (17, 2)])
def test_the_data_of_all_rows_is_there(size, mode):
    """Whole files of any mode pass the check of their rows."""
    picture = PICTURE.resize(size).convert(mode)
    assert decoded(stream(picture, "PNG")).shape == (*size[::-1], 3)


def test_interlaced_pictures():
    """Seven passes of some rows each; the sums are those of the specification of PNG."""
    assert [pictures._png_bytes(struct.pack(">IIBBBBB", n, n, 8, 0, 0, 0, 1)) for n in (1, 2, 8)] == [2, 7, 79]
