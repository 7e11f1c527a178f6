"""The warning about a classifier that is as often right as a guess."""

import numpy as np
import pytest
from networks import network
from PIL import Image

from qengine import cli
from qengine.analysis.evaluation import evaluate

CLASSES = 4


@pytest.fixture
def data(tmp_path):
    """Make an image of one channel of four, and folders that say which, or another."""

    def made(shift):
        for k in range(CLASSES):
            folder = tmp_path / "data" / "abcd"[(k + shift) % CLASSES]
            folder.mkdir(parents=True)
            for i in range(4):
                pixels = np.zeros((4, 4), np.uint8)
                pixels[k] = 200 + i
                Image.fromarray(pixels).save(folder / f"{i}.png")
        (tmp_path / "m.onnx").write_bytes(
            network(
                [("ReduceMean", "x", "r", {"axes": [3], "keepdims": 0}), ("Flatten", "r", "y")],
                inputs={"x": ["N", 1, 4, 4]},
                values={"y": (np.float32, ["N", CLASSES])},
            )
        )
        return str(tmp_path / "m.onnx"), str(tmp_path / "data")

    return made


@pytest.mark.parametrize(("shift", "is_noted"), [(0, False), (1, True)])
def test_only_a_wrong_classifier_is_noted(data, shift, is_noted):
    found = evaluate(*data(shift))
    assert found.samples == 16
    assert [note for note in found.notes if "float32 itself is right for 0.0% of the samples" in note] == (
        [found.notes[-1]] if is_noted else []
    )


def test_the_command_that_helps_can_be_pasted(data, capsys):
    model, folder = data(1)
    assert cli.main(["run", model, "--data", folder]) == 0
    line = " ".join(capsys.readouterr().out.split())
    assert f"'qengine init {model} --data {folder}' tries the usual ones" in line
