"""Which commands are imported for a command line."""

from __future__ import annotations

import importlib
import importlib.machinery
import subprocess
import sys
from pathlib import Path

import pytest

import qengine.cli
from qengine.cli.app import application
from qengine.cli.arguments import expanded
from qengine.cli.commands import COMMANDS, GROUPS


def names(words):
    return [command.name for command in application(words).registered_commands]


@pytest.mark.parametrize("words", [["run", "model.onnx"], ["bench"], ["inspect", "--help"]])
def test_a_command_comes_alone(words):
    assert names(words) == words[:1]


@pytest.mark.parametrize("words", [[], ["--help"], ["rum"], ["-h", "run"], [""]])
def test_help_and_errors_know_all_commands(words):
    assert names(words) == list(COMMANDS)


def test_the_version_needs_no_command():
    assert names(["--version"]) == []


def test_all_modules_of_commands_are_listed():
    modules = Path(qengine.cli.__file__).parent.glob("*.py")
    found = {path.stem for path in modules if f"def {path.stem}(" in path.read_text()}
    assert set(COMMANDS) == found


def test_a_run_imports_neither_sweeps_nor_numba():
    code = "import sys; from qengine.cli.app import application; application(['run']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "qengine.cli.run" in loaded
    assert not loaded & {"numba", "torch", "onnxruntime", "onnx.reference", "multiprocessing", "qengine.cli.sweep"}
    needless = ("qengine.analysis.sweep", "qengine.analysis.search", "qengine.model.eager.regex")
    assert not {name for name in loaded if name.startswith(needless)}
    assert len({name for name in loaded if name.startswith("qengine.model.eager.evaluators.")}) < 5


@pytest.mark.parametrize("words", ["[]", "['--help']", "['rum']"])
def test_a_list_of_commands_imports_none(words):
    code = f"import sys; from qengine.cli.app import application; application({words}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "onnx", *(f"qengine.cli.{name}" for name in (*COMMANDS, *GROUPS))}


def callbacks(app):
    groups = [command for group in app.registered_groups for command in group.typer_instance.registered_commands]
    return {command.name: command.callback for command in (*app.registered_commands, *groups)}


def test_a_list_has_the_docstrings_of_the_commands():
    modules = {name: name for name in COMMANDS} | {
        name: group for group, (_, names) in GROUPS.items() for name in names
    }
    listed = callbacks(application(["--help"]))
    assert set(listed) == set(modules)
    for name, module in modules.items():
        command = expanded(getattr(importlib.import_module(f"qengine.cli.{module}"), name))
        assert command.__doc__
        assert listed[name].__doc__ == command.__doc__


def test_an_installation_without_sources_lists_the_commands(monkeypatch):
    with_sources = callbacks(application(["--help"]))
    monkeypatch.setattr(importlib.machinery.SourceFileLoader, "get_source", lambda *_: None)
    assert {name: c.__doc__ for name, c in callbacks(application(["--help"])).items()} == {
        name: c.__doc__ for name, c in with_sources.items()
    }


def test_a_run_without_a_target_reads_no_toml():
    code = "from qengine.cli import main; import sys; main(['run', 'digits', '--qformat', 'Q3.4']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"tomllib", "qengine.analysis.target_check"}
