"""The code of `kernels.rows.Reduce`."""

from ..isa import Isa
from ..rows import Reduce
from .loops import Arguments
from .mathematics import Mathematics, size_of
from .rows import Rows, each_unit, largest, scalars, smallest
from .vector import Value, root


def emit(spec: Reduce, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    (count,) = scalars(a, spec.element, 1)
    mathematics = Mathematics(isa)
    with each_unit(a, spec.element, is_strided=spec.strided) as rows:
        rows.write(a.y, _result(spec, a, rows, mathematics, count))


def _result(spec: Reduce, a: Arguments, rows: Rows, mathematics: Mathematics, count: Value) -> Value:
    """Return the result of each row in its lanes."""
    infinity = float("inf")
    match spec.fold:
        case "product":
            return rows.fold(1.0, lambda place: rows.load(a.x, place), lambda x, y: x * y)
        case "largest":
            return rows.fold(-infinity, lambda place: rows.load(a.x, place), largest)
        case "smallest":
            return rows.fold(infinity, lambda place: rows.load(a.x, place), smallest)
        case "size":
            return rows.sum(lambda place: size_of(rows.load(a.x, place)))
        case "squares" | "root":
            squares = rows.sum(lambda place: _square(rows.load(a.x, place)))
            return root(squares) if spec.fold == "root" else squares
        case "log of exp":
            most = rows.fold(-infinity, lambda place: rows.load(a.x, place), largest)
            shift = most.where(size_of(most) < infinity, 0.0)
            total = rows.sum(lambda place: mathematics.exp(rows.load(a.x, place) - shift))
            return mathematics.log(total) + shift
    total = rows.sum(lambda place: rows.load(a.x, place))
    if spec.fold == "root of sum":
        return root(total)
    if spec.fold == "log":
        return mathematics.log(total)
    return total / count if spec.fold == "mean" else total


def _square(x: Value) -> Value:
    return x * x
