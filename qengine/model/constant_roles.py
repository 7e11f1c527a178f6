"""Roles of constants in words, such as "weights of /stem/Conv": exporters name constants onnx::Conv_123.

The role is that of the first operator that computes with the constant. Nodes that only change how it is written
(Identity, Transpose, DequantizeLinear, ...) are looked through. The constant's own name is its key.
"""

import re
from collections.abc import Iterator, Mapping

from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Role, find

_LOOKED_THROUGH = frozenset(
    [
        "Identity",
        "Transpose",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Cast",
        "QuantizeLinear",
        "DequantizeLinear",
        "Quant",
        "BipolarQuant",
    ]
)
_OPAQUE = re.compile(
    r"(.*::)?([A-Za-z]{1,12}_)?(val|const|constant|tensor|initializer|param|t|_)?_?\d+(_\w{0,12})?", re.I
)
_PLAIN_NAMES = frozenset(("input", "data", "x", "a", "b", "c", "inputs", "condition", "y"))
_QUOTED = re.compile(r"'([^']+)'")


def constant_roles(graph: Graph) -> dict[str, str]:
    """Return what each constant of a model is, by its name; constants that nothing reads have no role."""
    found: dict[str, str] = {}
    for name, word, place, detail in _uses(graph, {}):
        if name not in found:
            role = f"{word} of {place}"
            found[name] = role if role not in found.values() else f"{word} {detail} of {place}"
    return found


def is_opaque(name: str) -> bool:
    """Return whether the name of a constant tells nothing, such as onnx::Conv_123."""
    return "::" in name or _OPAQUE.fullmatch(name) is not None


def label_of(name: str, role: str | None) -> str:
    """Return what a table calls a constant: its name, or its role where the name tells nothing."""
    return role if role and is_opaque(name) else name


def kind_of(name: str, role: str | None, kind: str) -> str:
    """Return the word of a table for a constant, next to its name: its role, or its kind where the role is its name."""
    return role if role and label_of(name, role) != role else kind


def with_roles(text: str, roles: Mapping[str, str]) -> str:
    """Return a sentence in which each quoted name of a constant that tells nothing is followed by its role."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"{match.group()} ({roles[name]})" if name in roles and is_opaque(name) else match.group()

    return _QUOTED.sub(replace, text)


def _uses(graph: Graph, outer: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield constant, word for its role, name of the node, and name of the operator's input, in the model's order."""
    sources = {**outer, **{name: name for name in graph.constants}}
    for node in graph.nodes:
        if node.operator in _LOOKED_THROUGH and node.inputs and node.inputs[0] in sources:
            sources |= {name: sources[node.inputs[0]] for name in node.outputs if name}
            continue
        operator = find(node)
        for i, (name, role) in enumerate(operator.roles(node)):
            if name in sources:
                parameter = operator.parameter(i)
                detail = parameter.name if parameter else f"input {i}"
                yield sources[name], _word(role, detail, i), _place(node), detail
        for body in node.graphs.values():
            yield from _uses(body, sources)


def _word(role: Role, parameter: str, place: int) -> str:
    if role is Role.WEIGHTS:
        return "weights"
    if role is Role.BIAS or (parameter == "b" and place > 1):
        return "bias"
    return "operand" if parameter.lower() in _PLAIN_NAMES or len(parameter) < 3 else parameter.replace("_", " ")


def _place(node: Node) -> str:
    """Return the name of a node; of one without a name its first output, with its operator."""
    return node.name or f"{next((name for name in node.outputs if name), '')} ({node.operator})"
