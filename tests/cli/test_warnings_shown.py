"""Warnings on standard error."""

from __future__ import annotations

import io
import logging
import os

import pytest

from qengine.cli import warnings_shown

TEXT = "qengine: compiling 14 new kernels for avx512vnni on 2 cores, about 3 s (kept in ~/.cache/qengine)"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def logger(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    found = logging.getLogger("qengine")
    before = list(found.handlers)
    warnings_shown.show_warnings()
    warnings_shown.show_warnings()
    yield found
    found.handlers[:] = before


def test_lines_are_folded_on_a_terminal(logger, monkeypatch):
    """The terminal may have replaced standard error since the handler was made."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    logger.warning("%s", TEXT)
    lines = stream.getvalue().splitlines()
    assert [line.strip() for line in lines] == [TEXT[:-18], TEXT[-17:]]
    assert max(map(len, lines)) < 80


def test_a_pipe_gets_one_line(logger, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logger.warning("%s", TEXT)
    assert stream.getvalue() == TEXT + "\n"


def test_a_long_path_stays_whole(logger, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    logger.warning("kept in %s", "/long-path" * 12)
    assert "/long-path" * 12 in stream.getvalue()


@pytest.mark.parametrize("stream", [None, open(os.devnull)], ids=["none", "closed"])  # noqa: SIM115, PTH123
def test_without_standard_error_nothing_happens(stream, logger, monkeypatch):
    if stream is not None:
        stream.close()
    monkeypatch.setattr("sys.stderr", stream)
    logger.warning("%s", TEXT)


def test_a_note_is_written_once_in_a_command(logger, capsys):
    warnings_shown.show_notes(["classes: 6 folders", "one\nline", "classes: 6 folders"])
    warnings_shown.show_notes(["classes: 6 folders"])
    assert capsys.readouterr().err == "classes: 6 folders\none\\nline\n"
    warnings_shown.show_warnings()
    warnings_shown.show_notes(["classes: 6 folders"])
    assert capsys.readouterr().err == "classes: 6 folders\n"
