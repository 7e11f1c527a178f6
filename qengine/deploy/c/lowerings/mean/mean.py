"""Means and sums over windows and axes, by the methods of devices.

Most methods are one exact division of a sum, whose numerator, divisor and rounding differ: `_quotient` says which.
Means in float32 have a kernel of their own (`mean_float`). Those along one axis after the other are in `mean_passes`.
"""

from __future__ import annotations

import numpy as np

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Call, CTensor, Operation, Scratch
from qengine.deploy.c.lowering import Context, NotExportable, accumulator, lowers
from qengine.deploy.c.lowerings.mean.calls import Counts, Quotient, Source, mean_calls
from qengine.deploy.c.lowerings.mean.dividers import quotient_addends, shift_addends
from qengine.deploy.c.lowerings.mean.lines import ANYWHERE, LANES, MeanLines
from qengine.deploy.c.lowerings.mean.passes import pass_calls
from qengine.deploy.c.lowerings.nests import Nest
from qengine.deploy.c.ranges.intervals import Ends, scaled
from qengine.deploy.c.ranges.mean import is_sum
from qengine.kernels.reference.means import RECIPROCAL_BITS
from qengine.kernels.reference.register import moved
from qengine.kernels.reference.rounding_table import unshifted
from qengine.model.steps import Mean
from qengine.model.steps.forms import AxisSum, WindowSum
from qengine.model.steps.means import counts_of

_FLOAT_BITS = 24
_MOST_DROP = 61
"""Bits that a product of 55 bits drops; with more, the result is the same."""


@lowers(Mean)
def lower_mean(context: Context) -> Operation:
    """Return the sums, each divided by its count."""
    step = context.step
    if not isinstance(step.total, WindowSum | AxisSum):
        raise NotExportable("C knows no loops for its sums")
    method = "exact" if is_sum(counts_of(step, context.arithmetic)) else context.arithmetic.mean.method
    x = context.tensors[step.x.name]
    source = Source(x, x.dtype, step.x.shape, x.strides, x.ends)
    if method == "float32":
        return _in_float(context, source)
    if method == "accumulator":
        return _in_register(context, source)
    calls, form, counts = list[Call](), step.total, Counts.of(step, context.out, context.arithmetic)
    if method == "two_pass":
        calls, source, form, counts = pass_calls(context, source, counts)
    sums = source.sums(form)
    quotients = [_quotient(context, method, count, sums) for count in counts.each]
    lines = MeanLines.of(form, source.shape, source.strides, context.y.shape, context.y.strides)
    ends, rules = (source, context.y), context.epilogue(0)
    last, about = mean_calls(context, ends, lines, counts, quotients, epilogue=rules)
    return context.operation(*calls, *last, overlap=_overlap(source, context.y, lines), comments=(about,))


def _quotient(context: Context, method: str, count: int, sums: Ends) -> Quotient:
    """Return the division of sums of a count of elements that is rounded once, to the output."""
    word = context.arithmetic.word(context.out.one_format)
    shift, largest = context.step.x.fraction_bits - context.out.fraction_bits, max(abs(end) for end in sums)
    if method == "reciprocal":
        shift, factor = shift + RECIPROCAL_BITS, (1 << RECIPROCAL_BITS) // count
        # A quotient below 1/4 in magnitude is rounded alike, so that more bits need not be dropped.
        right, left = min(max(shift, 0), (largest * factor).bit_length() + 2), max(-shift, 0)
        return Quotient(factor << left, 1 << right, shift_addends(word.rounding, right), sums)
    left = 0 if method == "shifted_count" else max(-shift, 0)
    right = min(max(shift, 0), largest.bit_length() + 2)
    if word.fitting != "wrap":
        left = min(left, 18 + count.bit_length())  # a sum that is not 0 is beyond every word
    return Quotient(1 << left, count << right, quotient_addends(word.rounding, count << right), sums)


def _in_register(context: Context, source: Source) -> Operation:
    """Return means that are cut toward zero to the fraction bits of a register, and then rounded."""
    step, rule = context.step, context.arithmetic.accumulator
    bits = step.x.fraction_bits if rule.fraction_bits is None else rule.fraction_bits
    cut, calls = step.x.fraction_bits - bits, list[Call]()
    if cut > 0:
        calls, source = _cut(context, source, cut)
    scale, sums = 1 << max(-cut, 0), source.sums(step.total)
    whole, kept = scaled(sums, scale), {"register_scale": scale, "register_bits": 0}
    if rule.bits is not None and not -1 << (rule.bits - 1) <= whole[0] <= whole[1] < 1 << (rule.bits - 1):
        kept["register_bits"] = rule.bits
        dividends = -1 << (rule.bits - 1), (1 << (rule.bits - 1)) - 1
    else:
        dividends, kept["register_scale"] = sums, 1
    own = 1 if kept["register_bits"] else scale
    counts = Counts.of(step, context.out, context.arithmetic)
    quotients = [Quotient(own, n, quotient_addends("trunc", n), dividends) for n in counts.each]
    lines = MeanLines.of(step.total, source.shape, source.strides, context.y.shape, context.y.strides)
    rules = context.epilogue(bits - context.out.fraction_bits)
    largest = max(abs(end) for end in whole)
    last, about = mean_calls(
        context, (source, context.y), lines, counts, quotients, largest=largest, epilogue=rules, **kept
    )
    return context.operation(*calls, *last, overlap=_overlap(source, context.y, lines), comments=(about,))


def _cut(context: Context, source: Source, cut: int) -> tuple[list[Call], Source]:
    """Return the call that brings elements to fewer fraction bits, and the elements that it writes."""
    x, rounding = source.argument, context.arithmetic.accumulator.rounding
    assert isinstance(x, CTensor)
    least, most = source.ends
    entries = moved(np.arange(least, most + 1, dtype=np.int64), min(cut, 62), rounding).astype(np.int16)
    target = Scratch(entries.dtype, x.size)
    table = context.constant("cut", entries, f"codes {least} to {most} of {x.name} with {cut} bits less")
    nest = Nest((x.size,), ((1,), (1,)))
    numbers = dict(nest.numbers("x", "y")) | {"least": least, "most": most, "is_cut": False}
    call = Call("table", {"x": source.dtype, "y": entries.dtype}, (x, table, target), numbers)
    ends = int(entries.min()), int(entries.max())
    return [call], Source(target, entries.dtype, source.shape, source.strides, ends)


def _in_float(context: Context, source: Source) -> Operation:
    """Return means in float32."""
    step, y = context.step, context.y
    word, shift = context.arithmetic.word(context.out.one_format), step.x.fraction_bits - context.out.fraction_bits
    counts, sums = Counts.of(step, context.out, context.arithmetic), source.sums(step.total)
    largest, adds_half = max(abs(end) for end in sums), word.rounding == "half_up"
    reciprocals = [_reciprocal(count, shift, adds_half, largest) for count in counts.each]
    table = context.constant("reciprocals", np.array(reciprocals, np.int64), "for each count: factor, bits", True)
    rows = None if counts.rows is None else context.constant("rows", counts.rows, "places of the counts", True)
    rules = epilogue(word._replace(rounding="floor" if adds_half else unshifted(word.rounding)), 0)
    types = {"x": source.dtype, "y": y.dtype, "a": accumulator(largest)}
    lines = MeanLines.of(step.total, source.shape, source.strides, y.shape, y.strides)
    calls = [
        Call(
            "mean_float",
            types,
            (source.argument, rows, table, y),
            {"at": at, "adds_half": adds_half, "epilogue": rules},
            (first, 0, 0, last),
        )
        for at, first, last in lines.calls()
    ]
    overlap = _overlap(source, y, lines, lanes=1)
    return context.operation(*calls, overlap=overlap, comments=(f"|sum| <= {largest:,}",))


def _overlap(source: Source, y: CTensor, lines: MeanLines, lanes: int = LANES) -> tuple[int | None]:
    """Return the overlap of the output with the input, which is read before it is written where a copy is summed."""
    if isinstance(source.argument, Scratch):
        return (ANYWHERE,)
    return (lines.overlap(source.dtype.itemsize, y.dtype.itemsize, lanes),)


def _reciprocal(count: int, shift: int, adds_half: bool, largest: int) -> tuple[int, int]:
    """Return an integer, and the bits that a product with it drops, that are the float32 reciprocal of a count."""
    mantissa, exponent = np.frexp(np.float32(1) / np.float32(count))
    factor, drop = int(np.ldexp(np.float64(mantissa), _FLOAT_BITS)), _FLOAT_BITS - int(exponent) + shift
    if adds_half and drop < 1:  # half a step must be an integer
        factor, drop = factor << (1 - drop), 1
    if largest * factor >= 1 << 62:
        raise NotExportable("its means need more than 64 bits in units of the output: give it fewer fraction bits")
    return factor, min(drop, _MOST_DROP)
