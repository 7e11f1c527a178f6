"""The loops of kernels that go over rows (`kernels.rows`): one code for both orders of elements in memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir

from ..rows import ITEMSIZE, Element, lanes_of
from .loops import Arguments, counted
from .memory import Variable
from .vector import F32, F64, Value, constant, first_lanes, load, load_lanes, load_scalar

_UNROLLED = 4  # vectors at a time, as sums of one after the other would wait for each other

Pairwise = Callable[[Value, Value], Value]
"""Function of two vectors, such as their sum."""


def type_of(element: Element) -> ir.Type:
    """Return LLVM's type of an element."""
    return F32 if element == "f32" else F64


@dataclass(frozen=True)
class Place:
    """Vector of a row.

    Attributes
    ----------
    index : number in the row of its first element.
    distance : distance in bytes from the first element of the tensor.
    mask : lanes that are elements; None for all.
    """

    index: Value
    distance: Value
    mask: Value | None


@dataclass(frozen=True)
class Rows:
    """One row, or neighbouring rows side by side.

    Attributes
    ----------
    element : type of the elements.
    is_strided : whether lanes are rows.
    a : arguments of the kernel.
    number : number of the row, or of the first.
    start : distance in bytes of the first element.
    lanes : lanes that are rows, where lanes are.
    """

    element: Element
    is_strided: bool
    a: Arguments
    number: Value
    start: Value
    lanes: Value | None

    @property
    def kind(self) -> ir.Type:
        """LLVM's type of an element."""
        return type_of(self.element)

    def vector(self, number: float) -> Value:
        """Return a number in every lane."""
        return Value(self.a.b, ir.Constant(ir.VectorType(self.kind, lanes_of(self.element)), None)).like(number)

    def load(self, base: Value, place: Place, fill: float | None = None) -> Value:
        """Return the elements of a place; lanes that are none are `fill`, or 0."""
        if place.mask is None:
            return load(base + place.distance, self.kind, lanes_of(self.element), align=4)
        value = load_lanes(base + place.distance, self.kind, place.mask)
        return value if fill is None else value.where(place.mask, fill)

    def store(self, base: Value, place: Place, value: Value) -> None:
        """Write the elements of a place."""
        if place.mask is None:
            value.store(base + place.distance)
        else:
            value.store_masked(base + place.distance, place.mask)

    def each(self, body: Callable[[Place], None], span: tuple[Value, Value] | None = None) -> None:
        """Build a loop over the row, or over a span (first element, number of elements) of one that is not strided."""
        size = ITEMSIZE[self.element]
        if self.is_strided:
            with counted(self.a.length) as i:
                body(Place(i, self.start + i * self.a.inner * size, self.lanes))
            return
        first, count = span or (constant(self.a.b, 0), self.a.length)
        lanes = lanes_of(self.element)
        whole = count.divided_by(lanes)
        with counted(whole) as v:
            body(self._at(first + v * lanes, None))
        self._tail(first, count, whole, body)

    def fold(self, start: float, of: Callable[[Place], Value], join: Pairwise) -> Value:
        """Return `join` of the values of all elements, in every lane of its row; what is no element counts as `start`.

        `of` gives lanes that are no elements any value.
        """
        total = Variable(self.vector(start))

        def add(place: Place) -> None:
            value = of(place)
            kept = value if place.mask is None else value.where(place.mask, self.vector(start))
            total.put(join(total.get(), kept))

        if self.is_strided:
            self.each(add)
            return total.get()
        lanes, count = lanes_of(self.element), self.a.length
        blocks, whole = count.divided_by(lanes * _UNROLLED), count.divided_by(lanes)
        others = [Variable(self.vector(start)) for _ in range(_UNROLLED - 1)]
        with counted(blocks) as block:
            for i, part in enumerate([total, *others]):
                part.put(join(part.get(), of(self._at((block * _UNROLLED + i) * lanes, None))))
        with counted(whole, blocks * _UNROLLED) as v:
            add(self._at(v * lanes, None))
        self._tail(constant(self.a.b, 0), count, whole, add)
        parts = [total.get(), *(other.get() for other in others)]
        return _across(join(join(parts[0], parts[1]), join(parts[2], parts[3])), join)

    def sum(self, of: Callable[[Place], Value]) -> Value:
        """Return the sum of the values of all elements."""
        return self.fold(0.0, of, lambda a, b: a + b)

    def write(self, base: Value, value: Value) -> None:
        """Write one number for each row to a tensor of such numbers."""
        target = base + self.number * ITEMSIZE[self.element]
        if self.lanes is None:
            value.lane(0).store(target)
        else:
            value.store_masked(target, self.lanes)

    def _at(self, index: Value, mask: Value | None) -> Place:
        return Place(index, self.start + index * ITEMSIZE[self.element], mask)

    def _tail(self, first: Value, count: Value, whole: Value, body: Callable[[Place], None]) -> None:
        """Build what comes after whole vectors."""
        lanes = lanes_of(self.element)
        rest = count - whole * lanes
        with self.a.b.if_then((rest > 0).v):
            body(self._at(first + whole * lanes, first_lanes(rest, lanes)))


def _across(value: Value, join: Pairwise) -> Value:
    """Return `join` of all lanes in every lane."""
    step = value.lanes // 2
    while step:
        value = join(value, value.picked([i ^ step for i in range(value.lanes)]))
        step //= 2
    return value


def largest(a: Value, b: Value) -> Value:
    """Return the larger of each two lanes; NaN if one is NaN."""
    return b.where(b.is_nan(), a.at_least(b))


def smallest(a: Value, b: Value) -> Value:
    """Return the smaller of each two lanes; NaN if one is NaN."""
    return b.where(b.is_nan(), a.at_most(b))


@contextmanager
def each_unit(a: Arguments, element: Element, *, is_strided: bool) -> Iterator[Rows]:
    """Build the loop over units first..end; see `kernels.rows`."""
    size, lanes = ITEMSIZE[element], lanes_of(element)
    with counted(a.end, a.first) as unit:
        if is_strided:
            outer, group = unit.divided_by(a.groups), unit.modulo(a.groups)
            column = group * lanes
            start = (outer * a.length * a.inner + column) * size
            mask = first_lanes(a.inner - column, lanes)
            yield Rows(element, True, a, outer * a.inner + column, start, mask)
        else:
            yield Rows(element, False, a, unit, unit * a.length * size, None)


def scalars(a: Arguments, element: Element, count: int) -> Sequence[Value]:
    """Return the numbers at the address `scalars` as vectors."""
    size, lanes = ITEMSIZE[element], lanes_of(element)
    return [load_scalar(a.scalars + size * i, type_of(element)).splat(lanes) for i in range(count)]
