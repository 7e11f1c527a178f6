"""Reports as a whole: equal for equal inputs, safe for any names, and bounded for large models."""

import json

import onnx
import pytest
from html_report.models import KINDS, classifier, deep
from html_report.reading import read

import qengine
from qengine.errors import QEngineError
from qengine.html_report.facts import ModelFacts, NodeFacts, Report, TensorFacts
from qengine.html_report.page import page

HOSTILE = {
    "script": "</script><script>alert(1)</script>",
    "quotes": "a\"b'c`d",
    "comment": "<!--",
    "image": '"><img src=x onerror=alert(1)>',
    "emoji": "🦊/conv\u202e\u0000\n",
    "template": "{{x}} ${y} %s",
    "long": "x" * 10_000,
}
QUICK = {"quick": True, "curve": (), "targets": ()}


def test_equal_inputs_give_equal_files(tmp_path):
    pages = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        model, data = KINDS["classifier"]().written(folder)
        qengine.report(model, data, folder / "report.html", quick=True, curve=[4, 8], targets=["onnx"])
        pages.append((folder / "report.html").read_bytes())
    assert pages[0] == pages[1]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_cannot_change_the_page(name, tmp_path):
    name = name.replace("\0", "")  # which ONNX does not have
    model, data = classifier(name, node_name=name).written(tmp_path)
    result = qengine.report(model, data, tmp_path / "report.html", **QUICK)
    text = result.path.read_text(encoding="utf-8")
    found = read(text)
    assert len(found.of("script")) == 2
    assert len(found.of("img")) == len([one for one in found.of("img") if one["src"].startswith("data:")])
    assert not [key for one in found.elements for key in one.attributes if key.startswith("on")]
    assert not set("<>&") & set(found.of("script")[0].text)
    numbers = json.loads(found.of("script")[0].text)
    assert name in [one["name"] for one in numbers["tensors"]]
    shown = text.split("<script type=")[0]
    assert all(c.isprintable() or c in "\n\t" for c in shown)
    assert len(shown) < 200_000


def test_a_large_model_is_drawn_within_bounds():
    nodes = tuple(
        NodeFacts(f"/layers.{i}/Conv_{i}", "Conv", "integer", "", (f"t{i}",), "1x64x56x56", 1, (i - 1,) if i else (), i)
        for i in range(3000)
    )
    tensors = tuple(TensorFacts(f"tensor_{i}", "activation", "Conv", "Q3.4", 8, -8.0, 7.9, 0.0625) for i in range(4000))
    model = ModelFacts("large.onnx", "0" * 64, "g", {"": 17}, (), (), 1, 4, 1, (("Conv", "integer", 3000, 1),), nodes)
    text = page(Report("Summary.", "Next.", model, "given", tensors))
    found = read(text)
    assert len(text) < 6_000_000
    assert "1,500 more are left out" in text
    assert "2,000 more are left out" in text
    ids = {one["id"] for one in found.with_attribute("id")}
    assert {one["href"][1:] for one in found.with_attribute("href")} <= ids
    (tensor_rows,) = [one for one in found.of("summary") if "more rows" in one.text and "section" in _around(one)][:1]
    assert tensor_rows.text == "1,940 more rows"


def _around(element):
    return [one.tag for one in element.around]


def test_a_deep_model_is_reported(tmp_path):
    model, data = deep(60).written(tmp_path)
    result = qengine.report(model, data, tmp_path / "report.html", **QUICK)
    assert len(result.facts.model.nodes) == 61
    assert result.facts.blame.samples == 2


@pytest.mark.parametrize("form", ["path", "bytes", "proto", "session", "graph"])
def test_models_and_data_in_memory(form, tmp_path):
    kind = KINDS["classifier"]()
    path, _ = kind.written(tmp_path)
    session = qengine.InferenceSession(path, qformat="Q3.4")
    given = {
        "path": path,
        "bytes": kind.model,
        "proto": onnx.load_from_string(kind.model),
        "session": session,
        "graph": session.graph,
    }[form]
    pair = kind.samples["x"], kind.more["labels"]
    result = qengine.report(given, pair, tmp_path / "report.html", **QUICK)
    assert result.facts.model.name == "model.onnx"
    assert result.facts.formats.startswith("Q3.4" if form == "session" else "chosen")
    assert result.facts.accuracy.samples == 12
    assert repr(result) == f"<WrittenReport: {result.path}: {result.facts.summary}>"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"bits": 17}, "bits"),
        ({"bits": 8, "qformat": "Q4.3"}, "bits choose formats"),
        ({"curve": [1]}, "curve"),
        ({"targets": "onnx"}, "targets are a list"),
        ({"targets": ["tidll"]}, "did you mean 'tidl'"),
        ({"metric": "top2"}, "no metric is named 'top2'"),
        ({"output": "missing/report.html"}, "missing"),
        ({"output": "report.pdf"}, "cannot write report.pdf: a report is an HTML file, so its name must end in .html"),
    ],
)
def test_what_is_not_valid_is_refused_before_a_run(keywords, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, data = KINDS["classifier"]().written(tmp_path)
    with pytest.raises(QEngineError, match=message):
        qengine.report(model, data, **{"output": "report.html", **keywords})
    assert not (tmp_path / "report.html").exists()


def test_unknown_keywords_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'bit'"):
        qengine.report("digits", bit=8)
