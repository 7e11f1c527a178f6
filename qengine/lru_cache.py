"""What was made last, kept by key."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.locks import Lock

_T = TypeVar("_T")


class Recent(Generic[_T]):
    """A number of items; several threads may ask at once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[Any, _T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any, make: Callable[[], _T]) -> _T:
        """Return the item of a key; `make` may run in two threads at once, and one of the two results stays."""
        with self._lock.held:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        made = make()
        with self._lock.held:
            self._items[key] = made
            self._items.move_to_end(key)
            if len(self._items) > self._size:
                self._items.popitem(last=False)
        return made


def digest(array: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    """Return what stands for an array in a key."""
    held = np.ascontiguousarray(array)
    data = repr(held.tolist()).encode() if held.dtype == object else held.tobytes()
    return held.dtype.str + held.dtype.name, array.shape, hashlib.sha256(data).digest()
