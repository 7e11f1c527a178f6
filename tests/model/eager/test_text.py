"""Operators of text against ONNX Runtime."""

import numpy as np
import pytest
from model.eager.nodes import check, model, run, text
from onnx import TensorProto, helper

import qengine
from qengine import QEngineError

WORDS = text("The", "cat", "the", "DOG")


@pytest.mark.parametrize("action", ["NONE", "LOWER", "UPPER"])
@pytest.mark.parametrize("is_case_sensitive", [0, 1])
@pytest.mark.parametrize("stopwords", [["no"], ["the"], ["THE"], ["the", "cat", "dog"]], ids=str)
@pytest.mark.parametrize("x", [WORDS, WORDS[None], text("the", "the"), text("the")[None]], ids=lambda x: str(x.shape))
def test_normalizer(x, action, is_case_sensitive, stopwords):
    attributes = {"case_change_action": action, "is_case_sensitive": is_case_sensitive, "stopwords": stopwords}
    types = {"x0": helper.make_tensor_type_proto(TensorProto.STRING, x.shape)}
    check("StringNormalizer", [x], locale="C", types=types, **attributes)  # the machine may have no other locale


@pytest.mark.parametrize(
    ("locale", "action", "word", "expected"),
    [
        ("en_US", "UPPER", "straße é", "STRAßE É"),
        ("de_DE.UTF-8", "LOWER", "ÄÖİ", "äöi"),
        ("", "UPPER", "ᾀ", "ᾈ"),
        ("C", "LOWER", "ÄB", "Äb"),
    ],
)
def test_letters_keep_their_number(locale, action, word, expected):
    (found,) = run("StringNormalizer", [text(word)], locale=locale, case_change_action=action)
    assert found.tolist() == [expected]


@pytest.mark.parametrize("delimiter", [None, "", " ", ",", "--"])
@pytest.mark.parametrize("maxsplit", [None, 0, 1, 2, -1, 2**31 - 1])
def test_split(delimiter, maxsplit):
    attributes = {"delimiter": delimiter, "maxsplit": maxsplit}
    attributes = {k: v for k, v in attributes.items() if v is not None}
    for x in (text(" a  b ", "", "c,,d", "e--f---g", "  ", ","), text("a b", "c")[:, None], text("", "")):
        check("StringSplit", [x], 2, **attributes)
    check("StringSplit", [np.array("a b", object)], 2, **attributes)


def test_split_at_any_white_space():
    """The specification says white space, and onnx.reference splits at all of it; ONNX Runtime at the space alone."""
    parts, counts = run("StringSplit", [text("a\tb\n c", "d")], 2)
    assert (parts.tolist(), counts.tolist()) == ([["a", "b", "c"], ["d", "", ""]], [3, 1])


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
def test_split_of_nothing(shape):
    parts, counts = run("StringSplit", [np.empty(shape, object)], 2)
    assert (parts.shape, counts.shape) == ((*shape, 0), shape)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (text("a", "b"), text("c", "d")),
        (text("a", "b")[:, None], text("c", "d", "e")),
        (np.array("a", object), text("c", "d")),
        (np.array("a", object), np.array("b", object)),
    ],
)
def test_concat(x, y):
    check("StringConcat", [x, y])


def test_concat_of_nothing():
    assert run("StringConcat", [np.empty((0, 2), object), text("a")])[0].shape == (0, 2)


def test_patterns():
    x = text("a@b.com", "a@b", "", "a@b.com\n").reshape(2, 2)
    check("RegexFullMatch", [x], pattern=r"\w+@\w+\.com")
    (found,) = run("RegexFullMatch", [np.array("x", object)], pattern="x|y")
    assert found.shape == ()
    assert found.dtype == bool


ERRORS = {
    "action": ("StringNormalizer", (WORDS,), {"case_change_action": "TITLE"}),
    "shape": ("StringNormalizer", (WORDS.reshape(2, 2),), {}),
    "nothing": ("StringNormalizer", (np.empty(0, object),), {}),
    "locale": ("StringNormalizer", (WORDS,), {"locale": "../etc"}),
    "cases of Turkish": ("StringNormalizer", (WORDS,), {"locale": "tr_TR"}),
    "broadcast": ("StringConcat", (text("a", "b"), text("a", "b", "c")), {}),
    "text bomb": ("StringConcat", (text("a" * 2**16)[:, None], np.full(2**15, "", object)), {}),
    "split bomb": ("StringSplit", (text("," * 2**20, *[""] * 2**11),), {"delimiter": ","}),
    "no pattern": ("RegexFullMatch", (WORDS,), {}),
    "pattern": ("RegexFullMatch", (WORDS,), {"pattern": "(a"}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_not_valid_is_refused(name):
    operator, inputs, attributes = ERRORS[name]
    with pytest.raises(QEngineError):
        run(operator, inputs, 2 if operator == "StringSplit" else 1, **attributes)


def test_results_stay_within_the_memory_of_a_run():
    bombs = [
        ("StringConcat", [text("a" * 4096)[:, None], np.full(2**13, "", object)], {}),
        ("StringSplit", [text("," * 2**17, *[""] * 64)], {"delimiter": ","}),
    ]
    for operator, inputs, attributes in bombs:
        built, feeds = model(operator, inputs, 1 + (operator == "StringSplit"), **attributes)
        assert qengine.InferenceSession(built).run(None, feeds)
        with pytest.raises(QEngineError, match="--max-memory"):
            qengine.InferenceSession(built, max_memory="16M").run(None, feeds)
