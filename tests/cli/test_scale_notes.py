"""Pictures on a scale that is plainly not the network's: every command that runs on them says so, once."""

import json

import numpy as np
import pytest
from networks import network, weights
from PIL import Image

from qengine import InferenceSession, cli
from qengine.kernels.isa import available

TOLD = "deviations from the training of its BatchNormalization"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nodes = [
        ("BatchNormalization", "x scale shift mean variance", "n"),
        ("Relu", "n", "r"),
        ("GlobalAveragePool", "r", "p"),
        ("Flatten", "p", "f"),
        ("Gemm", "f w", "y"),
    ]
    constants = {
        "scale": np.ones(3, np.float32),
        "shift": np.zeros(3, np.float32),
        "mean": np.full(3, 0.45, np.float32),
        "variance": np.full(3, 0.06, np.float32),
        "w": weights(3, 4),
    }
    model = network(nodes, inputs={"x": ["N", 3, 8, 8]}, constants=constants)
    (tmp_path / "m.onnx").write_bytes(model)
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 8, 8, 3), np.uint8)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{i}.png")
    session = InferenceSession(model, qformat="Q10.5")
    feeds = {"x": pictures[:1].transpose(0, 3, 1, 2).astype(np.float32)}
    np.savez(tmp_path / "dump.npz", **dict(zip(["y"], session.run(["y"], feeds, raw=True), strict=True)))


@pytest.mark.parametrize(
    "line",
    [
        "run m.onnx -i x=photos/0.png --qformat Q10.5",
        "run m.onnx --data photos --qformat Q10.5",
        "inspect m.onnx --data photos --qformat Q10.5",
        "calibrate m.onnx --data photos",
        "quantize m.onnx --data photos -o q.onnx",
        "search m.onnx --data photos --max-runs 1 --metric sqnr --min 1 --bits 16",
        "sweep m.onnx --data photos --bits 8 --no-plots -o results",
        "bench m.onnx -i x=photos/0.png --qformat Q10.5 --seconds 0.1 --threads 1 --isa ISA",
        "compare m.onnx dump.npz -i x=photos/0.png --qformat Q10.5",
        "export vectors m.onnx --data photos --limit 1 --qformat Q10.5 --edges 0 --no-operator-vectors -o pack",
        "export c m.onnx -i x=photos/0.png --qformat Q10.5 -o net",
    ],
)
def test_every_command_says_it_once(capsys, line):
    line = line.replace("ISA", available()[0].name)
    assert cli.main(line.split()) == 0
    assert " ".join(capsys.readouterr().out.split()).count(TOLD) == 1
    other = line.replace("-o ", "-o second_") if "results" not in line else line.replace("results", "r2")
    assert cli.main([*other.split(), "--json"]) == 0
    assert str(json.loads(capsys.readouterr().out)["notes"]).count(TOLD) == 1
    if not line.startswith("compare"):
        third = line.replace("-o ", "-o third_")
        assert cli.main([*third.split(), "--scale", "1/255"]) == 0
        assert TOLD not in " ".join(capsys.readouterr().out.split())
