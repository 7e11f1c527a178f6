"""Corrections one after the other, with formats that are chosen again where ranges changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError
from qengine.model.formats.files import FormatsByName, format_to_json
from qengine.model.graph import Graph
from qengine.quantization.correction.bias import correct_bias
from qengine.quantization.correction.equalization import Equalized, equalize
from qengine.quantization.correction.folding import folded, keep_batchnorm
from qengine.quantization.correction.layers import check_real
from qengine.quantization.correction.result import Corrected, Data, Entry
from qengine.quantization.correction.statistics import expected_means
from qengine.quantization.correction.weights import fixed_session, round_weights

STEPS = ("fold", "equalize", "round", "bias", "analytic")
"""What a recipe may hold, in the order in which it is done."""

RECIPES: Mapping[str, tuple[str, ...]] = {"none": (), "best": ("fold", "equalize", "round", "bias")}

_RANGES = ("fold", "equalize")
FROM_DATA = frozenset({"round", "bias"})
"""Steps that look at data."""


def steps_of(recipe: str | Sequence[str]) -> tuple[str, ...]:
    """Return the steps of a recipe, in the order of `STEPS`: of "best", "none", names with "+" or a list of names.

    Raises
    ------
    OptionError
        If a step does not exist, or biases would be corrected in both ways.
    """
    if isinstance(recipe, str):
        recipe = RECIPES[recipe] if recipe in RECIPES else [word.strip() for word in recipe.split("+")]
    unknown = [step for step in recipe if step not in STEPS]
    if unknown:
        there = f"{', '.join(RECIPES)}, and steps with + between them: {', '.join(STEPS)}"
        raise OptionError(f"no recipe or correction is named {unknown[0]!r}; there are {there}")
    if {"bias", "analytic"} <= set(recipe):
        raise OptionError("'bias' and 'analytic' correct the same biases: give one of them")
    return tuple(step for step in STEPS if step in recipe)


def recipe_name(text: str) -> str:
    """Return what a recipe is called, of steps with "+" between them: the name of all that pays, or the steps."""
    return next((name for name, steps in RECIPES.items() if text == "+".join(steps)), text)


@dataclass(frozen=True)
class Ranged:
    """A model after the corrections that change ranges, for which formats are chosen.

    Attributes
    ----------
    graph : the model.
    entries : what was done so far.
    means : what each channel of a tensor holds on average, by name, where "analytic" wants it.
    steps : of the whole recipe.
    """

    graph: Graph
    entries: tuple[Entry, ...]
    means: Mapping[str, NDArray[np.float64]]
    steps: tuple[str, ...]


def change_ranges(graph: Graph, recipe: str | Sequence[str] = "best") -> Ranged:
    """Do the steps of a recipe that need neither formats nor data: "fold" and "equalize".

    Parameters
    ----------
    graph, recipe
        As of `correct`. The graph that comes of it depends on the steps "fold" and "equalize" only.

    Raises
    ------
    QEngineError
        As `correct`.
    """
    steps = steps_of(recipe)
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
    return Ranged(found, tuple(entries), means, steps)


def ranges_of(recipe: str | Sequence[str]) -> tuple[str, ...]:
    """Return the steps of a recipe that change ranges: recipes in which they are the same have ranges in common."""
    return tuple(step for step in steps_of(recipe) if step in _RANGES)


def fit_formats(ranged: Ranged, formats: FormatsByName, data: Data | None = None) -> Corrected:
    """Do the steps of a recipe that need formats: "round", and "bias" or "analytic".

    Parameters
    ----------
    ranged
        From `change_ranges`.
    formats
        Of its graph, as a session takes them: of the activations at least.
    data
        As of `correct`.

    Raises
    ------
    QEngineError
        As `correct`.
    """
    steps = ranged.steps
    if data is None and (needed := [step for step in steps if step in FROM_DATA]):
        raise OptionError(f"the correction '{needed[0]}' needs data")
    if set(steps) >= FROM_DATA and data is not None and iter(data) is data:
        raise OptionError("the data is read twice, and this iterator only once: give a list, or what can be read again")
    found, entries = ranged.graph, list(ranged.entries)
    formats = _pinned(found, formats)
    if "round" in steps:
        assert data is not None
        rounded = round_weights(found, formats, data)
        found, formats = rounded.graph, rounded.formats
        entries += rounded.entries
    if "bias" in steps or "analytic" in steps:
        means = ranged.means if "analytic" in steps else None
        biased = correct_bias(found, formats, data if means is None else None, means=means, reference=ranged.graph)
        found = biased.graph
        entries += biased.entries
    return Corrected(found, tuple(entries), formats)


def correct(
    graph: Graph,
    formats_of: Callable[[Graph], FormatsByName],
    data: Data | None = None,
    recipe: str | Sequence[str] = "best",
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
        "best", "none", or names among `STEPS`, as a list or with "+" between them: "fold" is `folded` (without it
        BatchNormalization stays an operator of its own), "equalize" is `equalize`, "round" is `round_weights`, "bias"
        is `correct_bias` from data, "analytic" the same from `expected_means`.

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
    ranged = change_ranges(graph, recipe)
    return fit_formats(ranged, formats_of(ranged.graph), data)


def _pinned(graph: Graph, formats: FormatsByName) -> FormatsByName:
    """Return formats with those of all constants that a session would choose: other values do not change them."""
    constants = {graph.derived.get(name, name) for name in graph.constants}
    chosen = fixed_session(graph, formats).formats
    return {**{name: format_to_json(form) for name, form in chosen.items() if name in constants}, **formats}


def _divided(means: Mapping[str, NDArray[np.float64]], equalized: Equalized) -> dict[str, NDArray[np.float64]]:
    """Return the means of channels after equalization."""
    factors = equalized.factors
    return {name: mean / factors[name] if name in factors else mean for name, mean in means.items()}
