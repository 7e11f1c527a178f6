"""Recipes: corrections done one after the other, with formats chosen between the two sorts of them.

A recipe is "best", "none", or names of corrections. With the word "guard" among them each is measured, and kept only
where it helps, see `guard`; "best" is guarded. `correct` does a recipe as a whole. A sweep, which tries one recipe with
many choices of formats, calls the two halves of one without a guard: `change_ranges` once, and `fit_formats` for each
choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from qengine.data.datasets import DataKeywords, data_keywords, runs_of
from qengine.errors import OptionError, did_you_mean
from qengine.keywords import check_keywords
from qengine.model.formats.files import FormatsByName, format_to_json
from qengine.model.graph import Graph
from qengine.progress import working
from qengine.quantization.calibration import Feeds
from qengine.quantization.correction.guard import HeldOut, guarded
from qengine.quantization.correction.layers import check_real
from qengine.quantization.correction.registry import Correction, RecipeState, corrections
from qengine.quantization.correction.result import CorrectedModel
from qengine.quantization.correction.weights import fixed_session
from qengine.runtime.options import SessionOptions

GUARD = "guard"
"""Word of a recipe with which each step is measured, and kept only where it helps."""


def recipes() -> Mapping[str, tuple[str, ...]]:
    """Return the corrections of the recipes that have names of their own."""
    return {"none": (), "best": (*(one.name for one in corrections() if one.in_best), GUARD)}


def recipe_words() -> list[str]:
    """Return the names of recipes, and of the steps of which they are made."""
    return [*recipes(), *(one.name for one in corrections()), GUARD]


def describe_recipes() -> str:
    """Return the recipes that there are, in words."""
    names = [*(one.name for one in corrections()), GUARD]
    return f"{', '.join(recipes())}, or steps with +: {', '.join(names)}"


def steps_of(recipe: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of the corrections of a recipe, in the order in which they are done, and "guard" after them.

    Parameters
    ----------
    recipe
        "best", "none", or names of corrections, as a list or with "+" between them.

    Raises
    ------
    OptionError
        If a correction does not exist, or two of them compute the same constants and no guard chooses between them.
    """
    return (*(one.name for one in _declarations(recipe)), *((GUARD,) if is_guarded(recipe) else ()))


def is_guarded(recipe: str | Sequence[str]) -> bool:
    """Whether a recipe keeps only the steps that help."""
    return GUARD in _words(recipe)


def _words(recipe: str | Sequence[str]) -> Sequence[str]:
    if isinstance(recipe, str):
        return recipes()[recipe] if recipe in recipes() else [word.strip() for word in recipe.split("+")]
    return recipe


def _declarations(recipe: str | Sequence[str]) -> tuple[Correction, ...]:
    recipe, known = _words(recipe), corrections()
    unknown = [step for step in recipe if step not in {GUARD, *(one.name for one in known)}]
    if named := [step for step in unknown if step in recipes()]:
        raise OptionError(f"{named[0]!r} is a recipe by itself, and no step of one: give it alone, or steps")
    if unknown:
        near = did_you_mean(str(unknown[0]), recipe_words())
        raise OptionError(f"no recipe or correction is named {unknown[0]!r}{near}; there are {describe_recipes()}")
    steps = tuple(one for one in known if one.name in recipe)
    for i, one in enumerate(steps):
        for other in steps[i + 1 :]:
            if one.corrects and one.corrects == other.corrects and GUARD not in recipe:
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
    """Whether a recipe looks at data; raises OptionError as `steps_of` does."""
    return is_guarded(recipe) or any(one.needs_data for one in _declarations(recipe))


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
    return _with_ranges(RecipeState(graph, graph, steps), steps)


def _with_ranges(state: RecipeState, steps: Sequence[str]) -> RecipeState:
    """Do those of the steps that need no formats, and what is done in place of the others."""
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
    with working("correcting|steps", len(steps)) as advance:
        for one in steps:
            state = one.apply(state)
            advance(1)
    return CorrectedModel(state.graph, state.entries, state.formats)


def correct(
    graph: Graph,
    formats_of: Callable[[Graph], FormatsByName],
    data: Any = None,
    recipe: str | Sequence[str] = "best",
    session: SessionOptions | None = None,
    **keywords: Unpack[DataKeywords],
) -> CorrectedModel:
    """Correct the constants of a model for fixed point.

    Parameters
    ----------
    graph
        The model as it was loaded.
    formats_of
        Function that chooses the formats of a graph, as a session takes them; those of constants may be left out. It
        is called once, after the corrections that change ranges, and in a guarded recipe after each of them.
    data
        Data that `open_dataset` takes, for the runs that corrections look at; an iterable of mappings that
        `InferenceSession.run` takes is fed unchanged. Each such correction reads it once.
    recipe
        "best", "none", or names of `corrections`, as a list or with "+" between them.
    session
        Options of the runs, of which the limits and `threads` have an effect; None for the defaults.
    keywords
        Options of the data: `preprocessing`, `batch`, `limit` and `labels`, see `open_dataset`.

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

    Examples
    --------
    >>> import qengine
    >>> from qengine.model.loader import load
    >>> graph = load(qengine.zoo.path_of("digits"))
    >>> found = qengine.correct(graph, lambda graph: qengine.calibrate(graph, "digits", limit=50), recipe="fold")
    >>> [entry.is_done for entry in found.entries]
    [True]
    """
    check_keywords("correct", keywords, DataKeywords)
    if data is not None:
        data = runs_of(data, graph, data_keywords(keywords), again=True)
    if is_guarded(recipe):
        return _guarded(graph, formats_of, data, recipe, session or SessionOptions())
    state = change_ranges(graph, recipe)
    return fit_formats(state, formats_of(state.graph), data, session)


def _guarded(
    graph: Graph,
    formats_of: Callable[[Graph], FormatsByName],
    data: Feeds | None,
    recipe: str | Sequence[str],
    session: SessionOptions,
) -> CorrectedModel:
    """Do the steps of a recipe that help; what has something else in its place, such as `fold`, is where it starts."""
    if data is None:
        raise OptionError("a guarded recipe, such as 'best', needs data to measure its steps on")
    check_real(graph)
    steps = _declarations(recipe)
    first = [one.name for one in steps if one.otherwise is not None]
    loaded = RecipeState(graph, graph, steps_of(recipe), session=session)
    start, unfolded = _with_ranges(loaded, first), _with_ranges(loaded, ())
    state, verdicts = guarded(
        start,
        [one for one in steps if one.name not in first],
        lambda changed: _with_constants(changed, formats_of(changed)),
        HeldOut(graph, data, session),
        unfolded=None if _structure(start.graph) == _structure(unfolded.graph) else unfolded,
    )
    return CorrectedModel(state.graph, state.entries, state.formats, verdicts)


def _structure(graph: Graph) -> list[tuple[object, ...]]:
    return [(node.operator, node.domain, node.inputs, node.outputs) for node in graph.nodes]


def _with_constants(graph: Graph, formats: FormatsByName) -> FormatsByName:
    """Return formats with those that a session would choose for constants, so that later values do not change them."""
    constants = {graph.derived.get(name, name) for name in graph.constants}
    chosen = fixed_session(graph, formats, None).formats
    return {**{name: format_to_json(fmt) for name, fmt in chosen.items() if name in constants}, **formats}
