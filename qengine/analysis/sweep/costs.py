"""What a point costs in hardware: memory for weights, and bit operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from qengine.analysis.inspection.counts import multiply_accumulates
from qengine.errors import QEngineError
from qengine.model.ops.operator import NeedsRun, Role, find
from qengine.qformat import Format, QFormat
from qengine.runtime.session import InferenceSession

FLOAT_BITS = 32
BIAS_BITS = 32  # of the accumulator, which a bias is held in


class Products(NamedTuple):
    """How often a linear operator multiplies a number of `input` with one of `weights`."""

    macs: float
    input: str
    weights: str


def _bits(form: Format | None) -> int:
    if form is None:
        return FLOAT_BITS
    return form.bits if isinstance(form, QFormat) else form.formats[0].bits


def constants_of(session: InferenceSession) -> Iterator[tuple[int, str | None]]:
    """Yield for every constant that a run computes with how many elements it has, and its name; None of a bias.

    Constants are those after the passes, each once. What graphs inside of nodes hold is not counted.
    """
    graph, seen = session.optimized, set[str]()
    for node in graph.nodes:
        for name, role in find(node).roles(node):
            array = graph.constants.get(name)
            if array is None or array.dtype.kind != "f" or role not in (Role.DATA, Role.WEIGHTS, Role.BIAS):
                continue
            if name not in seen:
                seen.add(name)
                yield array.size, None if role is Role.BIAS else graph.derived.get(name, name)


def products_of(session: InferenceSession, feeds: Mapping[str, Any], samples: int) -> list[Products] | None:
    """Return the multiply-accumulates of every linear operator for one sample.

    None where shapes are known in a run only.

    Parameters
    ----------
    session
        Of the model.
    feeds, samples
        Of a run, and how many samples they hold.
    """
    graph = session.graph
    reference = session.in_float32()
    try:
        outputs = reference.plan(reference.check_feeds(feeds), sorted(graph.tensors())).outputs
    except (NeedsRun, QEngineError):
        return None
    shapes = {name: tensor.shape for name, tensor in outputs.items()}
    found = []
    for node in graph.nodes:
        macs = multiply_accumulates(node, shapes)
        if macs is None:
            return None
        if macs:
            found.append(Products(macs / samples, *node.inputs[:2]))
    return found


def weight_bytes(session: InferenceSession) -> float:
    """Return the memory of the constants that a run computes with: weights in their word length, biases in 32 bits.

    Words are packed, so that three of 5 bits take 15 bits; see `constants_of`.
    """
    formats = session.formats
    bits = (size * (BIAS_BITS if name is None else _bits(formats.get(name))) for size, name in constants_of(session))
    return sum(bits) / 8


def bit_operations(session: InferenceSession, feeds: Mapping[str, Any], samples: int) -> float | None:
    """Return the sum over linear operators of multiply-accumulates x bits of the input x bits of the weights.

    It is that of one sample. Where an operand is in float32, it counts with 32 bits.

    Parameters
    ----------
    session
        Of the point.
    feeds, samples
        Of a run, and how many samples they hold.

    Returns
    -------
    float or None
        None where shapes are known in a run only.
    """
    products, formats = products_of(session, feeds, samples), session.formats
    if products is None:
        return None
    return sum(one.macs * _bits(formats.get(one.input)) * _bits(formats.get(one.weights)) for one in products)
