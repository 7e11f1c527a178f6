"""The code of `kernels.top_k.TopK`: a heap of the best k, whose root is the worst of them, and then its order.

Elements of 32 bits are compared together with their places, as one integer (`_ranked`). While the heap seldom changes,
most of the work is to see that a block of elements has none that is better than the root.
"""

from collections.abc import Callable
from typing import Any

from numba import njit

from ..top_k import TopK
from .python_loops import elements

_BLOCK = 32
_LARGEST_PLACE = 0x7FFFFFFF


def python_kernel(spec: TopK) -> Callable[..., None]:
    """Return the kernel."""
    return _ranked(spec) if spec.element in ("f32", "i32") else _compared(spec)


def _ranked(spec: TopK) -> Callable[..., None]:
    items, integers, words, largest = elements(spec.element), elements("i64"), elements("i32"), spec.largest
    is_real = spec.element == "f32"

    @njit(inline="always")
    def rank(value: Any, bits: int, place: int) -> Any:
        """Return an integer that is larger for an element that comes before: its order in 32 bits, then its place.

        Bits of a real number, read as an integer, are in its order, but for the sign; NaN is the largest.
        """
        order = bits + 0
        if value != value:
            order = 0x7FFFFFFF
        elif value == 0:
            order = 0
        elif value < 0 and is_real:
            order = (bits ^ 0x7FFFFFFF) + 0
        if not largest:
            order = -1 - order
        return (order << 32) + (_LARGEST_PLACE - place)

    @njit(inline="always")
    def sink(heap: Any, size: int, place: int, moved: int) -> None:
        """Put an element at a place of the heap, or below it, so that those below are larger."""
        at = place
        while True:
            below = 2 * at + 1
            if below >= size:
                break
            if below + 1 < size:
                below += heap[below + 1] < heap[below]
            if moved <= heap[below]:
                break
            heap[at] = heap[below]
            at = below
        heap[at] = moved

    def top_k(x: int, y: int, places: int, first: int, end: int, length: int, inner: int, k: int, scratch: int) -> None:
        source, bits, target, indices, heap = items(x), words(x), items(y), integers(places), integers(scratch)
        for r in range(first, end):
            base = (r // inner) * length * inner + r % inner
            out = (r // inner) * k * inner + r % inner
            for i in range(k):
                heap[i] = rank(source[base + i * inner], bits[base + i * inner], i)
            for i in range(k // 2 - 1, -1, -1):
                sink(heap, k, i, heap[i])
            i = k
            while k > 0 and i < length:
                worst = source[base + (_LARGEST_PLACE - (heap[0] & 0xFFFFFFFF)) * inner]
                while inner == 1 and i + _BLOCK <= length:
                    found = 0
                    for j in range(_BLOCK):
                        if largest:
                            found |= not source[base + i + j] <= worst
                        else:
                            found |= not source[base + i + j] >= worst
                    if found != 0:
                        break
                    i += _BLOCK
                stop = i + _BLOCK
                if stop > length:
                    stop = length
                while i < stop:
                    value = source[base + i * inner]
                    is_worse = value <= worst if largest else value >= worst
                    if not is_worse:
                        one = rank(value, bits[base + i * inner], i)
                        if one > heap[0]:
                            sink(heap, k, 0, one)
                            worst = source[base + (_LARGEST_PLACE - (heap[0] & 0xFFFFFFFF)) * inner]
                    i += 1
            for size in range(k - 1, -1, -1):  # the root is the worst that is left: it is the last result
                place = _LARGEST_PLACE - (heap[0] & 0xFFFFFFFF)
                indices[out + size * inner] = place
                target[out + size * inner] = source[base + place * inner]
                sink(heap, size, 0, heap[size])

    return top_k


def _compared(spec: TopK) -> Callable[..., None]:
    items, integers, largest = elements(spec.element), elements("i64"), spec.largest

    @njit(inline="always")
    def is_before(x: Any, base: int, inner: int, a: int, b: int) -> bool:
        """Whether the element at place a of a row comes before the one at place b."""
        v, w = x[base + a * inner], x[base + b * inner]
        v_nan, w_nan = v != v, w != w
        if v_nan or w_nan:
            if v_nan and w_nan:
                return a < b
            return v_nan == largest
        if v == w:
            return a < b
        return (v > w) == largest

    def top_k(x: int, y: int, places: int, first: int, end: int, length: int, inner: int, k: int, scratch: int) -> None:
        source, target, indices, heap = items(x), items(y), integers(places), integers(scratch)
        for r in range(first, end):
            base = (r // inner) * length * inner + r % inner
            out = (r // inner) * k * inner + r % inner
            for i in range(k):  # a place moves up while the one above comes before it
                at = i
                while at > 0:
                    above = (at - 1) >> 1
                    if not is_before(source, base, inner, heap[above], i):
                        break
                    heap[at] = heap[above]
                    at = above
                heap[at] = i
            size = k
            for i in range(k, length + k):
                if i < length:
                    if not (k > 0 and is_before(source, base, inner, i, heap[0])):
                        continue
                    moved = i
                else:  # the root is the worst that is left: it is the last result
                    size -= 1
                    indices[out + size * inner] = heap[0]
                    target[out + size * inner] = source[base + heap[0] * inner]
                    moved = heap[size]
                at = 0
                while True:
                    below = 2 * at + 1
                    if below >= size:
                        break
                    if below + 1 < size and is_before(source, base, inner, heap[below], heap[below + 1]):
                        below += 1
                    if not is_before(source, base, inner, moved, heap[below]):
                        break
                    heap[at] = heap[below]
                    at = below
                heap[at] = moved

    return top_k
