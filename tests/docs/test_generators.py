"""Generated pages of the documentation: nothing is missing, and tables agree with the code."""

import re

import pytest
from generators import all_pages, api, commands, operators, project_pages, roundings, sources
from generators.markdown import ROOT, escaped
from generators.notebooks import as_page

import qengine
from qengine.cli.commands import COMMANDS, GROUPS
from qengine.metrics.declaration import all_metrics
from qengine.targets import names


def test_the_python_reference_has_every_public_name_once():
    listed = [name for _, group in api.GROUPS.values() for name in group]
    assert sorted([*listed, "__version__"]) == qengine.__all__


def test_every_command_has_a_page_with_every_option():
    pages = commands.pages()
    found = [*COMMANDS, *(f"{group}-{name}" for group, (_, inner) in GROUPS.items() for name in inner)]
    assert list(pages) == [f"reference/commands/{name}.md" for name in ("index", *found)]
    assert "`-o`, `--out FILE`" in pages["reference/commands/run.md"]
    assert "`--per-channel`, `--per-tensor`" in pages["reference/commands/run.md"]


def test_every_operator_of_onnx_has_a_row():
    text = operators.pages()["reference/operators.md"]
    rows = dict(re.findall(r"^\| (\w+) \| [\w.]+ \| \d+ \| ([\w, ]+) \|$", text, re.MULTILINE))
    assert rows["Conv"] == "integer"
    assert rows["Relu"] == "moves"
    assert rows["Einsum"] == "delegated"
    assert rows["Gradient"] == "unsupported"
    assert rows["If"].startswith("control")
    assert len(operators.kinds()) > 200


def test_tables_have_every_metric_and_target():
    pages = all_pages()
    assert re.findall(r"^\| `(\w+)` \|", pages["reference/metrics.md"], re.MULTILINE) == [m.name for m in all_metrics()]
    assert re.findall(r"^## ([\w-]+)$", pages["reference/targets.md"], re.MULTILINE) == list(names())


def test_every_rounding_and_overflow_has_a_figure():
    figures = roundings.pages()
    assert set(figures) == {f"images/modes/{one}.svg" for one in (*qengine.Rounding, *qengine.Overflow)}
    half_even = figures["images/modes/half_even.svg"]
    assert half_even != figures["images/modes/half_up.svg"]
    assert half_even.count("<circle") == 6  # the ties
    assert len(set(figures.values())) == len(figures)


def test_links_into_the_repository_lead_to_copies():
    given = (
        "[a](../../kernels/dot.py), [b](../../CHANGELOG.md#x), [c](../how-to/c.md), [d](../../qengine/deploy/c/ranges)"
    )
    assert sources.rewritten(given, "development/kernels.md") == (
        "[a](../source/kernels/dot.py.txt), [b](changes.md#x), [c](../how-to/c.md), "
        "[d](../source/qengine/deploy/c/ranges/index.md)"
    )


def test_pages_of_the_repository_keep_their_links():
    pages = project_pages.pages()
    assert "](../reference/fixed-point.md)" in pages["development/contributing.md"]
    for path, text in pages.items():
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            place = (ROOT / "docs" / path).parent / link
            assert place.resolve().exists(), (path, link)


@pytest.mark.parametrize(
    ("text", "wanted"), [("a < b * c", "a &lt; b \\* c"), ("`a<b` [x]", "`a<b` \\[x]"), ("plain", "plain")]
)
def test_text_is_escaped(text, wanted):
    assert escaped(text) == wanted


def test_a_notebook_becomes_a_page(tmp_path):
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": ["# Title\n", "\n", "Text."]},
            {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2"]}}]},
        ]
    }
    assert as_page(notebook, tmp_path / "a.ipynb") == (
        "# Title\n\n[Download this notebook](a.ipynb).\n\nText.\n\n```python\n1 + 1\n```\n\n```output\n2\n```\n"
    )
