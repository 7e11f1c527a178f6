"""Corrections one after the other, with formats that are chosen again where ranges changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qengine.correction.bias import correct_bias
from qengine.correction.equalization import Equalized, equalize
from qengine.correction.folding import folded, keep_batchnorm
from qengine.correction.layers import check_real
from qengine.correction.result import Corrected, Data, Entry
from qengine.correction.statistics import expected_means
from qengine.correction.weights import fixed_session, round_weights
from qengine.errors import OptionError
from qengine.formats import Given, as_given
from qengine.graph import Graph

STEPS = ("fold", "equalize", "round", "bias", "analytic")
"""What a recipe may hold, in the order in which it is done."""

RECIPES: Mapping[str, tuple[str, ...]] = {"none": (), "best": ("fold", "equalize", "round", "bias")}


def correct(
    graph: Graph, formats_of: Callable[[Graph], Given], data: Data | None = None, recipe: str | Sequence[str] = "best"
) -> Corrected:
    """Correct a model for fixed point.

    Parameters
    ----------
    graph
        The model as it was loaded.
    formats_of
        Chooses the formats of a graph, as a session takes them: of the activations at least. It is called after what
        changes ranges.
    data
        Feeds, read once by "round" and once by "bias": a list or whatever else can be read twice.
    recipe
        "best", "none", or names among `STEPS`: "fold" is `folded` (without it BatchNormalization stays an operator of
        its own), "equalize" is `equalize`, "round" is `round_weights`, "bias" is `correct_bias` from data, "analytic"
        the same from `expected_means`.

    Returns
    -------
    Corrected
        With formats of all activations that were named and of all weights.

    Raises
    ------
    OptionError
        If the recipe has a step that does not exist, both ways to correct biases, or one that needs data without them.
    QEngineError
        As the corrections do.
    """
    steps = _steps(recipe)
    if data is None and (needed := [step for step in ("round", "bias") if step in steps]):
        raise OptionError(f"the correction '{needed[0]}' needs data")
    if len({"round", "bias"} & steps) == 2 and data is not None and iter(data) is data:
        raise OptionError("the data is read twice, and this iterator only once: give a list, or what can be read again")
    check_real(graph)
    entries: list[Entry] = []
    means = expected_means(graph) if "analytic" in steps else {}
    found = folded(graph) if "fold" in steps else keep_batchnorm(graph)
    if "fold" in steps:
        count = sum(node.operator == "BatchNormalization" for node in graph.nodes)
        kept = count - (len(keep_batchnorm(graph).nodes) - len(found.nodes))
        entries.append(Entry("fold", "the model", True, f"{count - kept} BatchNormalization folded, {kept} left"))
    if "equalize" in steps:
        equalized = equalize(found)
        found, means = equalized.graph, _divided(means, equalized)
        entries += equalized.entries
    reference, formats = found, _pinned(found, formats_of(found))
    if "round" in steps:
        assert data is not None
        rounded = round_weights(found, formats, data)
        found, formats = rounded.graph, rounded.formats
        entries += rounded.entries
    if {"bias", "analytic"} & steps:
        told = means if "analytic" in steps else None
        biased = correct_bias(found, formats, data if told is None else None, means=told, reference=reference)
        found = biased.graph
        entries += biased.entries
    return Corrected(found, tuple(entries), formats)


def _pinned(graph: Graph, formats: Given) -> Given:
    """Return formats with those of all constants that a session would choose: other values do not change them."""
    constants = {graph.derived.get(name, name) for name in graph.constants}
    chosen = fixed_session(graph, formats).formats
    return {**{name: as_given(form) for name, form in chosen.items() if name in constants}, **formats}


def _steps(recipe: str | Sequence[str]) -> set[str]:
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise OptionError(f"no recipe is named {recipe!r}; there are {', '.join(RECIPES)}, or give a list of steps")
        recipe = RECIPES[recipe]
    unknown = [step for step in recipe if step not in STEPS]
    if unknown:
        raise OptionError(f"no correction is named {unknown[0]!r}; there are {', '.join(STEPS)}")
    if {"bias", "analytic"} <= set(recipe):
        raise OptionError("'bias' and 'analytic' correct the same biases: give one of them")
    return set(recipe)


def _divided(means: Mapping[str, NDArray[np.float64]], equalized: Equalized) -> dict[str, NDArray[np.float64]]:
    """Return the means of channels after equalization."""
    factors = equalized.factors
    return {name: mean / factors[name] if name in factors else mean for name, mean in means.items()}
