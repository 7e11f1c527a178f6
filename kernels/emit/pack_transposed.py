"""The code of `kernels.matmul.PackTransposed`: squares of a vector's length, transposed in registers."""

from ..elements import ELEMENT_BYTES, VECTOR_BYTES, lanes_of
from ..isa import Isa
from ..matmul import PackTransposed
from .loops import Arguments, counted
from .vector import F32, F64, I64, Value, constant, first_lanes, load_lanes, load_scalar


def emit(spec: PackTransposed, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    size, lanes = ELEMENT_BYTES[spec.element], lanes_of(spec.element)
    width = spec.vectors * lanes
    with counted(a.end, a.first) as panel:
        start = panel.modulo(a.panels) * width
        offset = load_scalar(a.offsets + (panel.divided_by(a.panels) << 3), I64)
        source, count = a.w + offset + start * a.w_column * size, a.columns - start
        target = a.y + panel * a.inner * (width * size)
        with counted((a.inner + (lanes - 1)).divided_by(lanes)) as block:
            rest = a.inner - block * lanes
            mask = first_lanes(rest, lanes)
            for v in range(spec.vectors):
                rows = []
                for c in range(v * lanes, (v + 1) * lanes):
                    exists = (constant(a.b, c) < count).splat(lanes)
                    column = source + a.w_column * (c * size) + block * VECTOR_BYTES
                    rows.append(load_lanes(column, F32 if spec.element == "f32" else F64, mask & exists))
                _store(
                    _transposed(rows), rest, target + block * (lanes * width * size) + v * VECTOR_BYTES, width * size
                )


def _transposed(rows: list[Value]) -> list[Value]:
    """Return the columns of a square: rows of two halves are interleaved, again and again."""
    half, steps = len(rows) // 2, len(rows).bit_length() - 1
    low = [lane for i in range(half) for lane in (i, len(rows) + i)]
    high = [lane + half for lane in low]
    for _ in range(steps):
        rows = [
            row
            for i in range(half)
            for row in (rows[i].picked(low, rows[i + half]), rows[i].picked(high, rows[i + half]))
        ]
    return rows


def _store(rows: list[Value], rest: Value, address: Value, distance: int) -> None:
    """Write the first `rest` rows, or all."""
    b = rest.b
    with b.if_else((rest >= len(rows)).v, likely=True) as (whole, cut):
        with whole:
            for i, row in enumerate(rows):
                row.store(address + i * distance, align=4)
        with cut:
            for i, row in enumerate(rows):
                with b.if_then((rest > i).v):
                    row.store(address + i * distance, align=4)
