"""Op of a kernel that goes over rows of a plain buffer (`qengine.kernels.rows`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from qengine.kernels.elements import lanes_of
from qengine.kernels.epilogue import LANES
from qengine.kernels.isa import Isa
from qengine.kernels.reference.word import Word
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer

_MAX_RIGHT_SHIFT, _MAX_LEFT_SHIFT = 62, 40  # larger ones make no difference, see `reference.rounding`

Extent = tuple[int, int, int]
"""Number of groups of rows, elements of a row, and rows of a group, whose elements alternate."""


def extent_of(shape: Sequence[int], first: int, end: int) -> Extent:
    """Return the extent of rows that are the axes from `first` to before `end`."""
    return prod(shape[:first]), prod(shape[first:end]), prod(shape[end:])


def row_op(
    isa: Isa,
    spec: Any,
    x: TensorBuffer,
    out: TensorBuffer,
    extent: Extent,
    *,
    numbers: Mapping[str, int] | None = None,
    inputs: Mapping[str, TensorBuffer] | None = None,
    others: Mapping[str, TensorBuffer] | None = None,
    element_cycles: float = 0.5,
    scratch: int = 0,
) -> PlainOp:
    """Return the op.

    Parameters
    ----------
    isa, spec
        Instruction set, and specification of the kernel; its field `strided` says whether rows alternate, as they
        always do where it has none.
    x, out, extent
        Input, output, and extent of the input.
    numbers, inputs, others
        Further arguments of the kernel by name: numbers, buffers that it reads, and buffers that it writes.
    element_cycles
        Estimate of the processor cycles of an element.
    scratch
        Bytes of memory that each thread needs; the argument "scratch".
    """
    outer, length, inner = extent
    element: Any = x.stored
    groups = -(-inner // (lanes_of(element) if element in ("f32", "f64") else LANES))
    read, written = dict(inputs or {}), dict(others or {})

    def arguments(part: Part) -> dict[str, Address]:
        buffers = dict(zip(read, part.inputs[1:], strict=True)) | dict(zip(written, part.outputs[1:], strict=True))
        ends = {"first": part.first, "end": part.end}
        rows = {"x": part.inputs[0], "y": part.outputs[0], "length": length, "inner": inner, "groups": groups}
        own = {"scratch": part.scratch} if scratch else {}
        return {**rows, **ends, **(numbers or {}), **buffers, **own}

    units = outer * (groups if getattr(spec, "strided", True) else inner)
    work = element_cycles * outer * length * inner + 30.0 * units
    buffers = (x, *read.values())
    return PlainOp(isa, buffers, out, spec, arguments, units, work, tuple(written.values()), scratch)


def code_end(word: Word, shift: int) -> tuple[int, ...]:
    """Return the numbers of the end of an exact result that drops `shift` bits; see `kernels.emit.code_rows`."""
    right, left = min(max(shift, 0), _MAX_RIGHT_SHIFT), min(max(-shift, 0), _MAX_LEFT_SHIFT)
    return right, left, word.lowest, word.most, 64 - word.bits
