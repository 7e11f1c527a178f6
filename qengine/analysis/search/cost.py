"""The cost of an assignment: a sum of terms, each a number times the word lengths of one or two units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from qengine.analysis.inspection.costs import FLOAT_BITS, Cost, Term, Workload
from qengine.errors import UnsupportedError

Widths = Sequence[int]


class CostModel:
    """Cost as a function of the word lengths of units.

    Parameters
    ----------
    constant
        Part of the cost that does not depend on them.
    terms
        Pairs (factor, units): the factor times the word length of each of the units. A unit may be there twice.
    """

    def __init__(self, constant: float, terms: Sequence[tuple[float, tuple[int, ...]]]) -> None:
        self._constant, self._terms = constant, list(terms)
        self._by_unit: dict[int, list[tuple[float, tuple[int, ...]]]] = {}
        for term in self._terms:
            for unit in set(term[1]):
                self._by_unit.setdefault(unit, []).append(term)

    @property
    def units(self) -> frozenset[int]:
        """The units that cost anything."""
        return frozenset(self._by_unit)

    def total(self, widths: Widths) -> float:
        """Return the cost of an assignment: a word length for each unit."""
        return self._constant + sum(factor * prod(widths[u] for u in units) for factor, units in self._terms)

    def saving(self, widths: Widths, unit: int, width: int) -> float:
        """Return how much less an assignment costs with another word length of one unit; negative if it costs more."""
        return sum(
            factor * (prod(widths[u] for u in units) - prod(width if u == unit else widths[u] for u in units))
            for factor, units in self._by_unit.get(unit, ())
        )


def cost_model(cost: Cost, work: Workload, unit_of: Mapping[str, int]) -> CostModel:
    """Return the cost of the word lengths of a model.

    Parameters
    ----------
    cost
        Cost to minimize.
    work
        Session of the model in fixed point, in any formats, with the feeds of one run.
    unit_of
        Unit of each tensor that has one; the others are in float32.

    Raises
    ------
    UnsupportedError
        If shapes that are needed are known only in a run.
    NeedsRun
        If the data decides how a run continues.
    """
    terms = cost.terms(work)
    if terms is None:
        raise UnsupportedError(f"shapes are known only in a run, and {cost.label} cannot be counted: take another cost")
    return model_of_terms(terms, unit_of)


def model_of_terms(terms: Sequence[Term], unit_of: Mapping[str, int]) -> CostModel:
    """Return the cost of terms whose tensors are in units; a tensor in no unit counts as float32."""
    factors: dict[tuple[int, ...], float] = {}
    for factor, names in terms:
        units = tuple(sorted(unit_of[name] for name in names if name in unit_of))
        factors[units] = factors.get(units, 0.0) + factor * FLOAT_BITS ** (len(names) - len(units))
    constant = factors.pop((), 0.0)
    return CostModel(constant, [(factor, units) for units, factor in factors.items()])
