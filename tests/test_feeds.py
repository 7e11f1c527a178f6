import io
import random
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from qengine.errors import FeedError
from qengine.feeds import read_value
from qengine.graph import Value
from qengine.images import PixelScale

ARRAY = np.float32([[1, -2, 3], [4.5, 5, -6]])
PIXELS = np.random.default_rng(2).integers(0, 256, (4, 6, 3), dtype=np.uint8)
FLOAT = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}"
NAMES = {".npy": "file.npy", ".npz": "file.npz"}


def read(text, dtype=np.float32, shape=None, scale=PixelScale(), **options):  # noqa: B008
    declared = Value("x", None if dtype is None else np.dtype(dtype), shape)
    return read_value(str(text), declared, scale, **options)


def refused(text, reason, *given, **options):
    with pytest.raises(FeedError) as caught:
        read(text, *given, **options)
    message = str(caught.value)
    assert message.startswith("input 'x': ")
    assert reason in message
    assert "\n" not in message


def npy(array, version=None):
    made = io.BytesIO()
    np.lib.format.write_array(made, array, version)
    return made.getvalue()


def headed(header, data=b"", version=(1, 0)):
    """A .npy file with a header of any text."""
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(text)) + text + data


def npz(arrays, compression=zipfile.ZIP_STORED):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", npy(array))
    return made.getvalue()


def saved(tmp_path, content, suffix=".npy"):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    return path


def pictured(tmp_path, pixels=PIXELS):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


# --- .npy


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i8", "?"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_npy_in_every_order_of_bytes_and_axes(tmp_path, dtype, order, layout):
    wanted = np.arange(24).reshape(2, 3, 4).astype(np.dtype(dtype))
    stored = np.asarray(wanted.astype(wanted.dtype.newbyteorder(order)), order=layout)
    found = read(saved(tmp_path, npy(stored)))
    np.testing.assert_array_equal(found, wanted, strict=True)
    assert found.dtype.isnative
    found[...] = 0  # the caller's own


@pytest.mark.parametrize("array", [np.float32(7), np.zeros((0, 3), np.float32), np.zeros((2, 0), bool)])
def test_npy_without_axes_or_elements(tmp_path, array):
    np.testing.assert_array_equal(read(saved(tmp_path, npy(array))), array, strict=True)


def test_other_bytes_than_0_and_1_are_true(tmp_path):
    content = headed("{'descr': '|b1', 'fortran_order': False, 'shape': (4,)}", bytes([0, 1, 2, 255]))
    found = read(saved(tmp_path, content))
    assert found.view(np.uint8).tolist() == [0, 1, 1, 1]
    assert found.dtype == bool


def test_versions_of_npy(tmp_path):
    for version in ((1, 0), (2, 0)):
        np.testing.assert_array_equal(read(saved(tmp_path, npy(ARRAY, version))), ARRAY, strict=True)
    for version in ((3, 0), (9, 9)):
        refused(saved(tmp_path, headed(FLOAT % "(1,)", bytes(4), version)), f"of .npy version {version}")


def test_a_header_of_python_2(tmp_path):
    found = read(saved(tmp_path, headed(FLOAT % "(2L,)", ARRAY[0, :2].tobytes())))
    np.testing.assert_array_equal(found, ARRAY[0, :2], strict=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not an array file"),
        (b"hello, world", "is not an array file"),
        (npy(ARRAY)[:20], "is not an array file"),
        (npy(ARRAY)[:-1], "is cut short: [2, 3] of float32 takes 24 bytes, and 23 are there"),
        (npy(ARRAY) + b"\0", "has something after the array: [2, 3] of float32 takes 24 bytes, and 25 are there"),
        (headed(FLOAT % "(2, 3)", bytes(20)), "is cut short"),
        (headed(FLOAT % "(10**9,)"), "is not an array file"),
        (headed(FLOAT % "(1000000000,)", bytes(4)), "takes 4,000,000,000 bytes, and 4 are there"),
        (headed(FLOAT % "(-1, -6)", bytes(24)), "its header gives the shape (-1, -6)"),
        (headed(FLOAT % "(True, 6)", bytes(24)), "its header gives the shape (True, 6)"),
        (headed(FLOAT % "(2.0, 3)", bytes(24)), "is not an array file"),
        (headed(FLOAT % str((1,) * 65), bytes(4)), "too large, of 65 axes"),
        (headed(FLOAT % f"(0, {2**70})"), "too large, of 2 axes"),
        (headed(FLOAT % ("(" * 9000 + ")" * 9000)), "is not an array file"),
        (headed(FLOAT % "(1,"), "is not an array file"),
        (headed("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n"), "pickled Python objects"),
        (headed("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}"), "pickled Python objects"),
        (npy(np.zeros(2, np.complex64)), "holds complex64; numbers are needed"),
        (npy(np.zeros(2, "M8[s]")), "holds datetime64[s]; numbers are needed"),
        (npy(np.array(["a"])), "holds <U1; numbers are needed"),
        (npy(np.zeros(2, [("a", "f4")])), "numbers are needed"),
    ],
)
@pytest.mark.parametrize("suffix", NAMES)
def test_arrays_that_are_none(tmp_path, content, reason, suffix):
    packed = content
    if suffix == ".npz":
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr("x.npy", content)
        packed = made.getvalue()
    refused(saved(tmp_path, packed, suffix), reason)


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    made = io.BytesIO()
    np.save(made, np.array([Trap()], object), allow_pickle=True)
    refused(saved(tmp_path, made.getvalue()), "never loaded")
    assert not (tmp_path / "sprung").exists()


# --- .npz


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize(
    "arrays",
    [
        {"x": ARRAY, "in:x": ARRAY + 1, "y": ARRAY + 2},
        {"out:x": ARRAY + 1, "in:x": ARRAY},
        {"anything": ARRAY},
    ],
)
def test_npz_by_name_or_the_only_one(tmp_path, arrays, compression):
    found = read(saved(tmp_path, npz(arrays, compression), ".npz"))
    np.testing.assert_array_equal(found, ARRAY, strict=True)


def test_npz_in_which_none_fits(tmp_path):
    path = saved(tmp_path, npz({"a": ARRAY, "b": ARRAY}), ".npz")
    refused(path, f"{path} has no array 'x'; it holds 'a', 'b'")
    refused(saved(tmp_path, npz({}), ".npz"), "it holds nothing")


def flagged(content, offset, value):
    """A zip with two bytes of the header of its one file changed, in both places where it stands."""
    changed = bytearray(content)
    for magic, skip in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        struct.pack_into("<H", changed, content.index(magic) + skip + offset, value)
    return bytes(changed)


WHOLE = npz({"x": ARRAY})
CRC = bytearray(WHOLE)
CRC[WHOLE.index(ARRAY.tobytes())] ^= 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a zip file"),
        (b"hello", "not a zip file"),
        (WHOLE[:-30], "not a zip file"),
        (flagged(WHOLE, 6, 1), "encrypted"),
        (flagged(WHOLE, 8, 77), "compression method is not supported"),
        (bytes(CRC), "CRC"),
    ],
)
def test_archives_that_are_damaged(tmp_path, content, reason):
    refused(saved(tmp_path, content, ".npz"), f"is not an .npz file, or damaged: {reason}"[-len(reason) :])


@pytest.mark.parametrize("kind", ["npy", zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_files_are_read_or_refused(tmp_path, kind):
    whole, suffix = (npy(ARRAY), ".npy") if kind == "npy" else (npz({"x": ARRAY, "y": ARRAY}, kind), ".npz")
    chance = random.Random(str(kind))
    for _ in range(200):
        data = bytearray(whole[: chance.randrange(len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(chance.randrange(6)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(128)
        reason = ""
        try:
            read(saved(tmp_path, data, suffix), max_elements=10_000)
        except FeedError as error:
            reason = str(error)
        assert "\n" not in reason
