"""Calls of registered functions, and checks of their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError, OperatorError, QEngineError, first_line
from qengine.kernels.reference.requantize import Tally, count, requantize
from qengine.model.rules import Arithmetic
from qengine.qformat import QFormat

_MAX_INTEGER = 1 << 60
"""Largest magnitude of an exact integer: the sum with a rounding constant must fit 64 bits."""

_MAX_FRACTION_BITS = 1000


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """A tensor in fixed point, an argument of a registered operator's rule: its values are codes * 2^-n.

    Attributes
    ----------
    codes : int64 codes, a copy that the rule may change.
    format : format of the tensor.
    """

    codes: NDArray[np.int64]
    format: QFormat

    @property
    def fraction_bits(self) -> int:
        """The number n of fraction bits of the format."""
        return self.format.fraction_bits


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view for a user's function: other nodes read the array too."""
    view = array.view()
    view.flags.writeable = False
    return view


def call_function(function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """Return the result of a user's function.

    Raises
    ------
    OperatorError
        If the function raises; its own exception is the cause.
    """
    try:
        return function(*arguments, **keywords)
    except (QEngineError, MemoryError):
        raise
    except Exception as error:
        reason = f": {first_line(error)}" if str(error) else ""
        raise OperatorError(
            f"its function raised {type(error).__name__}{reason}{_location(function, error)}"
        ) from error


def _location(function: Callable[..., Any], error: Exception) -> str:
    """Return the last line in the function's file on the way of the error, as " (file.py:12)"; "" if there is none."""
    code, location, step = getattr(function, "__code__", None), "", error.__traceback__
    while step is not None and isinstance(code, CodeType):
        if step.tb_frame.f_code.co_filename == code.co_filename:
            location = f" ({Path(code.co_filename).name}:{step.tb_lineno})"
        step = step.tb_next
    return location


def split_outputs(result: Any, names: Sequence[str]) -> list[Any]:
    """Return a rule's result for each output of a node; a pair of integers and their fraction bits is one output."""
    several = isinstance(result, tuple | list) and not _is_pair(result)
    return _matched(list(result) if several else [result], names)


def _matched(results: list[Any], names: Sequence[str]) -> list[Any]:
    """Return one result for each output name, None for missing ones at the end that the node leaves out."""
    needed = max((i + 1 for i, name in enumerate(names) if name), default=0)
    if len(results) < needed:
        raise OperatorError(f"its function gives {len(results)} output(s), the model needs {needed}")
    return (results + [None] * len(names))[: len(names)]


def _is_pair(result: Any) -> bool:
    """Whether a result is one output: an array and its number of fraction bits, or None for no fixed point."""
    has_bits = len(result) == 2 and isinstance(result[1], int | np.integer | None)
    return has_bits and isinstance(result[0], np.ndarray | np.generic | int)


def checked_arrays(
    result: Any, names: Sequence[str], inputs: Sequence[Any], types: Sequence[np.dtype[Any] | None]
) -> list[NDArray[Any] | None]:
    """Return copies of the arrays that a function returned, one per output; None for an output that is left out.

    Parameters
    ----------
    result
        Result of the function: an array, or a tuple or list of arrays.
    names, types
        Name and declared element type of each output; the type is None where the model declares none.
    inputs
        Arguments of the function.

    Raises
    ------
    OperatorError
        If the number of arrays, or the element type of one, is wrong.
    """
    results = list(result) if isinstance(result, tuple | list) else [result]
    return [
        None if not name else _array(one, name, [a.dtype for a in inputs if isinstance(a, np.ndarray)], declared)
        for one, name, declared in zip(_matched(results, names), names, types, strict=True)
    ]


def _array(one: Any, name: str, types: Sequence[np.dtype[Any]], declared: np.dtype[Any] | None) -> NDArray[Any]:
    """Return a copy of one output of the declared type; `types` are those of the inputs."""
    if not isinstance(one, np.ndarray | np.generic | int | float):
        raise OperatorError(f"its function gives {_article(one)} for '{name}'; a NumPy array is needed")
    array = np.array(one, order="C")  # the function may keep its result, or return a view of an input
    if array.dtype.kind not in "fiub" and array.dtype not in (*types, declared):
        raise OperatorError(f"its function gives {array.dtype} for '{name}'; real numbers or booleans are needed")
    if declared is not None:
        if array.dtype != declared and not array.dtype.kind == declared.kind == "f":
            raise OperatorError(
                f"its function gives {array.dtype} for '{name}', which the model declares as {declared}"
            )
        return array.astype(declared, copy=False)
    if array.dtype in types:
        return array
    real = next((t for t in types if t.kind == "f"), None)
    if array.dtype.kind == "f" and array.dtype.itemsize >= 8 and real is not None:
        # NumPy computes in float64 where Python numbers or integers are operands.
        return array.astype(real)
    return array


def _article(one: Any) -> str:
    return "None" if one is None else f"a {type(one).__name__}"


def checked_codes(
    array: NDArray[Any], source: QFormat, fmt: QFormat | None, tally: Tally | None
) -> tuple[NDArray[Any], QFormat]:
    """Return the codes that a move returned, with their format.

    Parameters
    ----------
    array
        Array that the function returned.
    source, fmt
        Format of the input, and the output's own, which must be the same.

    Raises
    ------
    FormatError
        If the formats differ.
    OperatorError
        If the array holds anything but codes of the format.
    """
    word = source.word()
    if fmt != source:
        raise FormatError(f"moves codes of {source}, and its output has {fmt}: give both the same format")
    if array.dtype.kind not in "iu":
        raise OperatorError(
            f"its function returns {array.dtype} for codes; fixed_point='move' is for functions that only move elements"
        )
    if array.size and not word.least <= int(array.min()) <= int(array.max()) <= word.most:
        raise OperatorError(f"its function returns {int(array.min())}..{int(array.max())} for codes of {source}")
    codes = array.astype(word.dtype)
    if tally is not None:
        count(tally, codes, np.False_, np.False_, codes)
    return codes, source


def requantize_output(
    one: Any,
    name: str,
    declared: np.dtype[Any] | None,
    fmt: QFormat | None,
    arithmetic: Arithmetic,
    tally: Tally | None,
) -> tuple[NDArray[Any], QFormat | None]:
    """Return an output of a rule: exact integers rounded to the output's format, or an array without a format.

    Parameters
    ----------
    one
        Pair of an integer array and its number of fraction bits; None instead of the number for no fixed point.
    name, declared, fmt
        Name, declared element type and format of the output.

    Raises
    ------
    OperatorError
        If `one` is not such a pair.
    FormatError
        If the output needs a format and has none.
    """
    if not isinstance(one, tuple | list) or not _is_pair(one):
        what = f"an array of {one.dtype}" if isinstance(one, np.ndarray) else _article(one)
        raise OperatorError(
            f"its rule gives {what} for '{name}'; exact integers and their number of fraction bits are needed, as in "
            "`return total, n`, or `return total, None` for no fixed point"
        )
    total = np.asarray(one[0])
    if one[1] is None:
        if total.dtype.kind not in "iub":
            raise OperatorError(
                f"its rule gives {total.dtype} without fraction bits for '{name}'; integers or booleans are needed"
            )
        if declared is not None and total.dtype != declared:
            raise OperatorError(f"its rule gives {total.dtype} for '{name}', which the model declares as {declared}")
        return np.array(total, order="C"), None
    n = int(one[1])
    if declared is not None and declared.kind != "f":
        raise OperatorError(f"its rule gives fraction bits for '{name}', which the model declares as {declared}")
    if total.dtype.kind not in "iu":
        raise OperatorError(f"its rule gives {total.dtype} for '{name}'; exact integers (int64) are needed")
    if abs(n) > _MAX_FRACTION_BITS:
        raise OperatorError(f"its rule gives {n} fraction bits for '{name}'; at most {_MAX_FRACTION_BITS} are allowed")
    if total.size and max(int(total.max()), -int(total.min())) > _MAX_INTEGER:
        raise OperatorError(f"its rule gives integers beyond 2^60 for '{name}', which cannot be rounded exactly")
    if fmt is None:
        raise FormatError(f"no format for '{name}': name it in the formats, or give a qformat for the rest")
    wide = total.astype(np.int64)
    return requantize(wide, n - fmt.fraction_bits, arithmetic.word(fmt), tally=tally), fmt
