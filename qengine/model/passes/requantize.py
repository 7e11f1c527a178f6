"""Removal of Requantize operators that need no step of their own.

A quantized model rounds a tensor to a format after it is computed. Where nothing reads the tensor before the rounding,
the operator that computes it can round to that format at once, and the Requantize goes.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import replace

from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Role, find
from qengine.model.rules import Modes
from qengine.qformat import Format, Overflow


def merge_requantize(graph: Graph, apart: Container[str] = ()) -> Graph:
    """Remove each Requantize that its producer can do, and give the producer's output the format.

    Format-preserving operators tie tensors to their root, the tensor from which all of them are copied. A Requantize to
    the root's own format does nothing, unless its overflow leaves out a code of it. If the root has no
    format and every reader is a Requantize to the same format by the same rules, the root gets that format and rules.

    Parameters
    ----------
    graph
        A quantized graph with formats.
    apart
        Roots that get no format: what is computed from them must not be rounded yet.
    """
    assert graph.formats is not None
    formats, aliases, rules = dict(graph.formats), dict(graph.aliases), dict(graph.rules)
    root = roots(graph)
    wanted: dict[str, set[tuple[Format, Modes] | None]] = {}
    for name, rounding in _rounded_reads(graph, root):
        wanted.setdefault(root[name], set()).add(rounding)
    nodes = []
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        one = replace(node, inputs=tuple(renamed.get(n, n) for n in node.inputs)) if renamed else node
        if not _is_requantize(node):
            nodes.append(one)
            continue
        (source,), (out,) = node.inputs, node.outputs
        start = root[source]
        fmt, modes = formats[out], rules.get(out, Modes())
        has, by = graph.formats.get(start), graph.rules.get(start, Modes())
        is_in_format = has == fmt and modes.overflow in (None, Overflow.SATURATE, by.overflow)
        is_free = has is None and start not in graph.constants and start not in apart
        if is_in_format or (is_free and wanted[start] == {(fmt, modes)}):
            real = renamed.get(source, source)
            formats[real] = fmt
            formats.pop(out)
            rules.pop(out, None)
            if has is None and modes != Modes():
                rules[real] = modes
            renamed[out] = real
        else:
            nodes.append(one)
    aliases = {name: renamed.get(real, real) for name, real in aliases.items()} | renamed
    decoded = {name: renamed.get(real, real) for name, real in graph.decoded.items()}
    merged = replace(graph, nodes=tuple(nodes), formats=formats, aliases=aliases, decoded=decoded, rules=rules)
    return _with_rules_of_groups(with_names_kept(merged))


def _with_rules_of_groups(graph: Graph) -> Graph:
    """Return the graph in which all tensors with the codes of one root have its rules: any of them may be computed."""
    if not graph.rules:
        return graph
    root = roots(graph)
    by_root = {root[name]: modes for name, modes in graph.rules.items() if name in root}
    return replace(graph, rules={name: by_root[start] for name, start in root.items() if start in by_root})


def with_names_kept(graph: Graph) -> Graph:
    """Return the graph in which its outputs, and tensors that inner graphs read, have their own names again."""
    nodes, aliases, formats = list(graph.nodes), dict(graph.aliases), dict(graph.formats or {})
    decoded, rules = dict(graph.decoded), dict(graph.rules)
    outputs = {value.name for value in graph.outputs}
    captured = {name for node in nodes for name in node.captures}
    computed = {name for node in nodes for name in node.outputs}
    for name in sorted(aliases.keys() & (outputs | captured)):
        real = aliases.pop(name)
        if real in computed - outputs - captured and name not in captured:
            # No one else needs the name `real`: rename the tensor.
            nodes = [_renamed(node, real, name) for node in nodes]
            aliases = {each: name if target == real else target for each, target in aliases.items()} | {real: name}
            decoded = {each: name if target == real else target for each, target in decoded.items()}
            if real in formats:
                formats[name] = formats.pop(real)
            if real in rules:
                rules[name] = rules.pop(real)
            computed.discard(real)
        else:
            place = next((i + 1 for i, node in enumerate(nodes) if real in node.outputs), 0)
            nodes.insert(place, Node("Identity", (real,), (name,)))
    return replace(graph, nodes=tuple(nodes), aliases=aliases, formats=formats, decoded=decoded, rules=rules)


def _renamed(node: Node, old: str, new: str) -> Node:
    inputs, outputs = (tuple(new if n == old else n for n in names) for names in (node.inputs, node.outputs))
    return node if (inputs, outputs) == (node.inputs, node.outputs) else replace(node, inputs=inputs, outputs=outputs)


def _is_requantize(node: Node) -> bool:
    return node.operator == "Requantize" and node.domain == "qengine"


def roots(graph: Graph) -> Mapping[str, str]:
    """Return the root of each tensor: the tensor from which format-preserving operators copy its codes."""
    root = {name: name for name in (*graph.constants, *(value.name for value in graph.inputs))}
    for node in graph.nodes:
        kept = find(node).kept_outputs(node) if node.inputs and node.inputs[0] in root else ()
        for name in filter(None, node.outputs):
            root[name] = root[node.inputs[0]] if name in kept else name
    return root


def _rounded_reads(graph: Graph, root: Mapping[str, str]) -> Iterator[tuple[str, tuple[Format, Modes] | None]]:
    """Yield each tensor that is read, with the format and rules by which it is rounded; None for any other reader."""
    assert graph.formats is not None
    yield from ((value.name, None) for value in graph.outputs if value.name in root)
    for node in graph.nodes:
        if _is_requantize(node):
            (out,) = node.outputs
            yield node.inputs[0], (graph.formats[out], graph.rules.get(out, Modes()))
            continue
        keeps = find(node).preserves_format(node)
        for place, (name, role) in enumerate(find(node).roles(node)):
            if role in (Role.SHAPED, Role.SELECTOR) or (place == 0 and keeps) or name not in root:
                continue
            yield name, None
