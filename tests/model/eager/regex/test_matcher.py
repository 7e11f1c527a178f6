"""Regular expressions against RE2, which ONNX Runtime uses, and their bounds."""

import time

import numpy as np
import onnxruntime
import pytest
from model.eager.nodes import model
from model.ops.cases import by_onnxruntime

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.regex import compiled, matcher

TEXTS = [
    *(
        "",
        "a",
        "b",
        "ab",
        "aab",
        "aaaa",
        "abab",
        "A",
        "AB",
        "a b",
        "a\nb",
        "\n",
        "_",
        "é",
        "ÉÈ",
        "ſ",
        "K",
        "\u212a",
        "k",
    ),
    *("1", "12", "٣", "a1", "foo@bar.com", "x-y", "]", "-", "^", "$", ".", "\\", "\t", "\x0b", "(a)", "a{2}", "a{,2}"),
    *(
        "{",
        "}",
        "ß",
        "ẞ",
        "SS",
        "日本",
        "🙂",
        "a" * 50,
        "aXbXc",
        "\x00",
        "Ω",
        "ω",
        "\u0130",
        "\u0131",
        "i",
        "I",
        "s",
        "ǅ",
    ),
]
PATTERNS = [
    *("", "a", "a*", "a+", "a?", "(a*)*b", "a|b", "(a|b)*", "a.b", "(?s)a.b", "(?i)ab", "(?i)k", "(?i)s", "(?i)[k-m]"),
    *(
        "(?i)ß",
        "(?i)[^k]",
        "[abc]+",
        "[^abc]",
        "[]]",
        "[^]]",
        "[]a]+",
        "[-a]",
        "[a-]",
        "[a-c-e]",
        "[--a]",
        r"\d+",
        r"\w+",
    ),
    *(r"\s", r"\D", r"\W", r"\S", r"[\d\s]+", r"[^\d]+", r"[\w.]+@[\w.]+", r"\bab\b", r"\Bab", r"a\b b", "^a$"),
    *(
        "(?m)a$\n^b",
        "a$\nb",
        r"\Aa\z",
        "a{2}",
        "a{2,}",
        "a{1,3}",
        "a{,2}",
        "a{",
        "a{a}",
        "{",
        "a*?",
        "a+?b",
        "a??",
        "|a",
    ),
    *("a|", "||", "()", "(|a)b", "(?:ab)+", "(?P<n>a)", "(?<n>a)", "(?P<n>a)(?P<n>b)", r"\12", r"\141", r"\0", r"\07"),
    *(r"\x61", r"\x{61}", r"\x{1F642}", r"\Qa.b\E", r"\Qab\E*", r"\pL", r"\p{L}+", r"\p{Lu}", r"\P{Lu}", r"\p{^Lu}"),
    *(
        r"(?i)\p{Lu}",
        r"[\pL\d]+",
        r"[^\pL]",
        r"\pZ",
        r"\_",
        r"\-",
        "[[:alpha:]]+",
        "[[:^alpha:]]",
        "[:alpha:]",
        "((a))",
    ),
    *("(?i:a)b", "(?i)a(?-i)b", "(?i-s)a", "(?)a", "(?:)", "(?U)a+", "(?im)A", "^*", "^*a", r"\b*a", "(a{10}){10}"),
    *("a{0}", "a{0,0}b", "(?s).", ".*", "..", "[é-ü]", "日.", r"[\x00-\x7f]+", r"\a|\f|\t|\n|\r|\v", "[a\\]b]", "a||b"),
    *("[a-z&&[b]]", "(?i)\u0130", "(?i)i", "(?i)ǆ", "(?i)ω", "[[a]", "[[:word:]]+", "(a|)+b", "(?i)[A-Z]+", r"(?i)\w"),
]
INVALID = [
    *("[a--]", r"a\Z", "a{2}{3}", "a**", "a*+", "*a", "+", "?", "(?P=n)", "(?=a)", "(?!a)", "(?<=a)", r"(a)\1", r"\1"),
    *(r"\x6", r"\x{110000}", r"\q", r"\é", "[[:foo:]]", "[[:alpha:]", "[z-a]", r"[a-\d]", "[", "[]", "[^]", "(", "a)"),
    *(
        "(a",
        "(?-)a",
        "(?",
        "(?z)",
        "a{1001}",
        "(a{100}){100}",
        "a{2,1}",
        r"\X",
        r"\h",
        "(?x)a b",
        r"[\b]",
        r"[\Q]",
        r"\E",
    ),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_matches_are_those_of_re2(pattern):
    built, feeds = model("RegexFullMatch", [np.array(TEXTS, object)], pattern=pattern)
    (theirs,) = by_onnxruntime(built, feeds)
    expression = compiled(pattern)
    assert {t: expression.matches(t) for t in TEXTS} == dict(zip(TEXTS, theirs.tolist(), strict=True))


@pytest.mark.parametrize("pattern", INVALID)
def test_what_re2_refuses_is_an_error(pattern):
    built, _ = model("RegexFullMatch", [np.array(TEXTS, object)], pattern=pattern)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        by_onnxruntime(built, {})
    with pytest.raises(ModelError, match="is not valid in RE2"):
        compiled(pattern)


@pytest.mark.parametrize(
    "pattern", [r"\C", r"\p{Greek}", "(" * 101 + ")" * 101, "a" * 10_001, "(a{1,999}b{1,999}){1}" * 20]
)
def test_what_is_left_out_is_refused_by_name(pattern):
    with pytest.raises(UnsupportedError):
        compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("(a*)*b", "a" * 100_000, False),
        ("(x+x+)+y", "x" * 100_000, False),
        ("(.*)(.*)(.*)x", "y" * 100_000, False),
        ("(a|aa)+", "a" * 100_000, True),
        ("(a?){300}a{300}", "a" * 300, True),
        ("(a.*)*" * 100, "a" * 2_000, True),
    ],
)
def test_time_is_linear(pattern, text, expected):
    start = time.perf_counter()
    assert compiled(pattern).matches(text) is expected
    assert time.perf_counter() - start < 10  # fractions of a second; Python's re would take years


def test_work_is_bounded(monkeypatch):
    """A pattern whose sets of states never repeat is refused before it takes long."""
    monkeypatch.setattr(matcher, "MAX_WORK", 100_000)
    text = "".join(np.random.default_rng(1).choice(["a", "b"], 1_000))
    assert not compiled("[ab]*a[ab]{2}").matches(text + "c")
    with pytest.raises(UnsupportedError, match="steps on these texts"):
        compiled("[ab]*a[ab]{900}").matches(text)


def test_forgetting_sets_changes_no_match():
    pattern = compiled("[ab]*a[ab]{12}")  # needs 4,096 sets
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(["a", "b"], 20_000))
    assert pattern.matches(text[:-13] + "a" + text[-12:])
    assert not pattern.matches(text[:-13] + "b" + text[-12:])
