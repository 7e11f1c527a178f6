"""Help of every command, as a person reads it at several widths."""

import re
import shlex

import pytest

from qengine import cli
from qengine.cli.commands import COMMAND_GROUPS, COMMANDS, GROUPS
from qengine.cli.help_text import parts_of
from qengine.cli.usage import commands_by_name

EVERY = [*COMMANDS, *(f"{group} {name}" for group, (_, names) in GROUPS.items() for name in names)]
COMMAND = commands_by_name()


def shown(capsys, monkeypatch, words, columns=80):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 100, 140])
@pytest.mark.parametrize("name", EVERY)
def test_a_help_is_whole_at_every_width(name, columns, capsys, monkeypatch):
    text = shown(capsys, monkeypatch, [*name.split(), "--help"], columns)
    lines = text.splitlines()
    assert max(map(len, lines)) < columns
    assert not re.search(r"<\w+>|…|<=x|x>=|\[required\]|\[default", text)
    words = set(" ".join(lines).split())
    for param in COMMAND[name].params:
        for option in (*param.opts, *param.secondary_opts):
            assert not option.startswith("-") or option in {word.strip(",") for word in words}
        for word in (getattr(param, "help", None) or "").split():
            assert word in words, word  # no word is broken


@pytest.mark.parametrize("name", EVERY)
def test_a_help_begins_with_a_sentence_and_examples(name, capsys, monkeypatch):
    lines = shown(capsys, monkeypatch, [*name.split(), "--help"]).splitlines()
    summary, examples, _ = parts_of(COMMAND[name].help)
    assert lines[0].startswith(f"Usage: qengine {name}")
    assert lines[2]
    assert summary.endswith(".")
    assert len(summary) < 80
    assert examples, "a command has examples"
    assert lines.index("Examples") < 6
    for example in examples:
        assert example.startswith(f"qengine {name}")
        shlex.split(example)


@pytest.mark.parametrize("name", EVERY)
def test_examples_name_options_that_there_are(name):
    own = {option for p in COMMAND[name].params for option in (*p.opts, *p.secondary_opts)}
    for example in parts_of(COMMAND[name].help)[1]:
        line = re.split(r"&&|\|", example)[0]
        assert {word.partition("=")[0] for word in shlex.split(line) if word.startswith("-")} <= own


def test_what_is_needed_stands_in_the_usage(capsys, monkeypatch):
    text = shown(capsys, monkeypatch, ["sweep", "--help"])
    assert text.startswith("Usage: qengine sweep MODEL -o FOLDER [OPTIONS]\n")
    assert re.search(r"MODEL\n  Needed, here or in a project file\. ", text)
    assert re.search(r"-o, --out FOLDER +Needed\. ", text)


def test_bounds_and_defaults_are_words(capsys, monkeypatch):
    text = shown(capsys, monkeypatch, ["run", "--help"])
    assert re.search(r"--accumulator-bits BITS\n? .*2 to 64\.", text, re.DOTALL)
    assert "Default: --per-tensor." in text
    assert re.search(r"Default:\s+1,073,741,824\.", text)


def test_the_most_used_come_first(capsys, monkeypatch):
    text = shown(capsys, monkeypatch, ["run", "--help"])
    order = [
        "\nInputs and outputs\n",
        "  --data",
        "\nFixed point\n",
        "  --qformat",
        "  --rounding",
        "\nRun\n",
        "  --json",
    ]
    places = [text.index(word) for word in [*order, "  --max-memory"]]
    assert places == sorted(places)


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_commands_are_grouped(words, capsys, monkeypatch):
    text = shown(capsys, monkeypatch, words)
    titles = [title for title, _ in COMMAND_GROUPS]
    assert [line for line in text.splitlines() if line in titles] == titles
    for title, names in COMMAND_GROUPS:
        part = text[text.index(f"\n{title}\n") :]
        for name in names:
            assert re.search(rf"^  {name} +[A-Z]", part, re.MULTILINE)


@pytest.mark.parametrize("words", [["help", "run"], ["help", "export", "c"], ["help", "export"]])
def test_help_of_a_command_by_name(words, capsys, monkeypatch):
    text = shown(capsys, monkeypatch, words)
    assert text == shown(capsys, monkeypatch, [*words[1:], "--help"])
    assert text.startswith(f"Usage: qengine {' '.join(words[1:])}")


def test_a_group_alone_shows_its_commands(capsys, monkeypatch):
    assert shown(capsys, monkeypatch, ["export"]) == shown(capsys, monkeypatch, ["export", "--help"])


def test_parts_of_a_docstring():
    text = "Do a\nthing. More.\n\nqengine do a\n\nqengine do b && qengine do c\nqengine do d\n\nA remark\nof two lines."
    assert parts_of(text) == (
        "Do a thing. More.",
        ["qengine do a", "qengine do b && qengine do c", "qengine do d"],
        ["A remark of two lines."],
    )
