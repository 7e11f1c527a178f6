"""Evaluators of ai.onnx.ml whose inputs or outputs are maps, which are dicts here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import checked_shape
from qengine.model.eager.evaluator import Element, evaluator
from qengine.model.eager.ml.features import DOMAIN, labels_of, rows_of, text

_CASTS = {"TO_FLOAT": np.float32, "TO_INT64": np.int64, "TO_STRING": object}
_PADDING = {"TO_FLOAT": 0.0, "TO_INT64": 0, "TO_STRING": "0.f"}  # as in ONNX Runtime
_FORMS = ("DENSE", "SPARSE")


@evaluator("ZipMap", domain=DOMAIN)
def zip_map(
    x: NDArray[Any], *, classlabels_int64s: tuple[int, ...] = (), classlabels_strings: tuple[str, ...] = ()
) -> list[dict[Any, float]]:
    """Return a dict for each row: the elements by label."""
    rows = rows_of(x)
    labels = labels_of(classlabels_int64s, classlabels_strings, rows.shape[1]).tolist()
    return [dict(zip(labels, row, strict=True)) for row in rows.tolist()]


@evaluator("DictVectorizer", domain=DOMAIN)
def dict_vectorizer(
    x: Element, *, int64_vocabulary: tuple[int, ...] = (), string_vocabulary: tuple[str, ...] = ()
) -> NDArray[Any]:
    """Return one row with the value of each key of the vocabulary; 0 or empty text where a map has none."""
    entries, dtype = _map_of(x)
    if dtype is None:
        raise UnsupportedError("the map is empty, which leaves the type of the result open; give it an entry")
    vocabulary = labels_of(int64_vocabulary, string_vocabulary).tolist()
    if any(isinstance(key, str) != bool(string_vocabulary) for key in entries):
        raise ModelError(f"its vocabulary is {'text' if string_vocabulary else 'integers'}, and the keys are not")
    missing = "" if dtype.kind == "O" else 0
    result = np.empty((1, len(vocabulary)), dtype)
    result[0] = [entries.get(key, missing) for key in vocabulary]
    return result


@evaluator("CastMap", domain=DOMAIN)
def cast_map(x: Element, *, cast_to: str = "TO_FLOAT", map_form: str = "DENSE", max_map: int = 1) -> NDArray[Any]:
    """Return one row with the values of a map: in order of the keys, or each at the position of its key."""
    if cast_to not in _CASTS:
        raise ModelError(f"cast_to is '{cast_to}'; it must be one of {', '.join(_CASTS)}")
    if map_form not in _FORMS:
        raise ModelError(f"map_form is '{map_form}'; it must be one of {', '.join(_FORMS)}")
    entries, _ = _map_of(x)
    if not all(isinstance(key, int) for key in entries):
        raise ModelError("takes a map with integer keys")
    keys = sorted(entries)
    values = [_cast(entries[key], cast_to) for key in keys]
    if map_form == "DENSE":
        return _row(values, cast_to)
    if max_map < 1:
        raise ModelError(f"max_map is {max_map}; with map_form SPARSE it must be positive")
    if keys and keys[0] < 0:
        raise ModelError(f"the map has the key {keys[0]}; with map_form SPARSE keys are positions")
    checked_shape((1, max_map))
    row = _row([_PADDING[cast_to]], cast_to).repeat(max_map, axis=1)
    within = [key for key in keys if key < max_map]
    if within:
        row[0, within] = _row(values[: len(within)], cast_to)[0]
    return row


def _row(values: list[Any], cast_to: str) -> NDArray[Any]:
    return (text(values) if cast_to == "TO_STRING" else np.array(values, _CASTS[cast_to]))[None]


def _cast(value: Any, cast_to: str) -> Any:
    """Return a value of a map, float32 or text, in another type."""
    try:
        if cast_to == "TO_STRING":
            return value if isinstance(value, str) else f"{value:f}"
        if isinstance(value, str) and "_" in value:  # Python allows 1_000
            raise ValueError
        number = float(np.float32(value))
        return int(value if isinstance(value, str) else number) if cast_to == "TO_INT64" else number
    except (ValueError, OverflowError):
        raise ModelError(f"cannot cast '{value}' {cast_to}") from None


def _map_of(x: Element) -> tuple[dict[Any, Any], np.dtype[Any] | None]:
    """Return a map, and the element type of its values, None of an empty one; raise ModelError for anything else."""
    if not isinstance(x, dict):
        raise ModelError("takes a map, such as {'a': 1.0}")
    kinds = {type(value) for value in x.values()}
    if len(kinds) > 1:
        raise ModelError("takes a map whose values have one type")
    kind = next(iter(kinds), None)
    return x, None if kind is None else np.dtype(object if kind is str else kind)
