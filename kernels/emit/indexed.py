"""The code of the kernels in `kernels.indexed`. An index out of range is reported, and reads or writes nothing."""

from collections.abc import Callable
from typing import Any

from numba import njit

from ..indexed import PickElements, PickSlices, PutElements, PutSlices
from .python_loops import ELEMENTS, elements

_SIZES = {8: "u8", 16: "u16", 32: "u32", 64: "u64"}


def python_kernel(spec: PickElements | PutElements | PickSlices | PutSlices) -> Callable[..., None]:
    """Return the kernel."""
    join = _joined(spec) if isinstance(spec, PutElements | PutSlices) else _replaced()
    by_elements = isinstance(spec, PickElements | PutElements)
    return (_elements if by_elements else _slices)(spec, join)


def _stored(spec: Any) -> str:
    """Return the type of the elements that the kernel moves: integers of their size, unless it computes with them."""
    if getattr(spec, "reduction", "none") != "none":
        return str(spec.element)
    bits = 16 if spec.element.endswith("16") else ELEMENTS[spec.element].bitwidth
    return _SIZES[bits]


def _replaced() -> Callable[[Any, Any], Any]:
    @njit(inline="always")
    def join(_: Any, new: Any) -> Any:
        return new

    return join


def _joined(spec: PutElements | PutSlices) -> Callable[[Any, Any], Any]:
    """Return the function of what is there and an update that gives what is there then."""
    reduction = spec.reduction
    adds, multiplies, takes_larger = reduction == "add", reduction == "mul", reduction == "max"
    if reduction == "none":
        return _replaced()

    @njit(inline="always")
    def join(old: Any, new: Any) -> Any:
        if adds:
            return old + new
        if multiplies:
            return old * new
        if old != old:
            return old
        if new != new or (new > old) == takes_larger:
            return new
        return old

    return join


def _elements(spec: Any, join: Any) -> Callable[..., None]:
    items, index_of, integers = elements(_stored(spec)), elements(spec.index), elements("i64")
    picks = isinstance(spec, PickElements)

    def indexed(x: int, indices: int, y: int, first: int, end: int, facts: int, fault: int) -> None:
        source, target, index, numbers, faults = items(x), items(y), index_of(indices), integers(facts), integers(fault)
        axes, length, step = numbers[0], numbers[1], numbers[2]
        columns, stride = numbers[2 + axes], numbers[2 + 2 * axes]
        low, high = 0, 0
        for r in range(first, end):
            base, left = 0, r
            for k in range(axes - 2, -1, -1):
                above = left // numbers[3 + k]
                base += (left - above * numbers[3 + k]) * numbers[3 + axes + k]
                left = above
            for j in range(columns):
                at = r * columns + j
                i = index[at] + 0
                if i < -length or i >= length:
                    if i >= length:
                        high = i if i > high else high
                    else:
                        low = i if i < low else low
                    continue
                if i < 0:
                    i += length
                place = base + j * stride + i * step
                if picks:
                    target[at] = source[place]
                else:
                    target[place] = join(target[place], source[at])
        if high > 0 or low < 0:
            faults[0] = high if high > 0 else low

    return indexed


def _slices(spec: Any, join: Any) -> Callable[..., None]:
    items, index_of, integers = elements(_stored(spec)), elements(spec.index), elements("i64")
    picks = isinstance(spec, PickSlices)

    def indexed(x: int, indices: int, y: int, first: int, end: int, facts: int, fault: int) -> None:
        source, target, index, numbers, faults = items(x), items(y), index_of(indices), integers(facts), integers(fault)
        axes, size, tuples, batch = numbers[0], numbers[1], numbers[2], numbers[3]
        for r in range(first, end):
            base, is_fine = (r // tuples) * batch, True
            for k in range(axes):
                i, length = index[r * axes + k] + 0, numbers[4 + k]
                if i < -length or i >= length:
                    before = faults[k]
                    if before == 0 or (i > before and i > 0) or (i < before < 0):
                        faults[k] = i
                    is_fine = False
                elif i < 0:
                    i += length
                base += i * numbers[4 + axes + k]
            if is_fine:
                own = r * size
                if picks:
                    for j in range(size):
                        target[own + j] = source[base + j]
                else:
                    for j in range(size):
                        target[base + j] = join(target[base + j], source[own + j])

    return indexed
