"""Lowering of LSTM, GRU and RNN on codes: exact sums of x for all steps of time, then the steps.

`model.eager.recurrent_rule` has the numbers of a node; here they become arrays that kernels read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.address import address
from qengine.kernels.code_recurrence import (
    NUMBERS,
    ROW_NUMBERS,
    SUMS_NUMBERS,
    CodeRecurrence,
    CodeWeights,
    GateSums,
    code_weights,
    scratch_bytes,
    sums_scratch,
    unread_at,
)
from qengine.kernels.program import Call
from qengine.kernels.reference.gate_table import GateTable
from qengine.kernels.reference.recurrent_numbers import Coded, product_bits
from qengine.model.eager.recurrent_rule import RecurrentRule
from qengine.model.eager.recurrent_sizes import LENGTH_MESSAGE
from qengine.model.steps import Evaluated
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext
from qengine.runtime.native.plain_op import Part, PlainCalls
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, aligned_copy

_MOST_SHIFT = 62
_MOST_LEFT_SHIFT = 40  # see `reference.rounding.shift_left`
_MOST_BITS = 60


def lower_codes(context: PlainContext[Evaluated]) -> Lowered:
    """Lower a recurrent node whose rule computes codes."""
    rule = context.step.evaluation.fixed_rule(context.arithmetic)
    if not isinstance(rule, RecurrentRule):
        raise NotLowered("an island in fixed point")
    if len(context.outputs) > 2 + (rule.cell == "lstm"):
        raise NotLowered(f"the gates of {context.step.evaluation.node.operator}")
    x, w, r, b, lengths, _, _, p = rule.inputs
    if any(t is not None and t.value is None for t in (w, r, b, p)):
        raise NotLowered(f"weights of {context.step.evaluation.node.operator} that are computed during the run")
    if lengths is not None and context.request(lengths).stored != "i32":
        raise NotLowered(f"sequence_lens of {lengths.dtype}")
    assert x is not None
    assert w is not None
    assert r is not None
    sizes = rule.sizes
    state = rule.numbers.state.word.dtype
    product = product_bits((x.one_format.dtype, w.codes.dtype), (state, r.codes.dtype))
    if rule.numbers.most_bits(max(sizes.size, sizes.hidden), product) > _MOST_BITS:
        raise NotLowered("formats so far from each other that sums need more than 60 bits")
    lowering = _Lowering(context, rule)
    outputs = tuple(TensorBuffer.plain(t) for t in context.outputs)
    sums = TensorBuffer.flat(f"sums of {context.out.name}", lowering.rows * sizes.time * sizes.batch, "i64")
    return Lowered((lowering.sums_op(context.request(x), sums), lowering.steps_op(sums, outputs)), outputs)


class _Lowering:
    """The arrays of a node, and its two ops.

    Attributes
    ----------
    rows : rows of weights of all directions.
    """

    def __init__(self, context: PlainContext[Evaluated], rule: RecurrentRule) -> None:
        self.context, self.rule, self.isa = context, rule, context.isa
        sizes = rule.sizes
        self.of_each = sizes.gates * sizes.hidden
        self.rows = sizes.directions * self.of_each
        (bias, own), numbers = rule.biases(None), rule.numbers
        x = rule.inputs[0]
        assert x is not None
        parts = (2 * sizes.hidden, sizes.hidden) if rule.cell == "gru" else (self.of_each,)
        self.of_x = self._weights(1, x.one_format.dtype, (self.of_each,))
        self.of_h = self._weights(2, numbers.state.word.dtype, parts)
        to_sums = np.ones(self.of_each, bool)
        if numbers.resets_after:
            to_sums[2 * sizes.hidden :] = False  # the products of x and of h are summed apart
        self.x_shift = np.where(to_sums, numbers.sum_bits - numbers.x_bits, 0)
        h_shift = np.where(to_sums, numbers.sum_bits - numbers.h_bits, 0)
        of_h = np.where(to_sums, self.of_h.corrections << h_shift, 0)
        self.bias = bias.astype(np.int64) + (self.of_x.corrections << self.x_shift) + of_h
        self.own = np.zeros((1, 1), np.int64) if own is None else own + self.of_h.corrections[:, 2 * sizes.hidden :]
        self._kept: list[NDArray[Any]] = []

    def _place(self, array: NDArray[Any]) -> int:
        """Return the address of a copy that the ops keep."""
        self._kept.append(aligned_copy(array))
        return address(self._kept[-1])

    def _weights(self, place: int, other: np.dtype[Any], parts: tuple[int, ...]) -> CodeWeights:
        t = self.rule.inputs[place]
        assert t is not None
        return code_weights(t.codes, other, parts, self.isa)

    def sums_op(self, x: TensorBuffer, sums: TensorBuffer) -> PlainCalls:
        """Return the op of the part that comes from x: parts are rows of a direction."""
        sizes, weights = self.rule.sizes, self.of_x
        spec, split = GateSums(x.stored, weights.factors), weights.factors.split
        count, columns = sizes.time * sizes.batch, self.of_each
        step, row = sizes.batch * sizes.size, sizes.size
        if self.rule.options.layout:
            step, row = sizes.size, sizes.time * sizes.size
        low, high, shift = self._place(weights.low), self._place(weights.high), self._place(self.x_shift)
        bias, distance = self._place(self.bias), weights.low.nbytes // sizes.directions
        every = [
            {
                **{"x_step": step, "x_row": row, "w": low + d * distance, "high": high + d * distance * split},
                **{"chunk": weights.chunk, "shift": shift, "bias": bias + 8 * d * columns, "batch": sizes.batch},
                **{"rows": columns, "blocks": weights.blocks[0], "length": sizes.size},
            }
            for d in range(sizes.directions)
        ]
        numbers = self._place(np.array([[one[name] for name in SUMS_NUMBERS] for one in every], np.int64))

        def arguments(part: Part, d: int, first: int, end: int) -> dict[str, Address]:
            return {
                **{"x": part.inputs[0], "numbers": numbers + 8 * d * len(SUMS_NUMBERS)},
                **{"y": part.outputs[0] + 8 * d * count * columns, "first": first, "end": end, "scratch": part.scratch},
            }

        work = count * self.rows * (sizes.size / 32 * (1 + split) + 1.0)
        spare = sums_scratch(sizes.size, weights.blocks[0])
        return self._calls((x,), (sums,), count, spec, arguments, work, spare)

    def steps_op(self, sums: TensorBuffer, outputs: tuple[TensorBuffer, ...]) -> PlainCalls:
        """Return the op of the steps of time: parts are sequences of a direction."""
        rule, sizes, numbers = self.rule, self.rule.sizes, self.rule.numbers
        state, cells = numbers.state.word, numbers.cells.word if numbers.cells else None
        weights = self.of_h
        given = {
            name: (i, self.context.request(t))
            for name, i in _OPTIONAL.items()
            if (t := rule.inputs[i]) is not None and (t.value is None or t.elements.any() or name == "lengths")
        }
        spec = CodeRecurrence(
            rule.cell,
            _stored(state.dtype),
            "i8" if cells is None else _stored(cells.dtype),
            given["h"][1].stored if "h" in given else "",
            given["c"][1].stored if "c" in given else "",
            weights.factors,
            state.rounding,
            fitting=state.fitting,
            shifts_left=_shifts_left(rule),
            accumulator_bits=_kept_bits(numbers.accumulator_bits),
            peepholes=numbers.p_bits is not None,
            coupled=numbers.coupled,
            resets_after=numbers.resets_after,
            ragged="lengths" in given,
        )
        fault: Address = self.context.fault(LENGTH_MESSAGE.format("{}", sizes.time)) if spec.ragged else 0
        strides, names = _Strides(rule), [t.name for t in self.context.outputs]
        numbers_at = self._steps_numbers(strides.numbers(names))
        count, hidden = self.of_each, sizes.hidden
        spare = scratch_bytes(count, hidden)

        def arguments(part: Part, d: int, first: int, end: int) -> dict[str, Address]:
            known, *rest = part.inputs
            optional = dict(zip(given, rest, strict=True))
            unread = part.scratch + unread_at(count, hidden)
            places: list[Address] = [unread] * 3
            for i, (name, place) in enumerate(zip(names, part.outputs, strict=True)):
                if name:
                    places[i] = place + strides.direction(of_y=i == 0, d=d, stored=outputs[i].stored)
            first_states: dict[str, Address] = {"h": 0, "c": 0}
            for key in given.keys() & first_states.keys():
                first_states[key] = optional[key] + strides.direction(of_y=False, d=d, stored=given[key][1].stored)
            return {
                **{"sums": known + 8 * d * sizes.time * sizes.batch * count, "fault": fault},
                **{"numbers": numbers_at + 8 * d * len(NUMBERS), "lengths": optional.get("lengths", 0)},
                **dict(zip(("y", "last_h", "last_c"), places, strict=True)),
                **first_states,
                **{"first": first, "end": end, "scratch": part.scratch},
            }

        steps = sizes.time * sizes.batch * sizes.directions
        work = steps * count * (hidden / 32 * (1 + spec.factors.split) + 8.0)
        inputs = (sums, *(buffer for _, buffer in given.values()))
        return self._calls(inputs, outputs, sizes.batch, spec, arguments, work, spare)

    def _steps_numbers(self, strides: dict[str, int]) -> int:
        """Return the address of `NUMBERS` of all directions."""
        rule, weights, hidden = self.rule, self.of_h, self.rule.sizes.hidden
        directions = rule.sizes.directions
        p = rule.inputs[7]
        peephole = self._place(np.zeros(1, np.int64) if p is None else p.codes.astype(np.int64))
        low, high, own = self._place(weights.low), self._place(weights.high), self._place(self.own)
        distance = weights.low.nbytes // directions
        rows = []
        for d, tables in enumerate(rule.numbers.tables):
            entries = [self._place(_entries(one)) - 4 * one.least for one in tables]
            entries += [entries[0]] * (3 - len(entries))
            found = {
                **{**_numbers(rule, d), **strides, "chunk": weights.chunk},
                **{"blocks": weights.blocks[0], "own_blocks": weights.blocks[-1]},
                **{"r": low + d * distance, "r_high": high + d * distance * weights.factors.split},
                **{"of_row": self._place(_row_numbers(rule, d)), "own_bias": own + 8 * d * hidden},
                **{"p": peephole if p is None else peephole + 24 * d * hidden},
                **dict(zip(("f", "g", "last"), entries, strict=True)),
            }
            rows.append([found.get(name, 0) for name in NUMBERS])
        return self._place(np.array(rows, np.int64))

    def _calls(
        self,
        inputs: tuple[TensorBuffer, ...],
        outputs: tuple[TensorBuffer, ...],
        count: int,
        spec: Any,
        arguments: Callable[[Part, int, int, int], dict[str, Address]],
        work: float,
        scratch: int,
    ) -> PlainCalls:
        """Return the op of a kernel that goes over `count` parts of each direction."""
        directions = self.rule.sizes.directions

        def make(part: Part) -> list[Call]:
            calls = []
            for d in range(directions):
                first, end = (min(max(n - d * count, 0), count) for n in (part.first, part.end))
                if first < end:
                    calls.append(Call(spec, arguments(part, d, first, end)))
            return calls

        parts = count * directions
        op = PlainCalls(self.isa, inputs, outputs[0], spec.emitter, make, parts, work, outputs[1:], scratch=scratch)
        for array in self._kept:
            op.address_of(array)
        return op


_OPTIONAL = {"lengths": 4, "h": 5, "c": 6}


class _Strides:
    """Places of states, which depend on the attribute layout; distances in elements."""

    def __init__(self, rule: RecurrentRule) -> None:
        sizes = rule.sizes
        hidden = sizes.hidden
        if rule.options.layout:
            self._step, self._direction = sizes.directions * hidden, hidden
            self._row = sizes.time * self._step
            self._state_row, self._state_direction = sizes.directions * hidden, hidden
        else:
            self._direction, self._row = sizes.batch * hidden, hidden
            self._step = sizes.directions * self._direction
            self._state_row, self._state_direction = hidden, self._direction

    def direction(self, *, of_y: bool, d: int, stored: str) -> int:
        """Return the distance in bytes of a direction, in Y or in states."""
        return _bytes(stored) * d * (self._direction if of_y else self._state_direction)

    def numbers(self, names: list[str]) -> dict[str, int]:
        """Return the strides in elements, 0 for outputs that are left out."""
        has_y, has_h, has_c = [bool(name) for name in (*names, "", "")[:3]]
        return {
            **{"y_step": self._step * has_y, "y_row": self._row * has_y, "h_row": self._state_row},
            **{"c_row": self._state_row, "last_h_row": self._state_row * has_h, "last_c_row": self._state_row * has_c},
        }


def _bytes(stored: str) -> int:
    return int(stored[1:]) // 8


def _stored(dtype: np.dtype[Any]) -> str:
    return f"{dtype.kind}{8 * dtype.itemsize}"


def _kept_bits(bits: int | None) -> int:
    return 0 if bits is None or bits > _MOST_SHIFT else bits


def _entries(table: Any) -> NDArray[np.int32]:
    return np.asarray(table.entries).astype(np.int32)


def _right(shift: Any) -> Any:
    return np.clip(shift, 0, _MOST_SHIFT)


def _left(shift: Any) -> Any:
    return np.clip(np.negative(shift), 0, _MOST_LEFT_SHIFT)


def _row_numbers(rule: RecurrentRule, d: int) -> NDArray[np.int64]:
    """Return `ROW_NUMBERS` of all rows of a direction."""
    numbers = rule.numbers
    total, n = numbers.sum_bits, numbers.gates.fraction_bits
    found = dict.fromkeys(ROW_NUMBERS, np.zeros(len(total), np.int64))
    found["h_left"] = total - numbers.h_bits
    found["right"], found["left"] = _right(total - n), _left(total - n)
    if numbers.p_bits is not None:
        found["p_left"] = np.maximum(total - numbers.p_bits, 0)  # the last gate has no peephole
    if numbers.resets_after:
        reset = numbers.h_bits + numbers.tables[d][0].fraction_bits
        most = np.maximum(numbers.x_bits, reset)
        found["x_left"], found["r_left"] = most - numbers.x_bits, most - reset
        found["own_right"], found["own_left"] = _right(most - n), _left(most - n)
    return np.stack([found[name] for name in ROW_NUMBERS]).astype(np.int64)


def _scalar_shifts(rule: RecurrentRule, d: int) -> dict[str, int]:
    """Return the shifts from exact numbers to codes of a direction, by name."""
    numbers = rule.numbers
    shifts = {}
    if numbers.cells is not None:
        f, g, last = numbers.tables[d]
        most = max(numbers.cells.fraction_bits, g.fraction_bits)
        shifts["sum"] = f.fraction_bits + most - numbers.cells.fraction_bits
        shifts["out"] = f.fraction_bits + last.fraction_bits - numbers.state.fraction_bits
    elif isinstance(numbers.tables[d][0], GateTable):
        f, g = numbers.tables[d]
        shifts["sum"] = f.fraction_bits + max(g.fraction_bits - numbers.state.fraction_bits, 0)
        shifts["out"] = f.fraction_bits
    return shifts


def _shifts_left(rule: RecurrentRule) -> bool:
    """Whether a step shifts to the left, or by 0 bits."""
    own = 2 * rule.sizes.hidden
    for d in range(rule.sizes.directions):
        rows = _row_numbers(rule, d)
        right, own_right = (rows[ROW_NUMBERS.index(name)] for name in ("right", "own_right"))
        if rule.numbers.resets_after:
            right = np.concatenate([right[:own], own_right[own:]])
        if min(right.min(), *_scalar_shifts(rule, d).values(), 1) <= 0:
            return True
    return False


def _numbers(rule: RecurrentRule, d: int) -> dict[str, int]:
    """Return `NUMBERS` of a direction, without those that depend on memory."""
    numbers = rule.numbers
    sizes = rule.sizes
    found = {"time": sizes.time, "batch": sizes.batch, "rows": sizes.gates * sizes.hidden, "hidden": sizes.hidden}
    found["reverse"] = int(numbers.reverse[d])
    words: dict[str, Coded | None] = {"gate": numbers.gates, "state": numbers.state, "cell": numbers.cells}
    for name, one in words.items():
        if one is not None:
            word = one.word
            sign = 1 << (word.bits - 1) if word.signed else 0
            parts = {"least": word.lowest, "most": word.most, "mask": (1 << word.bits) - 1, "sign": sign}
            found |= {f"{name}_{part}": value for part, value in parts.items()}
    word = numbers.gates.word
    low, high = numbers.bounds or (word.least, word.most)
    found["low"], found["high"] = (min(max(n, word.least), word.most) for n in (low, high))
    given = {"h": (rule.inputs[5], numbers.state), "c": (rule.inputs[6], numbers.cells)}
    shifts = {key: t.fraction_bits - to.fraction_bits for key, (t, to) in given.items() if t and to}
    for name, shift in {**shifts, **_scalar_shifts(rule, d)}.items():
        found[f"{name}_right"], found[f"{name}_left"] = int(_right(shift)), int(_left(shift))
    if isinstance(numbers.tables[d][0], GateTable):
        f, g, *_ = numbers.tables[d]
        other = numbers.cells or numbers.state
        most = max(other.fraction_bits, g.fraction_bits)
        of_state, of_entry = most - other.fraction_bits, most - g.fraction_bits
        found["one"] = f.one
        found["first_left"], found["second_left"] = (of_state, of_entry) if numbers.cells else (of_entry, of_state)
    return found
