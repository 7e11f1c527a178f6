"""Calls of the kernels that divide sums by counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import room
from qengine.deploy.c.ir import Argument, Call, CTensor, Scratch
from qengine.deploy.c.lowering import Context, NotExportable
from qengine.deploy.c.lowerings.mean.dividers import Addends, Divider, divider
from qengine.deploy.c.lowerings.mean.lines import WINDOWS, MeanLines
from qengine.deploy.c.ranges.intervals import Ends, scaled, with_zero
from qengine.model.rules import Arithmetic
from qengine.model.steps import Mean, Tensor
from qengine.model.steps.forms import AxisSum, WindowSum
from qengine.model.steps.means import WindowCounts, counts_of, shifted_counts

Shape = tuple[int, ...]
Array = NDArray[Any]

_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)
_NUMBERS = "addend, addend of negative sums, scale, divisor, ties, multiplier, shift, whole"


@dataclass(frozen=True)
class Source:
    """Elements that are summed.

    Attributes
    ----------
    argument : tensor or scratch that holds them.
    dtype : element type.
    shape : shape.
    strides : elements along each axis from one place to the next.
    ends : the least and the largest element.
    """

    argument: CTensor | Scratch
    dtype: np.dtype[Any]
    shape: Shape
    strides: Shape
    ends: Ends

    def sums(self, form: WindowSum | AxisSum) -> Ends:
        """Return the ends of sums of a form, in which elements of the padding are 0."""
        if isinstance(form, WindowSum):
            return with_zero(scaled(self.ends, prod(form.kernel)))
        return scaled(self.ends, prod(self.shape[axis] for axis in form.axes))


@dataclass(frozen=True)
class Counts:
    """Divisors of the outputs of a mean.

    Attributes
    ----------
    each : divisors.
    rows : numbers of the positions along three axes, one axis after the other, whose sum is the place of the divisor of
        an output in `each`; None where there is one divisor.
    """

    each: tuple[int, ...]
    rows: NDArray[np.int16] | None = None

    @classmethod
    def of(cls, step: Mean, out: Tensor, arithmetic: Arithmetic) -> Counts:
        """Return the divisors of a mean, by its rule."""
        count = step.count
        if isinstance(count, WindowCounts):
            pads = arithmetic.mean.counts_pads
            count = count if pads is None else replace(count, counts_pads=pads)
            found = cls.along([count.along(axis) for axis in range(len(count.size))])
        else:
            whole = counts_of(step, arithmetic)
            assert isinstance(whole, int)
            found = cls((whole,))
            if whole == 1:
                return found
        if arithmetic.mean.method == "shifted_count":
            shifted = shifted_counts(step, out, np.array(found.each))
            return cls(tuple(np.asarray(shifted).tolist()), found.rows)
        return found

    @classmethod
    def along(cls, axes: Sequence[NDArray[np.int64]]) -> Counts:
        """Return the products of the counts along axes, at least 1."""
        values = [np.unique(axis) for axis in axes]
        each = tuple(max(prod(map(int, one)), 1) for one in product(*values))
        if len(each) == 1:
            return cls(each)
        places = [np.searchsorted(v, axis) for v, axis in zip(values, axes, strict=True)]
        steps = [prod(len(v) for v in values[i + 1 :]) for i in range(len(values))]
        first = [np.zeros(1, np.int64)] * (WINDOWS - len(axes))
        rows = [*first, *(p * s for p, s in zip(places, steps, strict=True))]
        return cls(each, np.concatenate(rows).astype(np.int16))


@dataclass(frozen=True)
class Quotient:
    """A division of sums.

    Attributes
    ----------
    scale, divisor, addends : see `Divider`.
    sums : ends of the sums.
    """

    scale: int
    divisor: int
    addends: Addends
    sums: Ends


def mean_calls(
    context: Context,
    ends: tuple[Source, CTensor | Scratch],
    lines: MeanLines,
    counts: Counts,
    quotients: Sequence[Quotient],
    *,
    largest: int = 0,
    **numbers: Any,
) -> tuple[list[Call], str]:
    """Return the calls that divide sums, and a comment with the bound of the sums.

    Parameters
    ----------
    context
        Step.
    ends
        Elements that are summed, and where the results are written.
    lines
        Loops.
    counts, quotients
        Divisors, and the division by each.
    largest
        Upper limit of the magnitude of a sum, where it is more than that of the dividends.
    **numbers
        Fields of `struct net_mean` but for those of the loops and of the division: at least the epilogue.
    """
    source, target = ends
    register = {"register_scale": 1, "register_bits": 0} | numbers
    largest = max(largest, *(abs(end) for one in quotients for end in one.sums))
    dtype, dividers = divided(quotients, int(register["epilogue"]["shift"]), largest)
    rows = None if counts.rows is None else _rows(context, target, counts.rows)
    constant = context.constant(
        _name(target, "dividers"), divider_rows(dividers, dtype), f"for each count: {_NUMBERS}", is_visible=True
    )
    fields = multiplies(dividers) | register
    types = {"x": source.dtype, "y": target.dtype, "a": dtype}
    calls = [
        Call("mean", types, (source.argument, rows, constant, target), {"at": at, **fields}, (first, 0, 0, last))
        for at, first, last in lines.calls()
    ]
    return calls, f"|sum| <= {largest:,} < 2^{8 * dtype.itemsize - 1}"


def divided(quotients: Sequence[Quotient], shift: int, largest: int) -> tuple[np.dtype[Any], list[Divider]]:
    """Return the type of sums and quotients, and the divisions.

    Parameters
    ----------
    quotients
        Divisions.
    shift
        Bits that quotients drop afterwards.
    largest
        Upper limit of the magnitude of a sum.

    Raises
    ------
    NotExportable
        If 64 bits do not hold all numbers.
    """
    found = [divider(q.scale, q.divisor, q.addends, q.sums) for q in quotients]
    results = max(d.magnitude(q.sums) // q.divisor for d, q in zip(found, quotients, strict=True))
    if all(d.multiplies for d in found) and max(largest, room(results, shift)) < 1 << 31:
        return _INT32, found
    plain = [Divider(q.scale, q.divisor, q.addends) for q in quotients]
    numerators = max(d.magnitude(q.sums) + d.divisor for d, q in zip(plain, quotients, strict=True))
    if max(numerators, largest, room(results, shift)) >= 1 << 62:
        raise NotExportable(
            "its sums need more than 64 bits in units of the output: give it a format with fewer fraction bits"
        )
    return _INT64, plain


def multiplies(dividers: Sequence[Divider]) -> dict[str, bool]:
    """Return the fields of a kernel that say how it divides."""
    return {
        "multiplies": all(one.multiplies for one in dividers),
        "is_wide": any(one.is_wide for one in dividers),
    }


def divider_rows(dividers: Sequence[Divider], dtype: np.dtype[Any]) -> Array:
    """Return the numbers of divisions as elements of a signed type: of 32 bits, the integers with the same bits."""
    rows = np.array([one.row for one in dividers], object)
    if dtype == _INT32:
        rows = rows % (1 << 32)
        rows = np.where(rows >= 1 << 31, rows - (1 << 32), rows)
    return rows.astype(dtype)


def _rows(context: Context, target: CTensor | Scratch, rows: Array) -> Argument:
    about = "for the positions along each axis, numbers whose sum is the place of the count"
    return context.constant(_name(target, "rows"), rows, about, is_visible=True)


def _name(target: CTensor | Scratch, role: str) -> str:
    """Return the name of a constant, apart from that of another call of the same step."""
    return role if isinstance(target, CTensor) else f"{role}_{target.offset}"
