"""`qengine init`: what it finds of models and data, which preprocessing it chooses, and the file that it writes."""

import json
import re
import tomllib

import numpy as np
import pytest
from networks import network
from PIL import Image

from qengine import cli
from qengine.cli.project.file import read_project


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def classifier(threshold, *, channels=1, side=8, batch="N"):
    """Return a model with two classes: whether the mean of the first channel is above a threshold."""
    weights = np.zeros((channels, 2), np.float32)
    weights[0, 1] = 40.0
    return network(
        [("GlobalAveragePool", "x", "m"), ("Flatten", "m", "f"), ("MatMul", "f w", "s"), ("Add", "s b", "y")],
        inputs={"x": [batch, channels, side, side]},
        constants={"w": weights, "b": np.float32([0, -40 * threshold])},
        values={"y": (np.dtype(np.float32), [batch, 2])},
    )


def bright(folder, values, *, channels=1, size=(8, 8)):
    """Write pictures of some values of the first channel."""
    folder.mkdir()
    for i, value in enumerate(values):
        pixels = np.full((*size, 3), 90, np.uint8)
        pixels[..., 0] = value
        picture = Image.fromarray(pixels) if channels == 3 else Image.fromarray(pixels[..., 0])
        picture.save(folder / f"{i:02}.png")


def shown(capsys, *words, status=0):
    assert cli.main(["init", *map(str, words)]) == status
    return capsys.readouterr()


def found(capsys, *words):
    capsys.readouterr()
    return json.loads(shown(capsys, *words, "--json").out)


# The mean of a picture is above 0.5 in one class, in the numbers of the preprocessing that is named.
@pytest.mark.parametrize(
    ("threshold", "channels", "dark", "light", "chosen"),
    [
        (0.5, 1, 100, 160, {"scale": "1/255"}),
        (125.0, 1, 100, 160, {}),
        (0.5, 1, 160, 220, {"mean": "0.5", "std": "0.5"}),
        (0.5, 1, 60, 85, {"mean": "0.1307", "std": "0.3081"}),
        (0.5, 3, 145, 158, {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}),
    ],
)
def test_with_labels_the_preprocessing_with_the_most_right_classes(
    folder, capsys, threshold, channels, dark, light, chosen
):
    (folder / "m.onnx").write_bytes(classifier(threshold, channels=channels))
    images = np.full((20, channels, 8, 8), 90, np.uint8)
    images[::2, 0], images[1::2, 0] = dark, light
    np.savez("d.npz", x=images, labels=np.arange(20) % 2)
    result = found(capsys, "m.onnx", "--data", "d.npz")
    assert result["preprocessing"] == chosen
    assert result["is_measured"]
    assert result["classes"] == 2
    assert [one["top1"] for one in result["tried"] if one["options"] == chosen] == [1.0]
    assert read_project("qengine.toml").get("data") == "d.npz"


def test_the_file_holds_what_was_chosen_and_the_next_commands_take_it(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(0.5))
    images = np.repeat(np.uint8([100, 160, 110, 150]), 64).reshape(4, 1, 8, 8)
    np.savez("d.npz", x=images, labels=[0, 1, 0, 1])
    printed = shown(capsys, "m.onnx", "--data", "d.npz", "--limit", 3, "--target", "cmsis-nn-s8").out
    assert "next: qengine calibrate" in printed
    table = tomllib.loads((folder / "qengine.toml").read_text())
    assert table == {
        **{"model": "m.onnx", "data": "d.npz", "target": "cmsis-nn-s8", "formats": "formats.json"},
        **{"output": "results", "limit": 3, "preprocessing": {"scale": "1/255"}},
    }
    assert cli.main(["calibrate"]) == 0
    assert "wrote formats.json" in capsys.readouterr().out
    for words in (["inspect"], ["export", "c"], ["targets", "check"], ["quantize"], ["run"]):
        assert cli.main(words) == 0, words
        assert "qengine.toml: model" in capsys.readouterr().err


def test_every_line_fits_80_columns(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(0.5, channels=3, side=32))
    bright(folder / "photos", range(0, 250, 20), channels=3, size=(40, 33))
    lines = shown(capsys, "m.onnx", "--data", "photos").out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    text = "\n".join(lines)
    assert "13 pictures, 33 x 40" in text
    assert "colour pictures, nchw" in text
    assert "--resize 32, --crop 32" in text
    assert "labels    none" in text


def test_without_labels_the_choice_is_a_guess(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(0.5))
    bright(folder / "photos", range(0, 250, 20))
    result = found(capsys, "m.onnx", "--data", "photos")
    words = {one["name"]: one["verdict"] for one in result["tried"]}
    assert words["pixels 0..255"] == "extreme scores"
    assert "guess" in words.values()
    assert not result["is_measured"]
    assert "is a guess: check how the model was trained" in (folder / "qengine.toml").read_text()


def test_a_detector_without_labels_gets_pixels_from_0_to_1(folder, capsys):
    """Nothing tells the preprocessing of numbers that are neither scores nor pictures: the usual one is a guess."""
    detector = network(
        [("Conv", "x w", "y")], inputs={"x": ["N", 3, 8, 8]}, constants={"w": np.ones((5, 3, 3, 3), "f")}
    )
    (folder / "m.onnx").write_bytes(detector)
    bright(folder / "photos", range(0, 250, 20), channels=3)
    result = found(capsys, "m.onnx", "--data", "photos")
    assert result["preprocessing"] == {"scale": "1/255"}
    assert any("'pixels / 255' is a guess: check how the model was trained" in note for note in result["notes"])


def test_what_is_typed_is_written(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(0.5))
    images = np.zeros((20, 1, 8, 8), np.uint8)
    images[::2], images[1::2] = 100, 160
    np.savez("d.npz", x=images, labels=np.arange(20) % 2)
    result = found(capsys, "m.onnx", "--data", "d.npz", "--mean", "0.5", "--std", "0.5", "--layout", "nchw")
    assert result["preprocessing"] == {"mean": "0.5", "std": "0.5", "layout": "nchw"}
    assert any("what was typed gives less than 'pixels / 255'" in note for note in result["notes"])
    assert tomllib.loads((folder / "qengine.toml").read_text())["preprocessing"] == {
        **{"mean": 0.5, "std": 0.5, "layout": "nchw"}
    }


def test_labels_that_no_preprocessing_finds(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(1e6))
    np.savez("d.npz", x=np.full((20, 1, 8, 8), 9, np.uint8), labels=np.arange(20) % 2)
    assert any("much more than chance" in note for note in found(capsys, "m.onnx", "--data", "d.npz")["notes"])


def test_pictures_to_pictures(capsys):
    result = found(capsys, "srcnn")
    assert (result["task"], result["preprocessing"], result["is_measured"]) == ("images", {"scale": "1/255"}, True)
    assert result["samples"] == 6


def test_pictures_without_targets_are_compared_with_the_input(folder, capsys):
    nodes = [("Clip", "x low high", "y")]
    constants = {"low": np.float32(0), "high": np.float32(1)}
    (folder / "m.onnx").write_bytes(network(nodes, inputs={"x": ["N", 3, "H", "W"]}, constants=constants))
    bright(folder / "photos", (0, 50, 100, 150), channels=3, size=(9, 12))
    result = found(capsys, "m.onnx", "--data", "photos")
    assert result["preprocessing"] == {"scale": "1/255"}
    assert result["picture_sizes"] == [[9, 12]]


def test_several_inputs_and_no_pictures(folder, capsys):
    model = network([("Mul", "a b", "p"), ("Add", "p c", "y")], inputs={"a": [1, 5, 2], "b": [1, 5, 2], "c": [2]})
    (folder / "m.onnx").write_bytes(model)
    np.savez("d.npz", a=np.ones((7, 5, 2), np.float32), b=np.full((7, 5, 2), -2, np.float32))
    result = found(capsys, "m.onnx", "--data", "d.npz", "-i", "c=1,2.5")
    assert result["task"] == "other"
    assert result["samples"] == 7
    assert result["preprocessing"] == {}
    table = tomllib.loads((folder / "qengine.toml").read_text())
    assert table["inputs"] == {"c": [1, 2.5]}
    capsys.readouterr()
    assert cli.main(["calibrate"]) == 0
    assert cli.main(["inspect"]) == 0


def test_a_folder_of_arrays(folder, capsys):
    (folder / "m.onnx").write_bytes(network([("Relu", "x", "y")], inputs={"x": ["N", 4]}))
    (folder / "arrays").mkdir()
    for i in range(3):
        np.save(folder / "arrays" / f"{i}.npy", np.float32([[i, -i, 0.5, 7]]))
    printed = shown(capsys, "m.onnx", "--data", "arrays").out
    assert "'x' from -2 to 7, fed unchanged" in printed


def test_without_data(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(0.5))
    printed = shown(capsys, "m.onnx").out
    assert "give the samples with --data, or write them into qengine.toml" in printed
    assert "next: qengine inspect" in printed
    assert tomllib.loads((folder / "qengine.toml").read_text()) == {
        **{"model": "m.onnx", "formats": "formats.json", "output": "results", "preprocessing": {}}
    }
    capsys.readouterr()
    assert cli.main(["inspect"]) == 0
    assert "GlobalAveragePool" in capsys.readouterr().out


def test_data_that_the_model_does_not_run_on(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(0.5))
    np.savez("d.npz", x=np.zeros((4, 1, 9, 9), np.uint8))
    result = found(capsys, "m.onnx", "--data", "d.npz")
    assert "[N, 1, 8, 8]" in result["problem"]
    assert result["next"] == "qengine inspect"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["m.onnx", "--data", "gone"], "there is no .*'gone'"),
        (["m.onnx", "--labels", "l.csv", "--no-data"], "--labels are those of samples: give --data"),
        (["gone.onnx"], "there is no file 'gone.onnx'"),
        (["m.onnx", "--target", "cmsis"], "cmsis"),
        (["m.onnx", "--scale", "x"], "--scale 'x' is not a number"),
        (["m.onnx", "-o", "no/such/q.toml"], "there is no folder no/such"),
        (["m.onnx", "-o", "m.onnx"], "m.onnx is there already"),
        (["m.onnx", "-o", "m.onnx", "--force"], "it is the model itself"),
    ],
)
def test_mistakes(folder, capsys, words, reason):
    (folder / "m.onnx").write_bytes(classifier(0.5))
    bright(folder / "photos", (1, 2))
    words = [*words, *([] if "--data" in words or "--no-data" in words else ["--data", "photos"])]
    words = [word for word in words if word != "--no-data"]
    printed = shown(capsys, *words, status=2)
    assert printed.out == ""
    assert re.search(reason, printed.err.splitlines()[-1])
    assert not (folder / "qengine.toml").exists()


def test_nothing_is_overwritten_unasked(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(0.5))
    (folder / "qengine.toml").write_text("# mine")
    assert "qengine.toml is there already" in shown(capsys, "m.onnx", status=2).err
    assert (folder / "qengine.toml").read_text() == "# mine"
    shown(capsys, "m.onnx", "--force")
    assert read_project("qengine.toml").get("model") == "m.onnx"


def test_a_file_elsewhere_has_paths_relative_to_it(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(0.5))
    (folder / "p").mkdir()
    result = found(capsys, "m.onnx", "-o", "p/a.toml")
    assert result["next"] == "qengine inspect --project p/a.toml"
    assert tomllib.loads((folder / "p" / "a.toml").read_text())["model"] == "../m.onnx"
    assert cli.main(["inspect", "--project", "p/a.toml"]) == 0


def test_labels_in_a_file_and_class_folders(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(0.5))
    bright(folder / "photos", (100, 160) * 6)
    (folder / "l.csv").write_text("".join(f"{i:02}.png,{i % 2}\n" for i in range(12)))
    result = found(capsys, "m.onnx", "--data", "photos", "--labels", "l.csv")
    assert (result["labels"], result["preprocessing"]) == (True, {"scale": "1/255"})
    assert read_project("qengine.toml").get("labels") == "l.csv"
    assert cli.main(["calibrate"]) == 0
    (folder / "classes").mkdir()
    for name, values in (("no", [100] * 6), ("yes", [160] * 6)):
        bright(folder / "classes" / name, values)
    result = found(capsys, "m.onnx", "--data", "classes", "--force")
    assert (result["labels"], result["preprocessing"]) == (True, {"scale": "1/255"})
    assert any("0 is 'no'" in note for note in result["notes"])


def test_samples_that_are_sorted_by_class(folder, capsys):
    (folder / "m.onnx").write_bytes(classifier(0.5))
    images = np.zeros((600, 1, 8, 8), np.uint8)
    images[:300], images[300:] = 100, 160
    np.savez("d.npz", x=images, labels=np.arange(600) // 300)
    (unit,) = (one for one in found(capsys, "m.onnx", "--data", "d.npz")["tried"] if one["name"] == "pixels / 255")
    assert unit["classes"] == 2
    assert unit["samples"] <= 256
