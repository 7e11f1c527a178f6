"""Sums, products, bounds, and tensors put one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.elementwise import Elementwise
from qengine.kernels.epilogue import LANES, EpilogueData, choose_epilogue
from qengine.kernels.isa import Isa
from qengine.kernels.layout import natural_block
from qengine.kernels.program import Call
from qengine.kernels.reference.word import Word
from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Arithmetic, Combine, Join, Move, Tensor
from qengine.model.steps.forms import Concatenated
from qengine.runtime.native.edges import RelayoutOp
from qengine.runtime.native.linear import Want
from qengine.runtime.native.op import Op, Rows, Unfit, float_bounds
from qengine.runtime.native.place import ITEMSIZE, Address, Place, View, images, stored_as


@dataclass(frozen=True)
class _Constant:
    """A constant operand as rows of a tensor's layout.

    Attributes
    ----------
    place : how its elements are stored.
    rows : (images, blocks, height or 1, width x block) stored elements.
    first : it is the operation's first operand.
    """

    place: Place
    rows: NDArray[Any]
    first: bool

    def view(self, base: int) -> View:
        batch, blocks, height, items = self.rows.shape
        size = self.rows.itemsize
        row = items * size if height > 1 else 0
        plane = height * items * size
        return View(base, blocks * plane if batch > 1 else 0, plane, row, 0)


@dataclass(eq=False)
class ElementwiseOp(Op):
    """(a << shift) + (b << shift), or minus, or a * b, or a PRelu; of one operand, a << shift.

    Attributes
    ----------
    operation : "add", "multiply" or "prelu".
    shifts : of codes that are added; of a PRelu, see `Elementwise`.
    requantize : None for float32.
    bounds : of float32.
    constant : stands for the operand after the inputs.
    signs : of what is added, the first of them +1.
    skip : the first channel in the output, of which an input may be a part.
    """

    operation: Literal["add", "multiply", "prelu"]
    shifts: tuple[int, ...]
    requantize: EpilogueData | None
    bounds: NDArray[np.float32]
    constant: _Constant | None = None
    signs: tuple[int, ...] = (1, 1)
    skip: int = 0

    def __post_init__(self) -> None:
        form = self.requantize
        order = np.zeros((1, LANES), np.intp)
        self._numbers = self.aligned(np.zeros(64, np.uint8) if form is None else form.packed(order))
        self._scalars = self.keep(self.bounds if form is None else form.scalars)
        self._constant = self.aligned(self.constant.rows) if self.constant is not None else 0
        self.kernel = self.operation if len(self._operands()) > 1 else "requantize"

    def _operands(self) -> list[Place]:
        """Return the operands in order."""
        found = list(self.inputs)
        if self.constant is not None:
            found.insert(0 if self.constant.first else len(found), self.constant.place)
        return found

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int] | None:
        """Return the rows of an input that rows first..end of the output are computed from."""
        return (0, 1) if place.shape[2] == 1 else (first, end)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        places, found = self._operands(), list(views)
        if self.constant is not None:
            found.insert(0 if self.constant.first else len(found), self.constant.view(self._constant))
        form = None if self.requantize is None else self.requantize.form
        shape = self.inputs[0].shape if self.skip or len(places) == 1 else self.out.shape
        items, block = shape[3] * self.out.block, self.out.block
        stored: Any = tuple(p.stored for p in places)
        spec = Elementwise(self.operation, stored, form, self.signs[: len(places)])
        y_size = ITEMSIZE[self.out.stored]
        arguments: dict[str, Address] = {
            **{"numbers": self._numbers, "scalars": self._scalars, "batch": shape[0], "blocks": -(-shape[1] // block)},
            **{"rows": rows.count, "vectors": items // LANES, "rest": items % LANES},
            **out.arguments("y", rows.first),
            **{"y": out.at(rows.first) + self.skip // block * out.plane, "y_step": LANES * y_size},
        }
        for i, (place, view, shift) in enumerate(zip(places, found, self.shifts, strict=True)):
            # One pixel for all: a channel's number, block by block.
            constant = self.constant is not None and place is self.constant.place
            single = not constant and place.shape[2] == place.shape[3] == 1 and prod(self.out.shape[2:]) > 1
            row = 0 if view.row == 0 or single else rows.first
            given = view.arguments(f"x{i}", row)
            step = 0 if single else LANES * ITEMSIZE[place.stored]
            arguments |= {**given, f"x{i}_step": step, f"x{i}_shift": shift, f"x{i}_zero": place.zero}
            if single:
                arguments[f"x{i}_row"] = 0
        return [Call(spec, arguments)]


def lower_bounded(step: Move, out: Tensor, isa: Isa, want: Want) -> list[Op]:
    """Return the ops of a Relu or Clip on its own; see `lower_linear`."""
    x = want(step.x)
    low, high = step.constants
    if out.format is None:
        return [ElementwiseOp(isa, (x,), Place.of(out, x.block), "add", (0,), None, float_bounds(low, high))]
    codes = [None if c is None else step.x.encode(c) for c in (low, high)]
    place = Place.of(out, x.block, *codes)
    return [_rounded(isa, x, place, out.one_format.word(), 0, low=codes[0], high=codes[1])]


def _rounded(
    isa: Isa,
    x: Place,
    place: Place,
    word: Word,
    shift: int,
    *,
    low: int | None = None,
    high: int | None = None,
    skip: int = 0,
) -> ElementwiseOp:
    """Return the op that brings codes to another format, or between bounds."""
    limit = max(abs(x.low), abs(x.high), 1)
    found = choose_epilogue(np.array([-x.zero]), limit, shift, word, low=low, high=high)
    if found is None:
        raise Unfit("codes that 64 bits do not hold")
    return ElementwiseOp(isa, (x,), place, "add", (0,), found, float_bounds(None, None), skip=skip)


def lower_combine(step: Combine, out: Tensor, arithmetic: Arithmetic, isa: Isa, want: Want) -> list[Op]:
    """Return the ops of a sum or product of two, or a PRelu with constant slopes; see `lower_linear`."""
    if step.operation not in ("add", "subtract", "multiply", "prelu") or len(step.terms) != 2:
        raise Unfit(f"{step.operation} of {len(step.terms)}")
    shape = images(out.shape)
    if shape is None:
        raise Unfit(f"{len(out.shape)} axes")
    block = natural_block(shape[1])
    places: list[Place] = []
    constant: _Constant | None = None
    for i, term in enumerate(step.terms):
        if term.value is not None:
            constant = _constant(term, out, block, first=i == 0)
        elif term.shape == out.shape or (block == LANES and _is_of_channels(term, shape)):
            places.append(want(term, block=block))
        else:
            raise Unfit(f"'{term.name}' {list(term.shape)}, broadcast to {list(out.shape)}")
    signs = (1, -1) if step.operation == "subtract" else (1, 1)
    operation: Literal["add", "multiply", "prelu"] = "add"
    if step.operation in ("multiply", "prelu"):
        operation = step.operation
    if operation == "prelu" and (constant is None or constant.first):
        raise Unfit("slopes that are computed during the run")
    activation = step.activation or NO_ACTIVATION
    if out.format is None:
        bounds = float_bounds(activation.low, activation.high)
        place = Place.of(out, block)
        return [ElementwiseOp(isa, tuple(places), place, operation, (0, 0), None, bounds, constant, signs)]
    operands = places.copy()
    if constant is not None:
        operands.insert(0 if constant.first else len(operands), constant.place)
    bits = [t.fraction_bits for t in step.terms]
    largest = [max(abs(p.low), abs(p.high), 1) for p in operands]
    if operation == "multiply":
        shifts, limit, shift, bias = (0, 0), largest[0] * largest[1], sum(bits) - out.fraction_bits, 0
    elif operation == "prelu":
        finest = max(bits[1], 0)
        shifts = (finest, finest - bits[1])
        limit = largest[0] * max(1 << finest, largest[1] << shifts[1])
        shift, bias = bits[0] + finest - out.fraction_bits, 0
    else:
        finest = max(bits)
        shifts = (finest - bits[0], finest - bits[1])
        # What a lane holds is the stored code, shifted.
        limit = sum((m + abs(p.zero)) << s for m, p, s in zip(largest, operands, shifts, strict=True))
        zeros = [sign * p.zero << s for sign, p, s in zip(signs, operands, shifts, strict=True)]
        shift, bias = finest - out.fraction_bits, -sum(zeros)
    if limit >= 1 << 60 or abs(bias) >= 1 << 60:
        raise Unfit("sums that 64 bits do not hold")
    low, high = out.encode_bound(activation.low), out.encode_bound(activation.high)
    found = choose_epilogue(np.array([bias]), limit, shift, arithmetic.word(out.one_format), low=low, high=high)
    if found is None:
        raise Unfit("sums that 64 bits do not hold")
    place = Place.of(out, block, low, high)
    return [
        ElementwiseOp(isa, tuple(places), place, operation, shifts, found, float_bounds(None, None), constant, signs)
    ]


def _is_of_channels(t: Tensor, shape: tuple[int, int, int, int]) -> bool:
    """Whether a tensor has one number for every channel of every image."""
    return t.shape == (*shape[:2], *(1,) * (t.ndim - 2)) and t.ndim > 2


def _constant(t: Tensor, out: Tensor, block: int, *, first: bool) -> _Constant:
    """Return a constant that broadcasts against the output as rows of its layout."""
    spread, shape = (1,) * (len(out.shape) - t.ndim) + t.shape, images(out.shape)
    whole = images(spread)
    if stored_as(t) is None or whole is None or np.broadcast_shapes(spread, out.shape) != out.shape:
        raise Unfit(f"constant '{t.name}' {list(t.shape)} {t.dtype}")
    assert shape is not None
    place = Place.of(Tensor(t.name, t.dtype, (1, 1, 1, 1), None, t.format), block)
    values = t.elements.reshape(whole)
    kinds = {"u8": np.uint8, "i16": np.int16, "f32": np.float32}
    stored = (values.astype(np.int64) + place.zero if t.format is not None else values).astype(kinds[place.stored])
    batch, channels, height, width = whole[0], shape[1], whole[2], shape[3]
    blocks = -(-channels // block)
    full = np.full((batch, blocks * block, height, width), place.zero, stored.dtype)
    full[:, :channels] = stored
    rows = full.reshape(batch, blocks, block, height, width).transpose(0, 1, 3, 4, 2)
    return _Constant(place, np.ascontiguousarray(rows).reshape(batch, blocks, height, width * block), first)


def lower_concat(step: Join, out: Tensor, arithmetic: Arithmetic, isa: Isa, want: Want) -> list[Op]:
    """Return the ops of a Concat along channels; see `lower_linear`."""
    function, shape = step.function, images(out.shape)
    assert isinstance(function, Concatenated)
    if function.axis != 1 or shape is None or any(t.value is not None for t in step.joined):
        raise Unfit("an axis other than channels, or a constant part")
    block = natural_block(shape[1])
    starts = [0, *accumulate(t.shape[1] for t in step.joined)]
    place = Place.of(out, block)
    aligned = all(s % block == 0 for s in starts[:-1]) and block == LANES
    ops: list[Op] = []
    word = arithmetic.word(out.one_format) if out.format is not None else None
    brought: list[Place] = []
    for t, start in zip(step.joined, starts, strict=False):
        same = t.format == out.format
        x = want(t, block=block if aligned else None)
        if aligned or not same:
            # To the output's format; straight to its place there where that begins a block.
            target = (
                place
                if aligned
                else Place.of(Tensor(f"{out.name} part {len(ops)}", t.dtype, t.shape, None, out.format), x.block)
            )
            skip = start if aligned else 0
            if word is None:
                bounds = float_bounds(None, None)
                ops.append(ElementwiseOp(isa, (x,), target, "add", (0,), None, bounds, skip=skip))
            else:
                ops.append(_rounded(isa, x, target, word, t.fraction_bits - out.fraction_bits, skip=skip))
            x = target
        brought.append(x)
    if not aligned:
        ops.append(RelayoutOp(isa, tuple(brought), place, tuple(starts[:-1])))
    return ops
