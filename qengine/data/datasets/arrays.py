"""Arrays of Python: those of NumPy, and what other libraries give, such as torch's tensors, Pillow's images, frames.

No such library is imported. A tensor says `numpy()`, an array `__array__()`, an image is one of Pillow's, and a frame
has columns.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qengine.data.datasets.cells import as_declared
from qengine.data.datasets.columns import LABELS, Column
from qengine.data.datasets.wanted import Wanted
from qengine.errors import FeedError, first_line
from qengine.input_files import Encoded
from qengine.model.graph import Value

_SAVED_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"})


@dataclass(frozen=True)
class ArrayColumn(Column):
    """Array in memory.

    Attributes
    ----------
    array : the elements.
    """

    array: NDArray[Any]

    def rows(self, stack: ExitStack, max_elements: int) -> Iterator[NDArray[Any]]:  # noqa: ARG002 - nothing is open
        """Yield the samples."""
        self.check_size((1, *self.shape[1:]), max_elements)
        for i in range(len(self.array)):
            yield self.array[i : i + 1]

    def whole(self, max_elements: int) -> NDArray[Any]:
        """Return the array."""
        self.check_size(self.shape, max_elements)
        return self.array


def column_of(key: str, value: Any, label: str, declared: Value | None = None) -> ArrayColumn:
    """Return an array in memory as a column; numbers of Python, which have no type of their own, in that of an input.

    Raises
    ------
    FeedError
        If it is not an array.
    """
    array = as_array(value, label)
    if declared is not None and not hasattr(value, "__array__"):
        array = as_declared(array, declared, label)
    return ArrayColumn(key, label, array.shape, array.dtype, array)


def is_array(value: Any) -> bool:
    """Whether an object is an array, a tensor, an image, a number, or nested lists of numbers."""
    if isinstance(value, np.ndarray | np.generic | Image.Image | int | float):
        return True
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(one, int | float) for one in _leaves(value))
    return is_tensor(value) or (hasattr(value, "__array__") and not isinstance(value, str))


def is_tensor(value: Any) -> bool:
    """Whether an object is a tensor of torch, or one that behaves as these."""
    return hasattr(value, "detach") and hasattr(value, "numpy")


def is_frame(value: Any) -> bool:
    """Whether an object is a table with named columns, such as a frame of pandas."""
    return hasattr(value, "columns") and hasattr(value, "__getitem__") and hasattr(value, "to_numpy")


def as_array(value: Any, label: str, *, objects: bool = False) -> NDArray[Any]:
    """Return an object as an array of numbers, or with `objects` of texts and others too.

    Raises
    ------
    FeedError
        If it is none.
    """
    try:
        if is_tensor(value):
            value = value.detach().cpu().numpy()
        array = np.asarray(value)
    except Exception as error:  # of another library, which may raise anything
        raise FeedError(f"{label} is not an array: {first_line(error)}") from None
    if array.dtype.kind == "O" and not objects:
        raise FeedError(f"{label} holds Python objects, or lists of different lengths: numbers are needed")
    return array


def encoded_image(image: Image.Image, label: str) -> Encoded:
    """Return an image of Pillow as a file in memory, without loss."""
    if image.mode == "F":
        raise FeedError(f"{label} is an image of real numbers: give an array")
    buffer = io.BytesIO()
    whole = image if image.mode in _SAVED_MODES else image.convert("RGB")
    whole.save(buffer, format="PNG", compress_level=0)
    return Encoded(buffer.getvalue(), label)


def columns_of_frame(frame: Any, wanted: Wanted, label: str) -> tuple[dict[str, ArrayColumn], Any]:
    """Return the columns of a frame by what they feed, and the labels in it, None without any.

    Columns feed the inputs of their names; for one input of rows of numbers, all columns of numbers but the labels are
    its elements, in their order.

    Raises
    ------
    FeedError
        If the columns do not fit.
    """
    names = [str(name) for name in frame.columns]
    own = {str(name): np.asarray(frame[name].to_numpy()) for name in frame.columns}
    column = wanted.label_column or next((name for name in names if name.lower() in LABELS), None)
    if column is not None and column not in own:
        raise FeedError(f"{label} has no column '{column}' of labels; it has {', '.join(names[:8])}")
    labels = None if column is None else own.pop(column)
    inputs = wanted.inputs
    if len(inputs) != 1 or inputs[0].name in own:
        return {key: ArrayColumn(key, f"{label}['{key}']", a.shape, a.dtype, a) for key, a in own.items()}, labels
    texts = [name for name, array in own.items() if array.dtype.kind not in "biuf"]
    if texts:
        raise FeedError(f"{label}: column '{texts[0]}' holds no numbers: leave it out, or make numbers of it")
    dtype = inputs[0].dtype if inputs[0].dtype is not None else np.dtype(np.float32)
    rows = as_declared(np.stack(list(own.values()), axis=1), inputs[0], label) if own else np.empty((0, 0), dtype)
    return {inputs[0].name: ArrayColumn(inputs[0].name, label, rows.shape, rows.dtype, rows)}, labels


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the first and the last elements at each depth of nested lists: enough to tell what they hold."""
    while isinstance(value, list | tuple) and value:
        yield from (one for one in (value[0], value[-1]) if not isinstance(one, list | tuple))
        value = value[0]
    if not isinstance(value, list | tuple):
        yield value
