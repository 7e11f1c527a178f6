"""Names that are shortened, and sentences that wrap, in cells of a terminal."""

import pytest
from rich.cells import cell_len
from rich.text import Text

from qengine.cli.output.text import shortened, shortened_apart, shown, wrapped

LONG = "/model/backbone/stage3/block2/conv/Conv_output_0"
NAMES = [LONG, "/模型/骨干网络/第三阶段/卷积层/卷积输出_0", "re\u0301seau/e\u0301tage/cafe\u0301" * 3, "x" * 100, "x"]


@pytest.mark.parametrize(
    ("name", "length", "expected"),
    [
        (LONG, len(LONG), LONG),
        (LONG, 24, "/model/back..nv_output_0"),
        (LONG, 25, "/model/backb..nv_output_0"),
        ("abcdef", 5, "ab..f"),
        ("abcdef", 2, ".."),
        ("模型网络", 6, "模..络"),
        ("abcde\u0301f", 5, "ab..f"),  # the accent goes with its letter
    ],
)
def test_names_keep_their_ends(name, length, expected):
    assert shortened(name, length) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_never_longer_than_its_room(name):
    for length in range(1, 60):
        assert cell_len(shortened(name, length)) <= length


@pytest.mark.parametrize(
    "names",
    [
        ("weights of /l1/down/down.0/Conv", "weights of /l2/down/down.0/Conv", "short"),
        tuple(f"/encoder/layers.{i}/attention/MatMul_output_0" for i in range(12)),
        tuple(f"{'x' * 40}{i}{'y' * 3}" for i in range(9)),
        ("/模型/一/卷积层/卷积输出_0", "/模型/二/卷积层/卷积输出_0"),
    ],
)
def test_names_are_told_apart(names):
    short = shortened_apart(names, 25)
    assert len({*short}) == len(names)
    assert all(cell_len(one) <= 25 for one in short)


def test_names_that_differ_in_what_no_gap_shows_stay():
    names = [f"{'x' * 30}{i}{'y' * 30}" for i in range(2)]
    assert shortened_apart(names, 20) == [shortened(name, 20) for name in names]


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_sentences_break_at_words(width):
    sentence = f"note: '{LONG}' of 卷积输出 (up to 0.3) is all zeros in its format: give it one with 12,345.5 bits more"
    lines = [line.plain for line in wrapped(Text(sentence, style="bold"), width)]
    assert all(cell_len(line) <= width for line in lines)
    assert all(line.startswith("  ") and line[2] != " " for line in lines[1:])
    words = " ".join(lines).split()
    assert [word for word in words if ".." not in word] == [w for w in sentence.split() if w in words]
    assert "12,345.5" in words
    assert all(line.style == "bold" for line in wrapped(Text(sentence, style="bold"), width))


def test_what_fits_is_not_changed():
    assert [line.plain for line in wrapped(Text("a   b"), 5)] == ["a   b"]


def test_characters_that_standard_output_lacks_are_escaped(monkeypatch):
    monkeypatch.setattr("sys.stdout", type("Stream", (), {"encoding": "ascii"})())
    assert shown("a\u5377") == "a\\u5377"
    monkeypatch.setattr("sys.stdout", type("Stream", (), {"encoding": "utf-8"})())
    assert shown("a\u5377\x1b[31m") == "a\u5377\\x1b[31m"
