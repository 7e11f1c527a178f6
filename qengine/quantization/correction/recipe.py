"""Recipes: corrections done one after the other, with formats chosen between the two sorts of them.

A recipe is "best", "none", or names of corrections. `correct` does it as a whole. A sweep, which tries one recipe with
many choices of formats, calls the two halves of it: `change_ranges` once, and `fit_formats` for each choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from qengine.errors import OptionError
from qengine.model.formats.files import FormatsByName, format_to_json
from qengine.model.graph import Graph
from qengine.quantization.calibration import Feeds
from qengine.quantization.correction.layers import check_real
from qengine.quantization.correction.registry import Correction, RecipeState, corrections
from qengine.quantization.correction.result import CorrectedModel
from qengine.quantization.correction.weights import fixed_session
from qengine.runtime.options import SessionOptions


def recipes() -> Mapping[str, tuple[str, ...]]:
    """Return the corrections of the recipes that have names of their own."""
    return {"none": (), "best": tuple(one.name for one in corrections() if one.in_best)}


def describe_recipes() -> str:
    """Return the recipes that there are, in words."""
    return f"{', '.join(recipes())}, or steps with +: {', '.join(one.name for one in corrections())}"


def steps_of(recipe: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of the corrections of a recipe, in the order in which they are done.

    Parameters
    ----------
    recipe
        "best", "none", or names of corrections, as a list or with "+" between them.

    Raises
    ------
    OptionError
        If a correction does not exist, or two of them compute the same constants.
    """
    return tuple(one.name for one in _declarations(recipe))


def _declarations(recipe: str | Sequence[str]) -> tuple[Correction, ...]:
    if isinstance(recipe, str):
        recipe = recipes()[recipe] if recipe in recipes() else [word.strip() for word in recipe.split("+")]
    known = corrections()
    unknown = [step for step in recipe if step not in {one.name for one in known}]
    if unknown:
        raise OptionError(f"no recipe or correction is named {unknown[0]!r}; there are {describe_recipes()}")
    steps = tuple(one for one in known if one.name in recipe)
    for i, one in enumerate(steps):
        for other in steps[i + 1 :]:
            if one.corrects and one.corrects == other.corrects:
                raise OptionError(f"'{one.name}' and '{other.name}' correct the same {one.corrects}: give one of them")
    return steps


def range_steps(recipe: str | Sequence[str]) -> tuple[str, ...]:
    """Return the corrections of a recipe that need no formats: recipes that have the same give tensors the same ranges.

    Raises
    ------
    OptionError
        See `steps_of`.
    """
    return tuple(one.name for one in _declarations(recipe) if not one.needs_formats)


def needs_data(recipe: str | Sequence[str]) -> bool:
    """Whether a correction of a recipe looks at data; raises OptionError as `steps_of` does."""
    return any(one.needs_data for one in _declarations(recipe))


def recipe_name(text: str) -> str:
    """Return the name of a recipe that is spelled as steps with "+" between them, or the steps if it has none."""
    return next((name for name, steps in recipes().items() if text == "+".join(steps)), text)


def change_ranges(graph: Graph, recipe: str | Sequence[str] = "best") -> RecipeState:
    """Do the corrections of a recipe that need no formats.

    Parameters
    ----------
    graph, recipe
        See `correct`.

    Returns
    -------
    RecipeState
        Formats are chosen for its graph, which depends on `range_steps` of the recipe only.

    Raises
    ------
    QEngineError
        See `correct`.
    """
    steps = steps_of(recipe)
    check_real(graph)
    state = RecipeState(graph, graph, steps)
    for one in corrections():
        if one.needs_formats:
            continue
        if one.name in steps:
            state = one.apply(state)
        elif one.otherwise is not None:
            state = replace(state, graph=one.otherwise(state.graph))
    return state


def fit_formats(
    state: RecipeState, formats: FormatsByName, data: Feeds | None = None, session: SessionOptions | None = None
) -> CorrectedModel:
    """Do the corrections of a recipe that need formats.

    Parameters
    ----------
    state
        Result of `change_ranges`.
    formats
        Formats of the tensors of its graph, as a session takes them; those of constants may be left out.
    data, session
        See `correct`.

    Raises
    ------
    QEngineError
        See `correct`.
    """
    steps = [one for one in corrections() if one.name in state.steps and one.needs_formats]
    readers = [one.name for one in steps if one.needs_data]
    if readers and data is None:
        raise OptionError(f"the correction '{readers[0]}' needs data")
    if len(readers) > 1 and data is not None and iter(data) is data:
        raise OptionError("the data is read twice, and this iterator only once: give a list, or what can be read again")
    state = replace(
        state,
        formats=_with_constants(state.graph, formats),
        data=data,
        reference=state.graph,
        session=session or SessionOptions(),
    )
    for one in steps:
        state = one.apply(state)
    return CorrectedModel(state.graph, state.entries, state.formats)


def correct(
    graph: Graph,
    formats_of: Callable[[Graph], FormatsByName],
    data: Feeds | None = None,
    recipe: str | Sequence[str] = "best",
    session: SessionOptions | None = None,
) -> CorrectedModel:
    """Correct the constants of a model for fixed point.

    Parameters
    ----------
    graph
        The model as it was loaded.
    formats_of
        Function that chooses the formats of a graph, as a session takes them; those of constants may be left out. It
        is called once, after the corrections that change ranges.
    data
        Feeds of the runs that corrections look at. Each such correction reads them once, so that they must be a list or
        something else that can be read again.
    recipe
        "best", "none", or names of `corrections`, as a list or with "+" between them.
    session
        Options of the runs, of which the limits and `threads` have an effect; None for the defaults.

    Returns
    -------
    CorrectedModel
        The corrected model; `formats` are the given formats and those of all constants.

    Raises
    ------
    OptionError
        If the recipe names a correction that does not exist, two that correct the same, or one that needs data where
        there is none.
    QEngineError
        If a correction fails, for example as the model is quantized already.
    """
    state = change_ranges(graph, recipe)
    return fit_formats(state, formats_of(state.graph), data, session)


def _with_constants(graph: Graph, formats: FormatsByName) -> FormatsByName:
    """Return formats with those that a session would choose for constants, so that later values do not change them."""
    constants = {graph.derived.get(name, name) for name in graph.constants}
    chosen = fixed_session(graph, formats, None).formats
    return {**{name: format_to_json(fmt) for name, fmt in chosen.items() if name in constants}, **formats}
