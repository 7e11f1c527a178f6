"""The code of `kernels.elementwise`."""

from typing import Any

from llvmlite import ir

from ..elementwise import Elementwise
from ..isa import Isa
from .epilogue import Finish
from .memory import unpacker
from .vector import F32, I32, I64, STORED, Vec, i64, load, load_scalar, splat, whole_and_part


def make(spec: Elementwise, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    form, count = spec.epilogue, len(spec.operands)
    number = F32 if form is None else I64 if form.wide else I32

    def build(b: ir.IRBuilder, *values: ir.Value) -> tuple[Vec, ir.Value, ir.Value]:
        numbers, scalars, y, rest = values[:4]
        terms, shifts = [], []
        for i, stored in enumerate(spec.operands):
            place, shift, zero = values[4 + 3 * i : 7 + 3 * i]
            x = load(b, place, STORED[stored])
            if form is None:
                terms.append(x)
                continue
            x = x.widened(number, signed=stored != "u8")
            integer = [v if form.wide else b.trunc(v, I32) for v in (shift, zero)]
            if spec.operation == "add":
                terms.append(x << splat(b, integer[0]))
            else:
                terms.append(x - splat(b, integer[1]))
                shifts.append(splat(b, integer[0]))
        total = terms[0]
        if spec.operation == "prelu":
            factor, plain = terms[1], total
            if form is not None:
                factor, plain = factor << shifts[1], total << shifts[0]
            total = (total * factor).where(total.is_("<", total.like(0)), plain)
        for i, term in enumerate(terms[1:] if spec.operation != "prelu" else [], start=1):
            if spec.operation == "multiply":
                total = total * term
            elif spec.signs[i] < 0:
                total = total - term
            else:
                total = total + term
        if form is None:
            low, high = (splat(b, load_scalar(b, b.add(scalars, i64(4 * i)), F32)) for i in range(2))
            result = total.at_least(low).at_most(high)
        else:
            finish = Finish(b, form, numbers, scalars)
            result = finish(total + finish.bias)
        return result, y, rest

    # A row's rest reads a whole vector, and writes what belongs to it.
    (whole, part), unpack = whole_and_part(build), unpacker(len(spec.arguments))
    if count == 1:

        def unary(arguments):
            (
                numbers, scalars, batch, blocks, rows, vectors, rest, y, y_batch, y_block, y_row, y_step,
                x, x_batch, x_block, x_row, x_step, shift, zero,
            ) = unpack(arguments)  # fmt: skip
            for n in range(batch):
                for k in range(blocks):
                    for r in range(rows):
                        to = y + n * y_batch + k * y_block + r * y_row
                        of = x + n * x_batch + k * x_block + r * x_row
                        for v in range(vectors):
                            whole((numbers, scalars, to + v * y_step, rest, of + v * x_step, shift, zero))
                        if rest > 0:
                            last = vectors
                            part((numbers, scalars, to + last * y_step, rest, of + last * x_step, shift, zero))

        return unary

    def binary(arguments):
        (
            numbers, scalars, batch, blocks, rows, vectors, rest, y, y_batch, y_block, y_row, y_step,
            a, a_batch, a_block, a_row, a_step, a_shift, a_zero, c, c_batch, c_block, c_row, c_step, c_shift, c_zero,
        ) = unpack(arguments)  # fmt: skip
        for n in range(batch):
            for k in range(blocks):
                for r in range(rows):
                    to = y + n * y_batch + k * y_block + r * y_row
                    left = a + n * a_batch + k * a_block + r * a_row
                    right = c + n * c_batch + k * c_block + r * c_row
                    for v in range(vectors):
                        whole((
                            numbers, scalars, to + v * y_step, rest, left + v * a_step, a_shift, a_zero,
                            right + v * c_step, c_shift, c_zero,
                        ))  # fmt: skip
                    if rest > 0:
                        v = vectors
                        part((
                            numbers, scalars, to + v * y_step, rest, left + v * a_step, a_shift, a_zero,
                            right + v * c_step, c_shift, c_zero,
                        ))  # fmt: skip

    return binary
