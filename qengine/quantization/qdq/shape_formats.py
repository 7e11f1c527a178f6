"""Formats of real numbers that shapes decide, such as the 1 / sqrt(length) of an attention.

A session chooses a format for them when it makes a plan, as it does for constants. A quantized model has one format for
all shapes. So the plans of the data decide: the finest format in which none of their numbers saturates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from qengine.errors import QEngineError
from qengine.model.formats.groups import may_be_real
from qengine.model.graph import Graph
from qengine.model.ops.operator import Role, find
from qengine.model.steps import Tensor
from qengine.qformat import Format, QFormat
from qengine.quantization.calibration import Feeds
from qengine.quantization.made_up import made_up_feeds
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

    Returns
    -------
    InferenceSession
        The session itself where nothing is to decide. Numbers that no plan computed keep no format, nor do those
        that lengths decide which the model leaves open, where there is no data.
    """
    if not _undecided(session.network) and not any(node.graphs for node in session.graph.nodes):
        return session
    formats = _formats(session, data) if data is not None else _formats_of_declared_shapes(session)
    return with_formats(session, formats) if formats else session


def with_formats(session: InferenceSession, formats: Mapping[str, QFormat]) -> InferenceSession:
    """Return a session of the same model and options with further formats."""
    given = {**session.options.request().formats, **{name: str(fmt) for name, fmt in formats.items()}}
    return InferenceSession(session.network.source, replace(session.options, formats=given))


def _undecided(network: Network) -> set[str]:
    """Return the real numbers that shapes decide, and that a run quantizes in no format of their own."""
    assert network.table is not None
    known, graph = network.known, network.model
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
    formats: dict[str, QFormat] = {}
    for feeds in data:
        for tensor in _shape_constants(session, feeds):
            formats[tensor.name] = _coarsest(tensor.format, formats.get(tensor.name))
    return formats


def _shape_constants(session: InferenceSession, feeds: Mapping[str, Any]) -> Iterator[Tensor]:
    """Yield the real numbers that shapes decide and a run quantizes in a format of the plan's own."""
    decided = session.formats.keys() | _constants(session.graph)
    for plan in session.plans_of_run(session.check_feeds(feeds)):
        yield from (tensor for tensor in plan.constants if tensor.name not in decided)


def _same_value(one: Tensor, other: Tensor) -> bool:
    assert one.value is not None
    assert other.value is not None
    return np.array_equal(one.value, other.value)


def _coarsest(fmt: Format | None, other: QFormat | None = None) -> QFormat:
    """Return the format with the fewest fraction bits, of all channels."""
    assert fmt is not None
    each = [fmt] if isinstance(fmt, QFormat) else list(fmt.formats)
    each += [] if other is None else [other]
    bits = max(one.bits for one in each)
    fraction_bits = min(one.fraction_bits for one in each)
    return QFormat(bits - 1 - fraction_bits, fraction_bits)


def _formats_of_declared_shapes(session: InferenceSession) -> dict[str, QFormat]:
    """Return the formats of numbers that do not depend on lengths that the model leaves open."""
    found: list[dict[str, Tensor]] = []
    for feeds in made_up_feeds(session):
        with suppress(QEngineError):  # the lengths may not fit the model
            found.append({tensor.name: tensor for tensor in _shape_constants(session, feeds)})
        if len(found) == 2:
            break
    first, last = (found[0], found[-1]) if found else ({}, {})
    same = [name for name, tensor in first.items() if name in last and _same_value(tensor, last[name])]
    return {name: _coarsest(first[name].format) for name in same}


def _constants(graph: Graph) -> set[str]:
    """Return the names of the constants of a graph and of the graphs in its nodes."""
    names = set(graph.constants) | {graph.derived.get(name, name) for name in graph.constants}
    return names.union(*(_constants(inner) for inner in _inner(graph)))


def _inner(graph: Graph) -> Iterator[Graph]:
    for node in graph.nodes:
        yield from node.graphs.values()
