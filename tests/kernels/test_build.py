"""Compiled kernels on disk: kept once, found again, and never in the way."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys

import pytest
from networks import network

from qengine.kernels import build
from qengine.kernels.isa import GENERIC
from qengine.kernels.packing import Fill

RUN = """
import sys
import numpy as np
from qengine import InferenceSession
session = InferenceSession(bytes.fromhex(sys.argv[1]), isa="generic", threads=1, qformat="Q3.4")
x = np.arange(-3, 3, 0.25, np.float32).reshape(1, 2, 3, 4)
print(session.run(None, {"x": x}, raw=True)[0].tolist(), "numba" in sys.modules)
"""
MODEL = network([("Relu", "x", "y")], inputs={"x": [1, 2, 3, 4]})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def process(folder, **variables):
    env = {**os.environ, build.CACHE_VARIABLE: str(folder), **variables}
    done = subprocess.run([sys.executable, "-c", RUN, MODEL.hex()], capture_output=True, text=True, env=env, check=True)
    return done.stdout, done.stderr


def kept(folder):
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def test_the_second_process_compiles_nothing_and_none_needs_numba(folder):
    first, said = process(folder)
    assert "compiling kernels for generic, once (kept in" in said
    assert said.count("\n") == 1
    files = {path: path.stat().st_mtime_ns for path in kept(folder)}
    assert files
    second, said = process(folder)
    assert said == ""
    assert first == second
    assert first.split()[-1] == "False"
    assert {path: path.stat().st_mtime_ns for path in kept(folder)} == files


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "a folder"])
def test_damage_is_mended(folder, damage):
    first, _ = process(folder)
    for path in kept(folder):
        data = path.read_bytes()
        if damage == "a folder":
            path.unlink()
            path.mkdir()
            continue
        path.write_bytes({"cut": data[: len(data) // 2], "changed": data[:-9] + bytes(9), "empty": b""}[damage])
    again, said = process(folder)
    assert again == first
    assert "compiling" in said
    if damage != "a folder":
        assert process(folder)[1] == ""


def test_a_file_under_the_name_of_another_does_not_run(folder):
    """Two kernels under each other's names are whole files of the right generation, and the wrong machine code."""
    first = build._KernelCache()
    code = [first._object(Fill(size), GENERIC) for size in (2, 4)]
    files = kept(folder)
    content = [path.read_bytes() for path in files]
    for path, other in zip(files, reversed(content), strict=True):
        path.write_bytes(other)
    second = build._KernelCache()
    assert [second._object(Fill(size), GENERIC) for size in (2, 4)] == code
    assert [path.read_bytes() for path in files] == content


@pytest.mark.parametrize("part", ["generation", "isa", "spec"])
def test_the_checksum_covers_all_that_code_depends_on(part, monkeypatch):
    packed = build._packed("symbol", b"code", b"isa spec")
    assert build._unpacked(packed, b"isa spec") == ("symbol", b"code")
    if part == "generation":
        monkeypatch.setattr(build, "generation", lambda: "0" * 16)
    identity = {"generation": b"isa spec", "isa": b"isb spec", "spec": b"isa sped"}[part]
    assert build._unpacked(packed, identity) is None


def test_every_damaged_byte_is_noticed():
    packed = build._packed("symbol", b"code" * 9, b"isa spec")
    for place in range(len(packed)):
        for damaged in (packed[:place], packed[:place] + bytes([packed[place] ^ 32]) + packed[place + 1 :]):
            assert build._unpacked(damaged, b"isa spec") is None
    assert build._unpacked(packed + b"0", b"isa spec") is None


def not_kept(folder, **variables):
    """Run a process whose kernels are not kept, and return the reason that it logs, once."""
    out, said = process(folder, **variables)
    assert out.startswith("[[")
    assert said.count("\n") == 1
    return re.search(r"\(they will not be kept: (.*); QENGINE_CACHE_DIR names another folder\)", said)[1]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert not_kept(tmp_path / "file" / "kernels") == f"{tmp_path / 'file'} cannot be used: Not a directory"


def test_a_folder_that_others_may_write_is_not_used(folder):
    process(folder)
    (generation,) = folder.iterdir()
    generation.chmod(0o777)
    before = {path: path.stat().st_mtime_ns for path in kept(folder)}
    assert not_kept(folder) == f"{generation} can be written to by other users"
    assert {path: path.stat().st_mtime_ns for path in kept(folder)} == before


@pytest.mark.parametrize("home", ["", "somewhere"])
def test_without_a_home_folder_there_is_no_folder(home, monkeypatch):
    monkeypatch.delenv(build.CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert build._folder() == (None, "there is no home folder")


def test_places(monkeypatch, tmp_path):
    monkeypatch.delenv(build.CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setattr("sys.platform", "darwin")
    assert build._cache_root() == "/home/u/Library/Caches/qengine"
    monkeypatch.setattr("sys.platform", "linux")
    assert build._cache_root() == "/caches/qengine"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert build._cache_root() == "/home/u/.cache/qengine"
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path))
    assert build._cache_root() == str(tmp_path)


def test_it_is_private_and_kept_apart(folder):
    process(folder)
    (generation,) = folder.iterdir()
    assert generation.name == build.generation()
    assert generation.stat().st_mode & 0o077 == 0


def test_old_generations_go_and_nothing_else(folder):
    folder.mkdir(mode=0o700)
    for i in range(6):
        old = folder / f"{i:016x}"
        old.mkdir()
        (old / ("0" * 40)).write_text("a kernel")
        os.utime(old, (i, i))
    (folder / "0123456789abcdeX").mkdir()
    mine = folder / f"{1:016x}" / "letters.txt"
    mine.write_text("not a kernel")
    os.utime(mine.parent, (1, 1))
    process(folder)
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [f"{i:016x}" for i in (1, 3, 4, 5)] + ["0123456789abcdeX", build.generation()]
    )
    assert mine.read_text() == "not a kernel"


def test_one_kernel_is_compiled_once(folder, caplog):
    store = build._KernelCache()
    with caplog.at_level(logging.WARNING, "qengine"):
        addresses = {store.address(Fill(2), GENERIC) for _ in range(3)}
    assert len(addresses) == 1
    assert len(caplog.records) == 1
    assert len(kept(folder)) == 1
