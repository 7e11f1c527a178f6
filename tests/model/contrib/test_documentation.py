"""docs/reference/models.md lists the operators of ONNX Runtime that run."""

import re
from pathlib import Path

from model.contrib.cases import DOMAIN

import qengine.model.eager.single_node  # noqa: F401 - declares the evaluators
from qengine.model.contrib import expansions
from qengine.model.eager.evaluator import versions

PAGE = Path(__file__).parents[3] / "docs/reference/models.md"


def listed():
    """Return the operators in the list, by the bold words before them."""
    section = PAGE.read_text().partition("## Operators of ONNX Runtime")[2].partition("\n\nCDist")[0]
    items = re.findall(r"^- \*\*(.+?)\*\*(.*?)(?=^- |\Z)", section, re.MULTILINE | re.DOTALL)
    return {kind: set(re.findall(r"\b[A-Z]\w*[a-z0-9]\w*", names.replace("ONNX", ""))) for kind, names in items}


def test_every_operator_is_listed():
    kinds = listed()
    of_onnx = kinds.pop("In ONNX's own domain")
    assert set().union(*kinds.values()) == {name for domain, name in [*expansions(), *versions()] if domain == DOMAIN}
    assert of_onnx == {name for domain, name in expansions() if not domain}


def test_no_operator_is_listed_twice():
    kinds = listed()
    kinds.pop("In ONNX's own domain")
    assert sum(map(len, kinds.values())) == len(set().union(*kinds.values()))


def test_no_operator_has_an_expansion_and_an_evaluator():
    assert not expansions().keys() & {key for key in versions() if key[0] == DOMAIN}


def test_operators_that_are_not_expressed_are_named():
    (named,) = re.findall(r"\n\n(CDist.*?) are not expressed", PAGE.read_text(), re.DOTALL)
    assert set(re.findall(r"[A-Z]\w+", named)) == {name for domain, name in versions() if domain == DOMAIN}
