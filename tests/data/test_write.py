import os
from pathlib import Path

import numpy as np
import pytest

from qengine.data.images import read_image
from qengine.data.preprocessing import Preprocessing
from qengine.data.write import check_out, write_outputs
from qengine.errors import OptionError

PICTURE = np.linspace(-0.2, 1.2, 60, dtype=np.float32).reshape(1, 3, 4, 5)
VECTOR = np.arange(4, dtype=np.float32)
UNIT = Preprocessing((1 / 255,))


def test_npy_holds_the_one_output(tmp_path):
    write_outputs(tmp_path / "a.npy", {"y": PICTURE}, UNIT)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), PICTURE, strict=True)


def test_npz_holds_outputs_of_any_name(tmp_path):
    outputs = {"file": VECTOR, "allow_pickle": PICTURE, "a/b:0": VECTOR.astype(np.int8), "[é] =": np.array(True)}
    write_outputs(tmp_path / "a.npz", outputs, UNIT)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert list(found) == list(outputs)
        for name, array in outputs.items():
            np.testing.assert_array_equal(found[name], array, strict=True)


def test_npz_is_the_same_file_every_time(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_outputs(tmp_path / name, {"y": VECTOR}, UNIT)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_an_image_is_clipped_and_rounded(tmp_path):
    write_outputs(tmp_path / "a.png", {"v": VECTOR, "y": PICTURE, "z": PICTURE * 0}, UNIT)
    wanted = np.rint(np.clip(PICTURE[0].astype(np.float64) * 255, 0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 3), np.moveaxis(wanted, 0, -1))


@pytest.mark.parametrize(
    ("name", "outputs", "reason"),
    [
        (
            "a.png",
            {"v": VECTOR, "n": PICTURE.astype(np.int64)},
            r"no output is one image.*'v' \[4\], 'n' \[1, 3, 4, 5\]",
        ),
        ("a.png", {"y": np.where(PICTURE > 1, np.nan, PICTURE)}, "'y' holds NaN"),
        ("a.npy", {"y": PICTURE, "z": PICTURE}, "there are 2 outputs; use .npz"),
        ("a.txt", {"y": PICTURE}, "must end in .npy, .npz or"),
        ("a", {"y": PICTURE}, "must end in .npy, .npz or"),
        (".npy", {"y": PICTURE}, "must end in .npy, .npz or"),
        ("a.jpg", {"y": PICTURE}, "would change the pixels; use .png"),
        ("a.gif", {"y": PICTURE}, "would change the pixels; use .png"),
        ("no/folder/a.png", {"y": PICTURE}, "there is no folder"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_left(tmp_path, name, outputs, reason):
    with pytest.raises(OptionError, match=f"cannot write .*{name}: .*{reason}"):
        write_outputs(tmp_path / name, outputs, UNIT)
    assert not os.listdir(tmp_path)


def test_a_scale_of_other_channels_is_refused(tmp_path):
    with pytest.raises(OptionError, match="scale has 3 numbers, and the image 1"):
        write_outputs(tmp_path / "a.png", {"y": PICTURE[:, :1]}, Preprocessing((1.0, 2.0, 3.0)))
    assert not os.listdir(tmp_path)


def test_codes_are_no_image(tmp_path):
    check_out(tmp_path / "a.npz", codes=True)
    with pytest.raises(OptionError, match="codes are not an image"):
        check_out(tmp_path / "a.png", codes=True)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.png"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written(tmp_path, monkeypatch, name, error):
    """Writing stops in the middle: the old file stays, and nothing beside it."""
    path = tmp_path / name
    path.write_bytes(b"old")

    def fail(file, *_, **__):
        if hasattr(file, "write"):
            file.write(b"half")
        else:
            Path(file).write_bytes(b"half")
        raise error

    monkeypatch.setattr(np, "save", fail)
    monkeypatch.setattr(np.lib.format, "write_array", fail)
    monkeypatch.setattr("PIL.Image.Image.save", lambda _, file, **__: Path(file).write_bytes(b"half") and fail(Sink()))
    wanted, reason = (OptionError, "No space left") if isinstance(error, OSError) else (KeyboardInterrupt, None)
    with pytest.raises(wanted, match=reason):
        write_outputs(path, {"y": PICTURE}, UNIT)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]


class Sink:
    def write(self, data):
        pass


@pytest.mark.parametrize("name", ["a\0b", "n" * 70_000])
def test_names_that_no_archive_holds(tmp_path, name):
    with pytest.raises(OptionError, match="cannot hold a tensor of the name"):
        write_outputs(tmp_path / "a.npz", {name: VECTOR}, UNIT)
    assert not os.listdir(tmp_path)
    write_outputs(tmp_path / "a.npy", {name: VECTOR}, UNIT)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), VECTOR)


def test_text_is_saved_as_text_of_numpy(tmp_path):
    outputs = {"label": np.array(["cat", "é"], object), "y": VECTOR}
    write_outputs(tmp_path / "a.npz", outputs, UNIT)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found["label"].tolist() == ["cat", "é"]
    write_outputs(tmp_path / "a.npy", {"label": outputs["label"]}, UNIT)
    assert np.load(tmp_path / "a.npy", allow_pickle=False).tolist() == ["cat", "é"]
    with pytest.raises(OptionError, match="ends with NUL"):  # which NumPy would drop
        write_outputs(tmp_path / "b.npy", {"label": np.array(["cat\0"], object)}, UNIT)
    assert not (tmp_path / "b.npy").exists()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(4, 5), (1, 4, 5)])
def test_an_image_with_its_channels_last(tmp_path, channels, shape):
    first = PICTURE[:, :channels]
    last = np.moveaxis(first, 1, -1).reshape(*shape, channels)
    write_outputs(tmp_path / "first.png", {"y": first}, UNIT)
    write_outputs(tmp_path / "last.png", {"y": last}, UNIT)
    assert (tmp_path / "last.png").read_bytes() == (tmp_path / "first.png").read_bytes()


def test_an_image_whose_channels_may_be_first_or_last_is_asked_about(tmp_path):
    square = PICTURE[:, :, :, :3]
    reason = r"cannot write .*a.png: output 'y': a picture in the shape \[1, 3, 4, 3\] .*--layout nchw"
    with pytest.raises(OptionError, match=reason):
        write_outputs(tmp_path / "a.png", {"y": square, "z": PICTURE}, UNIT)
    for layout, size in {"nchw": (4, 3), "nhwc": (3, 4)}.items():
        write_outputs(tmp_path / "a.png", {"y": square}, Preprocessing((1 / 255,), layout=layout))
        assert read_image(tmp_path / "a.png", 3).shape[:2] == size
