"""A thread-safe LRU cache, the digest of an array as a part of its keys, and results that are kept with an array."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.locks import Lock

_T = TypeVar("_T")


class LruCache(Generic[_T]):
    """Thread-safe cache of the `size` most recently used items."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[Any, _T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any, make: Callable[[], _T]) -> _T:
        """Return the item of a key, made where it is missing.

        `make` runs outside of the lock. Two threads that miss the same key at the same time both run it, and the item
        that is stored last stays.
        """
        with self._lock.guard:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        item = make()
        self.put(key, item)
        return item

    def find(self, key: Any) -> _T | None:
        """Return the item of a key; None where it is missing."""
        with self._lock.guard:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key]

    def values(self) -> list[_T]:
        """Return the items, the least recently used first."""
        with self._lock.guard:
            return list(self._items.values())

    def put(self, key: Any, item: _T) -> None:
        """Store an item."""
        with self._lock.guard:
            self._items[key] = item
            self._items.move_to_end(key)
            if len(self._items) > self._size:
                self._items.popitem(last=False)


def digest(array: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    """Return the dtype, the shape and the SHA-256 of an array: equal arrays have equal digests."""
    dense = np.ascontiguousarray(array)
    data = repr(dense.tolist()).encode() if dense.dtype == object else dense.tobytes()
    return dense.dtype.str + dense.dtype.name, array.shape, hashlib.sha256(data).digest()


def cached_by_array(function: Callable[[NDArray[Any]], _T]) -> Callable[[NDArray[Any]], _T]:
    """Return a function of an array, which nobody changes, that keeps its result as long as the array lives."""
    results: dict[int, tuple[weakref.ref[NDArray[Any]], _T]] = {}

    def cached(array: NDArray[Any]) -> _T:
        if not isinstance(array, np.ndarray):  # nothing can refer to a scalar of NumPy's
            return function(array)
        key = id(array)
        kept = results.get(key)
        if kept is not None and kept[0]() is array:
            return kept[1]
        result = function(array)
        results[key] = weakref.ref(array, lambda _: results.pop(key, None)), result
        return result

    return cached
