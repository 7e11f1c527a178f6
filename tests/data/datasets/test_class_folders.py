"""Class folders are numbered as torchvision numbers them, by their numbers or by a list; what is doubtful is told."""

import os
import re

import numpy as np
import pytest
from networks import network
from PIL import Image

from qengine.data.datasets import open_dataset
from qengine.errors import FeedError
from qengine.model.loader import load

GRAPH = load(network([("Relu", "x", "y")], inputs={"x": ["N", 3, 4, 5]}))


def classifier(classes):
    return load(
        network([("Gemm", "x w", "y")], inputs={"x": ["N", 2]}, constants={"w": np.zeros((2, classes), np.float32)})
    )


def files(folder, names):
    """Write one file for each name, whose content tells its place."""
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, np.float32([i, 2 * i]))
        elif path.suffix in (".png", ".jpg"):
            Image.fromarray(np.full((4, 5, 3), i, np.uint8)).save(path)
        else:
            path.write_text("no sample")
    return str(folder)


@pytest.mark.parametrize(
    ("names", "labels", "classes"),
    [
        (["cat/b.png", "cat/a.png", "dog/deep/er/c.png", "ant/d.png"], [0, 1, 1, 2], ("ant", "cat", "dog")),
        (["10/a.png", "9/a.png", "2/a.png"], [10, 2, 9], tuple(map(str, range(11)))),
        (
            ["b/a.png", "a/.hidden.png", "a/b.jpg", "a/Thumbs.db", "README.md", ".DS_Store", "c/x.txt"],
            [0, 1],
            ("a", "b"),
        ),
    ],
)
def test_classes(tmp_path, names, labels, classes):
    found = open_dataset(files(tmp_path, names), GRAPH)
    assert (found.labels.tolist(), found.classes) == (labels, classes)
    assert any(note.startswith("classes: ") for note in found.notes)
    assert len(list(found)) == len(labels)


def test_the_order_is_that_of_torchvision(tmp_path):
    names = [f"{name}/{i}.png" for name in ("Cat", "ant", "bee", "_x") for i in (10, 2)]
    found = open_dataset(files(tmp_path, names), GRAPH)
    entries = sorted(os.listdir(tmp_path))
    samples = [(i, name) for i, one in enumerate(entries) for name in sorted(os.listdir(tmp_path / one))]
    assert found.labels.tolist() == [i for i, _ in samples]
    assert list(found.classes) == entries


@pytest.mark.parametrize(
    ("classes", "names", "listing", "labels", "note"),
    [
        (2, ["cat/a.npy", "ant/b.npy"], None, [0, 1], "classes: 2 folders in the order of their names, 0 is 'ant'"),
        (
            3,
            ["cat/a.npy", "ant/b.npy"],
            None,
            None,
            "no labels: .* 2 class folders .*the model 3 classes; .*--labels.* features and no scores, go by SQNR",
        ),
        (11, ["10/a.npy", "9/b.npy"], None, [10, 9], "numbers 9 to 10 .*, and not the order of their texts"),
        (
            10,
            ["10/a.npy", "1/b.npy"],
            None,
            None,
            r"no labels: .* reach to 10.* 0 to 9 .*counted from 1",
        ),
        (3, ["cat/a.npy", "ant/b.npy"], "dog\ncat\nant pheidole\n", [2, 1], "classes: 3, as .*classes.txt lists them"),
    ],
)
def test_classes_of_the_model(tmp_path, classes, names, listing, labels, note):
    if listing is not None:
        (tmp_path / "classes.txt").write_text(listing)
    found = open_dataset(files(tmp_path, names), classifier(classes))
    assert (None if found.labels is None else found.labels.tolist()) == labels
    assert any(re.search(note, one) for one in found.notes)


@pytest.mark.parametrize(
    ("names", "listing", "message"),
    [
        (["train/cat/a.png", "val/cat/a.png"], None, r"holds train, val: give one of them, such as .*val"),
        (["a/x.txt", "b/README"], None, "the 2 folders in .* hold no images"),
        (["a/x.png", "b/y.npy"], None, r"both images and \.npy files"),
        (["1/x.png", "01/y.png"], None, "two class folders .* same number"),
        (["a/x.png"], "b\nc\n", "does not name the class of folder 'a'; it has 'b', 'c'"),
        (["a/x.png"], "a\nb\na\n", "names 'a' twice"),
    ],
)
def test_what_is_refused(tmp_path, names, listing, message):
    if listing is not None:
        (tmp_path / "classes.txt").write_text(listing)
    with pytest.raises(FeedError, match=message):
        open_dataset(files(tmp_path, names), GRAPH)


def test_a_broken_file_is_named(tmp_path):
    found_in = files(tmp_path, [f"a/{i}.png" for i in range(4)])
    (tmp_path / "a" / "2.png").write_bytes((tmp_path / "a" / "2.png").read_bytes()[:40])
    with pytest.raises(FeedError, match=r"2\.png"):
        list(open_dataset(found_in, GRAPH))


def test_a_link_to_a_folder_around_it_ends(tmp_path):
    found_in = files(tmp_path, ["a/x.png", "b/y.png"])
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a", target_is_directory=True)
    assert open_dataset(found_in, GRAPH).labels.tolist() == [0, 1]


def test_the_digest_knows_classes(tmp_path):
    files(tmp_path / "one", ["a/x.png", "b/y.png"])
    files(tmp_path / "two", ["a/x.png", "a/y.png"])
    digests = {open_dataset(str(tmp_path / name), GRAPH).digest for name in ("one", "two")}
    assert len(digests) == 2


def test_pairs_of_inputs_and_targets(tmp_path):
    files(tmp_path, ["LR/a.png", "LR/b.png", "HR/b.png", "HR/a.png"])
    batches = list(open_dataset(str(tmp_path), GRAPH).batches())
    assert [(b.feeds["x"].max(), b.targets["y"].max()) for b in batches] == [(0, 3), (1, 2)]
    (tmp_path / "HR" / "c.png").write_bytes((tmp_path / "HR" / "a.png").read_bytes())
    with pytest.raises(FeedError, match=r"c\.png is the true output of no file"):
        open_dataset(str(tmp_path), GRAPH)
    (tmp_path / "LR" / "d.png").write_bytes((tmp_path / "HR" / "a.png").read_bytes())
    with pytest.raises(FeedError, match=r"d\.png has no true output of that name"):
        open_dataset(str(tmp_path), GRAPH)


def test_pairs_whose_inputs_name_the_factor(tmp_path):
    files(tmp_path, ["lr/01x4.png", "lr/012x4.png", "hr/01.png", "hr/012.png"])
    batches = list(open_dataset(str(tmp_path), GRAPH).batches())
    assert [(b.feeds["x"].max(), b.targets["y"].max()) for b in batches] == [(1, 3), (0, 2)]


@pytest.mark.parametrize(
    ("limit", "taken"),
    [
        (1, ["a/0"]),
        (3, ["a/0", "b/0", "c/0"]),
        (5, ["a/0", "a/1", "b/0", "b/1", "c/0"]),
        (8, ["a/0", "a/1", "a/2", "a/3", "b/0", "b/1", "c/0", "c/1"]),
        (99, ["a/0", "a/1", "a/2", "a/3", "a/4", "b/0", "b/1", "c/0", "c/1"]),
    ],
)
def test_a_limit_takes_as_many_of_each_class(tmp_path, limit, taken):
    counts = {"a": 5, "b": 2, "c": 2}
    names = [f"{name}/{i}.png" for name, count in counts.items() for i in range(count)]
    folder = files(tmp_path, names)
    whole = open_dataset(folder, GRAPH)
    for found in (open_dataset(folder, GRAPH, limit=limit), open_dataset(whole, GRAPH, limit=limit)):
        assert [key.removesuffix(".png") for key in found.keys] == taken
        assert found.labels.tolist() == ["abc".index(key[0]) for key in taken]
        assert len(found) == len(list(found)) == len(taken)
