"""Hypotheses: what a device may have computed instead, one file a family.

A device that differs from the definition mostly does one thing differently: it rounds down, forgets a bias, reads
weights in another order. Each such fault is a `Hypothesis` that computes the codes of an operator as the faulty device
would, from the very codes that the operator read. `all_hypotheses` lists them, the simplest first.
"""

from functools import cache

from qengine.deploy.hypotheses import (
    accumulators,
    activations,
    biases,
    inputs,
    joins,
    means,
    outputs,
    overflows,
    pads,
    roundings,
    shifts,
    tables,
    targets,
    weights,
    windows,
)
from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.operation import Operation
from qengine.deploy.hypotheses.variant import Variant

__all__ = ["Hypothesis", "Operation", "Variant", "all_hypotheses"]

_FAMILIES = (
    roundings,
    overflows,
    shifts,
    activations,
    biases,
    accumulators,
    pads,
    inputs,
    outputs,
    weights,
    windows,
    means,
    tables,
    joins,
    targets,
)


@cache
def all_hypotheses() -> tuple[Hypothesis, ...]:
    """Return every hypothesis, the simplest first."""
    return tuple(sorted((h for family in _FAMILIES for h in family.hypotheses()), key=lambda h: h.rank))
