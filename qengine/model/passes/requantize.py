"""Where a tensor is brought to a format: at once as it is computed, or by an operator of its own."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Role, find
from qengine.qformat import Format


def merge_requantize(graph: Graph) -> Graph:
    """Give tensors the formats that they are brought to at once; what is needed as it is computed keeps none.

    Operators that keep formats tie tensors to the one that they all come from. Where that has a format, bringing one of
    them into the same does nothing. Where it has none, and all that is read of the tensors is one rounding to one
    format, they get that format.
    """
    assert graph.formats is not None
    formats, aliases = dict(graph.formats), dict(graph.aliases)
    root = roots(graph)
    wanted: dict[str, set[Format | None]] = {}
    for name, form in _wanted(graph, root):
        wanted.setdefault(root[name], set()).add(form)
    nodes = []
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        one = replace(node, inputs=tuple(renamed.get(n, n) for n in node.inputs)) if renamed else node
        if not _is_requantize(node):
            nodes.append(one)
            continue
        (source,), (out,) = node.inputs, node.outputs
        start = root[source]
        form = formats[out]
        has = graph.formats.get(start)
        if has == form or (has is None and wanted[start] == {form} and start not in graph.constants):
            formats[renamed.get(source, source)] = form
            formats.pop(out)
            renamed[out] = renamed.get(source, source)
        else:
            nodes.append(one)
    aliases = {name: renamed.get(real, real) for name, real in aliases.items()} | renamed
    stored = {name: renamed.get(real, real) for name, real in graph.stored.items()}
    found = replace(graph, nodes=tuple(nodes), formats=formats, aliases=aliases, stored=stored)
    return with_names_kept(found)


def with_names_kept(graph: Graph) -> Graph:
    """Return the graph with the tensors that it answers with, or that inner graphs read, under their own names."""
    nodes, aliases, formats = list(graph.nodes), dict(graph.aliases), dict(graph.formats or {})
    stored = dict(graph.stored)
    answered = {value.name for value in graph.outputs}
    captured = {name for node in nodes for name in node.captures}
    computed = {name for node in nodes for name in node.outputs}
    for name in sorted(aliases.keys() & (answered | captured)):
        real = aliases.pop(name)
        if real in computed - answered - captured and name not in captured:
            # It may as well have the other name.
            nodes = [_renamed(node, real, name) for node in nodes]
            aliases = {each: name if target == real else target for each, target in aliases.items()} | {real: name}
            stored = {each: name if target == real else target for each, target in stored.items()}
            if real in formats:
                formats[name] = formats.pop(real)
            computed.discard(real)
        else:
            place = next((i + 1 for i, node in enumerate(nodes) if real in node.outputs), 0)
            nodes.insert(place, Node("Identity", (real,), (name,)))
    return replace(graph, nodes=tuple(nodes), aliases=aliases, formats=formats, stored=stored)


def _renamed(node: Node, old: str, new: str) -> Node:
    inputs, outputs = (tuple(new if n == old else n for n in names) for names in (node.inputs, node.outputs))
    return node if (inputs, outputs) == (node.inputs, node.outputs) else replace(node, inputs=inputs, outputs=outputs)


def _is_requantize(node: Node) -> bool:
    return node.operator == "Requantize" and node.domain == "qengine"


def roots(graph: Graph) -> Mapping[str, str]:
    """Return for every tensor the one from which operators that keep formats made it."""
    root = {name: name for name in (*graph.constants, *(value.name for value in graph.inputs))}
    for node in graph.nodes:
        keeps = bool(node.inputs) and node.inputs[0] in root and find(node).preserves_format(node)
        for name in filter(None, node.outputs):
            root[name] = root[node.inputs[0]] if keeps else name
    return root


def _wanted(graph: Graph, root: Mapping[str, str]) -> Iterator[tuple[str, Format | None]]:
    """Yield each tensor that is read and the format that it is brought to; None where it is read as it is."""
    assert graph.formats is not None
    yield from ((value.name, None) for value in graph.outputs if value.name in root)
    for node in graph.nodes:
        if _is_requantize(node):
            yield node.inputs[0], graph.formats[node.outputs[0]]
            continue
        keeps = find(node).preserves_format(node)
        for place, (name, role) in enumerate(find(node).roles(node)):
            if role in (Role.SHAPED, Role.SELECTOR) or (place == 0 and keeps) or name not in root:
                continue
            yield name, None
