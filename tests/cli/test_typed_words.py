"""Words as typed: what was pasted, and suggestions with the model and the data that were typed."""

import pytest

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
