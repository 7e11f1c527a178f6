"""What bits cost: a sum of terms, each so many times the word lengths of one or two units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import prod
from typing import Any

from qengine.analysis.sweep.costs import BIAS_BITS, FLOAT_BITS, constants_of, products_of
from qengine.errors import UnsupportedError
from qengine.runtime.session import InferenceSession


class Cost(StrEnum):
    """What is to be as small as possible."""

    WEIGHTS = "weights"
    """Memory of constants, in bits; biases have 32 each."""
    ACTIVATIONS = "activations"
    """Memory of all inputs and activations of one sample, in bits."""
    MACS = "macs"
    """Bit operations of one sample: multiply-accumulates x bits of the input x bits of the weights."""


Widths = Sequence[int]


class CostModel:
    """The cost of word lengths.

    Parameters
    ----------
    constant
        What does not depend on them.
    terms
        (factor, units): the factor times the word length of each of the units. A unit may be there twice.
    """

    def __init__(self, constant: float, terms: Sequence[tuple[float, tuple[int, ...]]]) -> None:
        self._constant, self._terms = constant, list(terms)
        self._of_unit: dict[int, list[tuple[float, tuple[int, ...]]]] = {}
        for term in self._terms:
            for unit in set(term[1]):
                self._of_unit.setdefault(unit, []).append(term)

    @property
    def units(self) -> frozenset[int]:
        """The units that cost anything."""
        return frozenset(self._of_unit)

    def total(self, widths: Widths) -> float:
        """Return the cost of an assignment: a word length for each unit."""
        return self._constant + sum(factor * prod(widths[u] for u in units) for factor, units in self._terms)

    def saving(self, widths: Widths, unit: int, width: int) -> float:
        """Return how much less it costs with another word length of one unit; less than 0 where it costs more."""
        return sum(
            factor * (prod(widths[u] for u in units) - prod(width if u == unit else widths[u] for u in units))
            for factor, units in self._of_unit.get(unit, ())
        )


def cost_model(
    cost: Cost, session: InferenceSession, unit_of: Mapping[str, int], feeds: Mapping[str, Any], samples: int
) -> CostModel:
    """Return what word lengths of a model cost.

    Parameters
    ----------
    session
        Of the model in fixed point, in any formats.
    unit_of
        The unit of each tensor that has one.
    feeds, samples
        Of a run, and how many samples they hold.

    Raises
    ------
    UnsupportedError
        If shapes that are needed are known in a run only.
    """
    if cost is Cost.MACS:
        products = products_of(session, feeds, samples)
        if products is None:
            raise UnsupportedError("shapes are known in a run only, so that no MACs can be counted: take another cost")
        return _model([(one.macs, (one.input, one.weights)) for one in products], unit_of)
    if cost is Cost.WEIGHTS:
        constants = list(constants_of(session))
        biases = sum(float(size * BIAS_BITS) for size, name in constants if name is None)
        return _model([(float(size), (name,)) for size, name in constants if name is not None], unit_of, biases)
    plan = session.plan(session.check_feeds(feeds))
    tensors = [*plan.inputs, *(bound.output for bound in plan.steps)]
    sizes = [(prod(t.shape) / samples, (t.name,)) for t in tensors if t.is_float]
    return _model(sizes, unit_of)


def _model(
    terms: Sequence[tuple[float, tuple[str, ...]]], unit_of: Mapping[str, int], constant: float = 0.0
) -> CostModel:
    """Return the cost of tensors, given by name; one that is in no unit is in float32."""
    found: dict[tuple[int, ...], float] = {}
    for factor, names in terms:
        units = tuple(sorted(unit_of[name] for name in names if name in unit_of))
        found[units] = found.get(units, 0.0) + factor * FLOAT_BITS ** (len(names) - len(units))
    constant += found.pop((), 0.0)
    return CostModel(constant, [(factor, units) for units, factor in found.items()])
