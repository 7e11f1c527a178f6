"""Texts of commands: their width, and their colours."""

import re

import pytest
from rich.color import Color

from qengine import cli
from qengine.cli.output import console, styles
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste

BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "light": (0xFD, 0xF6, 0xE3), "dark": (0, 0x2B, 0x36)}


def shown(width=None, monkeypatch=None):
    table = Table()
    table.names("tensor")
    table.text("note")
    table.row("x", "word " * 60)
    lines = (("a sentence of words " * 9).strip(), Paste("qengine run " + "a_long_path/" * 12))
    return console.rendered("title", table, lines).splitlines()


@pytest.mark.parametrize(("columns", "widest"), [("80", 80), ("60", 60), ("8", 40)])
def test_a_terminal_gets_lines_of_its_width(monkeypatch, columns, widest):
    monkeypatch.setenv("COLUMNS", columns)
    *lines, paste = shown()
    assert widest - 10 <= max(map(len, lines)) <= widest
    assert paste == "qengine run " + "a_long_path/" * 12
    assert [line for line in lines if line.startswith("  sentence") or line.startswith("  ")]


def test_a_pipe_gets_whole_sentences(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = shown()
    assert ("a sentence of words " * 9).strip() in lines
    assert max(map(len, lines[:5])) <= 110  # long texts in tables break


@pytest.mark.parametrize(("limit", "words"), [("1", ", 1 sample of digits"), ("2", ", 2 samples of digits")])
def test_one_sample_is_no_plural(capsys, limit, words):
    assert cli.main(["calibrate", "digits", "--limit", limit]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(words)


def luminance(colour):
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("ground", BACKGROUNDS)
@pytest.mark.parametrize("style", [styles.GOOD, styles.WARN, styles.BAD])
def test_colours_are_seen_on_light_and_dark_terminals(style, ground):
    """The contrast of WCAG 2.1, https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio."""
    light, dark = sorted((luminance(Color.parse(style).get_truecolor()), luminance(BACKGROUNDS[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3.5


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [
        ({"FORCE_COLOR": "1", "TERM": "xterm-256color"}, True),
        ({"FORCE_COLOR": "1", "TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
        ({"TERM": "xterm-256color"}, False),  # a pipe
    ],
)
def test_environment_decides_on_colours(capsys, monkeypatch, environment, is_coloured):
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["run", "digits", "--qformat", "Q0.7"]) == 0
    out = capsys.readouterr().out
    assert bool(re.search(r"\x1b\[[\d;]*38;5;196m", out)) == is_coloured
    assert "saturated" in out
