import io
import random
import struct
import zipfile

import numpy as np
import pytest
from data.reading import pictured, read, refused, saved
from onnx import numpy_helper

from qengine.errors import FeedError

ARRAY = np.float32([[1, -2, 3], [4.5, 5, -6]])


FLOAT = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}"


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
            archive.writestr(f"{name}.npy", array if isinstance(array, bytes) else npy(array))
    return made.getvalue()


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


def test_a_header_is_not_quoted_at_length(tmp_path):
    with pytest.raises(FeedError, match=r"\.npy is not an array file: .{0,205}$"):
        read(saved(tmp_path, headed(FLOAT % f"(1{'0' * 5000},)")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not an array file"),
        (b"hello, world", "is not an array file"),
        (npy(ARRAY)[:20], "is not an array file"),
        (npy(ARRAY)[:-1], "is cut short: [2, 3] of float32 takes 24 bytes, and 23 are there"),
        (npy(ARRAY) + b"\0", "has something after the array: [2, 3] of float32 takes 24 bytes, and 25 are there"),
        (headed(FLOAT % "(1000000000,)", bytes(4)), "takes 4,000,000,000 bytes, and 4 are there"),
        (headed(FLOAT % "(-1, -6)", bytes(24)), "its header gives the shape (-1, -6)"),
        (headed(FLOAT % "(True, 6)", bytes(24)), "its header gives the shape (True, 6)"),
        (headed(FLOAT % "(2.0, 3)", bytes(24)), "is not an array file"),
        (headed(FLOAT % str((1,) * 65), bytes(4)), "too large, of 65 axes"),
        (headed(FLOAT % f"(0, {2**70})"), "too large, of 2 axes"),
        (headed(FLOAT % ("(" * 9000 + ")" * 9000)), "is not an array file"),
        (headed("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n"), "pickled Python objects"),
        (headed("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}"), "pickled Python objects"),
        (npy(np.zeros(2, np.complex64)), "holds complex64; numbers are needed"),
        (npy(np.zeros(2, "M8[s]")), "holds datetime64[s]; numbers are needed"),
        (npy(np.array(["a"])), "holds <U1; numbers are needed"),
        (npy(np.zeros(2, [("a", "f4")])), "numbers are needed"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_that_are_none(tmp_path, content, reason, suffix):
    refused(saved(tmp_path, content if suffix == ".npy" else npz({"x": content}), suffix), reason)


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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged: File is not a zip file"),
        (npy(ARRAY), "damaged: File is not a zip file"),
        (WHOLE[:-30], "damaged: File is not a zip file"),
        (flagged(WHOLE, 6, 1), "is encrypted, password required"),
        (flagged(WHOLE, 8, 77), "damaged: That compression method is not supported"),
        (WHOLE.replace(ARRAY.tobytes(), (-ARRAY).tobytes()), "is not an array file: Bad CRC-32"),
    ],
)
def test_archives_that_are_damaged(tmp_path, content, reason):
    refused(saved(tmp_path, content, ".npz"), reason)


@pytest.mark.parametrize("kind", ["npy", zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_arrays_are_read_or_refused(tmp_path, kind):
    whole, suffix = (npy(ARRAY), ".npy") if kind == "npy" else (npz({"x": ARRAY}, kind), ".npz")
    chance = random.Random(str(kind))
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        reason = ""
        try:
            read(saved(tmp_path, data, suffix), max_elements=10_000)
        except FeedError as error:
            reason = str(error)
        assert "\n" not in reason


# --- the rest: tensors, images, literals


def test_a_tensor_file(tmp_path):
    path = saved(tmp_path, numpy_helper.from_array(ARRAY).SerializeToString(), ".pb")
    np.testing.assert_array_equal(read(path), ARRAY, strict=True)
    refused(saved(tmp_path, b"hello", ".pb"), "is not a TensorProto")


@pytest.mark.parametrize(
    ("text", "dtype", "shape", "wanted"),
    [
        ("1,1,3,3", np.float32, (4,), [1, 1, 3, 3]),
        (" 1e-3 , -inf,NaN, +7", np.float32, (None,), [1e-3, -np.inf, np.nan, 7]),
        ("1,2,3,4,5,6", np.float64, (2, 3), [[1, 2, 3], [4, 5, 6]]),
        ("1,2,3,4,5,6", np.float16, ("N", 3), [[1, 2, 3], [4, 5, 6]]),
        ("1,2,3,4,5,6", np.int8, (1, 3, None, 1), [[[[1], [2]], [[3], [4]], [[5], [6]]]]),
        ("7", np.int64, (), 7),
        ("7", np.int64, (1, 1), [[7]]),
        ("7", np.int64, None, [7]),
        ("0.5", None, None, [0.5]),
        ("True,false,1,0", bool, (4,), [True, False, True, False]),
        ("-128,127", np.int8, (2,), [-128, 127]),
        (f"{2**64 - 1}", np.uint64, (), 2**64 - 1),
        ("65504", np.float16, (), 65504),
        # What does not fit the shape is for the session to refuse.
        ("1,2,3", np.float32, (2, 2), [1, 2, 3]),
        ("1,2,3", np.float32, (2, None), [1, 2, 3]),
        ("1,2", np.float32, ("N", "M"), [1, 2]),
        ("1,2", np.float32, (0, "M"), [1, 2]),
        ("1,2", np.float32, (), [1, 2]),
    ],
)
def test_literals(text, dtype, shape, wanted):
    np.testing.assert_array_equal(read(text, dtype, shape), np.array(wanted, dtype or np.float32), strict=True)


@pytest.mark.parametrize(
    ("dtype", "texts"),
    [
        (np.float32, ["", "a", "1,,2", "1;2", "1 2", "x.txt", "1/255", "0x10", "[1]", "1_0"]),
        (np.int64, ["1.0", "1e3", "nan", "", "1_000"]),
        (np.uint8, ["true"]),
    ],
)
def test_texts_that_are_no_numbers(dtype, texts):
    for text in texts:
        refused(text, f"'{text}' is neither a .npy, .npz, .pb, .wav or image file nor {np.dtype(dtype)} numbers", dtype)


@pytest.mark.parametrize("text", ["2", "yes", "", "1.0"])
def test_texts_that_are_no_truth_values(text):
    refused(
        text, f"'{text}' is neither a .npy, .npz, .pb, .wav or image file nor truth values such as true,false", bool
    )


@pytest.mark.parametrize(
    ("dtype", "texts"),
    [
        (np.float32, ["1e39", "-1e400"]),
        (np.float16, ["65520", "1e5"]),
        (np.int64, [f"{2**63}", "9" * 500]),
        (np.uint8, ["256", "-1"]),
    ],
)
def test_numbers_beyond_the_type(dtype, texts):
    for text in texts:
        refused(f"1,{text},2", f"'{text}' is beyond the numbers of {np.dtype(dtype)}", dtype)


@pytest.mark.parametrize("suffix", [".npy", ".NPZ", ".pb", ".png"])
def test_files_that_are_not_there(tmp_path, suffix):
    refused(tmp_path / f"no{suffix}", f"there is no file {tmp_path}")
    refused("n" * 5000 + suffix, "there is no file")
    refused("a\0b" + suffix, "there is no file")
    (tmp_path / f"folder{suffix}").mkdir()
    refused(tmp_path / f"folder{suffix}", "is a directory")


def test_no_more_elements_than_the_limit(tmp_path):
    for path in (saved(tmp_path, npy(ARRAY)), saved(tmp_path, npz({"x": ARRAY}), ".npz")):
        assert read(path, max_elements=6).size == 6
        refused(path, "has 6 elements, more than 5 (--max-elements)", max_elements=5)
    assert read(pictured(tmp_path), max_elements=72).size == 72
    refused(pictured(tmp_path), "72 elements, more than 71", max_elements=71)


def test_errors_call_it_what_the_caller_does():
    with pytest.raises(FeedError, match=r"^--expected: 'a' is neither"):
        read("a", label="--expected")


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_header_that_is_too_long_is_not_read(tmp_path, version):
    length = 0xFFFF if version == (1, 0) else 1 << 31
    head = b"\x93NUMPY" + bytes(version) + length.to_bytes(2 if version == (1, 0) else 4, "little") + b" " * 99
    refused(saved(tmp_path, head), "is not an array file")
    archive = npz({"x": head + b" " * (1 << 20)}, zipfile.ZIP_DEFLATED)
    refused(saved(tmp_path, archive, ".npz"), "is not an array file")
