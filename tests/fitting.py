"""Formats fitted to what a model computes for a sample: the least noise for each group of tensors that share one."""

from __future__ import annotations

import numpy as np

from qengine import InferenceSession, QFormat
from qengine.advice import best_uniform_format
from qengine.ops.operator import find
from qengine.report import compare
from qengine.steps import Linear

HEADROOM = 1.25
"""Other inputs than the sample may lead to larger numbers."""


def fitted_formats(model, feeds, bits, rest=None):
    """Return formats of `bits` bits by tensor name.

    `rest` is the format of the tensors in loops and branches, which are not told.

    Activations get those with the least noise, unsigned where nothing is negative. Weights are named only where
    fewer fraction bits are needed for the bias beside them to fit into its 32 bits.
    """
    float32 = InferenceSession(model, isa="reference")
    wide = InferenceSession(model, isa="reference", qformat="Q7.8")
    statistics = compare(wide, float32, feeds).statistics
    groups = _groups(float32.graph)
    found = {}
    for group in {groups.get(name, name): None for name in statistics}:
        members = {name: values for name, values in statistics.items() if groups.get(name, name) == group}
        least = min(values.min(initial=0) for values in members.values())
        members = {name: HEADROOM * values for name, values in members.items()}
        form = best_uniform_format(members, bits, unsigned=least >= 0)
        found[next(iter(members))] = str(form or f"Q0.{bits - 1}")
    return found | _weights(InferenceSession(model, isa="reference", formats=found, qformat=rest), feeds)


def _groups(graph):
    """Return, for each tensor that an operator only passes on, the tensor that its group began with."""
    first = {}
    for node in graph.nodes:
        if node.inputs and find(node).preserves_format(node):
            source = node.inputs[0]
            first.update(dict.fromkeys(node.outputs, first.get(source, source)))
    return first


def _weights(session, feeds):
    """Return coarser formats for the weights of linear operators whose bias saturates."""
    found = {}
    bounds = [event.bound for event in session.trace(session.check_feeds(feeds)) if event.bound is not None]
    for bound in bounds:
        if isinstance(bound.step, Linear) and bound.step.saturated_bias():
            x, w, b = bound.step.operands
            room = 31 - int(np.frexp(np.abs(b.value).max())[1])  # |b| 2^room < 2^31
            n, bits = room - x.fraction_bits, w.one_format.bits
            found[session._network.optimized.derived.get(w.name, w.name)] = str(QFormat(bits - 1 - n, n))
    return found
