"""What each command takes from a project file, and what is left out for what was typed."""

import os
from pathlib import Path

import pytest
import typer

from qengine.cli.app import application
from qengine.cli.commands import COMMANDS, GROUPS, WITHOUT_PROJECT
from qengine.cli.project.keys import GROUPED_TABLES, KEYS, OUTPUTS, TABLES
from qengine.errors import ProjectError

PROJECT = """
model = "m.onnx"
data = "d.npz"
target = "cmsis-nn-s8"
formats = "f.json"
output = "out"
bits = 7
rounding = "floor"
metric = "sqnr"
limit = 9
batch = 3
threads = 2
inputs = {factor = [1, 2]}

[preprocessing]
mean = 0.5
std = 0.25
layout = "nhwc"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("m.onnx", "other.onnx", "d.npz", "e.npz", "l.csv", "t.toml"):
        (tmp_path / name).touch()
    (tmp_path / "f.json").write_text("{}")
    (tmp_path / "qengine.toml").write_text(PROJECT)
    return tmp_path


def parsed(line, changes=""):
    """Return the parameters of a command line that differ from their defaults, and what was printed of them."""
    if changes:
        Path("qengine.toml").write_text(f"{PROJECT}\n{changes}\n")
    words = line.split()
    root = typer.main.get_command(application(words))
    context = root.make_context("qengine", list(words))
    while words and words[0] not in root.commands:
        del words[0]
    command = root.commands[words.pop(0)]
    if hasattr(command, "commands"):
        context = command.make_context(command.name, list(words), parent=context)
        command = command.commands[words.pop(0)]
    context = command.make_context(command.name, words, parent=context)
    plain = {parameter.name: parameter.default for parameter in command.params}
    typed = context.params.items()
    return {
        name: str(value) if isinstance(value, os.PathLike) else value
        for name, value in typed
        if value not in (plain[name], ())
    }


PICTURES = {"mean": "0.5", "std": "0.25", "layout": "nhwc"}
SAMPLES = {"data": "d.npz", "limit": 9, "batch": 3}
ARITHMETIC = {"target": "cmsis-nn-s8", "rounding": "floor"}
TARGET = {"target": "cmsis-nn-s8"}
COMMON = {"model": "m.onnx", "threads": 2, "inputs": ["factor=1,2"]}
REPORT = str(Path("out/report.html"))
VECTORS = str(Path("out/vectors"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "calibrate",
            COMMON | PICTURES | SAMPLES | {"out": "f.json", "bits": 7, "target": "cmsis-nn-s8"},
        ),
        ("search", COMMON | PICTURES | SAMPLES | ARITHMETIC | {"out": "f.json", "metric": "sqnr"}),
        (
            "sweep",
            COMMON
            | PICTURES
            | SAMPLES
            | {"targets": "cmsis-nn-s8", "rounding": "floor", "metric": "sqnr", "out": str(Path("out/sweep"))},
        ),
        ("inspect", COMMON | PICTURES | SAMPLES | ARITHMETIC | {"formats": "f.json"}),
        (
            "quantize",
            COMMON | PICTURES | SAMPLES | {"formats": "f.json", "out": str(Path("out/m_quantized.onnx"))},
        ),
        ("run", COMMON | PICTURES | SAMPLES | ARITHMETIC | {"formats": "f.json"}),
        (
            "export c",
            COMMON
            | PICTURES
            | ARITHMETIC
            | {"data": "d.npz", "batch": 3, "formats": "f.json", "out": str(Path("out/c"))},
        ),
        (
            "export vectors",
            COMMON | PICTURES | ARITHMETIC | {"data": "d.npz", "batch": 3, "formats": "f.json", "out": VECTORS},
        ),
        (
            "report",
            COMMON | PICTURES | SAMPLES | ARITHMETIC | {"metric": "sqnr", "formats": "f.json", "out": REPORT},
        ),
        ("bench", COMMON | PICTURES | ARITHMETIC | {"data": "d.npz", "batch": 3, "formats": "f.json"}),
        (
            "compare dump.npz",
            PICTURES | ARITHMETIC | {"reference": "m.onnx", "dump": "dump.npz", "threads": 2, "formats": "f.json"},
        ),
        (
            "targets check",
            PICTURES
            | ARITHMETIC
            | {"words": ["check", "m.onnx"], "inputs": ["factor=1,2"], "threads": 2, "formats": "f.json"},
        ),
        ("targets", {}),
        ("targets cmsis-nn-s8", {"words": ["cmsis-nn-s8"]}),
    ],
)
def test_a_command_alone_takes_all_it_has_options_for(line, expected):
    assert parsed(line) == expected


def differences(line, changes=""):
    """Return the parameters that differ from those of the command alone, which are None where they are left out."""
    words = line.split()
    command = " ".join(words[: 2 if words[0] in GROUPS else 1])
    own, other = parsed(command), parsed(line, changes)
    return {name: other.get(name) for name in sorted({*own, *other}) if own.get(name) != other.get(name)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("calibrate --bits 5 --limit 1", {"bits": 5, "limit": 1}),
        ("calibrate -o g.json", {"out": "g.json"}),
        ("calibrate --scale 1/255", {"scale": "1/255", "mean": None, "std": None}),
        ("calibrate --mean 0.1", {"mean": "0.1", "std": None}),
        ("calibrate --bgr", {"bgr": True}),
        ("calibrate --data e.npz", {"data": "e.npz"}),
        ("calibrate -i factor=3,4", {"inputs": ["factor=3,4"]}),
        ("calibrate -i a=b=c", {"inputs": ["factor=1,2", "a=b=c"]}),
        (
            "calibrate --data-free",
            {"data_free": True, **dict.fromkeys((*SAMPLES, *PICTURES, "inputs"))},
        ),
        ("calibrate m.onnx", {}),
        ("calibrate ./m.onnx", {"model": "./m.onnx"}),
        ("calibrate other.onnx", {"model": "other.onnx", "out": None}),
        (
            "calibrate digits",
            {"model": "digits", **dict.fromkeys((*SAMPLES, *PICTURES, "inputs", "bits", "out", "target", "threads"))},
        ),
        ("search --target t.toml", {"target": "t.toml"}),
        ("inspect --qformat Q4.3", {"qformat": "Q4.3", "formats": None}),
        ("inspect --formats g.json", {"formats": "g.json"}),
        ("inspect --weight-qformat Q4.3", {"weight_qformat": "Q4.3"}),
        (
            "inspect --tensors",
            {"tensors": True, **dict.fromkeys((*SAMPLES, *PICTURES, "rounding", "threads"))},
        ),
        ("quantize --qformat Q4.3", {"qformat": "Q4.3", "formats": None, "bits": 7} | TARGET),
        ("quantize --bits 4", {"bits": 4, "formats": None} | TARGET),
        ("quantize --method max", {"method": "max", "formats": None, "bits": 7} | TARGET),
        ("quantize --as qonnx", {"writes": "qonnx"} | ARITHMETIC),
        ("quantize --recipe best", {"recipe": "best"}),
        (
            "quantize other.onnx -o o.onnx",
            {"model": "other.onnx", "out": "o.onnx", "formats": None, "bits": 7} | TARGET,
        ),
        ("run -i x=a.npy", {"data": None, "limit": None, "batch": None, "inputs": ["factor=1,2", "x=a.npy"]}),
        ("run -i factor=5", {"inputs": ["factor=5"]}),
        ("run -i x=a.npy --data e.npz", {"data": "e.npz", "inputs": ["factor=1,2", "x=a.npy"]}),
        ("export vectors -i x=a.npy", {"data": None, "batch": None, "inputs": ["factor=1,2", "x=a.npy"]}),
        ("export vectors -i factor=5", {"inputs": ["factor=5"]}),
        ("sweep --targets all --bits 4", {"targets": "all", "bits": "4"}),
        ("sweep --no-ssim", {"ssim": False}),
    ],
)
def test_what_is_typed_goes_first(line, expected):
    assert differences(line) == expected


def test_labels_belong_to_the_data_of_the_file():
    project = PROJECT.replace('data = "d.npz"', 'data = "d.npz"\nlabels = "l.csv"')
    Path("qengine.toml").write_text(project)
    assert parsed("calibrate")["labels"] == "l.csv"
    assert "labels" not in parsed("calibrate --data e.npz")
    assert "labels" not in parsed("calibrate --data-free")


SAMPLED = ("run", "inspect", "bench", "quantize", "report", "calibrate")
"""Commands that refuse --labels, --limit or --batch where there are no samples."""


@pytest.mark.parametrize("line", SAMPLED)
@pytest.mark.parametrize("model", ["m.onnx", "digits"])
def test_what_says_how_samples_are_read_is_for_samples(line, model):
    """A bundled model has samples of its own for the commands that need many."""
    Path("qengine.toml").write_text(f'model = "{model}"\nlimit = 9\nbatch = 3\n[preprocessing]\nmean = 0.5\n')
    found = parsed(line + " -o o.onnx" * (line == "quantize"))
    is_sampled = model == "digits" and line not in ("run", "inspect", "bench")
    assert ("limit" in found, "batch" in found) == (is_sampled, is_sampled)
    assert ("mean" in found) == (line != "inspect")


def test_a_table_of_the_command_is_not_left_out_silently():
    Path("qengine.toml").write_text('model = "m.onnx"\n[run]\nlimit = 9\n')
    assert parsed("run")["limit"] == 9


@pytest.mark.parametrize(
    ("line", "table", "expected"),
    [
        ("sweep", '[sweep]\nbits = "4-8"', {"bits": "4-8"}),
        ("sweep", "[sweep]\nbits = [4, 6]\nssim = false\njobs = 2", {"bits": "4,6", "ssim": False, "jobs": 2}),
        ("sweep --bits 5", "[sweep]\nbits = 4", {"bits": "5"}),
        ("sweep", '[sweep]\nformats = ["a.json", "b.json"]', {"formats": [Path("a.json"), Path("b.json")]}),
        ("sweep", '[search]\nbits = "4-8"', {}),
        ("calibrate", "[calibrate]\nbits = 6\nper_channel = false", {"bits": 6, "per_channel": False}),
        ("quantize", '[quantize]\nmethod = "max"', {"method": "max", "formats": None, "bits": 7} | TARGET),
        ("quantize", "[quantize]\nper-channel = true\nbits = 4", {"bits": 4, "formats": None} | TARGET),
        ("export c", '[export.c]\nname = "net1"', {"name": "net1"}),
        ("export vectors", "[export.vectors]\nlimit = 2", {"limit": 2}),
        ("calibrate", "[calibrate]\nscale = '1/255'", {"scale": "1/255", "mean": None, "std": None}),
    ],
)
def test_tables_of_commands(line, table, expected):
    assert differences(line, table) == expected


@pytest.mark.parametrize(
    ("line", "table", "reason"),
    [
        ("sweep", "[sweep]\nbit = 4", r"line 21: sweep\.bit is not an option of 'qengine sweep'; did you mean 'bits'"),
        ("sweep", "[sweep]\nssim = 1", r"sweep\.ssim is 1; allowed: true or false"),
        ("sweep", "[sweep]\nbits = true", r"sweep\.bits is true; allowed: a number, text, or a list"),
        ("sweep", "[sweep]\nbits = {}", r"sweep\.bits is a table"),
        ("sweep", "[sweep]\nbits = []", r"sweep\.bits is \[\]"),
        (
            "sweep",
            "[sweep]\njobs = 0",
            r"line 21: sweep\.jobs is not what the option takes: Invalid value for '--jobs'",
        ),
        ("search", "[search]\nseconds = 'soon'", r"search\.seconds is not what the option takes"),
        (
            "calibrate",
            "[calibrate]\noperators = 'x.py'",
            r"calibrate\.operators cannot stand in a project file: type --op",
        ),
        ("calibrate", "[calibrate]\njson = true", r"calibrate\.json cannot stand in a project file"),
        ("calibrate", "[calibrate]\nproject = 'x'", r"calibrate\.project cannot stand in a project file"),
        ("calibrate", "[calibrate]\nmodel = 'x'", r"calibrate\.model is not an option"),
    ],
)
def test_mistakes_in_tables_of_commands(line, table, reason):
    with pytest.raises(ProjectError, match=reason):
        parsed(line, table)


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("quantize", "--bits"),
        ("export vectors", "--qformat"),
        ("export c", "--qformat"),
        ("compare d.npz", "--qformat"),
    ],
)
def test_formats_that_no_command_has_written(folder, line, other):
    (folder / "f.json").unlink()
    with pytest.raises(
        ProjectError, match=rf"line 5: formats is 'f\.json', which does not exist yet: .*or give {other}"
    ):
        parsed(line)
    assert parsed("calibrate")["out"] == "f.json"
    assert parsed("export vectors --qformat Q4.3")["qformat"] == "Q4.3"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("inspect", COMMON),
        ("bench", COMMON | PICTURES | {"data": "d.npz", "batch": 3}),
        ("report", COMMON | PICTURES | SAMPLES | ARITHMETIC | {"metric": "sqnr", "bits": 7, "out": REPORT}),
        (
            "targets check",
            PICTURES | ARITHMETIC | {"words": ["check", "m.onnx"], "inputs": ["factor=1,2"], "threads": 2},
        ),
    ],
)
def test_commands_with_a_meaning_before_there_are_formats(folder, capsys, line, expected):
    (folder / "f.json").unlink()
    assert parsed(line) == {name: value for name, value in expected.items() if (line, name) != ("inspect", "threads")}
    assert "does not exist yet: 'qengine calibrate'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "calibrate",
            "qengine.toml: model, data, target, formats, bits, limit, batch, threads, preprocessing, inputs\n",
        ),
        ("calibrate digits", ""),
        ("targets", ""),
        ("--no-project calibrate digits", ""),
        ("calibrate digits --no-project", ""),
        ("calibrate other.onnx --data e.npz --data-free", "qengine.toml: target, bits, threads\n"),
    ],
)
def test_what_was_taken_is_told_in_one_line(capsys, line, told):
    parsed(line)
    printed = capsys.readouterr()
    assert printed.err == told
    assert printed.out == ""


def test_folders_are_made_for_what_is_written(folder):
    parsed("calibrate")
    assert not (folder / "out").exists()
    parsed("sweep -o elsewhere")
    assert not (folder / "out").exists()
    parsed("sweep")
    assert (folder / "out").is_dir()


def test_the_file_that_is_named(folder, monkeypatch):
    (folder / "p").mkdir()
    (folder / "p" / "q.toml").write_text('model = "../other.onnx"\nbits = 4')
    expected = {"model": str(Path("p/../other.onnx")), "bits": 4}
    for line in ("--project p/q.toml calibrate", "calibrate --project p/q.toml", "calibrate --project=p/q.toml"):
        assert {**parsed(line), "project": None} == {**expected, "project": None}
    monkeypatch.setenv("QENGINE_PROJECT", "p/q.toml")
    assert parsed("calibrate") == expected
    monkeypatch.setenv("QENGINE_PROJECT", "")
    assert parsed("calibrate digits --bits 3") == {"model": "digits", "bits": 3}
    monkeypatch.setenv("QENGINE_PROJECT", "gone.toml")
    with pytest.raises(ProjectError, match=r"QENGINE_PROJECT: there is no file 'gone\.toml'"):
        parsed("calibrate")
    assert parsed("calibrate --project qengine.toml")["model"] == "m.onnx"


def test_a_broken_file_does_not_hide_the_help(folder):
    (folder / "qengine.toml").write_text("model = ")
    with pytest.raises(typer.Exit):
        parsed("calibrate --help")
    with pytest.raises(ProjectError, match=r"qengine\.toml, line 1"):
        parsed("calibrate digits")


def test_every_key_is_an_option_of_some_command():
    words = [name for name in COMMANDS if name not in WITHOUT_PROJECT]
    options = {name: set() for name in words}
    for name in words:
        command = typer.main.get_command(application([name])).commands[name]
        options[name] |= {parameter.name for parameter in command.params}
    for key in KEYS:
        assert key.name == "output" or any(key.option(name) in options[name] for name in words), key.name
    for name in words:
        for key in KEYS:
            if name in key.options and key.options[name] is not None:
                assert key.options[name] in options[name], (name, key.name)


def test_a_command_that_writes_to_the_folder_may_have_a_table():
    known = {*TABLES, *(f"{group} {name}" for group, names in GROUPED_TABLES.items() for name in names)}
    assert set(OUTPUTS) <= known
