"""The code of `kernels.rows.Softmax`: the largest of a row, then powers and their sum, then their quotients."""

from ..isa import Isa
from ..rows import Softmax
from .loops import Arguments
from .mathematics import Mathematics
from .rows import Rows, Spot, each_unit, largest
from .vector import Value


def emit(spec: Softmax, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    mathematics = Mathematics(isa)
    with each_unit(a, "f32", is_strided=spec.strided) as rows:
        most = rows.fold(-float("inf"), lambda place: rows.load(a.x, place), largest)
        if spec.gives_zeros:
            most = most.like(0.0).where(most.equals(-float("inf")), most)
        if spec.logarithm:
            total = rows.sum(lambda place: mathematics.exp_below_0(rows.load(a.x, place) - most))
            shift = mathematics.log(total)
            rows.each(lambda place: rows.store(a.y, place, rows.load(a.x, place) - most - shift))
        else:
            _write_quotients(spec, a, rows, mathematics, most)


def _write_quotients(spec: Softmax, a: Arguments, rows: Rows, mathematics: Mathematics, most: Value) -> None:
    """Build e^(x - most) / sum."""

    def power(place: Spot) -> Value:
        result = mathematics.exp_below_0(rows.load(a.x, place) - most)
        rows.store(a.y, place, result)
        return result

    total = rows.sum(power)
    if spec.gives_zeros:
        total = total.like(1.0).where(total.equals(0.0), total)
    inverse = total.like(1.0) / total
    rows.each(lambda place: rows.store(a.y, place, rows.load(a.y, place) * inverse))
