"""Labels beside the data reach their samples, whatever form they have, and every mismatch is one line."""

import numpy as np
import pandas
import pytest
import torch
from networks import network

from qengine.data.datasets import open_dataset
from qengine.errors import FeedError, OptionError, QEngineError
from qengine.model.loader import load

GRAPH = load(network([("Gemm", "x w", "y")], inputs={"x": ["N", 2]}, constants={"w": np.zeros((2, 4), np.float32)}))
WIDE = load(network([("Relu", "x", "y")], inputs={"x": ["N", 2, 1]}))
X = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    for i, name in enumerate(("a.npy", "b 1.npy", "c.npy")):
        np.save(tmp_path / "data" / name, X[i])
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("l.csv", "a.npy,2\nb 1.npy,0\nc.npy,1\n", [2, 0, 1]),
        ("l.csv", "file,label\nc.npy,1\na.npy,2\nb 1.npy,0\n", [2, 0, 1]),
        ("l.csv", "label,split,Image\n1,val,c\n2,val,a\n0,val,b 1\n", [2, 0, 1]),
        ("l.csv", "\ufefffile;label\r\nc.npy;1\r\na.npy;2\r\nb 1.npy;0\r\n", [2, 0, 1]),
        ("l.csv", "data/c.npy,1\ndata/a.npy,2\n/else/where/b 1.npy,0\n", [2, 0, 1]),
        ("l.csv", "2\n0\n1\n", [2, 0, 1]),
        ("l.csv", "category\n2\n0\n1\n", [2, 0, 1]),
        ("l.tsv", "c.npy\t1\na.npy\t2.0\nb 1.npy\t0\n", [2, 0, 1]),
        ("l.txt", "c.npy 1\na.npy 2\nb 1.npy 0\n", [2, 0, 1]),
        ("l.txt", "2\n\n0\n1", [2, 0, 1]),
        ("l.txt", "3\n3\n3", [3, 3, 3]),
    ],
)
def test_a_text_file(folder, name, text, labels):
    path = folder.parent / name
    path.write_bytes(text.encode())
    found = open_dataset(str(folder), GRAPH, labels=str(path))
    assert found.labels.tolist() == labels
    assert found.digest != open_dataset(str(folder), GRAPH).digest


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_an_array_file(folder, dtype, shape):
    array = np.array([2, 0, 1], dtype).reshape(shape)
    np.save(folder.parent / "l.npy", array)
    np.savez(folder.parent / "l.npz", labels=array, other=array)
    for name in ("l.npy", "l.npz"):
        assert open_dataset(str(folder), GRAPH, labels=folder.parent / name).labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        (2, 0, 1),
        np.array([2, 0, 1], np.uint8),
        torch.tensor([2, 0, 1]),
        pandas.Series([2, 0, 1], index=[5, 6, 7]),
        {"a.npy": 2, "b 1.npy": 0, "c.npy": 1},
        {"c": "1", "a": "2", "b 1": "0"},
        iter([2, 0, 1]),
    ],
    ids=lambda one: type(one).__name__,
)
def test_python_objects(folder, labels):
    assert open_dataset(str(folder), GRAPH, labels=labels).labels.tolist() == [2, 0, 1]


def test_names_of_classes(tmp_path):
    x = np.zeros((5, 2, 1), np.float32)
    found = open_dataset(x, WIDE, labels=["cat", "ant", "cat", "bee", "ant"])
    assert (found.labels.tolist(), found.classes) == ([2, 0, 2, 1, 0], ("ant", "bee", "cat"))
    with pytest.raises(FeedError, match="hold 2 names, and the model has 4 classes"):
        open_dataset(X, GRAPH, labels=["cat", "ant", "cat"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "a.npy,2\nb 1.npy,0\n", "have none for 'c.npy' of data"),
        ("l.csv", "a.npy,2\nb 1.npy,0\nc.npy,1\nd.npy,1\n", "name 'd.npy', which is not among the samples"),
        ("l.csv", "a.npy,2\nb 1.npy,0\nc.npy,1\na.npy,1\n", "give 'a.npy' two labels, 2 and 1"),
        (
            "l.csv",
            "a.npy,2\nb 1.npy,0\nc.npy,4\n",
            "reach to 4, .* counted from 0 to 3; where its outputs are features",
        ),
        ("l.csv", "1\n2\n4\n", "they seem to be counted from 1"),
        ("l.csv", "a.npy,2\nb 1.npy,0\nc.npy,-1\n", "hold -1, and classes are counted from 0"),
        ("l.csv", "a.npy,0,2\nb 1.npy,0,0\nc.npy,0,1\n", "3 columns and no header that tells which is which"),
        ("l.csv", "file,label\na.npy,2\nb 1.npy\nc.npy,1\n", "row 2 has 1 columns"),
        ("l.csv", "2\n0\n", r"are 2, and data .* has 3 samples"),
        ("l.csv", "", "is empty"),
        ("l.csv", 'a.npy,"2\n', "not a table"),
        ("l.csv", "x" * 70000, "line 1 has more than 65,536 characters"),
        ("l.txt", "\0\0", "holds a NUL"),
        ("l.xml", "2\n0\n1", r"neither a file that ends in \.csv"),
    ],
)
def test_text_that_does_not_fit(folder, name, text, message):
    path = folder.parent / name
    path.write_text(text)
    with pytest.raises(QEngineError, match=message) as raised:
        open_dataset(str(folder), GRAPH, labels=str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, np.nan, 1]), "hold nan at 1"),
        (np.array([0, 1e300, 1]), "hold 1e\\+300 at 1"),
        (np.array([0, 0.5, 1]), "hold 0.5 at 1"),
        (np.eye(3, 4), r"have the shape \[3, 4\].*argmax"),
        ([0, 1], "are 2, and data .* has 3 samples"),
        ([0, 1, 9], "reach to 9, and the model has 4 classes"),
        (7, "must be a file, an array, a list or a mapping"),
        ([0, [1], 2], "labels"),
        ({"a": 1}, "those of data arrays have no names"),
    ],
)
def test_objects_that_do_not_fit(labels, message):
    with pytest.raises(QEngineError, match=message):
        open_dataset(X, GRAPH, labels=labels)


def test_labels_twice(tmp_path):
    np.savez(tmp_path / "x.npz", x=X, labels=[0, 1, 2])
    data = str(tmp_path / "x.npz")
    assert open_dataset(data, GRAPH, labels=[0, 1, 2]).labels.tolist() == [0, 1, 2]
    with pytest.raises(FeedError, match=r"differ from the labels that data .* holds itself"):
        open_dataset(data, GRAPH, labels=[0, 1, 3])
    with pytest.raises(OptionError, match="labels are given twice"):
        open_dataset((X, [0, 1, 2]), GRAPH, labels=[0, 1, 2])


def test_labels_and_class_folders(tmp_path):
    for i, name in enumerate(("a/0.npy", "a/1.npy", "b/0.npy")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, X[i])
    found = open_dataset(str(tmp_path), GRAPH, labels=[3, 3, 1])
    assert (found.labels.tolist(), found.classes, found.notes) == ([3, 3, 1], (), ())
    with pytest.raises(FeedError, match=r"'a/0.npy' is 3, and 'a/1.npy' of the same folder is 2"):
        open_dataset(str(tmp_path), GRAPH, labels=[3, 2, 1])
    with pytest.raises(FeedError, match=r"'a/0.npy' and 'b/0.npy' are both 3, in two folders"):
        open_dataset(str(tmp_path), GRAPH, labels={"a/0.npy": 3, "a/1.npy": 3, "b/0.npy": 3})
