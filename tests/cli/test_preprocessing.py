"""Preprocessing on the command line: what is printed, recorded, taken and refused by the commands that follow."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import network
from PIL import Image

from qengine import cli

MODEL = network(
    [("Conv", "x w", "c"), ("Relu", "c", "r"), ("GlobalAveragePool", "r", "p"), ("Flatten", "p", "y")],
    inputs={"x": ["N", 3, 16, 16]},
    constants={"w": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32) / 4},
)
SCALED = "preprocessing of 'x': pixel / 255"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    rng = np.random.default_rng(1)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    Image.fromarray(rng.integers(0, 256, (20, 40, 3), dtype=np.uint8)).save(tmp_path / "wide.png")
    np.savez(tmp_path / "real.npz", x=rng.normal(size=(3, 3, 16, 16)).astype(np.float32))
    (tmp_path / "m.onnx").write_bytes(MODEL if isinstance(MODEL, bytes) else MODEL.SerializeToString())
    return tmp_path


def ran(capsys, line):
    status = cli.main(line.split())
    out, err = capsys.readouterr()
    assert status == 0, err
    return out


def refused(capsys, line):
    assert cli.main(line.split()) == 2
    return capsys.readouterr().err.replace("qengine: error: ", "").strip()


@pytest.fixture
def formats(capsys):
    ran(capsys, "calibrate m.onnx --data photos --std 1 -o f.json")


@pytest.mark.parametrize(
    "line",
    [
        "run m.onnx -i x=photos/0.png --formats f.json",
        "run m.onnx --data photos --formats f.json",
        "inspect m.onnx --data photos --formats f.json",
        "sweep m.onnx --data photos --formats f.json --bits 8 -o results",
        "quantize m.onnx --data photos --formats f.json --recipe none -o q.onnx",
        "export vectors m.onnx --data photos --limit 1 --formats f.json --edges 0 --no-operator-vectors -o pack",
        "export c m.onnx --data photos --formats f.json --shape x=1,3,16,16 -o net",
    ],
)
def test_what_is_recorded_is_used_printed_and_protected(capsys, formats, line):
    out = ran(capsys, line)
    assert out.count(f"{SCALED} (from f.json)\n") == 1
    again = f"{line} --mean 0.5 --std 0.5".replace("results", "r2")
    reason = (
        "with --mean, --std numbers are (pixel - 127.5) / 127.5, and f.json was made with pixel / 255: leave --mean,"
    )
    assert refused(capsys, again).startswith(reason)
    found = json.loads(ran(capsys, f"{line} --scale 1/255 --json"))
    assert found["preprocessing"] == {"scale": [1 / 255]}


def test_what_the_project_gives_is_named_by_its_table(capsys, formats):
    Path("qengine.toml").write_text('model = "m.onnx"\n[preprocessing]\nmean = 0.5\nstd = 0.5\n')
    line = "run m.onnx --data photos --formats f.json"
    said = refused(capsys, line).splitlines()[-1]
    assert said.startswith("with [preprocessing] of qengine.toml numbers are (pixel - 127.5) / 127.5, and f.json was ")
    assert said.endswith(": leave [preprocessing] of qengine.toml out, or calibrate again with it")
    assert "with --std numbers are" in refused(capsys, f"{line} --std 2 --no-project")


@pytest.mark.parametrize(
    "line",
    [
        "calibrate m.onnx --data real.npz",
        "run m.onnx --data real.npz --qformat Q4.3",
        "search m.onnx --data real.npz --metric sqnr --min 10 --bits 8",
    ],
)
def test_nothing_is_said_where_no_pixels_are_read(capsys, line):
    assert "preprocessing" not in ran(capsys, line)
    assert json.loads(ran(capsys, f"{line} --json"))["preprocessing"] is None
    note = "note: --mean, --std are for pixels, and not applied to arrays of real numbers"
    assert note in ran(capsys, f"{line} --mean 0.5 --std 0.5")


def test_a_record_does_not_bind_real_numbers(capsys, formats):
    ran(capsys, "run m.onnx --data real.npz --formats f.json --scale 1")


def test_a_quantized_model_says_it(capsys, folder):
    ran(capsys, "quantize m.onnx --data photos --std 1 -o q.onnx")
    (record,) = [one for one in onnx.load(folder / "q.onnx").metadata_props if one.key == "qengine"]
    assert json.loads(record.value)["preprocessing"] == {"scale": [1 / 255]}
    assert f"{SCALED} (from q.onnx)" in ran(capsys, "run q.onnx -i x=photos/0.png")
    assert "q.onnx was made with pixel / 255" in refused(capsys, "run q.onnx -i x=photos/0.png --scale 1")


def test_a_search_records_it(capsys, folder):
    ran(capsys, "search m.onnx --data photos --std 1 --metric sqnr --min 20 --bits 8 -o s.json")
    assert json.loads((folder / "s.json").read_text())["qengine"]["preprocessing"] == {"scale": [1 / 255]}


def test_rows_of_a_sweep_record_it(capsys, folder):
    ran(capsys, "sweep m.onnx --data photos --std 1 --bits 8 -o results")
    header, first, *_ = (folder / "results" / "results.csv").read_text().splitlines()
    assert "preprocessing" in header.split(",")
    assert '{""scale"": [0.00392156862745098]}' in first


def test_a_picture_of_another_size_may_be_resized(capsys, formats):
    line = "run m.onnx -i x=wide.png --formats f.json"
    assert "give --convert size" in refused(capsys, line)
    assert "a crop of 24 x 24 is larger" in refused(capsys, f"{line} --crop 24")
    out = ran(capsys, f"{line} --resize 18 --crop 16")
    assert "preprocessing of 'x': shorter side 18, middle 16 x 16, pixel / 255\n" in out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--mean 0.485,0.456", "mean has 2 numbers, and the image 3 channels: give one number, or one per channel"),
        ("--std 0", "std 0 must be positive"),
        ("--std 0.2,0,0.2", "must be positive"),
        ("--mean 123 --std 0.2", "are on different scales"),
        ("--mean 0.5 --std 58", "are on different scales"),
        ("--scale 1/255 --std 0.5", "--scale and --std both say"),
        ("--scale 0", "other than 0"),
        ("--resize 0", "resize"),
        ("--resize x", "is not a length"),
        ("--crop 1,2,3", "is not a length"),
    ],
)
def test_mistakes(capsys, options, reason):
    found = refused(capsys, f"calibrate m.onnx --data photos {options}")
    assert reason in found
    assert "\n" not in found


def test_three_means_for_a_grey_picture(capsys, folder):
    model = network([("Relu", "x", "y")], inputs={"x": ["N", 1, 16, 16]})
    (folder / "grey.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    found = refused(capsys, "run grey.onnx -i x=photos/0.png --mean 0.4,0.5,0.6")
    assert "mean has 3 numbers, and the image 1 channel: give one number" in found


def test_means_are_in_the_order_of_the_model(capsys, folder):
    Image.new("RGB", (16, 16), (200, 100, 50)).save(folder / "flat.png")
    model = network([("Identity", "x", "y")], inputs={"x": ["N", 16, 16, 3]})
    (folder / "same.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    ran(capsys, "run same.onnx -i x=flat.png --mean 50,90,170 --std 1 --bgr -o y.npy")
    assert np.load(folder / "y.npy")[0, 0, 0].tolist() == [0, 10, 30]


def test_a_forgotten_scale_is_told(capsys):
    for line in ("run digits --scale 1 --qformat Q4.3", "calibrate digits --scale 1 --limit 20"):
        out = ran(capsys, line)
        assert "from the training of its BatchNormalization" in out
        assert "try --scale 1/255" in out
        assert any("BatchNormalization" in note for note in json.loads(ran(capsys, f"{line} --json"))["notes"])
