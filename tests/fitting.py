"""Formats fitted to what a model computes for a sample: the least noise for each group of tensors that share one."""

from __future__ import annotations

from qengine import InferenceSession
from qengine.advice import best_uniform_format
from qengine.ops.operator import find
from qengine.report import compare

HEADROOM = 1.25
"""Other inputs than the sample may lead to larger numbers."""


def fitted_formats(model, feeds, bits):
    """Return formats of `bits` bits by tensor name.

    Activations get those with the least noise, unsigned where nothing is negative. Weights are not named.
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
    return found


def _groups(graph):
    """Return, for each tensor that an operator only passes on, the tensor that its group began with."""
    first = {}
    for node in graph.nodes:
        if node.inputs and find(node).preserves_format(node):
            source = node.inputs[0]
            first.update(dict.fromkeys(node.outputs, first.get(source, source)))
    return first
