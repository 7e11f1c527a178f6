"""Data on the command line: labels, class folders, tables, and what is said of how they are read."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from networks import network
from PIL import Image

from qengine import cli, zoo

DIGITS = str(zoo.path_of("digits"))
WITH = ("--scale", "1/255", "--qformat", "Q4.3", "--json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    with np.load(zoo.find("digits").data) as held_out:
        images, labels = held_out["images"][:12], held_out["labels"][:12]
    (path / "flat").mkdir()
    rows = []
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        (path / "classes" / str(label)).mkdir(parents=True, exist_ok=True)
        for name in (path / "flat" / f"{i:02}.png", path / "classes" / str(label) / f"{i:02}.png"):
            Image.fromarray(image).save(name)
        rows.append({"bytes": (path / "flat" / f"{i:02}.png").read_bytes(), "path": None})
    (path / "labels.csv").write_text("file,label\n" + "".join(f"{i:02}.png,{n}\n" for i, n in enumerate(labels)))
    np.save(path / "x.npy", images)
    np.save(path / "labels.npy", labels)
    pq.write_table(pa.table({"image": rows, "label": labels}), path / "t.parquet")
    return path


def answer(capsys, *words, status=0):
    assert cli.main([str(word) for word in words]) == status
    return capsys.readouterr()


@pytest.mark.parametrize(
    ("data", "labels"),
    [("flat", "labels.csv"), ("flat", "labels.npy"), ("x.npy", "labels.npy"), ("classes", None), ("t.parquet", None)],
)
def test_run_on_data(folder, capsys, data, labels):
    beside = () if labels is None else ("--labels", folder / labels)
    printed = answer(capsys, "run", DIGITS, "--data", folder / data, *beside, *WITH)
    record = json.loads(printed.out)
    reference = json.loads(answer(capsys, "run", DIGITS, "--data", "digits", "--limit", 12, *WITH).out)
    assert record["metrics"] == reference["metrics"]
    assert any("top1" in str(one) for one in record["metrics"])
    assert ("classes: the numbers 0 to 9" in printed.err) == (data == "classes")
    assert ("columns: 'image' for input 'image', 'label' for labels" in printed.err) == (data == "t.parquet")


@pytest.mark.parametrize("data", ["flat", "x.npy", "t.parquet"])
def test_values_of_an_input_are_read_like_data(folder, capsys, data):
    record = json.loads(answer(capsys, "run", DIGITS, "-i", f"image={folder / data}", *WITH).out)
    assert record["preprocessing"] is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "flat", "--labels", "none.csv"), "there is no file of labels"),
        (("--data", "flat", "--labels", "column"), "nor a column: data flat has none"),
        (("--data", "x.npy", "--labels", "labels.csv"), "those of data x.npy have no names"),
    ],
)
def test_labels_that_do_not_fit(folder, capsys, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    printed = answer(capsys, "run", DIGITS, *words, *WITH, status=2)
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("command", ["calibrate", "run", "sweep", "search", "inspect", "quantize", "report"])
def test_every_command_on_data_takes_labels(capsys, command):
    assert "--labels" in answer(capsys, command, "--help").out


@pytest.mark.parametrize(
    "command",
    [
        ["run", "digits"],
        ["bench", "digits"],
        ["quantize", "m.onnx", "--qformat", "Q3.4", "-o", "q.onnx"],
        ["report", "m.onnx"],
        ["export", "vectors", "m.onnx", "--qformat", "Q3.4", "-i", "x=1,2", "-o", "pack"],
        ["export", "c", "m.onnx", "--qformat", "Q3.4", "-o", "net"],
        ["compare", "m.onnx", "dump.npz", "--qformat", "Q3.4"],
    ],
)
@pytest.mark.parametrize("words", [["--labels", "l.npy"], ["--limit", "3"], ["--batch", "3"]])
def test_what_says_how_samples_are_read_needs_samples(command, words, tmp_path, monkeypatch, capsys):
    if command[0] == "bench" and words[0] != "--batch":
        return
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(network([("Relu", "x", "y")], inputs={"x": [2]}))
    np.savez(tmp_path / "dump.npz", y=np.zeros(2, np.int8))
    assert cli.main([*command, *words]) == 2
    assert f"{words[0]} belongs to the samples of --data: give data, or leave it out" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "dump.npz"}
