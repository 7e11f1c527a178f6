"""LSTM, GRU and RNN on codes: calls that place the first states, go through the steps, and place the last states."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import MOST_SHIFT, epilogue
from qengine.deploy.c.ir import Call, Constant, Operation, Scratch
from qengine.deploy.c.lowering import Context, NotExportable, accumulator, lowers
from qengine.deploy.c.lowerings.recurrent.recurrence import Cell, Recurrence, largest
from qengine.kernels.reference.gate_table import GateTable
from qengine.kernels.reference.recurrent_numbers import Coded
from qengine.model.eager.recurrent_rule import RecurrentRule
from qengine.model.steps import Evaluated
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]

_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)
_MOST_LEFT = 40  # see `reference.rounding.shift_left`; 17 places leave every word
_MOST_BIAS = 1 << 31


def _is_recurrent(context: Context) -> bool:
    step = context.step
    return step.kind == "rule" and isinstance(step.evaluation.fixed_rule(context.arithmetic), RecurrentRule)


@lowers(Evaluated, _is_recurrent)
def lower_recurrent(context: Context) -> Operation:
    """Return the calls of a recurrent node; outputs with other rules of rounding are computed by calls of their own."""
    named = [one for one in context.group if one.output.name]
    if not any(one.size for one in context.outputs):
        return context.operation()
    calls: list[Call] = []
    comments: dict[str, None] = {}
    macs = 0
    for arithmetic in dict.fromkeys(one.arithmetic for one in named):
        part = [one for one in named if one.arithmetic == arithmetic]
        assert arithmetic is not None
        rule = context.step.evaluation.fixed_rule(arithmetic)
        assert isinstance(rule, RecurrentRule)
        writer = Recurrence(context, rule, {_index(one): context.tensors[one.output.name] for one in part}, len(calls))
        calls += writer.calls(_CELLS["gru_after" if writer.resets_after else rule.cell])
        comments |= dict.fromkeys(writer.comments)
        macs += writer.macs
    return context.operation(*calls, macs=macs, comments=tuple(comments))


def _index(one: BoundStep) -> int:
    assert isinstance(one.step, Evaluated)
    return one.step.index


def _most_entry(table: GateTable) -> int:
    return int(np.abs(table.entries).max())


def _aligned(first: tuple[int, int], second: tuple[int, int], shift: int) -> tuple[int, int, int, np.dtype[Any]]:
    """Return how far two products are shifted left to be added, the bits that their sum drops, and its type.

    Parameters
    ----------
    first, second
        Largest magnitude and fraction bits of each product.
    shift
        Bits that the sum drops, without the larger number of fraction bits.
    """
    (most_first, n), (most_second, m) = first, second
    finest = max(n, m)
    bound = (most_first << finest - n) + (most_second << finest - m)
    return finest - n, finest - m, shift + finest, accumulator(bound, min(shift + finest, MOST_SHIFT))


def _lstm(part: Recurrence, h: Scratch, c: Scratch | None, lengths: Constant | None) -> Cell:
    """Return the calls of an LSTM."""
    numbers, hidden = part.numbers, part.rule.sizes.hidden
    cells = numbers.cells
    assert cells is not None
    p, sums = part.rule.inputs[7], part.sum_types
    extra = np.zeros(part.rows, np.int64)
    if numbers.p_bits is not None:
        extra[: 3 * hidden] = np.minimum(
            numbers.sum_bits[: 3 * hidden] - numbers.p_bits, 30 if sums["a"] == _INT32 else 62
        )
        extra[3 * hidden :] = extra[0]
    shifts, (x_up, h_up, drop, p_up) = part.shifts(sums["a"], extra)
    memory, column = part.memory(sums["a"], part.rows)
    arrays, curve, kind = part.tables(epilogue(cells.word, 0))
    weights = part.weights()
    peepholes = None if p is None else part.constant("peepholes", p.elements, f"codes of '{p.name}'")

    def call(d: int) -> Call:
        f, g, last = numbers.tables[d]
        kept = _most_entry(f) + (f.one if numbers.coupled else 0)
        kept_up, entered_up, cell_drop, wide = _aligned(
            (kept * largest(cells.word), cells.fraction_bits),
            (_most_entry(f) * _most_entry(g), g.fraction_bits),
            f.fraction_bits - cells.fraction_bits,
        )
        state_drop = f.fraction_bits + last.fraction_bits - numbers.state.fraction_bits
        cell, steps = epilogue(cells.word, cell_drop), part.recurrence(d, shifts, x_up, h_up, drop)
        types = part.types | sums | {"c": cells.word.dtype, "t": kind, "m": wide}
        types["p"] = np.dtype(np.int8) if p is None else p.elements.dtype
        types["q"] = accumulator(_most_entry(f) * _most_entry(last), state_drop)
        y, place = part.written(d)
        arguments = (part.x, *weights, peepholes, shifts, lengths, *arrays[d], memory, column, c, h, y)
        offsets = (*part.offsets(d), d * 3 * hidden, *(0,) * 9, place)
        own = {
            **{"steps": steps, "coupled": numbers.coupled, "one": f.one, **curve[d]},
            **{"p_up": p_up, "kept_up": kept_up, "entered_up": entered_up},
            **{"cell": cell, "state": epilogue(numbers.state.word, state_drop)},
        }
        return Call("lstm", types, arguments, own, offsets)

    return call


def _gru(part: Recurrence, h: Scratch, c: Scratch | None, lengths: Constant | None) -> Cell:
    """Return the calls of a GRU that multiplies by its reset gate before the product."""
    del c
    numbers, hidden, state = part.numbers, part.rule.sizes.hidden, part.numbers.state
    sums = part.sum_types
    shifts, (x_up, h_up, drop) = part.shifts(sums["a"])
    memory, column = part.memory(sums["a"], 2 * hidden)
    arrays, curve, kind = part.tables()
    weights, kept = part.weights(), part.scratch(state.word.dtype, hidden)

    def call(d: int) -> Call:
        f, g = numbers.tables[d]
        entered_up, kept_up, state_drop, wide = _entered(f, g, state)
        steps = part.recurrence(d, shifts, x_up, h_up, drop)
        types = part.types | sums | {"t": kind, "m": wide}
        types["q"] = accumulator(_most_entry(f) * largest(state.word), f.fraction_bits)
        y, place = part.written(d)
        arguments = (part.x, *weights, shifts, lengths, *arrays[d], memory, column, kept, h, y)
        own = {
            **{"steps": steps, "one": f.one, **curve[d], "entered_up": entered_up, "kept_up": kept_up},
            **{"reset": epilogue(state.word, f.fraction_bits), "state": epilogue(state.word, state_drop)},
        }
        return Call("gru", types, arguments, own, (*part.offsets(d), *(0,) * 8, place))

    return call


def _entered(f: GateTable, g: GateTable, state: Coded) -> tuple[int, int, int, np.dtype[Any]]:
    """Return the numbers of `_aligned` of what enters the state of a GRU, and of what is kept."""
    return _aligned(
        ((f.one + _most_entry(f)) * _most_entry(g), g.fraction_bits),
        (_most_entry(f) * largest(state.word), state.fraction_bits),
        f.fraction_bits - state.fraction_bits,
    )


def _gru_after(part: Recurrence, h: Scratch, c: Scratch | None, lengths: Constant | None) -> Cell:
    """Return the calls of a GRU that multiplies by its reset gate after the product."""
    del c
    numbers, hidden, state = part.numbers, part.rule.sizes.hidden, part.numbers.state
    own, sums = slice(2 * hidden, None), part.sum_types
    bits = numbers.tables[0][0].fraction_bits
    if any(tables[0].fraction_bits != bits for tables in numbers.tables):
        raise NotExportable("its directions have functions whose tables have other fraction bits: give both the same")
    n, m = numbers.x_bits[own], numbers.h_bits[own] + bits
    finest = np.maximum(n, m)
    reset = max(_most_entry(tables[0]) for tables in numbers.tables)
    of_x, of_h = max(part.of_x[2 * hidden :]), max(part.of_h)
    x_most, h_most, dropped = int((finest - n).max()), int((finest - m).max()), finest - numbers.gates.fraction_bits
    bound = (of_x << x_most) + (reset * of_h << h_most)
    wide = accumulator(bound, min(int(dropped.max()), MOST_SHIFT))
    most = 30 if wide == _INT32 else MOST_SHIFT
    parts = np.zeros((3, part.rows), np.int64)
    for row, values in zip(
        parts,
        (np.minimum(finest - n, most), np.minimum(finest - m, most), np.clip(dropped, -_MOST_LEFT, MOST_SHIFT)),
        strict=True,
    ):
        row[:], row[own] = values[0], values
    shifts, (x_up, h_up, drop, *others) = part.shifts(sums["a"], *parts)
    memory, column = part.memory(sums["a"], 4 * hidden)
    arrays, curve, kind = part.tables()
    w, r, bias = part.weights()
    assert part.own_bias is not None
    inside = None
    if part.own_bias.any():
        inside = part.constant("own_bias", part.own_bias.astype(np.int32), "biases in the product with the reset gate")

    def call(d: int) -> Call:
        f, g = numbers.tables[d]
        entered_up, kept_up, state_drop, total = _entered(f, g, state)
        steps = part.recurrence(d, shifts, x_up, h_up, drop)
        types = part.types | sums | {"t": kind, "b": wide, "m": total}
        y, place = part.written(d)
        arguments = (part.x, w, r, bias, inside, shifts, lengths, *arrays[d], memory, column, h, y)
        fields = {
            **{"steps": steps, "one": f.one, **curve[d], "of_x_up": others[0], "of_h_up": others[1]},
            **{"hidden_drop": others[2], "entered_up": entered_up, "kept_up": kept_up},
            "state": epilogue(state.word, state_drop),
        }
        offsets = (*part.offsets(d), d * hidden, *(0,) * 7, place)
        return Call("gru_after", types, arguments, fields, offsets)

    return call


def _rnn(part: Recurrence, h: Scratch, c: Scratch | None, lengths: Constant | None) -> Cell:
    """Return the calls of an RNN."""
    del c
    sums = part.sum_types
    shifts, (x_up, h_up, drop) = part.shifts(sums["a"])
    memory, column = part.memory(sums["a"], part.rows)
    arrays, curve, kind = part.tables()
    weights = part.weights()

    def call(d: int) -> Call:
        steps = part.recurrence(d, shifts, x_up, h_up, drop)
        y, place = part.written(d)
        arguments = (part.x, *weights, shifts, lengths, *arrays[d], memory, column, h, y)
        own = {"steps": steps} | curve[d]
        return Call("rnn", part.types | sums | {"t": kind}, arguments, own, (*part.offsets(d), *(0,) * 6, place))

    return call


_CELLS = {"lstm": _lstm, "gru": _gru, "gru_after": _gru_after, "rnn": _rnn}
