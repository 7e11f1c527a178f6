"""What a point costs in hardware: memory for weights, and bit operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qengine.errors import QEngineError
from qengine.inspection.counts import multiply_accumulates
from qengine.ops.operator import NeedsRun, Role, find
from qengine.qformat import Format, QFormat
from qengine.session import InferenceSession

FLOAT_BITS = 32
_BIAS_BITS = 32  # of the accumulator, which a bias is held in


def _bits(form: Format | None) -> int:
    if form is None:
        return FLOAT_BITS
    return form.bits if isinstance(form, QFormat) else form.formats[0].bits


def weight_bytes(session: InferenceSession) -> float:
    """Return the memory of the constants that a run computes with: weights in their word length, biases in 32 bits.

    Constants are those after the passes, each once. Words are packed, so that three of 5 bits take 15 bits. What graphs
    inside of nodes hold is not counted.
    """
    graph, formats = session.optimized, session.formats
    found: dict[str, int] = {}
    for node in graph.nodes:
        for name, role in find(node).roles(node):
            array = graph.constants.get(name)
            if array is None or array.dtype.kind != "f" or role not in (Role.DATA, Role.WEIGHTS, Role.BIAS):
                continue
            form = formats.get(graph.derived.get(name, name))
            found[name] = array.size * (_BIAS_BITS if role is Role.BIAS else _bits(form))
    return sum(found.values()) / 8


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
    graph, formats = session.graph, session.formats
    reference = session.in_float32()
    try:
        outputs = reference.plan(reference.check_feeds(feeds), sorted(graph.tensors())).outputs
    except (NeedsRun, QEngineError):
        return None
    shapes = {name: tensor.shape for name, tensor in outputs.items()}
    total = 0
    for node in graph.nodes:
        macs = multiply_accumulates(node, shapes)
        if macs is None:
            return None
        if macs:
            total += macs * _bits(formats.get(node.inputs[0])) * _bits(formats.get(node.inputs[1]))
    return total / samples
