"""A value of one input is what a data set of it would feed."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from networks import network
from PIL import Image

from qengine.data.datasets import open_dataset
from qengine.data.datasets.values import input_value
from qengine.data.preprocessing import Preprocessing
from qengine.errors import QEngineError
from qengine.memory import MAX_ELEMENTS
from qengine.model.loader import load

GRAPH = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3, 4, 5]}))
ROWS = load(network([("Add", "x b", "y")], inputs={"x": ["N", 3], "b": [3]}))
PIXELS = np.random.default_rng(1).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
SCALE = Preprocessing(scale=(0.5,), bgr=True)
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def value(data, graph, preprocessing=SCALE, max_elements=MAX_ELEMENTS):
    return input_value(str(data), graph.inputs[0], graph, preprocessing, max_elements)


@pytest.mark.parametrize("kind", ["npy", "npz", "folder", "class folders"])
def test_values_are_as_of_data(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "npy":
        np.save(path, PIXELS)
    elif kind == "npz":
        np.savez(path, x=PIXELS)
    for i, pixels in enumerate(PIXELS if "folder" in kind else ()):
        folder = path / str(i % 2) if kind == "class folders" else path
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (feeds,) = open_dataset(str(path), GRAPH, preprocessing=SCALE, batch=6)
    np.testing.assert_array_equal(value(path, GRAPH), feeds["x"])


def test_tables(tmp_path):
    pq.write_table(pa.table({"x": X.tolist()}), tmp_path / "t.parquet")
    np.testing.assert_array_equal(value(tmp_path / "t.parquet", ROWS), X)
    with pytest.raises(QEngineError, match=r"input 'x': there is no file .*z\.parquet"):
        value(tmp_path / "z.parquet", ROWS)
    with pytest.raises(QEngineError, match=r"more than 5 elements .*give it as --data"):
        value(tmp_path / "t.parquet", ROWS, max_elements=5)


def test_samples_of_several_shapes(tmp_path):
    graph = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3, "H", "W"]}))
    for i in (4, 5):
        Image.fromarray(np.zeros((i, 4, 3), np.uint8)).save(tmp_path / f"{i}.png")
    with pytest.raises(QEngineError, match="have several shapes: give it as --data"):
        value(tmp_path, graph)
    np.save(tmp_path / "x.npy", np.zeros((2, 1, 3, 4, 5), np.uint8))
    with pytest.raises(QEngineError, match="has 5 axes, and 4 are needed"):
        value(tmp_path / "x.npy", GRAPH)
