import pickle

import pytest

from qengine.errors import ModelError, QEngineError, first_line, printable


def test_printable():
    assert printable("conv\x1b[2J\n\tü\ud800") == "conv\\x1b[2J\\n\\tü\\ud800"


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "\u202e", "x" * 5000])
def test_a_message_is_one_printable_line(text):
    message = str(QEngineError(text))
    assert message.isprintable()
    assert len(message) <= 1003


def test_of_a_long_message_both_ends_stay():
    message = str(QEngineError(f"'{'x' * 5000}' is no file"))
    assert message.startswith("'xxx")
    assert message.endswith("xxx' is no file")


def test_an_error_goes_through_a_pipe_between_processes():
    error = pickle.loads(pickle.dumps(ModelError("node 'a': \n")))
    assert type(error) is ModelError
    assert str(error) == "node 'a': \\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\nb"), "a"),
        (ValueError("\n  a\r\nb"), "a"),
        (ValueError(), "ValueError"),
        (ValueError(" \n"), "ValueError"),
        (OSError(2, "gone"), "[Errno 2] gone"),
        (ValueError("x" * 201), "x" * 200 + "..."),
    ],
)
def test_first_line(error, line):
    assert first_line(error) == line
