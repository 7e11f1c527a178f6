"""Limits on the memory of a run, checked before memory is taken: bytes at the same time, and elements of a tensor.

A budget belongs to the code that runs inside `limited`, in one thread. What takes much memory calls `require` first:
the planner for the tensors of a plan, native kernels for their buffers, constant folding and the loader for what they
compute, sections for what they keep between plans. Where no budget is active, nothing is checked.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from qengine.errors import OptionError, UnsupportedError

MAX_ELEMENTS = 1 << 30
"""Number of elements that a tensor may have without an option."""

_SHARE = 0.8
"""Part of the machine's memory that a run may use by default."""

_GUESSED_BYTES = 1 << 34
"""Memory of a machine that does not say it."""

_CGROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}

_COUNTED = 256
"""Most elements of a sequence that are measured one by one."""

_Item = TypeVar("_Item")


@dataclass
class _Budget:
    """Bytes that may be in use, elements that a tensor may have, and bytes that are in use."""

    limit: int
    max_elements: int
    held: int = 0


_budget: ContextVar[_Budget | None] = ContextVar("qengine_memory", default=None)


@cache
def machine_bytes() -> int:
    """Return the memory of the machine, or of the container that limits it."""
    total = _installed_bytes() or _GUESSED_BYTES
    for name in _CGROUP_FILES:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def _installed_bytes() -> int:
    """Return the memory of the machine; 0 where the system does not say it."""
    if sys.platform == "win32":
        size = ctypes.c_ulonglong()
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(size))
        return size.value << 10
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def default_limit() -> int:
    """Return the limit of a run without an option: 80 % of `machine_bytes`."""
    return int(machine_bytes() * _SHARE)


def parse_size(name: str, value: Any) -> int:
    """Return a number of bytes: a whole number, or a text such as "512M" or "2G".

    Raises
    ------
    OptionError
        If it is neither, or less than 1 byte.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    text = value if isinstance(value, str) else ""
    match = re.fullmatch(r"(\d{1,15})([KMGT]?)(i?B)?", text, re.ASCII | re.IGNORECASE)
    size = int(match[1]) << _UNITS[match[2].upper()] if match else 0
    if size <= 0:
        raise OptionError(f"{name} must be a number of bytes such as 2000000000, 512M or 2G, not {value!r}")
    return size


def size_text(size: int) -> str:
    """Return a number of bytes as text, such as "1.5 GiB"."""
    for unit, bits in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):,.1f} {unit}"
    return f"{size} bytes"


@contextmanager
def limited(limit: int | None, *, max_elements: int = MAX_ELEMENTS, keep: bool = False) -> Iterator[None]:
    """Limit memory while the context lasts.

    Parameters
    ----------
    limit
        Number of bytes; None for `default_limit`.
    max_elements
        Number of elements of a tensor.
    keep
        Whether a budget that is active already stays.
    """
    if keep and _budget.get() is not None:
        yield
        return
    token = _budget.set(_Budget(default_limit() if limit is None else limit, max_elements))
    try:
        yield
    finally:
        _budget.reset(token)


def each_limited(limit: int | None, items: Iterator[_Item], *, max_elements: int = MAX_ELEMENTS) -> Iterator[_Item]:
    """Yield the items of an iterator, with memory limited while it computes them and not in between."""
    while True:
        with limited(limit, max_elements=max_elements):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


@contextmanager
def holding(size: int = 0) -> Iterator[None]:
    """Count bytes as in use while the context lasts, and those that `hold` adds inside."""
    budget = _budget.get()
    before = budget.held if budget is not None else 0
    if budget is not None:
        budget.held += size
    try:
        yield
    finally:
        if budget is not None:
            budget.held = before


def hold(size: int, what: str) -> None:
    """Count bytes as in use until the end of the innermost `holding` or `limited`; see `require`."""
    budget = _budget.get()
    if budget is not None:
        require(size, what)
        budget.held += size


def require(size: int, what: str) -> None:
    """Check that there is room for more bytes.

    Parameters
    ----------
    size
        Number of bytes, in addition to those that are in use.
    what
        Name of the node or object that needs them, for the message.

    Raises
    ------
    UnsupportedError
        If more bytes would be in use than the limit.
    """
    budget = _budget.get()
    if budget is not None and budget.held + size > budget.limit:
        raise UnsupportedError(
            f"{what} needs {size_text(budget.held + size)} of memory at once, more than {size_text(budget.limit)}; "
            "raise the limit (--max-memory, max_memory=) if you need it, or use smaller inputs"
        )


def check_elements(shape: Sequence[int], what: str, limit: int | None = None) -> None:
    """Check that a tensor does not have too many elements.

    Parameters
    ----------
    shape
        Length of each axis.
    what
        Noun for the tensor, for the message.
    limit
        Number of elements; None for that of the active budget, or `MAX_ELEMENTS` where none is active.

    Raises
    ------
    UnsupportedError
        If there are more elements than the limit.
    """
    budget = _budget.get()
    if limit is None:
        limit = MAX_ELEMENTS if budget is None else budget.max_elements
    if prod(shape) > limit:
        raise UnsupportedError(
            f"{what} of {' x '.join(map(str, shape))} has more than {limit:,} elements; "
            "raise the limit (--max-elements, max_elements=) if you need it"
        )


def bytes_of(value: Any) -> int:
    """Return the size of a tensor, or of the tensors in a sequence or map; estimated where they are many."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, dict):
        return bytes_of(list(value.values()))
    if not isinstance(value, list | tuple) or not value:
        return 0
    measured = value if len(value) <= _COUNTED else value[:: len(value) // _COUNTED]
    return sum(map(bytes_of, measured)) * len(value) // len(measured)
