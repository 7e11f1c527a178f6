"""Words as typed: what was pasted, and suggestions with the model and the data that were typed."""

import pytest

from qengine.cli import parsing
from qengine.cli.options import fixed_point
from qengine.cli.options.general import LimitOptions
from qengine.cli.typed_words import read_words, with_typed
from qengine.errors import OptionError

HINT = "int8 is a word length: qengine calibrate MODEL --bits 8 does"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["run", "digits", "--qformat", "int8"], "qengine calibrate digits --bits 8"),
        (["run", "my models/net.onnx"], "qengine calibrate 'my models/net.onnx' --bits 8"),
        (["run", "m.onnx", "--data", "my photos"], "qengine calibrate m.onnx --data 'my photos' --bits 8"),
        (["export", "c", "m.onnx", "-o", "net"], "qengine calibrate m.onnx --bits 8"),
        (["targets", "check", "m.onnx"], "qengine calibrate m.onnx --bits 8"),
        (["run"], "qengine calibrate MODEL --bits 8"),
        (["run", "--qformat", "int8", "digits"], "qengine calibrate MODEL --bits 8"),
        ([], "qengine calibrate MODEL --bits 8"),
    ],
)
def test_a_suggested_command_can_be_pasted(words, command):
    assert command in with_typed(HINT, words)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["run"], "qengine calibrate --bits 8 does"),
        (["run", "--data", "d"], "qengine calibrate --data d --bits 8"),
        (["run", "--project", "p.toml"], "qengine calibrate --project p.toml --bits 8"),
        (["run", "m.onnx"], "qengine calibrate m.onnx --bits 8"),
    ],
)
def test_the_model_of_a_project_need_not_be_typed(words, command):
    assert command in with_typed(HINT, words, has_project=True)


def test_other_texts_stay():
    for text in ("run needs MODEL", '{"note": "qengine calibrate MODEL"}', "qengine compare PACK|MODEL DUMP", ""):
        assert with_typed(text, ["run", "digits"]) == text


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
