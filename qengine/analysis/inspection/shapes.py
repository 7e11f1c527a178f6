"""The shapes of a model's tensors, as far as they follow from what is given."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError, UnsupportedError
from qengine.model.graph import Dim, Graph, Value
from qengine.model.static_values import value_inputs
from qengine.model.steps import Tensor
from qengine.runtime.session import InferenceSession

Shapes = Mapping[str, tuple[Dim, ...] | None]


def whole(shape: tuple[Dim, ...] | None) -> tuple[int, ...] | None:
    """Return a shape all of whose lengths are known; None for any other."""
    lengths = tuple(n for n in shape or () if isinstance(n, int))
    return None if shape is None or len(lengths) < len(shape) else lengths


def feeds_of(
    graph: Graph,
    session: InferenceSession,
    given: dict[str, NDArray[Any]],
    shapes: dict[str, tuple[int, ...]],
    max_elements: int,
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return an array for every input, zeros that take no memory where none is given, and why some are not enough."""
    declared = {value.name: value for value in session.graph.inputs}
    own = {value.name for value in graph.inputs}
    for name in shapes:
        if name not in own:
            listed = ", ".join(f"'{each}'" for each in own) or "none"
            raise FeedError(f"the model has no input '{name}'; its inputs are {listed}")
    feeds: dict[str, Any] = dict(given)
    missing: dict[str, str] = {}
    decisive = value_inputs(session.graph)
    lengths = _lengths(graph, {**shapes, **{name: array.shape for name, array in given.items()}})
    for name, value in declared.items():
        if name in given:
            continue
        if value.container is not None:
            missing[name] = f"'{name}' is no tensor but {value.container}: what follows from it has no known shape"
            feeds[name] = []
            continue
        shape = shapes.get(name, _bound(value, lengths))
        listed = ", ".join("?" if n is None else str(n) for n in shape or ())
        what = f"input '{name}' ({value.dtype} {'of any rank' if shape is None else f'[{listed}]'})"
        if name not in own:
            if shape is None or name in decisive or not all(isinstance(n, int) for n in shape):
                missing[name] = (
                    f"what follows from '{name}' has no known shape: a plan cannot tell what its operator gives"
                )
        elif name in decisive:
            missing[name] = f"shapes depend on the elements of {what}: give them (-i {name}=VALUE, inputs=)"
        elif shape is None or not all(isinstance(n, int) for n in shape):
            lengths_to_give = "N,..." if shape is None else ",".join("?" if n is None else str(n) for n in shape)
            missing[name] = f"shapes depend on that of {what}: give it (--shape {name}={lengths_to_give}, shapes=)"
        whole = tuple(n if isinstance(n, int) else 1 for n in shape or ())
        if prod(whole) > max_elements:
            raise UnsupportedError(f"{what} has more than {max_elements:,} elements (--max-elements, max_elements=)")
        feeds[name] = np.broadcast_to(np.zeros((), value.dtype), whole)
    return session.check_feeds(feeds), missing


def _bound(value: Value, lengths: Mapping[str, int]) -> tuple[Dim, ...] | None:
    """Return a shape with the lengths that the inputs give to symbols."""
    if value.shape is None:
        return None
    return tuple(lengths.get(n, n) if isinstance(n, str) else n for n in value.shape)


def _lengths(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Return what symbols stand for where inputs have such shapes."""
    found: dict[str, int] = {}
    for value in graph.inputs:
        pairs = zip(value.shape or (), shapes.get(value.name, ()), strict=False)
        found.update((n, m) for n, m in pairs if isinstance(n, str))
    return found


def shapes_of(
    graph: Graph, feeds: Mapping[str, NDArray[Any]], tensors: Mapping[str, Tensor], missing: Mapping[str, str]
) -> dict[str, tuple[Dim, ...] | None]:
    """Return what is known of every shape: what the plan says, or the model with the lengths that are given."""
    fed = {value.name: feeds[value.name].shape for value in graph.inputs if value.name not in missing}
    lengths = _lengths(graph, fed)
    said = {name: _bound(value, lengths) for name, value in graph.values.items()}
    constants = {name: array.shape for name, array in graph.constants.items()}
    return {**said, **constants, **fed, **{name: tensor.shape for name, tensor in tensors.items()}}
