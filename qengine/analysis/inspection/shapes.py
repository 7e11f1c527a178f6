"""Shapes of a model's tensors, as far as they follow from the given inputs and shapes."""

import shlex
from collections.abc import Container, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError, UnsupportedError, did_you_mean
from qengine.model.graph import Dim, Graph, Value, of_one_sample
from qengine.model.static_values import value_inputs
from qengine.model.steps import Tensor
from qengine.runtime.session import InferenceSession

Shapes = Mapping[str, tuple[Dim, ...] | None]


def feeds_of(
    graph: Graph,
    session: InferenceSession,
    given: dict[str, NDArray[Any]],
    shapes: dict[str, tuple[int, ...]],
    max_elements: int,
) -> tuple[dict[str, NDArray[Any]], dict[str, str], dict[str, str]]:
    """Return an array for every input, the reasons why some of them do not decide all shapes, and open batches.

    An input that is not given becomes an array of zeros that takes no memory. Where only its batch is open, it has one
    sample; the last value has a note on this by the name of the input.

    Parameters
    ----------
    graph
        The model.
    session
        Session of the model, or of the part of it that can be planned: that part has more inputs.
    given
        Arrays by input name.
    shapes
        Shapes by input name.
    max_elements
        Largest number of elements of an input.

    Raises
    ------
    QEngineError
        If an array or a shape does not fit its input, or is too large.
    """
    declared = {value.name: value for value in session.graph.inputs}
    own = {value.name for value in graph.inputs}
    for name in shapes:
        if name not in own:
            listed = ", ".join(f"'{each}'" for each in own) or "none"
            raise FeedError(f"the model has no input '{name}'{did_you_mean(name, own)}; its inputs are {listed}")
    feeds: dict[str, Any] = dict(given)
    missing: dict[str, str] = {}
    decisive = value_inputs(session.graph)
    lengths = _lengths(graph, {**shapes, **{name: array.shape for name, array in given.items()}})
    batches: dict[str, str] = {}
    for name in own - given.keys() - shapes.keys() - decisive:
        if name in declared and (one := of_one_sample(_bound(declared[name], lengths))):
            opened, *rest = declared[name].shape or ()
            batches[name] = (
                f"the batch of input '{name}' is open ({' x '.join(str(n or '?') for n in (opened, *rest))}): work is "
                f"that of 1 sample; --shape {name}={','.join(map(str, (8, *one[1:])))} "
                "tells that of 8 (in Python: shapes=)"
            )
            shapes = {**shapes, name: one}
    for name, value in declared.items():
        if name in given:
            continue
        if value.container is not None:
            missing[name] = f"'{name}' is a {value.container} and not a tensor: shapes that depend on it are unknown"
            feeds[name] = []
            continue
        shape = shapes.get(name, _bound(value, lengths))
        listed = ", ".join("?" if n is None else str(n) for n in shape or ())
        what = f"input '{name}' ({value.dtype} {'of any rank' if shape is None else f'[{listed}]'})"
        typed = shlex.quote(name)
        if name not in own:
            if shape is None or name in decisive or not all(isinstance(n, int) for n in shape):
                missing[name] = f"shapes that depend on '{name}' are unknown: its operator decides them in a run"
        elif name in decisive:
            missing[name] = f"shapes depend on the elements of {what}: give them (-i {typed}=VALUE, inputs=)"
        elif shape is None or not all(isinstance(n, int) for n in shape):
            lengths_to_give = "N,..." if shape is None else ",".join("?" if n is None else str(n) for n in shape)
            missing[name] = f"shapes depend on that of {what}: give it (--shape {typed}={lengths_to_give}, shapes=)"
        lengths_fed = tuple(n if isinstance(n, int) else 1 for n in shape or ())
        if prod(lengths_fed) > max_elements:
            raise UnsupportedError(f"{what} has more than {max_elements:,} elements (--max-elements, max_elements=)")
        feeds[name] = np.broadcast_to(np.zeros((), value.dtype), lengths_fed)
    return session.check_feeds(feeds), missing, batches


def _bound(value: Value, lengths: Mapping[str, int]) -> tuple[Dim, ...] | None:
    """Return the shape of a value, with the known lengths in place of symbols."""
    if value.shape is None:
        return None
    return tuple(lengths.get(n, n) if isinstance(n, str) else n for n in value.shape)


def _lengths(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the lengths of symbols, by name, where inputs have these shapes."""
    lengths: dict[str, int] = {}
    for value in graph.inputs:
        pairs = zip(value.shape or (), shapes.get(value.name, ()), strict=False)
        lengths.update((n, m) for n, m in pairs if isinstance(n, str))
    return lengths


def shapes_of(
    graph: Graph, feeds: Mapping[str, NDArray[Any]], tensors: Mapping[str, Tensor], missing: Container[str]
) -> dict[str, tuple[Dim, ...] | None]:
    """Return every shape as far as it is known: from the plan, else from the model and the known lengths."""
    fed = {value.name: feeds[value.name].shape for value in graph.inputs if value.name not in missing}
    lengths = _lengths(graph, fed)
    declared = {name: _bound(value, lengths) for name, value in graph.values.items()}
    constants = {name: array.shape for name, array in graph.constants.items()}
    return {**declared, **constants, **fed, **{name: tensor.shape for name, tensor in tensors.items()}}
