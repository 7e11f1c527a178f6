"""The code of `kernels.suppression.Suppression`: a heap of the boxes of a class, whose root comes first.

Only as many boxes leave the heap as are needed; each is compared with those that were chosen before it. Arithmetic is
in float32, in the order of the reference, so that both choose the same boxes.
"""

from collections.abc import Callable
from typing import Any

from numba import njit

from ..suppression import Suppression
from .python_loops import elements


def python_kernel(_: Suppression) -> Callable[..., None]:
    """Return the kernel."""
    reals, integers, words = elements("f32"), elements("i64"), elements("i32")

    @njit(inline="always")
    def rank(score: float, bits: int, box: int) -> int:
        """Return a number that is larger for a box that comes before: the higher score, then the lower index.

        Bits of a number, read as an integer, are in its order, but for the sign. NaN comes last.
        """
        order = bits + 0
        if bits < 0:
            order = (bits ^ 0x7FFFFFFF) + 0
        if score == 0:
            order = 0
        if score != score:
            order = -0x80000000
        return (order << 32) + (0x7FFFFFFF - box)

    @njit(inline="always")
    def sink(heap: Any, size: int, place: int) -> None:
        """Move an element of the heap down, to where those below it are smaller: all the way, and up again."""
        moved, at = heap[place], place
        while True:
            below = 2 * at + 1
            if below + 1 >= size:
                break
            below += heap[below + 1] > heap[below]
            heap[at] = heap[below]
            at = below
        if 2 * at + 1 < size:
            heap[at] = heap[2 * at + 1]
            at = 2 * at + 1
        while at > place:
            above = (at - 1) >> 1
            if heap[above] >= moved:
                break
            heap[at] = heap[above]
            at = above
        heap[at] = moved

    @njit(inline="always")
    def place_corners(box: Any, begin: int, count: int, is_centered: int, corners: Any) -> None:
        """Write the left, right, top and bottom edge and the area of each box; the area is 0 where an edge is NaN."""
        for i in range(count):
            a, b, c, d = box[begin + 4 * i], box[begin + 4 * i + 1], box[begin + 4 * i + 2], box[begin + 4 * i + 3]
            left, right, top, bottom = b, d, a, c
            if is_centered != 0:
                half_width, half_height = c * 0.5, d * 0.5
                left, right, top, bottom = a - half_width, a + half_width, b - half_height, b + half_height
            else:
                if d < b:
                    left, right = d, b
                if c < a:
                    top, bottom = c, a
            corners[5 * i], corners[5 * i + 1], corners[5 * i + 2], corners[5 * i + 3] = left, right, top, bottom
            corners[5 * i + 4] = 0.0
            if left == left and right == right and top == top and bottom == bottom:
                corners[5 * i + 4] = (corners[5 * i + 1] - corners[5 * i]) * (corners[5 * i + 3] - corners[5 * i + 2])

    def suppression(boxes: int, scores: int, y: int, facts: int, limits: int, scratch: int) -> None:
        box, ranks, out, numbers, limit = reals(boxes), reals(scores), integers(y), integers(facts), reals(limits)
        batches, classes, count, most = numbers[0], numbers[1], numbers[2], numbers[3]
        is_centered, has_least, capacity = numbers[4], numbers[5], numbers[6]
        bits = words(scores)
        heap, chosen, corners = integers(scratch), integers(scratch + 8 * count), reals(scratch + 16 * count)
        found = 0
        for batch in range(batches):
            place_corners(box, batch * count * 4, count, is_centered, corners)
            for category in range(classes):
                base, size, kept = (batch * classes + category) * count, 0, 0
                for i in range(count):
                    if has_least == 0 or ranks[base + i] > limit[1]:
                        heap[size] = rank(ranks[base + i], bits[base + i], i)
                        size += 1
                for place in range(size // 2 - 1, -1, -1):
                    sink(heap, size, place)
                while size > 0 and kept < most:
                    best = 0x7FFFFFFF - (heap[0] & 0xFFFFFFFF)
                    size -= 1
                    heap[0] = heap[size]
                    sink(heap, size, 0)
                    b, is_free = 5 * best, True
                    area = corners[b + 4]
                    if area > 0:
                        left, right, top, bottom = corners[b], corners[b + 1], corners[b + 2], corners[b + 3]
                        for k in range(kept):
                            o = 5 * chosen[k]
                            low, high = corners[o], corners[o + 1]
                            if left > low:
                                low = left
                            if right < high:
                                high = right
                            width = high - low
                            if not width > 0:
                                continue
                            low, high = corners[o + 2], corners[o + 3]
                            if top > low:
                                low = top
                            if bottom < high:
                                high = bottom
                            height = high - low
                            if not (height > 0 and corners[o + 4] > 0):
                                continue
                            common = width * height
                            union = corners[o + 4] + area - common
                            if common > 0 and union > 0 and common / union > limit[0]:
                                is_free = False
                                break
                    if is_free:
                        chosen[kept] = best
                        kept += 1
                        if found < capacity:
                            out[3 * found], out[3 * found + 1], out[3 * found + 2] = batch, category, best
                        found += 1
        numbers[7] = found

    return suppression
