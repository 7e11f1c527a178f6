"""Formats of real numbers that shapes decide, such as the 1 / sqrt(length) of an attention.

A session chooses a format for them when it makes a plan, as it does for constants. A quantized model has one format for
all shapes. So the plans of the data decide: the finest format in which none of their numbers saturates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from qengine.errors import FormatError, QEngineError
from qengine.model.formats.files import format_to_json
from qengine.model.formats.groups import may_be_real
from qengine.model.graph import Graph
from qengine.model.ops.operator import Role, find
from qengine.qformat import Format, QFormat
from qengine.quantization.calibration import Feeds
from qengine.quantization.qdq.made_up import made_up_feeds
from qengine.runtime.plan.network import Network
from qengine.runtime.session import InferenceSession


def with_shape_formats(session: InferenceSession, data: Feeds | None) -> InferenceSession:
    """Return a session in which real numbers that shapes decide have formats of their own, the same for all shapes.

    Parameters
    ----------
    session
        Session in fixed point.
    data
        Feeds whose plans decide the formats. For None the shapes that the model declares do.

    Raises
    ------
    FormatError
        If there is no data, and lengths that the model leaves open decide the numbers.
    """
    if not _undecided(session.network) and not any(node.graphs for node in session.graph.nodes):
        return session
    formats = _formats(session, data) if data is not None else _formats_of_declared_shapes(session)
    if not formats:
        return session
    given = {**(session.options.request().formats), **{name: format_to_json(fmt) for name, fmt in formats.items()}}
    return InferenceSession(session.network.source, replace(session.options, formats=given))


def _undecided(network: Network) -> set[str]:
    """Return the real numbers that shapes decide, and that a run quantizes in no format of their own."""
    assert network.table is not None
    known, graph = network.table.known, network.model
    read = {
        name
        for node in graph.nodes
        if not known.issuperset(filter(None, node.outputs))
        for name, role in find(node).roles(node)
        if role in (Role.DATA, Role.WEIGHTS)
    }
    undecided = (read & known) - graph.constants.keys() - network.table.shape_constants.keys()
    return {name for name in undecided if may_be_real(name, graph)}


def _formats(session: InferenceSession, data: Iterable[Mapping[str, Any]]) -> dict[str, QFormat]:
    """Return the formats that the plans of feeds choose: for each name the one with the fewest fraction bits."""
    known = session.formats.keys() | _constants(session.graph)
    formats: dict[str, QFormat] = {}
    seen: set[int] = set()
    for feeds in data:
        for plan in session.plans_of_run(session.check_feeds(feeds)):
            if id(plan) in seen:
                continue
            seen.add(id(plan))
            for tensor in plan.constants:
                if tensor.name not in known and tensor.format is not None:
                    formats[tensor.name] = _coarsest(tensor.format, formats.get(tensor.name))
    return formats


def _coarsest(fmt: Format, other: QFormat | None) -> QFormat:
    each = [fmt] if isinstance(fmt, QFormat) else list(fmt.formats)
    each += [] if other is None else [other]
    bits = max(one.bits for one in each)
    fraction_bits = min(one.fraction_bits for one in each)
    return QFormat(bits - 1 - fraction_bits, fraction_bits)


def _formats_of_declared_shapes(session: InferenceSession) -> dict[str, QFormat]:
    """Return the formats of numbers that do not depend on lengths that the model leaves open."""
    found = []
    for feeds in islice(made_up_feeds(session), 2):
        try:
            found.append(_formats(session, [feeds]))
        except QEngineError:
            continue
    undecided = sorted(_undecided(session.network))
    if found and all(one == found[0] for one in found) and found[0].keys() >= set(undecided):
        return found[0]
    if not undecided:
        return {}
    raise FormatError(
        f"'{undecided[0]}' follows from lengths of axes, and each length rounds it in another format: "
        "name it in the formats, or give data"
    )


def _constants(graph: Graph) -> set[str]:
    """Return the names of the constants of a graph and of the graphs in its nodes."""
    names = set(graph.constants) | {graph.derived.get(name, name) for name in graph.constants}
    return names.union(*(_constants(inner) for inner in _inner(graph)))


def _inner(graph: Graph) -> Iterator[Graph]:
    for node in graph.nodes:
        yield from node.graphs.values()
