"""Reference of the operators: the way in which each computes in fixed point, found by inspecting ONNX's own test cases.

What becomes of a node depends on its attributes and types as much as on its operator: no declaration alone tells it.
ONNX has cases of nearly every operator; `qengine inspect` says of each, without a run, how it would compute. For the
few without a case the declaration of the evaluator says it.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from functools import cache

import onnx
from onnx.backend.test.loader import load_model_tests

import qengine
from generators.markdown import Pages, code, page, table
from qengine.analysis.inspection.kinds import MEANINGS
from qengine.model.contrib import expansions
from qengine.model.eager.evaluator import versions as evaluators
from qengine.model.ops.operator import versions as handlers

Key = tuple[str, str]
ORDER = ("integer", "moves", "shape", "control", "island", "delegated", "unsupported")


@cache
def kinds() -> dict[Key, list[str]]:
    """Return the kinds of every operator of ONNX by domain and name, in the order of `ORDER`."""
    found: dict[Key, set[str]] = defaultdict(set)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) != 1:
            continue
        try:
            inspected = qengine.inspect_model(case.model, qformat="Q3.4")
        except qengine.QEngineError:  # inputs of text have no shape to give
            continue
        found[nodes[0].domain, nodes[0].op_type] |= {
            one.kind for one in inspected.nodes if one.operator == nodes[0].op_type and not one.within
        }
    for key in _defined():
        declared = handlers().keys() | evaluators().keys()
        if not found[key]:
            found[key] = {"delegated" if key in declared else "shape" if key == ("", "Constant") else "unsupported"}
    return {key: [kind for kind in ORDER if kind in found[key]] for key in _defined()}


def _defined() -> dict[Key, int]:
    """Return the first opset of every operator of ONNX that is not a function of training."""
    first: dict[Key, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        key = (schema.domain, schema.name)
        first[key] = min(schema.since_version, first.get(key, schema.since_version))
    return dict(sorted(first.items()))


def pages() -> Pages:
    """Return the page of operators."""
    found = kinds()
    meanings = table(("kind", "meaning"), ((code(kind), MEANINGS[kind]) for kind in ORDER))
    rows = [
        (name, domain or "ai.onnx", str(_defined()[domain, name]), ", ".join(of))
        for (domain, name), of in found.items()
    ]
    contributed = sorted({name for domain, name in [*expansions(), *evaluators()] if domain == "com.microsoft"})
    return {
        "reference/operators.md": page(
            "Operators",
            f"The {len(rows)} operators that onnx {onnx.__version__} defines, the opset that brought each, and how "
            "its nodes compute in fixed point: the kinds that `qengine inspect` names. Where there are several, the "
            "attributes or the types of a node decide; the first is the one of real numbers. In float32 everything but "
            "`unsupported` runs.",
            meanings,
            "[Fixed point](fixed-point.md#operators) has the rule of each operator that computes in integers.",
            "## Operators of ONNX",
            table(("operator", "domain", "since", "in fixed point"), rows),
            "## Operators of ONNX Runtime",
            f"Of `com.microsoft`, {len(contributed)} run: " + ", ".join(map(code, contributed)) + ". "
            "[Models](models.md#operators-of-onnx-runtime) says how.",
        )
    }
