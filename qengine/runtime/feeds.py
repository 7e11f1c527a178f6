"""The inputs and outputs of a model as a caller sees them, and the checks of the feeds of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError, did_you_mean
from qengine.model.eager.sequences import TensorSequence
from qengine.model.graph import Dim, Graph, Value

_DTYPE_KINDS = "biuf"
"""Kinds of NumPy dtypes, in an order in which each kind holds the values of those before it."""
_NUMPY_NAMES = {"float": "float32", "double": "float64", "string": "object"}
"""NumPy's names of the element types that ONNX writes in another way."""
_MAP_VALUES: dict[str, type[Any]] = {"float": np.float32, "double": np.float64, "int64": np.int64, "string": str}
"""Types of the values of a map, by ONNX's name."""


@dataclass(frozen=True)
class Argument:
    """An input or output of a model, as ONNX Runtime describes it.

    Attributes
    ----------
    name : name of the tensor.
    shape : length of every axis, with a name or None for a length that is open; None where even the rank is open.
    type : type as ONNX writes it, such as "tensor(float)".
    """

    name: str
    shape: list[Dim] | None
    type: str

    @classmethod
    def of(cls, value: Value) -> Argument:
        """Return the description of a value of the graph."""
        if value.container is not None:
            return cls(value.name, None, value.container)
        names = {own: name for name, own in _NUMPY_NAMES.items()}
        kind = "unknown" if value.dtype is None else names.get(value.dtype.name, value.dtype.name)
        return cls(value.name, None if value.shape is None else list(value.shape), f"tensor({kind})")


def check_feeds(graph: Graph, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the feeds as arrays in the machine's byte order.

    An array must have the declared dtype. Python numbers and lists of them are converted to it, if nothing but
    rounding can change them.

    Raises
    ------
    FeedError
        If a feed is missing, unknown, or of the wrong dtype, rank or shape.
    """
    if not isinstance(feeds, Mapping):
        raise FeedError(f"feeds must be a mapping of input names to arrays, not {type(feeds).__name__}")
    declared = {value.name: value for value in (*graph.inputs, *graph.overridable)}
    for name in feeds:
        if name not in declared:
            listed = ", ".join(f"'{value.name}'" for value in graph.inputs) or "none"
            raise FeedError(
                f"the model has no input '{name}'{did_you_mean(str(name), declared)}; its inputs are {listed}"
            )
    if missing := [value.name for value in graph.inputs if value.name not in feeds]:
        described = ", ".join(f"'{name}' ({_description(declared[name])})" for name in missing)
        raise FeedError(f"no feed for input {described}")
    return {name: _checked_feed(declared[name], feed) for name, feed in feeds.items()}


def _checked_feed(value: Value, feed: Any) -> Any:
    label = f"input '{value.name}'"
    if value.container is not None:
        return _container(value.container, feed, label)
    array = _array(value, feed, label)
    if value.shape is not None:
        if array.ndim != len(value.shape):
            raise FeedError(
                f"{label} needs {len(value.shape)} axes {_lengths(value.shape)}, not {array.ndim}: {list(array.shape)}"
            )
        if any(isinstance(n, int) and n != m for n, m in zip(value.shape, array.shape, strict=True)):
            raise FeedError(f"{label} needs shape {_lengths(value.shape)}, not {list(array.shape)}")
    return array


def _container(container: str, feed: Any, label: str) -> Any:
    """Return the feed of a sequence, a map or an optional: a list, a dict, an array, or None."""
    if container.startswith("optional("):
        if feed is None:
            return None
        container = container.removeprefix("optional(").removesuffix(")")
    if container.startswith("map("):
        return _map(container, feed, label)
    if not container.startswith("seq("):
        return _array(Value("", _element_type(container)), feed, label)
    elements = container.removeprefix("seq(").removesuffix(")")
    is_map = elements.startswith("map(")
    if not isinstance(feed, Sequence) or isinstance(feed, str):
        kind = "dicts" if is_map else "arrays"
        raise FeedError(f"{label} needs a list of {kind} ({container}), not {type(feed).__name__}")
    if is_map:
        return [_map(elements, element, label) for element in feed]
    if not elements.startswith("tensor("):
        return [None if element is None else np.asarray(element) for element in feed]
    dtype = _element_type(elements)
    return TensorSequence([_array(Value("", dtype), element, f"{label}[{i}]") for i, element in enumerate(feed)], dtype)


def _element_type(kind: str) -> np.dtype[Any] | None:
    """Return the element type of a type such as "tensor(float)"; None for one that NumPy does not know by name."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    try:
        return np.dtype(_NUMPY_NAMES.get(name, name))
    except TypeError:
        return None


def _map(container: str, feed: Any, label: str) -> dict[Any, Any]:
    """Return the feed of a map, such as map(string,tensor(float)), with values of its type."""
    if not isinstance(feed, Mapping):
        raise FeedError(f"{label} needs a dict ({container}), not {type(feed).__name__}")
    key, _, value = container.removeprefix("map(").removesuffix(")").partition(",tensor(")
    kind = _MAP_VALUES.get(value.removesuffix(")"))
    if kind is None:
        raise FeedError(f"{label} is a {container}, which cannot be fed")
    keys = str if key == "string" else (int, np.integer)
    values = str if kind is str else (int, np.integer) if kind is np.int64 else (int, float, np.number)
    if not all(isinstance(k, keys) and isinstance(v, values) for k, v in feed.items()):
        raise FeedError(f"{label} needs a dict with keys and values of {container}")
    try:
        return {k if key == "string" else int(k): kind(v) for k, v in feed.items()}
    except (OverflowError, ValueError):
        raise FeedError(f"{label} has a value outside {container}") from None


def _lengths(shape: tuple[Dim, ...]) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"


def _description(value: Value) -> str:
    """Return the type and the shape of an input as text, as far as they are declared."""
    return " ".join(
        [str(value.container or value.dtype or "any type"), *([] if value.shape is None else [_lengths(value.shape)])]
    )


def _array(value: Value, feed: Any, label: str) -> NDArray[Any]:
    try:
        array = np.asarray(feed)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if array.dtype.kind in "UO" and value.dtype in (None, np.dtype(object)):
            return _text(array, label)
        if value.dtype is None or array.dtype == value.dtype:
            return array
        fits = not array.size or _DTYPE_KINDS.find(array.dtype.kind) <= _DTYPE_KINDS.find(value.dtype.kind)
        if array.dtype.kind in _DTYPE_KINDS and fits and not hasattr(feed, "dtype"):
            with np.errstate(over="ignore"):
                return np.asarray(feed, value.dtype)
    except (ValueError, TypeError, OverflowError):
        raise FeedError(f"{label} needs an array of {value.dtype}, not {type(feed).__name__}") from None
    remedy = f": convert it with .astype('{value.dtype}')" if array.dtype.kind in _DTYPE_KINDS else ""
    raise FeedError(f"{label} needs dtype {value.dtype}, not {array.dtype}{remedy}")


def _text(array: NDArray[Any], label: str) -> NDArray[Any]:
    """Return an array of text as objects; raise FeedError for an element of another type."""
    objects = array.astype(object)
    for element in objects.flat:
        if not isinstance(element, str):
            raise FeedError(f"{label} needs text (str), and holds {type(element).__name__}")
    return objects
