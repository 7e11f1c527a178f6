"""The code of `kernels.rows.Normalize`: the mean of a row, the mean of the squares about it, then the quotients."""

from collections.abc import Callable

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from ..rows import Normalize
from .loops import Arguments, counted
from .mathematics import size_of
from .rows import Rows, Spot, each_unit, scalars
from .vector import Value, load_scalar, root


def emit(spec: Normalize, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    epsilon, count = scalars(a, spec.element, 2)
    with each_unit(a, spec.element, is_strided=spec.strided) as rows:
        mean, inverse = _statistics(spec, a, rows, epsilon, count)
        if spec.writes:
            rows.write(a.mean, rows.vector(0.0) if mean is None else mean)
            rows.write(a.inverse, inverse)

        def standard(place: Spot) -> Value:
            value = rows.load(a.x, place)
            return (value if mean is None else value - mean) * inverse

        if spec.gain == "span":
            _write_spans(spec, a, rows, standard)
        else:
            _write(spec, a, rows, standard)


def _statistics(spec: Normalize, a: Arguments, rows: Rows, epsilon: Value, count: Value) -> tuple[Value | None, Value]:
    """Return the mean, where it is subtracted, and the factor."""
    one = rows.vector(1.0)
    if spec.measure == "norm 1":
        norm = rows.sum(lambda place: size_of(rows.load(a.x, place)))
        return None, rows.vector(0.0).where(norm.equals(0.0), one / norm)
    if spec.measure in ("norm 2", "squares"):
        squares = rows.sum(lambda place: _square(rows.load(a.x, place)))
        if spec.measure == "squares":
            return None, one / root(squares / count + epsilon)
        return None, rows.vector(0.0).where(squares.equals(0.0), one / root(squares))
    mean = rows.sum(lambda place: rows.load(a.x, place)) / count
    variance = rows.sum(lambda place: _square(rows.load(a.x, place) - mean)) / count
    return mean, one / (root(variance + epsilon) if spec.measure == "variance" else root(variance) + epsilon)


def _square(x: Value) -> Value:
    return x * x


def _write(spec: Normalize, a: Arguments, rows: Rows, standard: Callable[[Spot], Value]) -> None:
    """Build the results of a row, with a gain and an offset of each element or none."""

    def write(place: Spot) -> None:
        value = standard(place)
        if spec.gain is not None:
            distance = place.index * ELEMENT_BYTES[spec.element]
            own = Spot(place.index, distance, place.mask)
            gain, offset = (
                load_scalar(base + distance, rows.kind).splat(rows.width) if spec.strided else rows.load(base, own)
                for base in (a.gain, a.offset)
            )
            value = value * gain + offset
        rows.store(a.y, place, value)

    rows.each(write)


def _write_spans(spec: Normalize, a: Arguments, rows: Rows, standard: Callable[[Spot], Value]) -> None:
    """Build the results of a row of parts that have a gain and an offset each."""
    spans = a.length.divided_by(a.span)
    with counted(spans) as i:
        number = (rows.number * spans + i).modulo(a.gains) * ELEMENT_BYTES[spec.element]
        gain, offset = (
            load_scalar(base + number, rows.kind).splat(rows.vector(0.0).lanes) for base in (a.gain, a.offset)
        )
        rows.each(lambda place: rows.store(a.y, place, standard(place) * gain + offset), (i * a.span, a.span))
