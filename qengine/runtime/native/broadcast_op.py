"""Op of an operation on elements of tensors that broadcast: its axes, and how threads share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.broadcast import Broadcast
from qengine.kernels.isa import Isa
from qengine.kernels.reference.word import Word
from qengine.model.steps.moves import Strided
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer

_CHUNK = 1 << 12
"""Elements of a part where tensors lie in memory like one axis."""

_Axis = tuple[int, tuple[int, ...]]
"""Length of an axis, and its distance in elements in the output and in each operand."""


@dataclass(frozen=True)
class ExactNumbers:
    """Numbers of an operation on codes.

    Attributes
    ----------
    word : word of the output, with the rounding and the overflow.
    shift : bits that the exact result drops; negative for a shift to the left.
    shifts : shift to the left of each operand.
    low, high : bounds of a fused activation; None for none.
    """

    word: Word
    shift: int
    shifts: tuple[int, ...]
    low: int | None = None
    high: int | None = None

    def table(self) -> NDArray[np.int64]:
        """Return the numbers as the kernel reads them."""
        word = self.word
        low = word.lowest if self.low is None else min(max(self.low, word.lowest), word.most)
        high = word.most if self.high is None else min(max(self.high, word.least), word.most)
        return np.array([low, high, max(self.shift, 0), max(-self.shift, 0), 64 - word.bits, *self.shifts], np.int64)


def _merged(shape: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> list[_Axis]:
    """Return the axes of the output, as few as possible, with those of operands that broadcast to it."""
    whole = Strided.whole(tuple(shape))
    views = [whole, *(Strided.whole(s).broadcast(whole.shape) for s in shapes)]
    axes: list[_Axis] = []
    for i, n in enumerate(whole.shape):
        if n == 1:
            continue
        strides = tuple(view.strides[i] for view in views)
        if axes and axes[-1][1] == tuple(s * n for s in strides):
            axes[-1] = axes[-1][0] * n, strides
        else:
            axes.append((n, strides))
    return axes or [(1, (1,) * len(views))]


def broadcast_op(
    isa: Isa,
    operation: str,
    operands: Sequence[tuple[TensorBuffer, tuple[int, ...]]],
    out: TensorBuffer,
    shape: tuple[int, ...],
    *,
    types: Sequence[str] | None = None,
    bounds: NDArray[Any] | None = None,
    exact: ExactNumbers | None = None,
    fault: Address = 0,
    cycles: float = 1.0,
) -> PlainOp:
    """Return the op that computes an operation on tensors that broadcast.

    Parameters
    ----------
    isa
        Instruction set that the kernel is compiled for.
    operation
        Name of the operation; see `qengine.kernels.emit.broadcast`.
    operands
        Buffer and shape of each operand.
    out, shape
        Buffer and shape of the output.
    types
        Types of the elements of the operands and of the output, where kernels take them as others than the buffers say.
    bounds
        Least and largest number of the output, in its type; None for none.
    exact
        Numbers of an operation on codes; None for one on numbers.
    fault
        Address of the number that is set where an integer is divided by 0.
    cycles
        Processor cycles for 64 bytes of an operand.
    """
    *axes, (inner, steps) = _merged(shape, [s for _, s in operands])
    names = list(types or [*(b.stored for b, _ in operands), out.stored])
    sizes = [ITEMSIZE[names[-1]], *(ITEMSIZE[name] for name in names[:-1])]
    repeats = tuple(step == 0 for step in steps[1:])
    word = exact.word if exact is not None else None
    end = () if word is None else (word.rounding, word.fitting, word.keeps_sign)
    spec = Broadcast(operation, tuple(names[:-1]), names[-1], repeats, bounds is not None, *end)
    limits = np.zeros(2) if bounds is None else bounds
    if exact is not None:
        limits = exact.table()
    mid = max(axes, key=lambda axis: axis[0], default=(1, (0,) * len(sizes)))
    outer = [axis for axis in reversed(axes) if axis is not mid]
    rows = [[n, *(s * size for s, size in zip(strides, sizes, strict=True))] for n, strides in outer]
    table = np.array(rows or [[0]], np.int64)
    work = cycles * prod(shape) * max(sizes) / 64 + 6.0 * prod(n for n, _ in axes)
    parts = prod(n for n, _ in axes) if axes else -(-inner // _CHUNK)

    def arguments(part: Part) -> dict[str, Address]:
        addresses = [part.outputs[0], *part.inputs]
        numbers: dict[str, Address] = {"axes": int(table.ctypes.data), "outer": len(outer), "mid": mid[0]}
        if axes:
            numbers |= {"first": part.first, "end": part.end, "inner": inner}
        else:
            start, stop = part.first * _CHUNK, min(part.end * _CHUNK, inner)
            addresses = [
                address + start * step * size for address, step, size in zip(addresses, steps, sizes, strict=True)
            ]
            numbers |= {"first": 0, "end": 1, "inner": stop - start}
        tensors = ["y", *(f"x{i}" for i in range(len(operands)))]
        for name, address, distance, size in zip(tensors, addresses, mid[1], sizes, strict=True):
            numbers |= {name: address, f"{name}_mid": distance * size}
        return {**numbers, "bounds": int(limits.ctypes.data), "fault": fault}

    buffers = tuple(buffer for buffer, _ in operands)
    return PlainOp(isa, buffers, out, spec, arguments, parts, work, label=operation)
