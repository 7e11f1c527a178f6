"""The code of `kernels.pool`."""

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from ..pool import Pool
from .epilogue import FlaggedCodes, flags_of
from .loops import Arguments, counted, each_plane
from .memory import Array, Variable
from .rounding import overflow, quarters_of_quotient, round_quarters
from .vector import F64, I64, STORED, Value, load, zeros


def emit(spec: Pool, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    is_max = spec.operation == "max"
    x_pixel, y_pixel = (
        spec.lanes * ELEMENT_BYTES[stored] for stored in (spec.stored, spec.stored if is_max else spec.target)
    )
    counts = Array(a.counts, I64)
    with each_plane(a, "x", "y") as (_, (x, y)), counted(a.first + a.rows, a.first) as r:
        row = r * a.stride_h - a.top
        top, rows = _cells_inside(row, a.dilation_h, a.kernel_h, a.height_in)
        with counted(a.width) as p:
            column = p * a.stride_w - a.left_pad
            left, columns = _cells_inside(column, a.dilation_w, a.kernel_w, a.width_in)
            count = rows * columns
            cell = x + (row + top * a.dilation_h) * a.x_row + (column + left * a.dilation_w) * x_pixel
            if is_max:  # a window without cells has the pixel at `empty` instead
                is_empty = count.equals(0)
                cell = a.empty.where(is_empty, cell)
                rows_or_1, columns_or_1 = rows.like(1).where(is_empty, rows), columns.like(1).where(is_empty, columns)
                result: Value | FlaggedCodes = _reduced(spec, a, cell, rows_or_1, columns_or_1, x_pixel)
            else:
                total = _reduced(spec, a, cell, rows, columns, x_pixel)
                result = _mean(spec, a, total, count, counts.get(r * a.width + p))
            result.store(y + r * a.y_row + p * y_pixel)


def _cells_inside(start: Value, dilation: Value, kernel: Value, size: Value) -> tuple[Value, Value]:
    """Return the first of the cells start, start + dilation, ... that is inside an axis, and how many are."""
    first = start.like(0).where(start >= 0, (dilation - start - 1).divided_by(dilation))
    end = (size - start + dilation - 1).divided_by(dilation).at_most(kernel)
    return first, (end - first).at_least(0)


def _reduced(spec: Pool, a: Arguments, cell: Value, rows: Value, columns: Value, pixel: int) -> Value:
    """Return the largest stored values of a window, or their sums in 64 bits."""
    element, is_max = STORED[spec.stored], spec.operation == "max"
    total = F64 if spec.stored == "f32" else I64
    result = Variable(load(cell, element, spec.lanes) if is_max else zeros(a.b, total, spec.lanes))
    with counted(rows) as r, counted(columns) as c:
        value = load(cell + r * (a.dilation_h * a.x_row) + c * (a.dilation_w * pixel), element, spec.lanes)
        so_far = result.get()
        if not is_max:
            wide = value.doubled() if total == F64 else value.widened(I64, signed=spec.stored != "u8")
            result.put(so_far + wide)
        elif spec.stored == "u8":
            result.put(value.where(value.is_above_unsigned(so_far), so_far))
        elif spec.stored == "f32":  # NaN is the largest, as in NumPy
            result.put(value.where((value > so_far) | value.is_nan(), so_far))
        else:
            result.put(so_far.at_least(value))
    return result.get()


def _mean(spec: Pool, a: Arguments, total: Value, cells: Value, count: Value) -> Value | FlaggedCodes:
    """Return the mean of a window from the sums of its stored values: stored codes, or float32."""
    if spec.stored == "f32":
        return (total / count.as_floats(F64).splat(spec.lanes)).halved()
    exact = (total - (cells * a.zero_in).splat(spec.lanes)) << a.left.splat(spec.lanes)
    quarters = quarters_of_quotient(exact, (count << a.right).splat(spec.lanes))
    low, high, zero, bits = (scalar.splat(spec.lanes) for scalar in (a.low, a.high, a.zero_out, a.bits))
    rounded = round_quarters(quarters, spec.rounding)
    codes = overflow(rounded, low, high, spec.fitting, bits.like(64) - bits, signed=spec.signed)
    codes = (codes + zero).truncated(STORED[spec.target])
    if not spec.counts:
        return codes
    flags = flags_of(codes.element, (rounded > high) | (rounded < low), rounded.equals(0) & exact.differs(0))
    return FlaggedCodes(codes, flags, a.y_flags)
