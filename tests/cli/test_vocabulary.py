"""One vocabulary: an option means the same in every command, and Python has the same words."""

from collections import defaultdict

import pytest

from qengine.analysis.search import SearchOptions
from qengine.analysis.sweep import SweepOptions
from qengine.cli.usage import commands_by_name
from qengine.deploy.vectors import VectorOptions
from qengine.quantization.calibration import CalibrationOptions
from qengine.runtime.options import SessionOptions

OPTIONS = defaultdict(dict)
for _command, _one in commands_by_name().items():
    for _param in _one.params:
        for _option in (*_param.opts, *_param.secondary_opts):
            if _option.startswith("-"):
                OPTIONS[_option][_command] = _param

LISTS = {"sweep", "search"}
"""Commands that take lists where others take one value: all of them are of the same kind."""

METAVARS = {
    "--input": {"NAME=VALUE"},
    "--data": {"DATA"},
    "--labels": {"FILE"},
    "--batch": {"N"},
    "--limit": {"N"},
    "--out": {"FILE", "FOLDER"},
    "--qformat": {"FORMAT", "LIST"},
    "--weight-qformat": {"FORMAT"},
    "--formats": {"FILE"},
    "--bits": {"BITS", "LIST"},
    "--weight-bits": {"BITS", "LIST"},
    "--activation-bits": {"BITS", "LIST"},
    "--output-bits": {"BITS"},
    "--accumulator-bits": {"BITS", "LIST"},
    "--target": {"NAME|FILE", "LIST"},
    "--targets": {"LIST"},
    "--rule": {"KEY=VALUE"},
    "--rounding": {"ROUNDING", "LIST"},
    "--overflow": {"OVERFLOW", "LIST"},
    "--method": {"METHOD", "LIST"},
    "--metric": {"METRIC"},
    "--cost": {"COST"},
    "--recipe": {"RECIPE", "LIST"},
    "--threads": {"N"},
    "--jobs": {"N"},
    "--seed": {"N"},
    "--fetch": {"TENSOR"},
    "--shape": {"NAME=N,N,..."},
    "--isa": {"ISA"},
    "--mean": {"NUMBERS"},
    "--std": {"NUMBERS"},
    "--scale": {"NUMBERS"},
    "--resize": {"N"},
    "--crop": {"N"},
    "--layout": {"LAYOUT"},
    "--element-order": {"ORDER"},
    "--convert": {"LIST"},
    "--islands": {"LIST"},
    "--max-elements": {"N"},
    "--max-memory": {"SIZE"},
    "--max-iterations": {"N"},
    "--operators": {"FILE.py"},
}
"""The word for the value of each option that commands share."""

GONE = ["--samples", "--budget", "--runs", "--image-layout", "--output", "--no-cache", "--dir", "--num-threads"]
"""Second names of things that have a name."""


def value_word(param):
    return "" if getattr(param, "is_flag", False) else param.metavar


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_an_option_takes_the_same_kind_of_value_everywhere(option):
    found = {command: value_word(param) for command, param in OPTIONS[option].items()}
    if option in METAVARS:
        assert set(found.values()) <= METAVARS[option] | ({"off|on|both"} if option == "--per-channel" else set())
    elif option not in ("--as", "--per-channel", "-o", "--out", "-i"):
        assert len(set(found.values())) == 1, found
    listed = {command for command, word in found.items() if word == "LIST"}
    if len(set(found.values())) > 1 and option not in ("--out", "-o", "--as"):
        assert listed <= LISTS | {"report"}, found


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - {"-o", "--out", "--as", "-h", "--help"}))
def test_an_option_says_the_same_everywhere(option):
    """The texts of an option have its subject in common: the same text, or a word that is not a small one."""
    texts = [(param.help or "").lower() for param in OPTIONS[option].values()]
    assert all(texts) or option == "--help"
    first = set(_subjects(texts[0]))
    assert all(first & set(_subjects(text)) for text in texts), texts


def _subjects(text):
    return [word.strip(".,;:()") for word in text.split() if len(word.strip(".,;:()")) > 3]


@pytest.mark.parametrize("name", GONE)
def test_a_thing_has_one_name(name):
    assert name not in OPTIONS


def test_short_names_mean_one_thing():
    short = {
        option: {max(p.opts, key=len) for p in params.values()}
        for option, params in OPTIONS.items()
        if option[1] != "-"
    }
    assert short == {"-i": {"--input"}, "-o": {"--out"}, "-q": {"--quiet"}}


def test_an_option_is_a_flag_in_every_command_or_in_none():
    assert [
        option
        for option, params in OPTIONS.items()
        if option != "--per-channel" and len({bool(getattr(p, "is_flag", False)) for p in params.values()}) > 1
    ] == []


@pytest.mark.parametrize(
    ("kind", "command", "others"),
    [
        (SessionOptions, "run", {"rules": "--rule"}),
        (CalibrationOptions, "calibrate", {}),
        (SweepOptions, "sweep", {"inputs": "--input"}),
        (SearchOptions, "search", {"least": "--min"}),
        (VectorOptions, "export vectors", {"kinds": "--as"}),
    ],
)
def test_python_has_the_words_of_the_options(kind, command, others):
    """Every field of an options object is an option of its command, by the same name."""
    own = {"preprocessing", "keep", "sensitivity_samples"} | ({"overflow"} if command == "calibrate" else set())
    options = {option for option, params in OPTIONS.items() if command in params}
    fields = {name: others.get(name, f"--{name.replace('_', '-')}") for name in kind.__dataclass_fields__}
    assert {option for name, option in fields.items() if name not in own} <= options
