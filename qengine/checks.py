"""Checks of arguments that every package shares."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from qengine.errors import OptionError, QEngineError


def check_whole_number(
    name: str, value: Any, least: int | None = None, most: int | None = None, error: type[QEngineError] = OptionError
) -> int:
    """Return a whole number as an `int`: a Python or NumPy integer, but no boolean.

    Parameters
    ----------
    name
        Name of the argument, for the message.
    value
        The argument.
    least, most
        Smallest and largest value that is allowed; None for no limit.
    error
        Class of the error.

    Raises
    ------
    QEngineError
        If the value is not a whole number within the limits.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        number = int(value)
        if (least is None or number >= least) and (most is None or number <= most):
            return number
    allowed = ""
    if least is not None:
        allowed = f", {least} or more" if most is None else f", {least} to {most}"
    raise error(f"{name} must be a whole number{allowed}, not {value!r}")
