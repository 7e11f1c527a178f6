"""Made-up feeds of a session, for lack of data: to find formats that shapes decide, and to check what is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Value
from qengine.qformat import QFormat
from qengine.runtime.session import InferenceSession

_LENGTHS = (2, 3, 1, 8, 32, 64)
"""Lengths that are tried for axes that a model leaves open."""
_MAX_ELEMENTS = 1 << 24


def made_up_feeds(session: InferenceSession) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield feeds that fit the declared inputs of a session, for one length of open axes after the other.

    Real numbers cover the range of their format, other numbers are 0 and 1. Whether the model runs on them is not
    certain: an input may decide shapes.
    """
    is_open = any(not isinstance(n, int) for value in session.graph.inputs for n in value.shape or (None,))
    for length in _LENGTHS if is_open else _LENGTHS[:1]:
        rng = np.random.default_rng(length)
        yield {value.name: _array(value, length, session, rng) for value in session.graph.inputs}


def _array(value: Value, length: int, session: InferenceSession, rng: np.random.Generator) -> NDArray[Any]:
    shape = tuple(n if isinstance(n, int) else length for n in value.shape or ())
    dtype = np.dtype(np.float32) if value.dtype is None else value.dtype
    if np.prod(shape, dtype=float) > _MAX_ELEMENTS:
        shape = (0,) * len(shape)
    if dtype.kind != "f":
        return (rng.random(shape) < 0.5).astype(dtype)
    fmt = session.formats.get(value.name)
    low, high = (fmt.min, fmt.max) if isinstance(fmt, QFormat) else (-2.0, 2.0)
    return rng.uniform(low, high, shape).astype(dtype)
