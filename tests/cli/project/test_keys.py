"""The table of keys and what is written from it agree."""

import re
import tomllib
from pathlib import Path

import pytest

from qengine.cli.project.file import read_project
from qengine.cli.project.keys import KEYS
from qengine.cli.project.template import template

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "project-file.md"


def test_a_file_with_every_key_of_the_template_is_valid(tmp_path):
    """The examples in the comments are what the keys allow."""
    text = template({"model": "m.onnx", "formats": "f.json", "output": "o"}, {}, ["a remark"])
    lines = [re.sub(r"^# (?=[a-z_]+ = )", "", line) for line in text.splitlines()]
    kept = [line for line in lines if not line.startswith(("std", 'bits = "'))]  # std and scale exclude each other
    path = tmp_path / "qengine.toml"
    path.write_text("\n".join(kept))
    found = read_project(str(path))
    assert {key.path for key in KEYS} - set(found.values) == {("preprocessing", "std")}


@pytest.mark.parametrize(
    ("values", "preprocessing", "expected"),
    [
        ({"model": "a.onnx"}, {}, {"model": "a.onnx"}),
        ({"model": 'a"\\\n.onnx'}, {}, {"model": 'a"\\\n.onnx'}),
        (
            {"model": "a", "inputs": {"a.b": "1,2.5", "c": "x.npy", "d": "1/3"}},
            {},
            {"inputs": {"a.b": [1, 2.5], "c": "x.npy", "d": "1/3"}},
        ),
        (
            {"model": "a", "limit": 5},
            {"mean": "0.5,0.25,-1e-3"},
            {"limit": 5, "preprocessing": {"mean": [0.5, 0.25, -1e-3]}},
        ),
        (
            {"model": "1,2"},
            {"scale": "1/255", "bgr": True},
            {"model": "1,2", "preprocessing": {"scale": "1/255", "bgr": True}},
        ),
        ({"model": "a"}, {"resize": "256", "crop": "224,320"}, {"preprocessing": {"resize": 256, "crop": [224, 320]}}),
        ({"model": "a"}, {"convert": "grey,size"}, {"preprocessing": {"convert": "grey,size"}}),
    ],
)
def test_values_are_written_as_somebody_would(values, preprocessing, expected):
    table = tomllib.loads(template(values, preprocessing, []))
    assert {name: table[name] for name in expected} == expected


def test_paths_become_relative_to_the_folder_of_the_file():
    table = tomllib.loads(template({"model": "m.onnx", "data": "digits", "labels": "/l.csv"}, {}, [], folder="p"))
    assert (table["model"], table["data"], table["labels"]) == ("../m.onnx", "digits", "/l.csv")


def test_the_page_names_keys_that_there_are():
    known = {key.name for key in KEYS}
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    table = tomllib.loads(blocks[0])
    assert {*table, *table["preprocessing"]} - {"preprocessing"} <= known
