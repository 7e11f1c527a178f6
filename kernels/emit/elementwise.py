"""The code of `kernels.elementwise.Elementwise`."""

from typing import Any

from ..elementwise import Elementwise
from ..isa import Isa
from .element import narrowed, widened
from .epilogue import FlaggedCodes, VectorEpilogue
from .loops import Arguments, each_row, each_vector
from .vector import F32, I32, I64, STORED, Value, float_bounds, load


def emit(spec: Elementwise, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    epilogue, operands = spec.epilogue, range(len(spec.operands))
    requantize = None if epilogue is None else VectorEpilogue(epilogue, a.numbers, a)
    bounds: Any = float_bounds(a.scalars) if epilogue is None else None
    with each_row(a, "y", *(f"x{i}" for i in operands)) as (y, *rows):

        def compute(v: Value) -> Value | FlaggedCodes:
            total = _total(spec, a, [rows[i] + v * a[f"x{i}_step"] for i in operands])
            if requantize is not None:
                return requantize.codes(total)
            if spec.operation == "round":
                total = widened(narrowed(total, "f16", isa), "f16", isa)
            return total.at_least(bounds[0]).at_most(bounds[1])

        each_vector(a.vectors, a.rest, compute, lambda v: y + v * a.y_step)


def _total(spec: Elementwise, a: Arguments, addresses: list[Value]) -> Value:
    """Return the exact sum or product of vectors of the operands."""
    epilogue = spec.epilogue
    number = F32 if epilogue is None else I64 if epilogue.wide else I32
    terms, shifts = [], []
    for i, (stored, address) in enumerate(zip(spec.operands, addresses, strict=True)):
        term = load(address, STORED[stored])
        if epilogue is not None:
            term = term.widened(number, signed=stored != "u8")
            shift, zero = (a[f"x{i}_{name}"].truncated(number).splat() for name in ("shift", "zero"))
            term = term << shift if spec.operation == "add" else term - zero
            shifts.append(shift)
        terms.append(term)
    first, *others = terms
    if spec.operation == "prelu":
        (slope,) = others
        plain = first if epilogue is None else first << shifts[0]
        slope = slope if epilogue is None else slope << shifts[1]
        return (first * slope).where(first < 0, plain)
    for sign, term in zip(spec.signs[1:] or [1] * len(others), others, strict=True):
        first = first * term if spec.operation == "multiply" else first - term if sign < 0 else first + term
    return first
