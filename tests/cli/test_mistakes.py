"""Wrong command lines, in mistakes.txt, each with the one line that it is answered with.

A person who is wrong is told what was found and what is meant, on one line, with status 2; nothing is printed on
standard output, and nothing is written.
"""

import shlex
import shutil
from pathlib import Path

import pytest

from qengine import cli, zoo

_LINES = (Path(__file__).parent / "mistakes.txt").read_text(encoding="utf-8").splitlines()
MISTAKES = [(line, answer.strip()) for line, answer in zip(_LINES[::2], _LINES[1::2], strict=True)]
"""The lines of the file: what is typed after `qengine`, and below it a part of the answer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mistakes")
    (path / "models").mkdir()
    (path / "folder").mkdir()
    for name in ("digits net.onnx", "net.onnx"):
        shutil.copy(zoo.find("digits").path, path / "models" / name)
    (path / "f.json").write_text('{"relu1": "Q4.3"}')
    (path / "model.pt").write_bytes(b"PK\x03\x04")
    (path / "empty.onnx").write_bytes(b"")
    (path / "text.onnx").write_text("hello")
    return path


def test_the_table_is_long():
    assert len(MISTAKES) >= 200
    assert len({line for line, _ in MISTAKES}) == len(MISTAKES)


@pytest.mark.parametrize(("line", "answer"), MISTAKES)
def test_a_mistake_is_answered_in_one_line(line, answer, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    before = sorted(folder.glob("[!.]*"))
    assert cli.main(shlex.split(line)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("qengine: error: ")
    assert printed.err.count("\n") == 1
    assert answer in printed.err
    assert len(printed.err) < 700
    assert sorted(folder.glob("[!.]*")) == before
