"""`qengine compare`: exit status, JSON, pages, learned targets, and errors in one line."""

import json
import re

import numpy as np
import pytest

import qengine
from qengine import cli
from qengine.cli.output import compare as record

KEYS = {
    "reference", "dump", "equal", "first", "cause", "explained", "explained_completely", "broken", "sentence",
    "operator", "equally_good", "decided_by", "same_for_every_input", "by_hand", "also_explains", "targets",
    "inherited", "own", "sample", "samples", "missing", "unread", "unmatched", "notes", "tried",
    "tensors", "learned", "preprocessing", "written",
}  # fmt: skip


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def dumps(tmp_path_factory):
    """Dumps of a right and of a wrong device."""
    folder = tmp_path_factory.mktemp("dumps")
    feeds = {n: a[:1] for n, a in qengine.zoo.find("digits").sample(qengine.Preprocessing()).feeds.items()}
    for name, options in (("right", {}), ("wrong", {"rounding": "floor"})):
        session = qengine.InferenceSession(qengine.zoo.path_of("digits"), qformat="Q4.3", **options)
        names = sorted(session.rounded)
        np.savez(folder / f"{name}.npz", **dict(zip(names, session.run(names, feeds, raw=True), strict=True)))
    return folder


def run(*words):
    return cli.main(["compare", *map(str, words)])


def test_equal_is_0_and_different_is_1(dumps, capsys):
    assert run("digits", dumps / "right.npz", "--qformat", "Q4.3") == 0
    assert "Equal: all" in capsys.readouterr().out
    assert run("digits", dumps / "wrong.npz", "--qformat", "Q4.3") == 1
    out = capsys.readouterr().out
    assert "rounding:floor" in out
    assert "Element [" in out
    # The device's own rules explain it.
    assert run("digits", dumps / "wrong.npz", "--qformat", "Q4.3", "--rounding", "floor") == 0


def test_json(dumps, capsys):
    assert run("digits", dumps / "wrong.npz", "--qformat", "Q4.3", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == KEYS
    assert not [key for key in KEYS if not re.search(rf"^(\w+, )*{key}\b", record.__doc__, re.MULTILINE)]
    assert found["cause"] == "rounding:floor"
    assert found["explained"] == 1.0
    run("digits", dumps / "wrong.npz", "--qformat", "Q4.3", "--json", "--only-own-errors")
    assert all(one["own"] for one in json.loads(capsys.readouterr().out)["tensors"])


def test_files(dumps, tmp_path, capsys):
    page, target = tmp_path / "diff.html", tmp_path / "device.toml"
    assert run("digits", dumps / "wrong.npz", "--qformat", "Q4.3", "-o", page, "--learn", target) == 1
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "Learned rules explain every operator" in capsys.readouterr().out
    assert str(qengine.Target.read(target).rules.rounding) == "floor"
    assert run("digits", dumps / "wrong.npz", "--qformat", "Q4.3", "--target", target) == 0


def test_two_dumps(dumps, capsys):
    assert run(dumps / "right.npz", dumps / "right.npz") == 0
    assert run(dumps / "right.npz", dumps / "wrong.npz", "--json") == 1
    out = capsys.readouterr().out
    found = json.loads(out[out.index("{") :])
    assert found["first"]["differing"] == sum(found["first"]["differences"].values())


ERRORS = {
    "no formats": (("digits", "right.npz"), "give a --qformat or --formats"),
    "no dump": (("digits", "gone.npz", "--qformat", "Q4.3"), "cannot be read"),
    "options beside two dumps": (("right.npz", "wrong.npz", "--qformat", "Q4.3"), "compared unchanged"),
    "--model without a pack": (("digits", "right.npz", "--qformat", "Q4.3", "--model", "digits"), "is for a pack"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_2_and_one_line(dumps, name, capsys, monkeypatch):
    monkeypatch.chdir(dumps)
    words, expected = ERRORS[name]
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
