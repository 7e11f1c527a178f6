"""Progress by a clock that the test moves: time left, lines every ten seconds, nesting, and the choice of the form."""

import io
import os

import pytest

from qengine.cli.output import progress as module
from qengine.cli.output.progress import Lines, Work, duration, progress, status
from qengine.progress import reporting_to, silent, working


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (35.4, "35 s"),
        (99, "99 s"),
        (100, "2 min"),
        (3600, "60 min"),
        (7260, "2 h 1 min"),
        (9e4, "25 h 0 min"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_time_left_is_that_of_the_speed_so_far():
    clock = Clock()
    work = Work("calibrating m|samples", 1000, clock)
    assert work.figures() == "0 of 1,000 samples"
    clock.now += 5  # the first sample compiles: it says little about the others
    work.advance(20)
    clock.now += 10
    work.advance(100)
    assert work.figures() == "120 of 1,000 samples, 88 s left"
    assert Work("m", None, clock).figures() == ""
    unknown = Work("m", None, clock)
    clock.now += 12
    assert unknown.figures() == "12 s so far"


def test_more_than_the_total_is_no_negative_time():
    clock = Clock()
    work = Work("m", 2, clock)
    for _ in range(4):
        clock.now += 1
        work.advance(1)
    assert work.seconds_left() == 0


def lines_of(clock):
    stream = io.StringIO()
    return Lines(stream, clock), stream


def test_a_line_every_ten_seconds_however_often_work_advances():
    clock = Clock()
    lines, stream = lines_of(clock)
    work = Work("calibrating m|samples", 1000, clock)
    lines.push(work)
    for _ in range(140):
        clock.now += 0.25
        work.advance(2.5)
        lines.write_if_due()
    assert stream.getvalue().splitlines() == [
        "calibrating m: 100 of 1,000 samples, 90 s left",
        "calibrating m: 200 of 1,000 samples, 80 s left",
        "calibrating m: 300 of 1,000 samples, 70 s left",
    ]


def test_nested_work_is_one_line():
    clock = Clock()
    lines, stream = lines_of(clock)
    outer, middle, inner = (
        Work("sweeping m|points", 4, clock),
        Work("reading", None, clock),
        Work("fitting", None, clock),
    )
    for work in (outer, middle, inner):
        lines.push(work)
    clock.now += 10
    lines.write_if_due()
    lines.pop(inner)
    lines.pop(middle)
    clock.now += 10
    outer.advance(1)
    lines.write_if_due()
    assert stream.getvalue().splitlines() == [
        "sweeping m: 0 of 4 points, 10 s so far; fitting: 10 s so far",
        "sweeping m: 1 of 4 points, 60 s left",
    ]


def test_work_that_reports_nothing_is_not_silent(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0.01)
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    import time

    with status("thinking", quiet=False):
        begin = time.monotonic()
        while "thinking" not in stream.getvalue() and time.monotonic() - begin < 20:
            time.sleep(0.01)
    assert stream.getvalue().startswith("thinking")


def terminal(monkeypatch, term):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    return stream


@pytest.mark.parametrize(("columns", "has_bar"), [("100", True), ("60", False)])
def test_a_terminal_gets_bars_that_disappear(monkeypatch, columns, has_bar):
    stream = terminal(monkeypatch, "xterm")
    monkeypatch.setenv("COLUMNS", columns)
    name = "/model/backbone/stage3/block2/conv/Conv_output_0/that/is/long"
    with progress(f"calibrating {name}|samples", 4, quiet=False) as advance, working("compiling") as _:
        advance(1)
    text = stream.getvalue()
    assert "of 4 samples" in text
    assert "compiling" in text
    assert ("\N{BOX DRAWINGS HEAVY HORIZONTAL}" in text) == has_bar
    assert "\x1b[2K" in text.rsplit("samples", 1)[1]  # what was drawn is deleted


def test_a_dumb_terminal_gets_lines(monkeypatch):
    stream = terminal(monkeypatch, "dumb")
    with status("running", quiet=False):
        pass
    assert stream.getvalue() == ""


@pytest.mark.parametrize("force", ["1", ""])
def test_a_pipe_gets_no_control_sequences(monkeypatch, force):
    """FORCE_COLOR is about colours, and not about bars in a log."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("FORCE_COLOR", force)
    with status("running", quiet=False), working("inner", 3) as advance:
        advance(3)
    assert stream.getvalue() == ""


def test_quiet_is_quiet_within_too(monkeypatch):
    stream = terminal(monkeypatch, "xterm")
    with status("running", quiet=True), working("inner", 3) as advance:
        advance(1)
    assert stream.getvalue() == ""


def test_without_a_command_line_nothing_is_shown(monkeypatch):
    stream = terminal(monkeypatch, "xterm")
    with working("inner", 3) as advance:
        advance(1)
    assert stream.getvalue() == ""
    with reporting_to(silent), working("inner") as advance:
        advance(1)


def test_an_error_within_removes_the_bars(monkeypatch):
    stream = terminal(monkeypatch, "xterm")
    with pytest.raises(ValueError, match="no"), status("running", quiet=False):
        raise ValueError("no")
    assert not module._open
    assert os.linesep in stream.getvalue() or stream.getvalue()
