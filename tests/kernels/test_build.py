"""Compiled kernels on disk: kept once, found again, and never in the way."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from networks import network

from qengine.kernels import build
from qengine.kernels.isa import GENERIC
from qengine.kernels.packing import Fill, Unpack
from qengine.kernels.private_folder import LOCKS, PrivateFolder
from qengine.kernels.program import Call, Program, load

RUN = """
import sys
import numpy as np
from qengine import InferenceSession
from qengine.kernels import build
build.estimated_seconds = lambda specs, processes: 2.0  # every batch is announced
session = InferenceSession(bytes.fromhex(sys.argv[1]), isa="generic", threads=1, qformat="Q3.4")
x = np.arange(-3, 3, 0.25, np.float32).reshape(1, 2, 3, 4)
print(session.run(None, {"x": x}, raw=True)[0].tolist(), "numba" in sys.modules)
"""
MODEL = network([("Relu", "x", "y")], inputs={"x": [1, 2, 3, 4]})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path / "kernels"))
    return tmp_path / "kernels"


@pytest.fixture
def _noticed(monkeypatch):
    """Have every batch take a time that is announced."""
    monkeypatch.setattr(build, "estimated_seconds", lambda specs, processes: 2.0)


def process(folder, **variables):
    env = {**os.environ, build.CACHE_VARIABLE: str(folder), **variables}
    done = subprocess.run([sys.executable, "-c", RUN, MODEL.hex()], capture_output=True, text=True, env=env, check=True)
    return done.stdout, done.stderr


def kept(folder):
    return sorted(path for path in folder.glob("*/*") if path.is_file() and path.name != LOCKS)


def test_the_second_process_compiles_nothing_and_none_needs_numba(folder):
    first, said = process(folder)
    assert re.fullmatch(
        rf"qengine: compiling \d+ new kernels for generic.* \(kept in {re.escape(str(folder))}\)\n", said
    )
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
    fills = [Fill(size) for size in (2, 4)]
    code = first._objects(fills, GENERIC)
    files = kept(folder)
    content = [path.read_bytes() for path in files]
    for path, other in zip(files, reversed(content), strict=True):
        path.write_bytes(other)
    second = build._KernelCache()
    assert second._objects(fills, GENERIC) == code
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
    assert build.cache_root() == "/home/u/Library/Caches/qengine"
    monkeypatch.setattr("sys.platform", "linux")
    assert build.cache_root() == "/caches/qengine"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert build.cache_root() == "/home/u/.cache/qengine"
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path))
    assert build.cache_root() == str(tmp_path)


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
        (old / LOCKS).touch()
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


@pytest.mark.usefixtures("_noticed")
def test_one_kernel_is_compiled_once(folder, caplog):
    store = build._KernelCache()
    with caplog.at_level(logging.WARNING, "qengine"):
        addresses = {address for _ in range(3) for address in store.addresses([Fill(2), Fill(2)], GENERIC)}
    assert len(addresses) == 1
    assert len(caplog.records) == 1
    assert len(kept(folder)) == 1


@pytest.mark.usefixtures("_noticed")
def test_a_batch_is_announced_once_and_nothing_where_nothing_is_compiled(folder, caplog, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    forms = [Unpack(stored, target) for stored in ("u8", "i16") for target in ("f32", "i8", "u8", "i16")]
    stores = build._KernelCache(), build._KernelCache()
    with caplog.at_level(logging.WARNING, "qengine"):
        for _ in range(2):
            stores[0].addresses(forms, GENERIC)
        stores[0].addresses([*forms, Fill(2)], GENERIC)
        stores[1].addresses([*forms, Fill(2)], GENERIC)
    assert [record.getMessage() for record in caplog.records] == [
        f"qengine: compiling 8 new kernels for generic on 2 cores, about 2 s (kept in {folder})",
        "qengine: compiling 1 new kernel for generic, about 2 s",
    ]


@pytest.mark.parametrize(
    ("kernels", "processes", "about"), [(4, 0, ""), (60, 2, ", about 2 s"), (40, 0, ", about 2 s")]
)
def test_the_time_is_estimated(kernels, processes, about, caplog, monkeypatch):
    monkeypatch.setattr(build, "_folder", lambda: (None, "there is no home folder"))
    with caplog.at_level(logging.WARNING, "qengine"):
        build._KernelCache()._warn([Fill(2)] * kernels, GENERIC, processes)
    cores = f" on {processes} cores" if processes else ""
    fate = "they will not be kept: there is no home folder; QENGINE_CACHE_DIR names another folder"
    assert caplog.messages == [f"qengine: compiling {kernels} new kernels for generic{cores}{about} ({fate})"]


def test_kernels_of_an_instant_are_counted_in_the_next_line(folder, caplog):
    store = build._KernelCache()
    with caplog.at_level(logging.WARNING, "qengine"):
        for kernels in (1, 1, 40, 1, 8, 1):
            store._warn([Fill(2)] * kernels, GENERIC, 0)
    assert caplog.messages == [
        f"qengine: compiling 42 new kernels for generic, about 3 s (kept in {folder})",
        "qengine: compiling 9 new kernels for generic, about 1 s",
    ]


@pytest.mark.usefixtures("_noticed")
def test_the_kernels_of_many_programs_are_one_batch(folder, caplog, monkeypatch):
    monkeypatch.setattr(build, "_CACHE", build._KernelCache())
    y = np.zeros(8, np.uint8)
    at = {"y": y.ctypes.data, "y_plane": 0, "planes": 1}
    programs = [Program(GENERIC, [[Call(Fill(size), {**at, "items": 1, "code": size})]]) for size in (1, 2, 4)]
    with caplog.at_level(logging.WARNING, "qengine"):
        load(programs)
        for size, program in zip((1, 2, 4), programs, strict=True):
            program.run({})
            assert y[:size].tolist() == [size] + [0] * (size - 1)
    assert len(caplog.records) == 1
    assert "compiling 4 new kernels" in caplog.messages[0]
    load([])


def test_folders_in_the_home_folder_are_named_with_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/u")
    assert build.with_tilde("/home/u/.cache/qengine") == "~/.cache/qengine"
    assert build.with_tilde("/home/ute/qengine") == "/home/ute/qengine"
    monkeypatch.setenv("HOME", "/")
    assert build.with_tilde("/cache") == "/cache"


def test_kernels_that_another_process_compiles_are_waited_for(folder, caplog, monkeypatch):
    """While this one waits for the lock, the other one writes the file."""
    (name,) = [build._file_name(f"{GENERIC!r} {Fill(2)!r}".encode())]
    other = build._KernelCache()._objects([Fill(2)], GENERIC)
    caplog.clear()
    (file,) = kept(folder)
    assert file.name == name
    content = file.read_bytes()
    file.unlink()

    @contextmanager
    def locked(self, names, seconds):
        assert names == [name]
        self.write(name, content)
        yield

    monkeypatch.setattr(PrivateFolder, "locked", locked)
    monkeypatch.setattr("qengine.kernels.emit.compile_kernel.compile_kernel", None)
    with caplog.at_level(logging.WARNING, "qengine"):
        assert build._KernelCache()._objects([Fill(2)], GENERIC) == other
    assert not caplog.records
