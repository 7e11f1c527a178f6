"""Concat, Where, Max and Min: every input is brought to the format of the output, then they are put together."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Argument, Call, CTensor, Operation, Parameters
from qengine.deploy.c.lowering import Context, NotExportable, accumulator, lowers
from qengine.deploy.c.lowerings.calls import copy_calls, element_type, whole_copies
from qengine.deploy.c.lowerings.elements.convert import convert_call, enough
from qengine.deploy.c.lowerings.elements.operands import Elements, Ends, elements_of, magnitude
from qengine.deploy.c.lowerings.nests import AXES, Nest, in_memory
from qengine.kernels.reference.requantize import requantize
from qengine.kernels.reference.word import Word
from qengine.model.steps import Join, Tensor
from qengine.model.steps.forms import Concatenated
from qengine.model.steps.pairs import Chosen, Extreme
from qengine.qformat import PartFormats


@dataclass(frozen=True)
class Brought:
    """An input on its way to codes of the output.

    Attributes
    ----------
    word : word of the codes; None for integers, which stay.
    shift : bits that it drops.
    known : codes of a constant, already in the word; None for a computed input.
    """

    word: Word | None
    shift: int
    known: Any = None

    @classmethod
    def of(cls, t: Tensor, word: Word | None, shift: int) -> Brought:
        """Return how a tensor becomes codes of a word."""
        if t.value is None:
            return cls(word, shift)
        known = t.elements
        if word is not None:
            known = requantize(known.astype(np.int64), shift, word)
        return cls(None, 0, known)

    def is_kept(self, ends: Ends) -> bool:
        """Whether elements between two ends stay unchanged."""
        if self.word is None:
            return True
        return self.shift == 0 and self.word.lowest <= ends[0] and ends[1] <= self.word.most

    def epilogue(self, ends: Ends) -> Parameters:
        """Return the numbers that bring an element between two ends to the word."""
        if self.word is None:
            least = min(ends[0], 0)
            return epilogue(Word(max(magnitude(ends).bit_length() + 1, 2) if least < 0 else 16, least < 0), 0)
        return epilogue(self.word, enough(self.shift, magnitude(ends)))


def _brought(context: Context) -> list[Brought]:
    """Return how each joined input becomes codes of an output with one format."""
    step: Join = context.step
    if context.out.format is None:
        return [Brought.of(t, None, 0) for t in step.joined]
    word = context.arithmetic.word(context.out.one_format)
    target = context.out.fraction_bits
    return [Brought.of(t, word, t.fraction_bits - target) for t in step.joined]


@lowers(Join)
def lower_join(context: Context) -> Operation:
    """Return the operation of a step."""
    step: Join = context.step
    function = step.function
    if not context.y.size:
        return context.operation()
    if isinstance(function, Concatenated):
        return _concatenated(context, function.axis)
    if isinstance(function, Chosen):
        return _chosen(context)
    if isinstance(function, Extreme):
        return _extreme(context, function.largest)
    if function is np.copy and len(step.joined) == 1:
        return _concatenated(context, 0)
    raise NotExportable("C has no kernel for it")


def _parts(context: Context) -> list[Brought]:
    """Return how each part of a Concat becomes codes of its format."""
    step: Join = context.step
    fmt = context.out.format
    if not isinstance(fmt, PartFormats):
        return _brought(context)
    found = []
    for t, part in zip(step.joined, fmt.formats, strict=True):
        is_same = t.format == part
        found.append(
            Brought.of(t, None if is_same else context.arithmetic.word(part), t.fraction_bits - part.fraction_bits)
        )
    return found


def _concatenated(context: Context, axis: int) -> Operation:
    step, y = context.step, context.y
    puts: list[tuple[list[Call], int | None]] = []
    start = 0
    for i, (t, brought) in enumerate(zip(step.joined, _parts(context), strict=True)):
        length = t.shape[axis] if t.shape else 1
        offset = start * y.strides[axis] if y.strides else 0
        start += length
        if not all(t.shape):
            continue
        source: Argument
        if t.value is None:
            x = context.tensors[t.name]
            source, strides, ends = x, x.strides, x.ends
        else:
            source, strides, ends = _constant_part(context, t, i, brought)
        nest = Nest.of(in_memory(y, t.shape), [in_memory(y, s) for s in (strides, y.strides)])
        puts.append((_put(source, y, nest, brought, ends, offset), _distance(source, y, nest, offset)))
    calls, distances = _largest_first(puts)
    overlaps: list[int | None] = [distances.get(x) for x in context.reads]
    if len(step.joined) == 1 and len(context.reads) == 1:
        (x,) = context.reads
        is_in_place = x.order == y.order and (y.dtype.itemsize == 1 or x.dtype.itemsize == y.dtype.itemsize)
        overlaps = [0 if is_in_place and calls[0].kernel == "convert" else None]
    return context.operation(*calls, overlap=tuple(overlaps), parts=whole_copies(calls))


def _distance(x: Argument, y: CTensor, nest: Nest, offset: int) -> int | None:
    """Return the distance of `Operation.overlap` for the input that is written first, in rows that are copied whole."""
    if not isinstance(x, CTensor):
        return None
    lengths, (from_x, to_y) = nest.lengths, nest.steps
    row = lengths[-1] if lengths and from_x[-1] == to_y[-1] == 1 else 1
    outer = lengths[:-1] if row > 1 else lengths
    at = np.indices(outer).reshape(len(outer), prod(outer))
    reads = np.asarray(from_x[: len(outer)], np.int64) @ at * x.dtype.itemsize
    ends = (np.asarray(to_y[: len(outer)], np.int64) @ at + offset + row) * y.dtype.itemsize
    later = np.minimum.accumulate(reads[::-1])[::-1]
    return int((later - ends).min())


def _largest_first(puts: list[tuple[list[Call], int | None]]) -> tuple[list[Call], dict[CTensor, int | None]]:
    """Return the calls, those for the largest input first, and the distance at which the output may lie after it.

    The input that is read first may lie where the output will be; the others must not.
    """
    sources = [call.arguments[0] for calls, _ in puts for call in calls]
    found: list[tuple[CTensor, Call, int]] = []
    for calls, distance in puts:
        x = calls[0].arguments[0]
        if distance is not None and len(calls) == 1 and isinstance(x, CTensor) and sources.count(x) == 1:
            found.append((x, calls[0], distance))
    every = [call for calls, _ in puts for call in calls]
    if not found:
        return every, {}
    x, first, distance = max(found, key=lambda one: one[0].bytes)
    return [first, *(call for call in every if call is not first)], {x: distance}


def _constant_part(context: Context, t: Tensor, index: int, brought: Brought) -> tuple[Argument, tuple[int, ...], Ends]:
    """Return a part that is known, its strides, and its ends."""
    codes = np.asarray(brought.known).astype(context.y.dtype)
    strides = tuple(int(np.prod(t.shape[a + 1 :], dtype=np.int64)) for a in range(len(t.shape)))
    return context.constant(f"part{index}", codes, f"{t.name}"), strides, (int(codes.min()), int(codes.max()))


def _put(x: Argument, y: CTensor, nest: Nest, brought: Brought, ends: Ends, offset: int) -> list[Call]:
    """Return the calls that write a part."""
    is_kept = brought.is_kept(ends)
    if is_kept and element_type(x).itemsize == y.dtype.itemsize and element_type(x).kind == y.dtype.kind:
        return list(copy_calls(x, y, nest, (0, offset)))
    if len(nest.lengths) > AXES:
        raise NotExportable(f"a part needs {len(nest.lengths)} loops, C has {AXES}: give it the format of the result")
    if is_kept:
        return [Call("cast", {"x": element_type(x), "y": y.dtype}, (x, y), nest.numbers("x", "y"), (0, offset))]
    v = accumulator(magnitude(ends), enough(brought.shift, magnitude(ends)))
    return [convert_call(x, y, nest, brought.epilogue(ends), v, offset=offset)]


def _same(elements: Elements, brought: list[Brought], y: CTensor) -> bool:
    """Whether all joined operands are elements of the output already."""
    pairs = zip(elements.operands[-len(brought) :], brought, strict=True)
    return all(b.is_kept(one.ends) and one.dtype == y.dtype for one, b in pairs)


def _known(brought: list[Brought]) -> list[Any]:
    return [b.known for b in brought]


def _chosen(context: Context) -> Operation:
    step, y = context.step, context.y
    brought = _brought(context)
    elements = elements_of(context, (*step.lead, *step.joined), (None, *_known(brought)))
    _, a, b = elements.operands
    numbers = elements.nest.numbers("c", "a", "b", "y")
    arguments = (*elements.arguments, y)
    types = {"c": np.dtype(np.uint8), "y": y.dtype}
    if _same(elements, brought, y) or y.format is None:
        call = Call("choose_same", types, arguments, numbers)
    else:
        ends = [one.epilogue(operand.ends) for one, operand in zip(brought, (a, b), strict=True)]
        numbers = {**numbers, "of_a": ends[0], "of_b": ends[1]}
        call = Call("choose", {**types, "a": a.dtype, "b": b.dtype}, arguments, numbers)
    return context.operation(*elements.before, call, overlap=elements.overlaps)


def _extreme(context: Context, largest: bool) -> Operation:
    step, y = context.step, context.y
    brought = _brought(context)
    if len(step.joined) == 1:
        return _concatenated(context, 0)
    elements = elements_of(context, step.joined, _known(brought))
    is_same = _same(elements, brought, y) or y.format is None
    first = elements.operands[:2]
    own = Nest(elements.nest.lengths, (*elements.nest.steps[:2], elements.nest.steps[-1]))
    numbers: Parameters = {**own.numbers("a", "b", "y"), "is_largest": largest}
    arguments = (*elements.arguments[:2], y)
    if is_same:
        calls = [Call("extreme_same", {"y": y.dtype}, arguments, numbers)]
    else:
        ends = [b.epilogue(one.ends) for b, one in zip(brought, first, strict=False)]
        numbers = {**numbers, "of_a": ends[0], "of_b": ends[1]}
        calls = [Call("extreme", {"a": first[0].dtype, "b": first[1].dtype, "y": y.dtype}, arguments, numbers)]
    for i in range(2, len(step.joined)):
        one = elements.operands[i]
        nest = Nest(elements.nest.lengths, (elements.nest.steps[i], elements.nest.steps[-1]))
        numbers = {**nest.numbers("x", "y"), "is_largest": largest}
        if is_same:
            calls.append(Call("extreme_also_same", {"y": y.dtype}, (one.argument, y), numbers))
        else:
            numbers = {**numbers, "epilogue": brought[i].epilogue(one.ends)}
            calls.append(Call("extreme_also", {"x": one.dtype, "y": y.dtype}, (one.argument, y), numbers))
    overlap = elements.overlaps if len(calls) == 1 else (None,) * len(context.reads)
    return context.operation(*elements.before, *calls, overlap=overlap)
