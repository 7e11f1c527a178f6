"""`--operators`: a file that registers what the model needs, on every command."""

import json
import re

import numpy as np
import pytest
from networks import network, weights

from qengine import cli
from qengine.kernels.isa import VARIABLE

X = weights(1, 3, 6, 5, seed=1, scale=1.0)
HALVE = """
import qengine
@qengine.register_operator("Halve", domain="my.domain")
def halve(x):
    return x / 2
@halve.fixed_point
def _(x):
    return x.codes, x.fraction_bits + 1
"""
SQUARE = """
from __future__ import annotations
from dataclasses import dataclass
import qengine

@dataclass
class Options:
    power: int = 2

@qengine.register_operator("Square", domain="my.domain", fixed_point="table")
def square(x):
    return x ** Options().power
"""


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two models and what they need, in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "halve.py").write_text(HALVE)
    (tmp_path / "random.py").write_text(SQUARE)  # the name of a module that there is
    (tmp_path / "table.onnx").write_bytes(network([("my.domain.Square", "x", "y")]))
    both = [("Relu", "x", "r"), ("my.domain.Halve", "r", "h"), ("my.domain.Square", "h", "y")]
    (tmp_path / "both.onnx").write_bytes(network(both))
    np.save(tmp_path / "x.npy", X)
    return tmp_path


def answer(capsys, *words):
    status = cli.main(list(words))
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return printed.out


def refused(capsys, *words):
    assert cli.main(list(words)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


BOTH = ("both.onnx", "--operators", "halve.py", "--operators", "random.py")


def test_run(capsys, folder):
    for _ in range(2):  # a file that is run again replaces what it registered
        told = json.loads(
            answer(capsys, "run", *BOTH, "-i", "x=x.npy", "--qformat", "Q3.4", "--raw", "-o", "y.npz", "--json")
        )
    assert [(t["name"], t["kind"]) for t in told["tensors"]] == [
        ("x", "quantize"),
        ("r", "move"),
        ("h", "custom"),
        ("y", "table"),
    ]
    assert told["islands"] == []
    halves = np.rint(np.maximum(np.rint(X.astype(np.float64) * 16), 0) / 2)
    with np.load("y.npz") as codes:
        np.testing.assert_array_equal(codes["y"], np.rint(halves**2 / 16).astype(np.int8), strict=True)


def test_inspect(capsys, folder):
    out = answer(capsys, "inspect", *BOTH)
    assert re.search(r"my.domain.Halve +1 +integer", out)
    assert re.search(r"my.domain.Square +1 +integer", out)
    without = HALVE.partition("@halve")[0]
    (folder / "halve.py").write_text(without)
    assert re.search(r"my.domain.Halve +1 +island", answer(capsys, "inspect", *BOTH))


def test_bench(capsys, folder, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    words = ["--operators", "random.py", "--qformat", "Q3.4", "--seconds", "0.1"]
    found = json.loads(answer(capsys, "bench", "table.onnx", *words, "--json"))
    assert ("y", "Square", "table") in [(r["tensor"], r["operator"], r["kernel"].split()[0]) for r in found["kernels"]]
    error = refused(capsys, "bench", *BOTH)
    assert re.search(r"node 'the_h' \(my.domain.Halve\) runs by itself, and only a model of which one plan", error)
    assert "give a model with these options" in refused(capsys, "bench", "--operators", "random.py")


@pytest.mark.parametrize("command", ["run", "inspect", "bench"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import qengine\n1 / 0\n", "--operators own.py: line 2: ZeroDivisionError: division by zero"),
        ("def f(:\n", r"--operators own.py: SyntaxError: invalid syntax \(own.py, line 1\)"),
        ("import sys\nsys.exit()\n", "--operators own.py: line 2: SystemExit"),
        (
            "import qengine\n\nqengine.register_operator('A', domain='')\n",
            "--operators own.py: line 3: domain '' is ONNX's own",
        ),
    ],
)
def test_a_file_that_fails(capsys, folder, command, text, reason):
    (folder / "own.py").write_text(text)
    assert re.search(reason, refused(capsys, command, "table.onnx", "--operators", "own.py"))


@pytest.mark.parametrize(
    ("name", "reason"), [("none.py", "No such file"), ("x.npy", "SyntaxError"), (".", "is a directory")]
)
def test_what_is_no_file_of_operators(capsys, folder, name, reason):
    assert f"--operators {name}: {reason}" in refused(capsys, "run", "table.onnx", "--operators", name)


def test_an_exception_in_a_run_is_one_line(capsys, folder):
    (folder / "own.py").write_text(SQUARE.replace("x ** ", "x + None ** "))
    error = refused(capsys, "run", "table.onnx", "-i", "x=x.npy", "--operators", "own.py")
    assert re.search(r"node 'the_y' \(my.domain.Square\): its function raised TypeError: .* \(own.py:12\)$", error)


def test_without_the_file_the_error_says_to_give_one(capsys, folder):
    error = refused(capsys, "run", "table.onnx", "-i", "x=x.npy")
    assert '@qengine.register_operator("Square", domain="my.domain"), on the command line in a file for --op' in error
