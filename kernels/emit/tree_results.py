"""The code of `kernels.trees.TreeResults`: labels and transforms, row by row."""

from collections.abc import Callable

import numba

from ..trees import Choice, Transform, TreeResults
from .exponential import exponential
from .python_loops import elements

_NEAR_ZERO = 1e-7
"""Largest magnitude that SOFTMAX_ZERO takes for zero."""

_LARGEST, _SHARE, _NEGATIVE = int(Choice.LARGEST), int(Choice.SHARE), int(Choice.NEGATIVE)
_SOFTMAX, _LOGISTIC, _ZEROS = int(Transform.SOFTMAX), int(Transform.LOGISTIC), int(Transform.SOFTMAX_ZERO)


def python_kernel(spec: TreeResults) -> Callable[..., None]:
    """Return the kernel."""
    integers, bytes_at, result = elements("i64"), elements("u8"), elements(spec.out)
    number, cast = (elements("f64"), numba.float64) if spec.wide else (elements("f32"), numba.float32)
    exp = exponential()

    def tree_results(
        scores: int, given: int, y: int, label: int, first: int, end: int, facts: int, scratch: int
    ) -> None:
        numbers = integers(facts)
        columns, name_of, choice, transform = numbers[0], integers(numbers[1]), numbers[2], numbers[3]
        column, halves, has_base = numbers[4], numbers[5], numbers[6]
        sums, flags, out, labels = number(scores), bytes_at(given), result(y), integers(label)
        for r in range(first, end):
            at = r * columns
            if choice != _LARGEST:
                second = sums[at + column]
                labels[r] = name_of[1] if 2.0 * second > halves else name_of[0]
            elif label != 0:
                best, is_first = 0, True
                for k in range(columns):
                    one, top = sums[at + k], sums[at + best]
                    if flags[at + k] == 1 or has_base == 1:
                        if is_first or one > top or (one != one and top == top):
                            best = k
                        is_first = False
                labels[r] = name_of[best]
            if choice >= _SHARE:
                second = sums[at + column]
                low, high = -second, second
                if choice == _SHARE:
                    low = cast(1.0) - second
                elif transform == _LOGISTIC:
                    share = cast(1.0 / (1.0 + exp(second if second < 0 else -second, scratch)))
                    low, high = cast(1.0) - share, share
                    if second < 0:
                        low, high = high, low
                out[2 * r], out[2 * r + 1] = low, high
            elif columns > 1 and (transform in (_SOFTMAX, _ZEROS)):
                peak = sums[at]
                for k in range(1, columns):
                    if sums[at + k] > peak or sums[at + k] != sums[at + k]:
                        peak = sums[at + k]
                total = 0.0
                for k in range(columns):
                    one = sums[at + k]
                    if transform == _SOFTMAX or not -_NEAR_ZERO <= one <= _NEAR_ZERO:
                        sums[at + k] = exp(one - peak, scratch)
                        total += sums[at + k]
                    else:  # zeros stay zeros, and do not count
                        sums[at + k] = one * exp(-peak, scratch)
                for k in range(columns):
                    out[at + k] = sums[at + k] / total
            else:
                for k in range(columns):
                    one = sums[at + k]
                    if columns > 1 and transform == _LOGISTIC:
                        share = cast(1.0 / (1.0 + exp(-one if one > 0 else one, scratch)))
                        one = cast(1.0) - share if one < 0 else share
                    out[at + k] = one

    return tree_results
