"""The feeds whose shapes a network in C has: those that are given, and zeros of the other shapes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.checks import check_whole_number
from qengine.errors import FeedError, OptionError, did_you_mean
from qengine.model.graph import Value
from qengine.runtime.session import InferenceSession

Array = NDArray[Any]


def feeds_of_shapes(
    session: InferenceSession, shapes: Mapping[str, Sequence[int]] | None, feeds: Mapping[str, Any] | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return an array for every input, and notes on lengths that nobody gave.

    Parameters
    ----------
    session
        The model.
    shapes
        Shapes of inputs by name.
    feeds
        Arrays of inputs by name; those that decide shapes must be among them.

    Raises
    ------
    OptionError
        If a shape is for no input, does not fit, or an input needs one.
    FeedError
        If an input decides shapes and has no value.
    """
    given, wanted = dict(feeds or {}), dict(shapes or {})
    values = {value.name: value for value in session.graph.inputs}
    for name in wanted:
        if name not in values:
            raise OptionError(f"the model has no input '{name}' to give a shape{did_you_mean(name, values)}")
    notes: list[str] = []
    for name, value in values.items():
        if name in given:
            if name in wanted and list(np.shape(given[name])) != list(wanted[name]):
                raise OptionError(f"input '{name}' is given with shape {list(np.shape(given[name]))} and another one")
            continue
        if name in session.network.value_inputs:
            typed = shlex.quote(f"{name}=VALUE")
            raise FeedError(f"input '{name}' decides shapes, which C has fixed: give its value, as with -i {typed}")
        shape = _given_shape(value, wanted[name]) if name in wanted else _default_shape(value, notes)
        if value.dtype is None:
            raise OptionError(f"input '{name}' is not a tensor, and C has tensors only")
        if np.dtype(value.dtype).kind not in "biuf":
            raise OptionError(f"input '{name}' holds text or complex numbers, and C computes codes and integers")
        given[name] = np.zeros(shape, value.dtype)
    return given, tuple(notes)


def _given_shape(value: Value, shape: Sequence[int]) -> tuple[int, ...]:
    lengths = tuple(check_whole_number(f"length in the shape of '{value.name}'", n, 1) for n in shape)
    declared = value.shape
    if declared is not None:
        fits = len(declared) == len(lengths)
        if not fits or any(isinstance(n, int) and n != m for n, m in zip(declared, lengths, strict=True)):
            listed = ",".join("?" if n is None else str(n) for n in declared)
            raise OptionError(f"input '{value.name}' has shape {listed}, not {','.join(map(str, lengths))}")
    return lengths


def _example(shape: Sequence[int | str | None]) -> list[int | str]:
    """Return a shape with a batch of one, and a length to replace where it is open."""
    first = [1 if isinstance(shape[0], str | None) else shape[0]]
    return [*first, *(n if isinstance(n, int) else n or "N" for n in shape[1:])]


def _default_shape(value: Value, notes: list[str]) -> tuple[int, ...]:
    """Return the declared shape; an open first axis has length 1, and others must be given."""
    if value.shape is None:
        raise OptionError(f"input '{value.name}' has any shape, and that of C is fixed: give it with --shape")
    if any(not isinstance(n, int) for n in value.shape[1:]):
        listed = ",".join("?" if n is None else str(n) for n in value.shape)
        raise OptionError(
            f"input '{value.name}' has shape {listed}, and that of C is fixed: give it, as with "
            f"--shape {shlex.quote(value.name)}={','.join(map(str, _example(value.shape)))}"
        )
    if value.shape and not isinstance(value.shape[0], int):
        notes.append(f"input '{value.name}' takes one sample: the length of its first axis is open in the model")
    return tuple(n if isinstance(n, int) else 1 for n in value.shape)
