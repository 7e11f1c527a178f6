"""Loops over strided places, and copies of runs of bytes, which kernels that move elements share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .loops import Arguments, counted
from .memory import Variable
from .vector import I8, I64, Value, constant, load, load_scalar

_WIDTHS = (64, 32, 16, 8, 4, 2, 1)


@contextmanager
def each_stretch(a: Arguments, mid: Value, tensors: Sequence[str]) -> Iterator[tuple[Value, Value, list[Value]]]:
    """Build the loop over places first .. end - 1 of (outer axes, mid), one stretch along `mid` at a time.

    Yields the first place of a stretch along `mid`, the one after its last, and the addresses of the outer place in
    each tensor. The row of an axis in the table `axes` has its length and then its distance in each tensor.
    """
    b = a.b
    row = 8 * (len(tensors) + 1)
    place = Variable(a.first)
    head, body, after = (b.append_basic_block(name) for name in ("stretch", "stretch.body", "stretch.end"))
    b.branch(head)
    b.position_at_end(head)
    b.cbranch((place.get() < a.end).v, body, after)
    b.position_at_end(body)
    start = place.get()
    matrix = start.divided_by(mid)
    first = start - matrix * mid
    rest, addresses = Variable(matrix), [Variable(a[t]) for t in tensors]
    with counted(a.outer) as i:
        entry = a.axes + i * row
        length, whole = load_scalar(entry, I64), rest.get()
        quotient = whole.divided_by(length)
        index = whole - quotient * length
        rest.put(quotient)
        for k, address in enumerate(addresses):
            address.put(address.get() + index * load_scalar(entry + 8 * (k + 1), I64))
    end = mid.at_most(first + (a.end - start))
    yield first, end, [address.get() for address in addresses]
    place.put(start + (end - first))
    b.branch(head)
    b.position_at_end(after)


def by_width(size: Value, build: Callable[[int], None]) -> None:
    """Build code for runs of `size` bytes: `build(w)` for the largest vector of w bytes that such a run contains."""
    b = size.b
    done = b.append_basic_block("copied")
    for width in _WIDTHS:
        fits, otherwise = b.append_basic_block(f"copy{width}"), b.append_basic_block("copy.less")
        b.cbranch((size >= width).v, fits, otherwise)
        b.position_at_end(fits)
        build(width)
        b.branch(done)
        b.position_at_end(otherwise)
    b.branch(done)
    b.position_at_end(done)


def copy_run(x: Value, y: Value, size: Value, width: int) -> None:
    """Build the copy of a run of at least `width` bytes; the last vector ends with the run."""
    last = size - width
    if width < _WIDTHS[0]:  # less than two vectors
        parts = [(load(x + at, I8, width), at) for at in (constant(x.b, 0), last)]
        for part, at in parts:
            part.store(y + at)
        return
    with counted(last.divided_by(width)) as i:
        load(x + i * width, I8, width).store(y + i * width)
    before, end = last.divided_by(width) * width, load(x + last, I8, width)
    load(x + before, I8, width).store(y + before)
    end.store(y + last)
