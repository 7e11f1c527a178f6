"""Tables in every width: names first, whole figures, and columns that go in the order of their importance."""

import re

import pytest
from rich.cells import cell_len

from qengine.cli.output.tables import Table

NAMES = ["/model/backbone/stage3/block2/conv/Conv_output_0", "x", "/模型/骨干网络/第三阶段/卷积层/卷积输出_0"]


def table():
    made = Table("--json, --csv FILE")
    made.names("tensor")
    made.formats("format", importance=9)
    made.numbers("SQNR\ndB", importance=8)
    made.numbers("smallest value", importance=2)
    made.numbers("satu-\nrated", importance=3)
    made.text("not detected", importance=1)
    for i, name in enumerate(NAMES):
        made.row(
            name, "Q8 n=6..7 per channel", f"{i}2.34", "-1,234,567.5", "0", "shift by one, half up, sign" if i else "-"
        )
    return made


def plain(made, width):
    return [line.plain for line in made.lines(width)]


@pytest.mark.parametrize("width", [*range(44, 161), None])
def test_every_width(width):
    lines = plain(table(), width)
    rows = [line for line in lines if re.search(r"\d2\.34", line) or "Q8" in line]
    assert len(rows) == len(NAMES)
    assert width is None or all(cell_len(line) <= width for line in lines)
    for row, name in zip(rows, NAMES, strict=True):
        first = row.split()[0]
        assert first == name or (first.partition("..")[0] and name.startswith(first.partition("..")[0]))
        assert "Q8 n=6..7 per channel" in row
    for figure in ("-1,234,567.5",):
        assert sum(figure in line for line in lines) in (0, len(NAMES))
    words = {word for line in lines for word in re.split(r"\s+", line)}
    assert words >= {"tensor", "format"}
    if "not shown:" not in "\n".join(lines):
        assert words >= {"shift", "half", "satu-", "rated"}


def test_columns_go_in_the_order_of_importance():
    seen = []
    for width in range(160, 43, -1):
        text = " ".join(" ".join(plain(table(), width)).split())
        missing = re.search(r"not shown: (.*) \(for", text)
        names = tuple(missing.group(1).split(", ")) if missing else ()
        if not seen or seen[-1] != names:
            seen.append(names)
    assert seen == [
        (),
        ("not detected",),
        ("smallest value", "not detected"),
        ("smallest value", "saturated", "not detected"),
        ("SQNR dB", "smallest value", "saturated", "not detected"),
    ]


def test_the_width_that_is_told_shows_all():
    text = " ".join(" ".join(plain(table(), 60)).split())
    width = int(re.search(r"\(for (\d+) columns, or see --json, --csv FILE\)", text).group(1))
    assert not any("not shown" in line for line in plain(table(), width))
    assert any("not shown" in line for line in plain(table(), width - 1))


@pytest.mark.parametrize("width", [70, 100, None])
def test_headings_stand_over_their_columns(width):
    """Headings of figures end where the figures end, those of words begin where the words begin."""
    lines = plain(table(), width)
    head = [line for line in lines[:4] if "Q8" not in line]
    row = next(line for line in lines if "Q8" in line and "x " in line)
    cells = lambda text: cell_len(row[: row.index(text)])  # noqa: E731
    assert cells("Q8") == next(cell_len(h[: h.index("format")]) for h in head if "format" in h)
    assert cells("12.34") + 5 == next(cell_len(h[: h.index("dB")]) + 2 for h in head if "dB" in h)


def test_no_line_ends_in_spaces_and_rows_may_be_short():
    made = Table()
    made.names("a")
    made.words("b")
    made.row("x")
    assert plain(made, 40) == ["a  b", "x"]


def test_an_indented_table_without_headings():
    made = Table(has_heading=False, indent=2)
    made.words("")
    made.text("")
    made.row("-", "many words " * 6)
    lines = plain(made, 40)
    assert lines[0] == "  -  many words many words many words"
    assert lines[1].startswith("     many")
