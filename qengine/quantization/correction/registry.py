"""Declarations of corrections: what a correction is, what it needs, and when a recipe does it.

A correction changes the constants of a trained model so that fixed point loses less. It is one function in one file of
this package, from the state of a recipe to the next state, and its decorator holds everything that recipes, the
command line and sweeps must know of it:

    @correction("round", order=30, needs_formats=True, needs_data=True, in_best=True)
    def _round(state: RecipeState) -> RecipeState:
        return state.after(round_weights(state.graph, state.formats, state.data))

Importing the package `qengine.quantization.correction` finds every file in it; there is no list of corrections.

Corrections are of two sorts. Folding and equalization change the *ranges* of tensors, so that they come first, and
formats are chosen for the model that they give. Rounding and bias correction make up for the error of weights in given
formats, so that they come after, and may look at data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qengine.model.formats.files import FormatsByName
from qengine.model.graph import Graph
from qengine.quantization.calibration import Feeds
from qengine.quantization.correction.result import CorrectedModel, CorrectionEntry
from qengine.runtime.options import SessionOptions


@dataclass(frozen=True)
class RecipeState:
    """A model between two corrections of a recipe.

    Attributes
    ----------
    original : the model as it was loaded.
    graph : the model after the corrections so far.
    steps : names of all corrections of the recipe, in order.
    entries : entries of the corrections so far.
    factors : factors by which the channels of a tensor were divided so far, by tensor name.
    formats : formats by tensor name, the constants' included; empty before formats are chosen.
    data : feeds of the runs that corrections may look at; None where there are none.
    reference : the model for which formats were chosen, with its weights in float32; `original` before that.
    session : options of the runs, of which the limits and `threads` have an effect.
    observed : mean input of each tap of a layer, by the layer's output, that a correction for other formats of the same
        model has found on the same data.
    """

    original: Graph
    graph: Graph
    steps: tuple[str, ...]
    entries: tuple[CorrectionEntry, ...] = ()
    factors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    formats: FormatsByName = field(default_factory=dict)
    data: Feeds | None = None
    reference: Graph | None = None
    session: SessionOptions = field(default_factory=SessionOptions)
    observed: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def after(self, result: CorrectedModel) -> RecipeState:
        """Return the state after a correction with that result."""
        formats = {**self.formats, **result.formats}
        return replace(self, graph=result.graph, entries=(*self.entries, *result.entries), formats=formats)


Apply = Callable[[RecipeState], RecipeState]


@dataclass(frozen=True)
class Correction:
    """Declaration of one correction; see `correction` for the attributes that are not listed.

    Attributes
    ----------
    apply : the declared function.
    """

    name: str
    apply: Apply
    order: int
    needs_formats: bool
    needs_data: bool
    in_best: bool
    corrects: str
    otherwise: Callable[[Graph], Graph] | None


_corrections: dict[str, Correction] = {}


def correction(
    name: str,
    *,
    order: int,
    needs_formats: bool = False,
    needs_data: bool = False,
    in_best: bool = False,
    corrects: str = "",
    otherwise: Callable[[Graph], Graph] | None = None,
) -> Callable[[Apply], Apply]:
    """Declare a correction.

    Parameters
    ----------
    name
        Name in a recipe.
    order
        Position in a recipe: a recipe does its corrections in ascending order of this number, not in the order of their
        names.
    needs_formats
        Whether it is made for given formats. If not, it comes before formats are chosen, and may change ranges.
    needs_data
        Whether it runs the model on data, which it reads once; only where formats are given.
    in_best
        Whether the recipe "best" has it.
    corrects
        Plural noun for the constants that it computes, such as "biases": a recipe has one such correction at most.
        Empty where it may be combined with any other.
    otherwise
        Function of the graph that is done in its place where a recipe leaves it out.

    Raises
    ------
    ValueError
        If the name is declared already, or a correction needs data before formats are chosen.
    """
    if name in _corrections:
        raise ValueError(f"the correction '{name}' is declared twice")
    if needs_data and not needs_formats:
        raise ValueError(f"the correction '{name}' needs data before formats are chosen")

    def declare(function: Apply) -> Apply:
        _corrections[name] = Correction(name, function, order, needs_formats, needs_data, in_best, corrects, otherwise)
        return function

    return declare


def corrections() -> tuple[Correction, ...]:
    """Return all declared corrections in the order of a recipe: those that need no formats come first."""
    return tuple(sorted(_corrections.values(), key=lambda one: (one.needs_formats, one.order)))
