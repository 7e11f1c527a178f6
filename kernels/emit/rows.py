"""The loops of kernels that go over rows (`kernels.rows`): one code for both orders of elements in memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir

from ..elements import ELEMENT_BYTES, Real, lanes_of
from .loops import Arguments, counted
from .memory import Variable
from .vector import F32, F64, Value, constant, first_lanes, load, load_lanes, load_scalar

_UNROLLED = 4  # vectors at a time, as sums of one after the other would wait for each other
_PARTIAL = 64  # additions after which a sum is added to another one: rounding errors grow with the length of a sum

Pairwise = Callable[[Value, Value], Value]
"""Function of two vectors, such as their sum."""


def type_of(element: Real) -> ir.Type:
    """Return LLVM's type of an element."""
    return F32 if element == "f32" else F64


@dataclass(frozen=True)
class Spot:
    """A vector of a row.

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
    """A row, or neighbouring rows side by side.

    Attributes
    ----------
    element : type of the elements.
    is_strided : whether lanes are rows.
    a : arguments of the kernel.
    number : number of the row, or of the first.
    start : distance in bytes of the first element.
    lanes : lanes that are rows, where lanes are.
    """

    element: Real
    is_strided: bool
    a: Arguments
    number: Value
    start: Value
    lanes: Value | None

    @property
    def kind(self) -> ir.Type:
        """LLVM's type of an element."""
        return type_of(self.element)

    @property
    def width(self) -> int:
        """The number of lanes."""
        return lanes_of(self.element)

    def vector(self, number: float) -> Value:
        """Return a number in every lane."""
        return Value(self.a.b, ir.Constant(ir.VectorType(self.kind, self.width), None)).like(number)

    def load(self, base: Value, place: Spot, fill: float | None = None) -> Value:
        """Return the elements of a place; lanes that are none are `fill`, or 0."""
        if place.mask is None:
            return load(base + place.distance, self.kind, self.width, align=4)
        value = load_lanes(base + place.distance, self.kind, place.mask)
        return value if fill is None else value.where(place.mask, fill)

    def store(self, base: Value, place: Spot, value: Value) -> None:
        """Write the elements of a place."""
        if place.mask is None:
            value.store(base + place.distance)
        else:
            value.store_masked(base + place.distance, place.mask)

    def each(self, body: Callable[[Spot], None], span: tuple[Value, Value] | None = None) -> None:
        """Build a loop over the row, or over a span (first element, number of elements) of one that is not strided."""
        if self.is_strided:
            with counted(self.a.length) as i:
                body(self._row(i))
            return
        first, count = span or (constant(self.a.b, 0), self.a.length)
        lanes = self.width
        whole = count.divided_by(lanes)
        with counted(whole) as v:
            body(self._at(first + v * lanes, None))
        self._tail(first, count, whole, body)

    def fold(self, start: float | Value, of: Callable[[Spot], Value], join: Pairwise) -> Value:
        """Join the values of all elements, and return the result in every lane of its row.

        `start` changes nothing that it is joined with; `of` gives the values of a place.
        """
        if self.is_strided:
            return self._joined(self.a.length, 1, start, join, lambda i, _: self._kept(of, self._row(i), start))[0]
        lanes, count = self.width, self.a.length
        blocks, whole = count.divided_by(lanes * _UNROLLED), count.divided_by(lanes)
        parts = self._joined(
            blocks, _UNROLLED, start, join, lambda i, part: of(self._at((i * _UNROLLED + part) * lanes, None))
        )
        total = Variable(join(join(parts[0], parts[1]), join(parts[2], parts[3])))
        with counted(whole, blocks * _UNROLLED) as v:
            total.put(join(total.get(), of(self._at(v * lanes, None))))

        def add(spot: Spot) -> None:
            total.put(join(total.get(), self._kept(of, spot, start)))

        self._tail(constant(self.a.b, 0), count, whole, add)
        return _across(total.get(), join)

    def _kept(self, of: Callable[[Spot], Value], spot: Spot, start: float | Value) -> Value:
        """Return the values of a spot; lanes that are not elements have `start`."""
        return of(spot) if spot.mask is None else of(spot).where(spot.mask, self._filled(start))

    def _filled(self, number: float | Value) -> Value:
        return number if isinstance(number, Value) else self.vector(number)

    def _joined(
        self, count: Value, parts: int, start: float | Value, join: Pairwise, of: Callable[[Value, int], Value]
    ) -> list[Value]:
        """Return for each part the join of `of(i, part)` of all i below a count, `_PARTIAL` at a time."""
        nothing = self._filled(start)
        totals = [Variable(nothing) for _ in range(parts)]
        partial = [Variable(nothing) for _ in range(parts)]
        with counted((count + (_PARTIAL - 1)).divided_by(_PARTIAL)) as block:
            first = block * _PARTIAL
            with counted((first + _PARTIAL).at_most(count), first) as i:
                for part, some in enumerate(partial):
                    some.put(join(some.get(), of(i, part)))
            for some, total in zip(partial, totals, strict=True):
                total.put(join(total.get(), some.get()))
                some.put(nothing)
        return [total.get() for total in totals]

    def sum(self, of: Callable[[Spot], Value]) -> Value:
        """Return the sum of the values of all elements."""
        return self.fold(0.0, of, lambda a, b: a + b)

    def lane_numbers(self) -> Value:
        """Return 0, 1, 2 ... in the lanes."""
        lanes = lanes_of(self.element)
        return Value(self.a.b, ir.Constant(ir.VectorType(self.kind, lanes), [float(i) for i in range(lanes)]))

    def write_integers(self, base: Value, value: Value) -> None:
        """Write one int64 for each row to a tensor of such numbers."""
        target = base + self.number * 8
        if self.lanes is None:
            value.lane(0).store(target)
        else:
            value.store_masked(target, self.lanes)

    def write(self, base: Value, value: Value) -> None:
        """Write one number for each row to a tensor of such numbers."""
        target = base + self.number * ELEMENT_BYTES[self.element]
        if self.lanes is None:
            value.lane(0).store(target)
        else:
            value.store_masked(target, self.lanes)

    def _row(self, index: Value) -> Spot:
        """Return the spot of an element of rows that are side by side."""
        return Spot(index, self.start + index * self.a.inner * ELEMENT_BYTES[self.element], self.lanes)

    def _at(self, index: Value, mask: Value | None) -> Spot:
        return Spot(index, self.start + index * ELEMENT_BYTES[self.element], mask)

    def _tail(self, first: Value, count: Value, whole: Value, body: Callable[[Spot], None]) -> None:
        """Build what comes after whole vectors."""
        lanes = self.width
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
def each_unit(a: Arguments, element: Real, *, is_strided: bool) -> Iterator[Rows]:
    """Build the loop over units first..end; see `kernels.rows`."""
    size, lanes = ELEMENT_BYTES[element], lanes_of(element)
    with counted(a.end, a.first) as unit:
        if is_strided:
            outer, group = unit.divided_by(a.groups), unit.modulo(a.groups)
            column = group * lanes
            start = (outer * a.length * a.inner + column) * size
            mask = first_lanes(a.inner - column, lanes)
            yield Rows(element, True, a, outer * a.inner + column, start, mask)
        else:
            yield Rows(element, False, a, unit, unit * a.length * size, None)


def scalars(a: Arguments, element: Real, count: int) -> Sequence[Value]:
    """Return the numbers at the address `scalars` as vectors."""
    size, lanes = ELEMENT_BYTES[element], lanes_of(element)
    return [load_scalar(a.scalars + size * i, type_of(element)).splat(lanes) for i in range(count)]
