"""Completion: what each shell is given for a line that is begun, without a command's modules and without errors."""

import json
import os
import subprocess
import sys

import pytest
from networks import network

from qengine import cli
from qengine.cli import completion
from qengine.cli.commands import COMMANDS, GROUPS
from qengine.cli.model_names import tensor_names
from qengine.cli.option_words import words_of_options
from qengine.cli.usage import commands_by_name
from qengine.kernels.build import CACHE_VARIABLE
from qengine.metrics.declaration import all_metrics
from qengine.qformat import Overflow, Rounding
from qengine.targets import names


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(tmp_path, cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    for name in ("net.onnx", "notes.txt", "formats.json"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "big.onnx").write_bytes(
        network([("Relu", "x", "first"), ("Sigmoid", "first", "second")], inputs={"x": [1, 3]})
    )
    return tmp_path


def words(line):
    """Return the completions of the last word of a line."""
    *before, start = line.split(" ")
    return [word for word, _ in completion.completions(before, start)]


TABLE = [
    ("r", ["run", "report"]),
    ("ex", ["export"]),
    ("export ", ["vectors", "c"]),
    ("run di", ["digits"]),
    ("run n", ["net.onnx"]),
    ("run ", ["srcnn", "digits", "models/", "net.onnx"]),
    ("run models/", ["models/big.onnx"]),
    ("run digits --rounding half_", [r for r in Rounding if r.startswith("half_")]),
    ("run digits --rounding=fl", ["--rounding=floor"]),
    ("run digits --overflow ", list(Overflow)),
    ("sweep digits --rounding floor,ce", ["floor,ceil"]),
    ("run digits --target esp32-", [n for n in names() if n.startswith("esp32-")]),
    ("sweep digits --targets onnx,tid", ["onnx,tidl"]),
    ("search digits --metric ", [str(m) for m in all_metrics()]),
    ("search digits --cost w", ["weights"]),
    ("quantize digits --as ", ["qdq", "qonnx"]),
    ("calibrate digits --method m", ["mse", "max"]),
    ("run digits --formats f", ["formats.json"]),
    ("run digits --fetch log", ["logits"]),
    ("run models/big.onnx --fetch ", ["x", "first", "second"]),
    ("run models/big.onnx -i ", ["x="]),
    ("inspect models/big.onnx --shape ", ["x="]),
    ("run digits --qfo", ["--qformat"]),
    ("targets che", ["check"]),
    ("targets check di", ["digits"]),
    ("--project p.toml ru", ["run"]),
    ("run digits --json ", []),
    ("run digits -o ", []),
    ("nothing ", []),
]


@pytest.mark.parametrize(("line", "expected"), TABLE)
def test_words(line, expected, folder):
    assert sorted(words(line)) == sorted(map(str, expected))


def test_every_command_and_option_is_completed(folder):
    assert set(words("")) >= {*COMMANDS, *GROUPS, "--help", "--version"}
    for name, command in commands_by_name().items():
        found = set(words(f"{name} -"))
        assert found >= {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")}


def test_every_word_is_taken(folder):
    words = words_of_options()
    assert all(words.values())
    options = {o for c in commands_by_name().values() for p in c.params for o in p.opts}
    assert {name.split()[-1] for name in words} - {"MODEL"} <= options


SHELLS = {
    "bash": ({"COMP_WORDS": "qengine run digits --qfo", "COMP_CWORD": "3"}, "--qformat\n"),
    "fish": (
        {"_TYPER_COMPLETE_ARGS": "qengine run digits --qfo", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        "--qformat\tFormat of every activation",
    ),
    "powershell": (
        {"_TYPER_COMPLETE_ARGS": "qengine run digits --qfo", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "--qfo"},
        "--qformat:::Format of every activation",
    ),
    "zsh": (
        {"_TYPER_COMPLETE_ARGS": "qengine run digits --qfo"},
        '_arguments \'*: :(("--qformat":"Format of every activation',
    ),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_shells(shell, folder, monkeypatch, capsys):
    variables, expected = SHELLS[shell]
    monkeypatch.setenv(cli.COMPLETION_VARIABLE, f"complete_{shell}")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cli.main([]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(expected)
    assert printed.out.count("\n") == 1
    assert printed.err == ""


@pytest.mark.parametrize(("line", "status"), [("qengine run digits --qfo", 0), ("qengine run digits -o ", 1)])
def test_fish_asks_whether_there_are_words(line, status, folder, monkeypatch, capsys):
    monkeypatch.setenv(cli.COMPLETION_VARIABLE, "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "is-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    assert cli.main([]) == status
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "line",
    ["qengine run 'dig", 'qengine run "', "qengine", "", "qengine run models/none/", "qengine run \\", "qengine --x y"],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_is_ever_an_error(shell, line, folder, monkeypatch, capsys):
    monkeypatch.setenv(cli.COMPLETION_VARIABLE, f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(max(0, len(line.split()) - 1)))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    assert cli.main([]) == 0
    assert capsys.readouterr().err == ""


def test_a_cache_that_cannot_be_used_is_done_without(folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    assert words("run digits --qfo") == ["--qformat"]


def test_an_old_or_damaged_file_is_written_again(folder, cache):
    words("run ")
    path = cache / "completion.json"
    for content in ("", "[]", json.dumps({"state": "old", "commands": {}}), json.dumps({"state": completion._state()})):
        path.write_text(content)
        assert words("run digits --qfo") == ["--qformat"]
        assert json.loads(path.read_text())["state"] == completion._state()


def test_a_key_imports_little(folder, cache):
    words("run ")  # the file is there
    code = (
        "import sys; from qengine.cli import main; main([]);"
        "print(*{'numpy', 'typer', 'onnx', 'numba', 'rich'} & set(sys.modules), file=sys.stderr)"
    )
    environment = {**os.environ, cli.COMPLETION_VARIABLE: "complete_bash", "COMP_WORDS": "qengine run digits --qfo"}
    environment["COMP_CWORD"] = "3"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("--qformat\n", "\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_script_of_a_shell_is_shown(shell, folder, monkeypatch, capsys):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert cli.main(["--show-completion", shell]) == 0
    shown = capsys.readouterr().out
    assert cli.COMPLETION_VARIABLE in shown
    assert f"complete_{shell}" in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_installed(shell, folder, monkeypatch, capsys):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setenv("HOME", str(folder))
    assert cli.main(["--install-completion", shell]) == 0
    written = [p for p in folder.rglob("*qengine*") if p.is_file()]
    assert any(cli.COMPLETION_VARIABLE in path.read_text() for path in written)
    assert f"{shell} completion installed" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no model", bytes(range(256)), b"\x3a\xff\xff\xff\xff\x0f", b"\x3a"])
def test_a_file_that_is_no_model_has_no_names(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    assert tensor_names(str(tmp_path / "m.onnx")) == ([], [])
    assert tensor_names("nothing") == ([], [])


def test_names_are_those_of_the_graph():
    from qengine import zoo
    from qengine.model.loader import load

    for name, entry in zoo.ENTRIES.items():
        graph = load(entry.path)
        inputs, tensors = tensor_names(name)
        assert inputs == [value.name for value in graph.inputs]
        assert set(tensors) >= {output for node in graph.nodes for output in node.outputs if output}
