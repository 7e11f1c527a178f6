"""Calls of registered functions, and the check of what they give."""

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
from qengine.model.steps import Arithmetic
from qengine.qformat import QFormat

_MOST = 1 << 60
"""Of an exact integer, so that what rounding adds to it fits 64 bits."""

_MOST_FRACTION_BITS = 1000


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """A tensor in fixed point, as a rule of a registered operator is given it: codes * 2^-n.

    Attributes
    ----------
    codes : int64, the rule's own.
    format : the tensor's.
    """

    codes: NDArray[np.int64]
    format: QFormat

    @property
    def fraction_bits(self) -> int:
        """The format's n."""
        return self.format.fraction_bits


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that a function cannot write to: others read the array too."""
    view = array.view()
    view.flags.writeable = False
    return view


def called(function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """Return what a user's function gives.

    Raises
    ------
    OperatorError
        If it raises; its own exception is the cause.
    """
    try:
        return function(*arguments, **keywords)
    except (QEngineError, MemoryError):
        raise
    except Exception as error:
        reason = f": {first_line(error)}" if str(error) else ""
        raise OperatorError(f"its function raised {type(error).__name__}{reason}{_place(function, error)}") from error


def _place(function: Callable[..., Any], error: Exception) -> str:
    """Return the last line of the function's own file that the error came through."""
    code, found, step = getattr(function, "__code__", None), "", error.__traceback__
    while step is not None and isinstance(code, CodeType):
        if step.tb_frame.f_code.co_filename == code.co_filename:
            found = f" ({Path(code.co_filename).name}:{step.tb_lineno})"
        step = step.tb_next
    return found


def results_of(result: Any, names: Sequence[str]) -> list[Any]:
    """Return what a rule gives for each output of a node; a pair of integers and their fraction bits is one."""
    several = isinstance(result, tuple | list) and not _is_pair(result)
    return _for_each(list(result) if several else [result], names)


def _for_each(given: list[Any], names: Sequence[str]) -> list[Any]:
    wanted = max((i + 1 for i, name in enumerate(names) if name), default=0)
    if len(given) < wanted:
        raise OperatorError(f"its function gives {len(given)} output(s), the model asks for {wanted}")
    return (given + [None] * len(names))[: len(names)]


def _is_pair(result: Any) -> bool:
    """Whether a result is an array and the number of its fraction bits, None where it has none."""
    says_bits = len(result) == 2 and isinstance(result[1], int | np.integer | None)
    return says_bits and isinstance(result[0], np.ndarray | np.generic | int)


def arrays_of(
    result: Any, names: Sequence[str], inputs: Sequence[Any], types: Sequence[np.dtype[Any] | None]
) -> list[NDArray[Any] | None]:
    """Return the outputs that a function on arrays gives, its caller's own; None for those that are left out.

    Parameters
    ----------
    result
        What the function gave.
    names, types
        Of the outputs; a type is None where the model does not say.
    inputs
        What the function was given.
    """
    given = list(result) if isinstance(result, tuple | list) else [result]
    return [
        None if not name else _array(one, name, [a.dtype for a in inputs if isinstance(a, np.ndarray)], declared)
        for one, name, declared in zip(_for_each(given, names), names, types, strict=True)
    ]


def _array(one: Any, name: str, types: Sequence[np.dtype[Any]], declared: np.dtype[Any] | None) -> NDArray[Any]:
    if not isinstance(one, np.ndarray | np.generic | int | float):
        raise OperatorError(f"its function gives {_article(one)} for '{name}'; a NumPy array is needed")
    array = np.array(one, order="C")  # the function may keep what it gave, or give a view of what it got
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
        # NumPy widens where Python's numbers or integers come in.
        return array.astype(real)
    return array


def _article(one: Any) -> str:
    return "None" if one is None else f"a {type(one).__name__}"


def moved_codes(
    array: NDArray[Any], source: QFormat, form: QFormat | None, tally: Tally | None
) -> tuple[NDArray[Any], QFormat]:
    """Return codes that a move picked, checked to be such."""
    word = source.word()
    if form != source:
        raise FormatError(f"moves codes of {source}, and its output is to be {form}: give both one format")
    if array.dtype.kind not in "iu":
        raise OperatorError(
            f"its function makes {array.dtype} of codes; fixed_point='move' is for what only picks and rearranges"
        )
    if array.size and not word.least <= int(array.min()) <= int(array.max()) <= word.most:
        raise OperatorError(f"its function makes {int(array.min())}..{int(array.max())} of codes of {source}")
    codes = array.astype(word.dtype)
    if tally is not None:
        count(tally, codes, np.False_, np.False_, codes)
    return codes, source


def requantized(
    one: Any,
    name: str,
    declared: np.dtype[Any] | None,
    form: QFormat | None,
    arithmetic: Arithmetic,
    tally: Tally | None,
) -> tuple[NDArray[Any], QFormat | None]:
    """Return an output of a rule: exact integers rounded once to the output's format, or what is not quantized."""
    if not isinstance(one, tuple | list) or not _is_pair(one):
        what = f"an array of {one.dtype}" if isinstance(one, np.ndarray) else _article(one)
        raise OperatorError(
            f"its rule gives {what} for '{name}'; exact integers and the number of fraction bits that they have are "
            "needed, as in `return total, n`; None for what is not in fixed point"
        )
    total = np.asarray(one[0])
    if one[1] is None:
        if total.dtype.kind not in "iub":
            raise OperatorError(f"its rule gives {total.dtype} without fraction bits for '{name}', no integers")
        if declared is not None and total.dtype != declared:
            raise OperatorError(f"its rule gives {total.dtype} for '{name}', which the model declares as {declared}")
        return np.array(total, order="C"), None
    n = int(one[1])
    if declared is not None and declared.kind != "f":
        raise OperatorError(f"its rule gives fraction bits for '{name}', which the model declares as {declared}")
    if total.dtype.kind not in "iu":
        raise OperatorError(f"its rule gives {total.dtype} for '{name}'; exact integers (int64) are needed")
    if abs(n) > _MOST_FRACTION_BITS:
        raise OperatorError(f"its rule gives {n} fraction bits for '{name}'; at most {_MOST_FRACTION_BITS} are allowed")
    if total.size and max(int(total.max()), -int(total.min())) > _MOST:
        raise OperatorError(f"its rule gives integers beyond 2^60 for '{name}', which cannot be rounded exactly")
    if form is None:
        raise FormatError(f"no format for '{name}': name it in the formats, or give a qformat for the rest")
    wide = total.astype(np.int64)
    return requantize(wide, n - form.fraction_bits, arithmetic.word(form), tally=tally), form
