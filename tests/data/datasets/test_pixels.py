"""Whether data is made of pixels, to which preprocessing is applied."""

import numpy as np
import onnx
import pytest
from networks import network
from PIL import Image

from qengine.data.datasets import open_dataset
from qengine.data.preprocessing import Preprocessing
from qengine.model.loader import load

UNIT = Preprocessing.of(scale=1 / 255)
PICTURE = (1, 3, 4, 4)


def graph_of(dtype=np.float32):
    cast = ("Cast", "x", "y", {"to": onnx.TensorProto.FLOAT})
    return load(network([cast], inputs={"x": (dtype, list(PICTURE))}))


def zeros(dtype):
    return np.zeros((2, *PICTURE[1:]), dtype)


@pytest.mark.parametrize(
    ("arrays", "dtype", "expected"),
    [
        ({"x": zeros(np.uint8)}, np.float32, True),
        ({"x": zeros(np.uint8)}, np.uint8, False),
        ({"x": zeros(np.float32)}, np.float32, False),
        ({"x": zeros(np.float32), "y": zeros(np.uint8)}, np.float32, True),
        ({"x": zeros(np.float32), "labels": np.zeros(2, np.uint8)}, np.float32, False),
    ],
)
def test_arrays_are_pixels_where_they_are_uint8_for_real_numbers(arrays, dtype, expected, tmp_path):
    np.savez(tmp_path / "set.npz", **arrays)
    found = open_dataset(str(tmp_path / "set.npz"), graph_of(dtype), preprocessing=UNIT)
    assert (found.reads_pixels, found.preprocessing) == (expected, UNIT)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.png", True), ("a.npy", False), ("b.npy", True), ("test_data_set_0", False)]
)
def test_files_are_pixels_where_they_are_images_or_uint8(name, expected, tmp_path):
    if name.endswith(".png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    elif name.endswith(".npy"):
        np.save(tmp_path / name, np.zeros(PICTURE, np.uint8 if name == "b.npy" else np.float32))
    else:
        (tmp_path / name).mkdir()
        tensor = onnx.numpy_helper.from_array(np.zeros(PICTURE, np.float32), "x")
        (tmp_path / name / "input_0.pb").write_bytes(tensor.SerializeToString())
    found = open_dataset(str(tmp_path), graph_of(), preprocessing=UNIT)
    assert found.reads_pixels is expected
