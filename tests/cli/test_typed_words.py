"""Words as typed: what was pasted from a page, and formats in other notations."""

import pytest

from qengine.cli import parsing
from qengine.cli.options import fixed_point
from qengine.cli.options.general import LimitOptions
from qengine.cli.typed_words import read_words
from qengine.errors import OptionError


@pytest.mark.parametrize("dash", "‐‑‒–—―−")
def test_dashes_of_a_page(dash):
    for typed in (f"{dash}qformat", f"{dash}{dash}qformat", f"{dash}-qformat", f"-{dash}qformat"):
        with pytest.raises(OptionError, match=r"begins with a dash that is no '-'.*give --qformat"):
            read_words(["run", "digits", typed, "Q4.3"])


@pytest.mark.parametrize("words", [["run", "a–b.onnx"], ["run", "-i", "x=–1"], ["run", "m.onnx", "-o", "out “1”.npy"]])
def test_such_marks_inside_of_a_word_are_part_of_it(words):
    assert read_words(words) == words


def test_blanks_of_a_page():
    with pytest.raises(OptionError, match="has a blank of a web page in it"):
        read_words(["run", "digits", "--qformat\u00a0Q4.3"])


def test_help_of_a_command():
    assert read_words(["help"]) == ["--help"]
    assert read_words(["help", "export", "c"]) == ["export", "c", "--help"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Q4.3,UQ0.8", ["Q4.3", "UQ0.8"]),
        ("ap_fixed<8,4>, Q4.3", ["ap_fixed<8,4>", "Q4.3"]),
        ("fixdt(1,8,4),A(4,3)", ["fixdt(1,8,4)", "A(4,3)"]),
    ],
)
def test_lists_of_formats(text, found):
    assert parsing.words("--qformat", text) == found


@pytest.mark.parametrize(("fmt", "meant"), [("Q1.7", "Q0.7"), ("Q4.4", "Q3.4"), ("Q4.3", None), ("UQ1.8", None)])
def test_a_sign_that_others_count_is_told(fmt, meant, caplog):
    fixed_point.FixedPointOptions(qformat=fmt).session_options(LimitOptions())
    told = [record.getMessage() for record in caplog.records]
    warning = f"{fmt} has 9 bits, with the sign; where m counts the sign (ARM), it is {meant} here"
    assert told == ([] if meant is None else [warning])
