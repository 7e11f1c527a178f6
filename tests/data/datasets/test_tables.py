"""Tables give their rows as samples: images, numbers and labels; and damaged ones are one line."""

import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from networks import network
from PIL import Image

from qengine.data.datasets import open_dataset
from qengine.data.preprocessing import Preprocessing
from qengine.errors import QEngineError
from qengine.model.loader import load

RNG = np.random.default_rng(3)
PICTURES = RNG.integers(0, 256, (5, 4, 5, 3), dtype=np.uint8)
IMAGES = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3, 4, 5]}))
ROWS = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3]}))
TWO = load(network([("Add", "a b", "y")], inputs={"a": ["N", 3], "b": ["N", 3]}))
WHOLE = load(network([("Identity", "x", "y")], inputs={"x": (np.int8, ["N", 3])}))
X = RNG.normal(size=(5, 3)).astype(np.float32)
Y = [2, 0, 1, 1, 0]


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def features(**columns):
    return {b"huggingface": json.dumps({"info": {"features": columns}}).encode()}


CLASSES = {"_type": "ClassLabel", "names": ["ant", "bee", "cat"]}
PIXELS = pa.list_(pa.list_(pa.list_(pa.uint8())))
STRUCTS = [{"bytes": png(one), "path": f"{i}.png"} for i, one in enumerate(PICTURES)]


def parquet(folder, table, name="t.parquet"):
    pq.write_table(table, folder / name, row_group_size=2)
    return str(folder / name)


def stacked(dataset, name="x"):
    return np.concatenate([feeds[name] for feeds in dataset])


@pytest.mark.parametrize("cells", ["structs", "bytes"])
def test_images(tmp_path, cells):
    column = STRUCTS if cells == "structs" else [one["bytes"] for one in STRUCTS]
    table = pa.table({"img": column, "label": Y, "id": list("abcde")})
    table = table.replace_schema_metadata(features(img={"_type": "Image"}, label=CLASSES))
    scale = Preprocessing(scale=(1 / 255,))
    found = open_dataset(parquet(tmp_path, table), IMAGES, preprocessing=scale, batch=2)
    np.testing.assert_allclose(stacked(found), PICTURES.transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    assert (found.labels.tolist(), found.classes, found.reads_pixels) == (Y, ("ant", "bee", "cat"), True)
    assert found.notes == ("columns: 'img' for input 'x', 'label' for labels, left out 'id'",)
    assert stacked(found).shape == (5, 3, 4, 5)  # it can be read again


@pytest.mark.parametrize(
    ("columns", "graph", "wanted"),
    [
        ({"x": X.tolist()}, ROWS, X),
        ({"features": pa.array(X.astype(np.float64).tolist()), "label": Y}, ROWS, X),
        ({"x": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 3)}, ROWS, X),
        ({"p": X[:, 0], "q": X[:, 1], "label": Y, "r": X[:, 2]}, ROWS, X),
        ({"x": [[[[float(v)] for v in row]] for row in X]}, ROWS, X),
        ({"any": PICTURES.transpose(0, 3, 1, 2).tolist()}, IMAGES, PICTURES.transpose(0, 3, 1, 2)),
        (
            {"x": pa.array(PICTURES.tolist(), pa.list_(pa.list_(pa.list_(pa.uint8()))))},
            IMAGES,
            PICTURES.transpose(0, 3, 1, 2),
        ),
        ({"x": [[1, 2, 3]] * 5}, WHOLE, np.int8([[1, 2, 3]] * 5)),
    ],
)
def test_numbers(tmp_path, columns, graph, wanted):
    found = open_dataset(parquet(tmp_path, pa.table(columns)), graph)
    got = stacked(found)
    np.testing.assert_array_equal(got, wanted.astype(got.dtype))
    assert got.dtype == graph.inputs[0].dtype
    assert (found.labels is None) == ("label" not in columns)


def test_several_inputs_and_a_target(tmp_path):
    table = pa.table({"b": X.tolist(), "y": (X + 1).tolist(), "a": X[::-1].tolist()})
    (batch,) = open_dataset(parquet(tmp_path, table), TWO, batch=5).batches()
    np.testing.assert_array_equal(batch.feeds["a"], X[::-1])
    np.testing.assert_array_equal(batch.feeds["b"], X)
    np.testing.assert_array_equal(batch.targets["y"], X + 1)


def test_parts_and_data_sets_of_hugging_face(tmp_path):
    table = pa.table({"x": X.tolist(), "label": Y}).replace_schema_metadata(features(label=CLASSES))
    parts, saved = tmp_path / "parts", tmp_path / "saved"
    for folder in (parts, saved):
        folder.mkdir()
    parquet(parts, table.slice(0, 3), "train-00000-of-00002.parquet")
    parquet(parts, table.slice(3), "train-00001-of-00002.parquet")
    written = saved / "data-00000-of-00001.arrow"
    with pa.OSFile(str(written), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table, 2)
    (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": written.name}]}))
    (saved / "dataset_info.json").write_text("{}")
    with pa.OSFile(str(tmp_path / "one.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table, 2)
    for data in (parts, saved, tmp_path / "one.arrow"):
        found = open_dataset(data, ROWS, batch=4)
        np.testing.assert_array_equal(stacked(found), X)
        assert (found.labels.tolist(), found.classes) == (Y, ("ant", "bee", "cat"))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "saved"]}')
    with pytest.raises(QEngineError, match=r"holds train, saved: give one of them, such as .*saved"):
        open_dataset(tmp_path, ROWS)
    (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../one.arrow"}]}))
    with pytest.raises(QEngineError, match=r"names one\.arrow, and there is no such file"):
        open_dataset(saved, ROWS)


def test_columns_of_labels(tmp_path):
    table = pa.table({"x": X.tolist(), "fine": Y, "coarse": [0, 1, 0, 1, 0], "name": list("bcaab")})
    table = table.replace_schema_metadata(features(fine=CLASSES, coarse=CLASSES))
    path = parquet(tmp_path, table)
    found = open_dataset(path, ROWS)
    assert found.labels is None
    assert "'fine', 'coarse' may be labels: say which with --labels COLUMN" in found.notes[0]
    assert open_dataset(path, ROWS, labels="coarse").labels.tolist() == [0, 1, 0, 1, 0]
    assert open_dataset(path, ROWS, labels="name").labels.tolist() == [1, 2, 0, 0, 1]
    assert open_dataset(path, ROWS, labels=[0, 0, 0, 1, 1]).labels.tolist() == [0, 0, 0, 1, 1]
    with pytest.raises(QEngineError, match="has no column 'coarser' of labels; did you mean 'coarse'"):
        open_dataset(path, ROWS, labels="coarser")
    with pytest.raises(QEngineError, match=r"'x' of .* holds no labels"):
        open_dataset(path, ROWS, labels="x")
    with pytest.raises(QEngineError, match=r"labels 'coarse' are neither a file .*, nor a column"):
        open_dataset(X, ROWS, labels="coarse")


def test_names_that_are_not_the_classes_of_the_model(tmp_path):
    weights, y = {"w": np.ones((3, 4), np.float32)}, {"y": (np.float32, ["N", 4])}
    scores = load(network([("MatMul", "x w", "y")], inputs={"x": ["N", 3]}, constants=weights, values=y))
    path = parquet(tmp_path, pa.table({"x": X.tolist(), "label": list("bcaab")}))
    found = open_dataset(path, scores)
    assert found.labels is None
    assert "no labels: column 'label'" in found.notes[1]
    assert "holds 3 names ('a', 'b', 'c'), and the model has 4 classes" in found.notes[1]
    with pytest.raises(QEngineError, match="holds 3 names"):
        open_dataset(path, scores, labels="label")
    given = open_dataset(path, scores, labels=[0, 3, 1, 1, 0])
    assert (given.labels.tolist(), len(given.notes)) == ([0, 3, 1, 1, 0], 1)
    assert "3 names in alphabetical order, 0 is 'a'" in open_dataset(path, ROWS).notes[1]


@pytest.mark.parametrize(
    ("columns", "graph", "message"),
    [
        ({"a": [1, 2]}, TWO, "has no column for input 'a'|column for input 'b'"),
        ({"p": ["a"], "q": ["b"]}, ROWS, "has no column for input 'x'; it has 'p', 'q'"),
        ({"x": [[1.0, 2.0, 3.0], None]}, ROWS, "row 1 of .*, column 'x' is empty"),
        ({"x": [[1.0, None, 3.0]]}, ROWS, "row 0 of .*, column 'x' holds an empty number"),
        ({"x": [[[1.0], [2.0, 3.0]]]}, ROWS, "holds lists of different lengths"),
        ({"x": [[1.0, 2.0, 300.0]]}, WHOLE, "holds 300.0, and input 'x' takes int8"),
        ({"x": [[1.0, 2.5, 3.0]]}, WHOLE, "holds 2.5, and input 'x' takes int8"),
        ({"x": [{"bytes": b"no image", "path": "a"}]}, IMAGES, "row 0 of .*, column 'x' is not an image"),
        ({"x": [{"bytes": None, "path": "a"}]}, IMAGES, "row 0 of .* holds no bytes"),
        ({"x": [[1.0, 2.0, 3.0]] * 2, "label": [1, None]}, ROWS, "column 'label' has no label in row 1"),
        ({"x": [[1.0, 2.0, 3.0]] * 2, "label": [1.0, 0.5]}, ROWS, "column 'label' of .* hold 0.5 at 1"),
        ({"x": [[1.0, 2.0, 3.0]] * 2, "label": [1.0, np.nan]}, ROWS, "column 'label' of .* hold nan at 1"),
        ({"x": [[1.0, 2.0, 3.0]], "label": pa.array([1 << 63], pa.uint64())}, ROWS, "hold 92233720368"),
        ({"x": [[1.0, 1e300, 3.0]]}, ROWS, r"column 'x' holds 1e\+300, and input 'x' takes float32"),
        ({"x": pa.array([], pa.list_(pa.float32()))}, ROWS, "holds no samples"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, columns, graph, message):
    path = parquet(tmp_path, pa.table(columns))
    with pytest.raises(QEngineError, match=message) as raised:
        list(open_dataset(path, graph))
    assert "\n" not in str(raised.value)


_READ_BROKEN = """
import sys, pathlib
from contextlib import suppress
from qengine.data.datasets import open_dataset
from qengine.errors import QEngineError
from qengine.model.loader import load
path, model = map(pathlib.Path, sys.argv[1:])
graph, whole = load(model.read_bytes()), path.read_bytes()
for i in range(90):
    broken = bytearray(whole)
    if i % 3:
        place = i * len(whole) // 90
        broken[place] ^= 1 << i % 8 if i % 2 else 0xFF
    else:
        del broken[i * len(whole) // 90 :]
    path.write_bytes(broken)
    with suppress(QEngineError):
        list(open_dataset(path, graph))
"""


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_damage_ends_in_an_error_or_in_samples(tmp_path, suffix):
    table = pa.table({"x": X.tolist(), "label": list("bcaab")})
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        parquet(tmp_path, table)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
            out.write_table(table)
    (tmp_path / "m.onnx").write_bytes(network([("Relu", "x", "y")], inputs={"x": ["N", 3]}))
    command = [sys.executable, "-c", _READ_BROKEN, str(path), str(tmp_path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(QEngineError, match=r"needs pyarrow to be read: pip install 'qengine\[parquet\]'"):
        open_dataset(tmp_path / "t.parquet", ROWS)
