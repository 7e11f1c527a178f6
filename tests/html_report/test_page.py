"""The page of every kind of model: well formed, complete, without anything from elsewhere, and usable by all."""

import json
import re
from itertools import pairwise

import pytest
from html_report.models import KINDS
from html_report.reading import read

from qengine.html_report.page import record
from qengine.html_report.sections import sections

TITLES = [
    *("Summary", "The model", "Formats", "Accuracy", "Word length", "Tensors", "Blame", "Memory and cost", "Operators"),
    *("Data and preprocessing", "Worst samples", "Notes", "Commands", "Versions"),
]


@pytest.fixture(params=KINDS)
def page(request, written):
    return read(written(request.param)[1])


def test_sections_are_all_there(page):
    assert [one.text for one in page.of("h2")] == TITLES
    assert [one["href"] for one in page.of("a") if one.around[-1].tag == "li" and "nav" in _tags(one)] == [
        f"#{one['id']}" for one in page.of("section")
    ]


def _tags(element):
    return [one.tag for one in element.around]


def test_nothing_comes_from_elsewhere(page):
    assert not page.of("link", "iframe", "object", "embed", "base", "form", "video", "audio")
    for one in page.with_attribute("href"):
        assert one["href"].startswith("#")
    for one in page.with_attribute("src"):
        assert one.tag == "img"
        assert one["src"].startswith("data:image/png;base64,")
    (style,) = page.of("style")
    assert "url(" not in style.text
    assert "@import" not in style.text
    policies = [one["content"] for one in page.of("meta") if one["http-equiv"]]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"]
    assert not [name for one in page.elements for name in one.attributes if name.startswith("on")]


def test_anchors_lead_somewhere(page):
    ids = [one["id"] for one in page.with_attribute("id")]
    assert len(ids) == len(set(ids))
    used = [one["href"][1:] for one in page.with_attribute("href")]
    used += [name for one in page.elements for key in ("aria-labelledby", "aria-describedby") if (name := one[key])]
    assert set(used) <= set(ids)


def test_headings_are_in_order(page):
    levels = [int(one.tag[1]) for one in page.of("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_tables_pictures_and_drawings_have_names(page):
    assert page.of("table")
    for one in page.of("th"):
        assert one["scope"] in ("col", "row")
    for one in page.of("table"):
        assert one.around[-1]["aria-label"]
        assert one.around[-1]["tabindex"] == "0"  # what scrolls can be reached by keyboard
    for one in page.of("svg"):
        assert one["role"] in ("img", "group")
        assert one["aria-label"]
    for one in page.of("img"):
        assert one["alt"]
    for one in page.of("button"):
        assert one["type"] == "button"
    assert page.of("html")[0]["lang"] == "en"


def test_what_needs_a_script_is_hidden_without_one(page):
    hidden = [one for one in page.elements if "hidden" in one.attributes]
    for one in page.of("button", "input"):
        assert one in hidden or any(around in hidden for around in one.around)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_in_the_page(kind, written):
    result, text = written(kind)
    (script,) = [one for one in read(text).of("script") if one["type"] == "application/json"]
    assert json.loads(script.text) == json.loads(json.dumps(record(result.facts)))
    assert result.facts.tensors
    assert result.facts.accuracy.samples == len(next(iter(KINDS[kind]().samples.values())))


@pytest.mark.parametrize("kind", KINDS)
def test_pages_say_no_time_and_no_place(kind, written):
    result, text = written(kind)
    assert str(result.path.parent) not in text
    assert "/tmp" not in text
    assert not re.search(r"\d\d:\d\d:\d\d|20\d\d-\d\d-\d\d", text.split("<script")[0])


def test_every_box_of_a_tensor_leads_to_its_row(written):
    result, text = written("classifier")
    page, tensors = read(text), result.facts.tensors
    links = [one for one in page.of("a") if "svg" in _tags(one)]
    assert links
    rows = {one["id"]: one for one in page.of("tr") if one["id"]}
    for one in links:
        assert tensors[int(one["href"][2:])].name in rows[one["href"][1:]].text


def test_sections_of_a_report_without_data_say_why(written, tmp_path):
    import qengine

    model, _ = KINDS["classifier"]().written(tmp_path)
    plain = qengine.report(model, output=tmp_path / "plain.html")
    given = qengine.report(model, output=tmp_path / "given.html", qformat="Q4.3")
    assert "no data" in plain.summary
    assert not plain.facts.tensors
    assert given.facts.formats == "Q4.3 for every activation"
    assert {one.name for one in given.facts.tensors} >= {"x", "r", "scores", "w"}
    assert [one.title for one in sections(plain.facts)] == TITLES
    for result in (plain, given):
        page = read(result.path.read_text(encoding="utf-8"))
        assert "give --data" in next(one.text for one in page.of("section") if one["id"] == "accuracy")
