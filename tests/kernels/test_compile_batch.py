"""Compilation on several processes: the same machine code, and no kernel lost when processes die."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qengine.kernels import compile_batch
from qengine.kernels.compile_batch import compiled, estimated_seconds, process_count
from qengine.kernels.emit.compile_kernel import compile_kernel
from qengine.kernels.isa import GENERIC
from qengine.kernels.packing import Fill, Move, Unpack
from qengine.kernels.top_k import TopK

SPECS = [Fill(1), Fill(2), Fill(4), Move(), Unpack("u8", "f32")]


@pytest.fixture(scope="module")
def alone():
    return [compile_kernel(spec, GENERIC) for spec in SPECS]


@pytest.fixture
def processes(monkeypatch):
    """The processes that are started."""
    found, start = [], compile_batch._start

    def started():
        found.append(start())
        return found[-1]

    monkeypatch.setattr(compile_batch, "_start", started)
    return found


def all_of(count):
    return [kernel for _, kernel in sorted(compiled(SPECS, GENERIC, count))]


def no_compiler(*_):
    raise AssertionError("this process compiled")


@pytest.mark.parametrize("count", [1, 2])
def test_processes_give_the_same_machine_code(count, alone, processes, monkeypatch):
    monkeypatch.setattr("qengine.kernels.emit.compile_kernel.compile_kernel", no_compiler)
    assert all_of(count) == alone
    assert len(processes) == count
    assert all(process.returncode is not None for process in processes)


def test_the_environment_does_not_reach_the_processes(alone, tmp_path, monkeypatch):
    """Neither variables of Python nor modules in the current folder."""
    for name in ("qengine", "llvmlite", "pickle", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the current folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "pickle.py"))
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.setattr("qengine.kernels.emit.compile_kernel.compile_kernel", no_compiler)
    assert all_of(1) == alone


def test_processes_that_die_between_kernels_lose_none(alone, processes):
    kernels = compiled(SPECS, GENERIC, 2)
    found = [next(kernels)]
    for process in processes:
        process.kill()
    assert [kernel for _, kernel in sorted([*found, *kernels])] == alone


@pytest.mark.parametrize(
    "code",
    ["pass", "raise ValueError", "import os; os.write(1, bytes(11))", "import os; os.write(1, bytes([255]) * 4096)"],
    ids=["ends", "fails", "answers in part", "answers too much"],
)
def test_what_processes_do_not_answer_is_compiled_here(code, alone, monkeypatch):
    def start():
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(compile_batch, "_start", start)
    monkeypatch.setattr(sys, "stderr", None)
    assert all_of(2) == alone


def test_processes_that_cannot_be_started(alone, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert all_of(2) == alone


def test_an_interrupt_ends_the_processes(processes):
    kernels = compiled(SPECS, GENERIC, 2)
    next(kernels)
    with pytest.raises(KeyboardInterrupt):
        kernels.throw(KeyboardInterrupt)
    assert len(processes) == 2
    assert all(process.returncode is not None for process in processes)


def test_a_kernel_that_cannot_be_built_raises_here(processes):
    with pytest.raises(KeyError):
        list(compiled([*SPECS, Unpack("u9", "f32")], GENERIC, 2))
    assert all(process.returncode is not None for process in processes)


@pytest.mark.parametrize(
    ("kernels", "cores", "count"), [(1, 2, 0), (7, 2, 0), (8, 2, 2), (90, 2, 2), (90, 1, 0), (14, 64, 3), (400, 64, 8)]
)
def test_only_large_batches_are_worth_processes(kernels, cores, count, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert process_count([Fill(1)] * kernels) == count


@pytest.mark.parametrize("executable", ["", None, "/usr/bin/uwsgi"])
def test_another_program_is_not_started(executable, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert process_count([Fill(1)] * 9) == 2
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", executable)
        assert process_count([Fill(1)] * 9) == 0
    assert Path(sys.executable).name.startswith("python")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert process_count([Fill(1)] * 9) == 0


@pytest.mark.parametrize(("others", "cores", "count"), [(0, 1, 1), (0, 2, 1), (1, 2, 2), (9, 2, 2), (3, 64, 3)])
def test_numba_runs_in_another_process(others, cores, count, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    specs = [*[Fill(1)] * others, TopK("f32", True)]
    assert process_count(specs) == count
    assert estimated_seconds(specs, count) > 0.5 + estimated_seconds([Fill(1)] * others, 0) / count


def test_a_kernel_in_python_comes_from_a_process_too(monkeypatch):
    specs = [Fill(1), TopK("f32", True)]
    requests = compile_batch._Batch(specs, GENERIC)._requests
    assert [index for index, _ in requests] == [1, 0]  # the longest first
    monkeypatch.setattr("qengine.kernels.emit.compile_kernel.compile_kernel", no_compiler)
    kernels = dict(compiled(specs, GENERIC, 1))
    assert kernels[1][0].encode() in kernels[1][1]
    assert b"top_k" in kernels[1][0].encode()
