"""Cells of tables: an image or a sound in bytes, a list of numbers, or a number, as a sample of an input."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.audio import sound_for
from qengine.data.datasets.layout import SampleLayout, layout_of
from qengine.data.datasets.wanted import Wanted
from qengine.data.read import picture_for
from qengine.errors import FeedError
from qengine.input_files import Encoded
from qengine.model.graph import Value

_MAX_DEPTH = 8


class Kind(Enum):
    """Kind of the cells of a column."""

    IMAGE = auto()
    SOUND = auto()
    NUMBERS = auto()
    BYTES = auto()
    """Lists of uint8 numbers, which are pixels where an input takes real numbers."""
    NUMBER = auto()
    TEXT = auto()
    OTHER = auto()


def kind_of(arrow_type: Any, feature: Any) -> Kind:
    """Return the kind of a column from its Arrow type, and what Hugging Face says of it."""
    import pyarrow.types as types

    declared = feature.get("_type") if isinstance(feature, Mapping) else None
    if types.is_struct(arrow_type) and arrow_type.get_field_index("bytes") >= 0:
        return Kind.SOUND if declared == "Audio" else Kind.IMAGE
    if types.is_binary(arrow_type) or types.is_large_binary(arrow_type):
        return Kind.SOUND if declared == "Audio" else Kind.IMAGE
    inner, depth = _storage(arrow_type), 0
    while _is_list(inner) and depth < _MAX_DEPTH:
        inner, depth = _storage(inner.value_type), depth + 1
    is_number = types.is_integer(inner) or types.is_floating(inner) or types.is_boolean(inner)
    if depth:
        return Kind.OTHER if not is_number else Kind.BYTES if types.is_uint8(inner) else Kind.NUMBERS
    if is_number:
        return Kind.NUMBER
    inner = inner.value_type if types.is_dictionary(inner) else inner
    return Kind.TEXT if types.is_string(inner) or types.is_large_string(inner) else Kind.OTHER


def sample_of(cell: Any, kind: Kind, declared: Value, wanted: Wanted, label: str) -> NDArray[Any]:
    """Return a cell as a sample of an input.

    Raises
    ------
    FeedError
        If the cell is empty or does not fit the input.
    """
    if kind in (Kind.IMAGE, Kind.SOUND):
        content = cell.as_py()
        content = content.get("bytes") if isinstance(content, Mapping) else content
        if not content:
            raise FeedError(f"{label} holds no bytes: save the files in the table, and not only their paths")
        encoded = Encoded(content, label)
        try:
            if kind is Kind.SOUND:
                return sound_for(encoded, declared, wanted.preprocessing.convert, wanted.max_elements)
            array = picture_for(encoded, declared, wanted.preprocessing, wanted.max_elements)
        except FeedError as error:
            raise FeedError(f"input '{declared.name}': {error}") from None
        return array[None] if declared.shape is not None and array.ndim == len(declared.shape) - 1 else array
    array = array_of_cell(cell, label)
    if array.size > wanted.max_elements:
        raise FeedError(f"{label} has {array.size:,} elements, more than {wanted.max_elements:,} (--max-elements)")
    return fitted(array, declared, wanted, label)


def array_of_cell(cell: Any, label: str) -> NDArray[Any]:
    """Return a number, or nested lists of numbers, as an array.

    Raises
    ------
    FeedError
        If a number is missing, or the lists at one depth have different lengths.
    """
    if not cell.is_valid:
        raise FeedError(f"{label} is empty")
    values = getattr(cell, "value", None) if hasattr(cell.type, "storage_type") else None
    cell = cell if values is None else values
    if not _is_list(cell.type):
        return np.asarray(cell.as_py())
    values, lengths = cell.values, [len(cell.values)]
    while _is_list(values.type):
        inner = values.flatten()
        each = len(inner) // len(values) if len(values) else 0
        if values.null_count or any(len(one) != each for one in values):
            raise FeedError(f"{label} holds lists of different lengths, and one array is needed")
        lengths.append(each)
        values = inner
    if values.null_count:
        raise FeedError(f"{label} holds an empty number")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(lengths)


def fitted(array: NDArray[Any], declared: Value, wanted: Wanted, label: str) -> NDArray[Any]:
    """Return the numbers of one sample in the shape and the dtype of an input.

    Raises
    ------
    FeedError
        If they do not fit.
    """
    shape = declared.shape
    if shape is not None and shape and array.ndim != len(shape) - 1:
        inner = [n for n in shape[1:] if isinstance(n, int)]
        if len(inner) == len(shape) - 1 and prod(inner) == array.size:
            array = array.reshape(inner)
    row = array if declared.name in wanted.single or shape == () else array[None]
    layout = layout_of(
        label,
        row.shape,
        row.dtype,
        declared,
        is_single=declared.name in wanted.single,
        layout=wanted.preprocessing.layout,
    )
    if layout is SampleLayout.RUNS:
        raise FeedError(f"{label} has {array.ndim} axes; a sample of input '{declared.name}' has {array.ndim - 1}")
    row = layout.feed(row, declared, wanted.preprocessing)
    return as_declared(row, declared, label)


def as_declared(array: NDArray[Any], declared: Value, label: str) -> NDArray[Any]:
    """Return numbers of a table, whose types are those of the table, in the dtype of an input.

    Raises
    ------
    FeedError
        If a number is beyond those that the input takes, or not whole where it takes whole ones.
    """
    wanted = declared.dtype
    if wanted is None or wanted == array.dtype or wanted.kind not in "biuf" or array.dtype.kind not in "biuf":
        return array
    if wanted.kind in "iu":
        info = np.iinfo(wanted)
        ok = (array >= info.min) & (array <= info.max) & (array == np.rint(array))
        if not ok.all():
            raise FeedError(f"{label} holds {array[~ok].flat[0]}, and input '{declared.name}' takes {wanted}")
    with np.errstate(over="ignore"):
        found = array.astype(wanted)
    if wanted.kind == "f" and (beyond := np.isinf(found) & ~np.isinf(array)).any():
        raise FeedError(f"{label} holds {array[beyond].flat[0]}, and input '{declared.name}' takes {wanted}")
    return found


def _storage(arrow_type: Any) -> Any:
    return getattr(arrow_type, "storage_type", arrow_type)


def _is_list(arrow_type: Any) -> bool:
    import pyarrow.types as types

    arrow_type = _storage(arrow_type)
    return bool(types.is_list(arrow_type) or types.is_large_list(arrow_type) or types.is_fixed_size_list(arrow_type))
