"""The code of `kernels.top_k.TopK`: a heap of the best k, whose root is the worst of them, and then its order."""

from collections.abc import Callable
from typing import Any

from numba import njit

from ..top_k import TopK
from .python_loops import elements


def python_kernel(spec: TopK) -> Callable[..., None]:
    """Return the kernel."""
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
