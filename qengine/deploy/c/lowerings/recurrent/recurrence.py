"""The parts of LSTM, GRU and RNN in C that all cells share: states, weights, shifts of rows, and bounds of sums.

The sums of the gates are products of x and of the state, each shifted left to the most fraction bits among them. Where
weights have a format for each row, so do these shifts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import MOST_SHIFT, epilogue
from qengine.deploy.c.ir import Call, Constant, CTensor, Parameters, Scratch
from qengine.deploy.c.lowering import Context, NotExportable, accumulator
from qengine.deploy.c.lowerings.tables.curves import curves
from qengine.kernels.reference.recurrent_numbers import Coded
from qengine.kernels.reference.word import Word
from qengine.model.eager.recurrent_rule import RecurrentRule
from qengine.model.eager.recurrent_sizes import sequence_lengths

Array = NDArray[Any]

_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)
_MOST_LEFT = 40  # see `reference.rounding.shift_left`; 17 places leave every word
_MOST_BIAS = 1 << 31


Cell = Callable[[int], Call]
"""Function that makes the call of the steps of a direction."""
CellOf = Callable[["Recurrence", Scratch, "Scratch | None", "Constant | None"], Cell]


@dataclass
class Recurrence:
    """The calls that compute some outputs of a node.

    Parameters
    ----------
    context, rule
        Step, and its rule.
    outputs
        Outputs by their place.
    number
        Number of calls before, which tells constants apart.
    """

    context: Context
    rule: RecurrentRule
    outputs: dict[int, CTensor]
    number: int
    comments: list[str] = field(default_factory=list)
    _end: int = 0
    _constants: dict[str, Constant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rule, sizes = self.rule, self.rule.sizes
        states = 2 if rule.cell == "lstm" else 1
        if any(index > states for index in self.outputs):
            raise NotExportable("its gates are outputs, and C keeps them in the middle of a step: leave them out")
        for t in (*rule.inputs[1:4], rule.inputs[7]):
            if t is not None and t.value is None:
                raise NotExportable(f"its weights '{t.name}' are computed during the run, and C needs constants")
        self.rows = sizes.gates * sizes.hidden
        self.macs = sizes.directions * sizes.time * sizes.batch * self.rows * (sizes.size + sizes.hidden)
        numbers = rule.numbers
        self.numbers = numbers
        self.bias, self.own_bias = rule.biases(None)
        self.resets_after = numbers.resets_after
        up = np.stack([numbers.sum_bits - numbers.x_bits, numbers.sum_bits - numbers.h_bits])
        if self.resets_after:
            up[:, 2 * sizes.hidden :] = 0
        self.up = up
        self.lengths = self._lengths()
        self.sums = self._bounds()
        x, w, r = (t for t in rule.inputs[:3] if t is not None)
        self.x = self.context.tensors[x.name]
        codes = self.x.dtype, numbers.state.word.dtype
        self.types = {"x": codes[0], "w": w.elements.dtype, "h": codes[1], "r": r.elements.dtype}
        # Instructions of pairs multiply signed numbers of 16 bits.
        are_signed = all(t.kind == "i" for t in (self.types["w"], self.types["r"]))
        fits = are_signed and np.dtype(np.uint16) not in codes
        self.types["v"] = np.dtype(np.int16) if fits else _INT32

    def _lengths(self) -> Array | None:
        t, sizes = self.rule.inputs[4], self.rule.sizes
        if t is None:
            return None
        if t.value is None:
            raise NotExportable(
                f"its sequence_lens '{t.name}' is computed during the run, which may hold lengths out of range: "
                "make it a constant, or leave it out"
            )
        lengths = sequence_lengths(t.elements, sizes.batch, sizes.time)
        return None if sizes.time and (lengths == sizes.time).all() else lengths

    def constant(self, role: str, array: Array, comment: str) -> Constant:
        """Return an array of a role, once."""
        if role not in self._constants:
            self._constants[role] = self.context.constant(f"{role}{self.number or ''}", array, comment)
        return self._constants[role]

    def scratch(self, dtype: np.dtype[Any], size: int) -> Scratch:
        """Return memory while the node runs."""
        offset = -(-self._end // dtype.itemsize) * dtype.itemsize
        found = Scratch(dtype, size, offset)
        self._end = found.end
        return found

    # Bounds of sums.

    def _bounds(self) -> dict[str, int]:
        """Return the largest dot, sum of a gate, and product of the cell and a peephole."""
        rule, numbers = self.rule, self.numbers
        x, w, r, _, _, _, _, p = rule.inputs
        assert x is not None
        assert w is not None
        assert r is not None
        of_x = _row_sums(w.elements, max(map(abs, self.context.tensors[x.name].ends)))
        of_h = _row_sums(r.elements, largest(numbers.state.word))
        dot = max(0, *map(max, of_x), *map(max, of_h))
        hidden, most = rule.sizes.hidden, 0
        self.of_x, self.of_h = [0] * self.rows, [0] * hidden
        for d in range(rule.sizes.directions):
            for row in range(self.rows):
                from_x = (of_x[d][row] << int(self.up[0, row])) + abs(int(self.bias[d, row]))
                from_h = of_h[d][row] << int(self.up[1, row])
                if p is not None and row < 3 * hidden and numbers.cells is not None and numbers.p_bits is not None:
                    up = int(numbers.sum_bits[row]) - numbers.p_bits
                    from_h += largest(numbers.cells.word) * abs(int(p.elements[d, row])) << up
                self.of_x[row] = max(self.of_x[row], from_x)
                if self.resets_after and row >= 2 * hidden:
                    assert self.own_bias is not None
                    from_h += abs(int(self.own_bias[d, row - 2 * hidden]))
                    self.of_h[row - 2 * hidden] = max(self.of_h[row - 2 * hidden], from_h)
                    most = max(most, from_x, from_h)
                else:
                    most = max(most, from_x + from_h)
        return {"dot": dot, "sum": most}

    # Calls.

    def calls(self, cell_of: CellOf) -> list[Call]:
        """Return the calls of all directions; `cell_of` makes those of the steps of one."""
        sizes, numbers = self.rule.sizes, self.numbers
        found: list[Call] = []
        y = self.outputs.get(0)
        if y is not None and self.lengths is not None:
            found.append(Call("zeros", {"y": y.dtype}, (y,), {"size": y.size}))
        count = sizes.batch * sizes.hidden
        h = self.scratch(numbers.state.word.dtype, count)
        c = None if numbers.cells is None else self.scratch(numbers.cells.word.dtype, count)
        lengths = None
        if self.lengths is not None:
            lengths = self.constant("lengths", self.lengths.astype(np.int32), "steps of each sequence")
        cell = cell_of(self, h, c, lengths)
        for d in range(sizes.directions):
            found.append(self._first(5, h, numbers.state, d))
            if c is not None and numbers.cells is not None:
                found.append(self._first(6, c, numbers.cells, d))
            found.append(cell(d))
            found += [self._last(1, h, numbers.state, d, lengths)] if 1 in self.outputs else []
            if c is not None and numbers.cells is not None and 2 in self.outputs:
                found.append(self._last(2, c, numbers.cells, d, lengths))
        return found

    def _first(self, place: int, to: Scratch, coded: Coded, d: int) -> Call:
        """Return the call that brings a first state to its place."""
        sizes, t = self.rule.sizes, self.rule.inputs[place]
        if t is None or (t.value is not None and not t.elements.any()):
            return Call("zeros", {"y": to.dtype}, (to,), {"size": to.size})
        source: CTensor | Constant
        if t.value is None:
            source = self.context.tensors[t.name]
            strides = source.strides
        else:
            source = self.constant({5: "first_h", 6: "first_c"}[place], t.elements, f"codes of '{t.name}'")
            strides = _plain_strides(t.shape)
        of_d, of_batch = (strides[1], strides[0]) if self.rule.options.layout else strides[:2]
        numbers = self._state_numbers(
            of_batch, strides[2], sizes.hidden, 1, epilogue(coded.word, t.fraction_bits - coded.fraction_bits)
        )
        dtype = source.array.dtype if isinstance(source, Constant) else source.dtype
        return Call("states", {"x": dtype, "y": to.dtype}, (source, None, to), numbers, (d * of_d, 0, 0))

    def _last(self, place: int, source: Scratch, coded: Coded, d: int, lengths: Constant | None) -> Call:
        out = self.outputs[place]
        of_d, of_batch = (out.strides[1], out.strides[0]) if self.rule.options.layout else out.strides[:2]
        numbers = self._state_numbers(self.rule.sizes.hidden, 1, of_batch, out.strides[2], epilogue(coded.word, 0))
        types = {"x": source.dtype, "y": out.dtype}
        return Call("states", types, (source, lengths, out), numbers, (0, 0, d * of_d))

    def _state_numbers(self, x_batch: int, x_unit: int, y_batch: int, y_unit: int, own: Parameters) -> Parameters:
        sizes = self.rule.sizes
        return {
            **{"batch": sizes.batch, "hidden": sizes.hidden, "x_batch": x_batch, "x_unit": x_unit},
            **{"y_batch": y_batch, "y_unit": y_unit, "epilogue": own},
        }

    def recurrence(self, d: int, shifts: Constant | None, x_up: int, h_up: int, drop: int) -> Parameters:
        """Return the fields of `struct net_recurrence` of a direction."""
        sizes, x, y = self.rule.sizes, self.x, self.outputs.get(0)
        batch_first = bool(self.rule.options.layout)
        y_batch, y_time = (0, 0)
        if y is not None:
            y_batch, y_time = (y.strides[0], y.strides[1]) if batch_first else (y.strides[2], y.strides[0])
        low, high = self.numbers.bounds or (None, None)
        return {
            **{"time": sizes.time, "batch": sizes.batch, "size": sizes.size, "hidden": sizes.hidden, "rows": self.rows},
            "reverse": self.numbers.reverse[d],
            **{"x_time": x.strides[1 if batch_first else 0], "x_batch": x.strides[0 if batch_first else 1]},
            **{"x_unit": x.strides[2], "y_time": y_time, "y_batch": y_batch},
            "y_unit": 0 if y is None else y.strides[3],
            **{
                "by_row": shifts is not None,
                "x_fours": self._fours("w"),
                "h_fours": self._fours("r"),
                "x_up": x_up,
                "h_up": h_up,
                "drop": drop,
                "kept_bits": self.kept_bits,
            },
            "gate": epilogue(self.numbers.gates.word, 0, low, high),
        }

    def _fours(self, weights: str) -> int:
        """Return the order of elements that are multiplied by some weights; see `net_column`."""
        is_paired = self.sums["dot"] < 1 << 31 and self.types["v"].itemsize == 2
        return int(is_paired and self.types[weights].itemsize == 1)

    @property
    def kept_bits(self) -> int:
        """The bits that an accumulator keeps; 0 where no sum has more."""
        bits = self.numbers.accumulator_bits
        return 0 if bits is None or self.sums["sum"] < 1 << bits - 1 else bits

    @property
    def sum_types(self) -> dict[str, np.dtype[Any]]:
        """The types of dots and of sums."""
        drop = int(self.drops.max(initial=0))
        wide = accumulator(self.sums["sum"], min(drop, MOST_SHIFT))
        self.comments.append(f"sums of gates are at most {self.sums['sum']}, dots {self.sums['dot']}")
        return {"d": _INT32 if self.sums["dot"] < 1 << 31 else _INT64, "a": wide}

    @property
    def drops(self) -> NDArray[np.int64]:
        """The bits that the sum of each row drops."""
        return np.asarray(self.numbers.sum_bits - self.numbers.gates.fraction_bits)

    def offsets(self, d: int) -> tuple[int, ...]:
        """Return the offsets of x, W, R and the biases for a direction."""
        sizes = self.rule.sizes
        return 0, d * self.rows * sizes.size, d * self.rows * sizes.hidden, d * self.rows

    def shifts(self, wide: np.dtype[Any], *others: NDArray[np.int64]) -> tuple[Constant | None, list[int]]:
        """Return the shifts of rows as an array, or None and those that all rows have.

        Parameters
        ----------
        wide
            Type of sums: a sum of 0 may have a shift beyond it.
        others
            Shifts after those of x, of h, and of the bits that sums drop.
        """
        most = 30 if wide == _INT32 else MOST_SHIFT
        parts = [
            np.minimum(self.up[0], most),
            np.minimum(self.up[1], most),
            np.clip(self.drops, -_MOST_LEFT, MOST_SHIFT),
        ]
        parts += others
        if all((part == part[0]).all() for part in parts):
            return None, [int(part[0]) for part in parts]
        return self.constant("shifts", np.concatenate(parts).astype(np.int8), "shifts of rows"), [0] * len(parts)

    def weights(self) -> tuple[Constant, Constant, Constant | None]:
        """Return W, R and the biases of all directions."""
        _, w, r, b, *_ = self.rule.inputs
        assert w is not None
        assert r is not None
        bias = None
        if self.bias.any():
            bias = self.constant("bias", self.bias.astype(np.int32), f"'{b.name if b else ''}', of x and of h together")
        return (
            self.constant("w", w.elements, f"'{w.name}', {list(w.shape)}"),
            self.constant("r", r.elements, f"'{r.name}', {list(r.shape)}"),
            bias,
        )

    def tables(
        self, cell: Parameters | None = None
    ) -> tuple[list[list[Constant]], list[dict[str, Any]], np.dtype[Any]]:
        """Return the tables of each direction, the fields that tell of them, and the type of all of them.

        Parameters
        ----------
        cell
            Numbers of the epilogue of an LSTM's cell, whose function is the third one.
        """
        low, high = self.numbers.bounds or (None, None)
        gate = epilogue(self.numbers.gates.word, 0, low, high)
        names = ("f", "g", "last")
        directions = self.numbers.tables[:1] if self._same_tables() else self.numbers.tables
        given = [
            (f"{name}{d or ''}", *_reached(one, gate if name != "last" or cell is None else cell))
            for d, tables in enumerate(directions)
            for name, one in zip(names, tables, strict=False)
        ]
        found = curves([(entries, least) for _, entries, least in given])
        arrays, fields = [], []
        for (role, _, _), curve in zip(given, found, strict=True):
            ends = f"codes {curve.numbers['least']} to {curve.numbers['most']}"
            arrays.append(self.constant(role, curve.array, f"a function of {ends}"))
            fields.append(curve.numbers)
        count, times = len(directions[0]), self.rule.sizes.directions // len(directions)
        each = [slice(d * count, (d + 1) * count) for d in range(len(directions))] * times
        own = [dict(zip(names, fields[one], strict=False)) for one in each]
        return [arrays[one] for one in each], own, found[0].array.dtype

    def _same_tables(self) -> bool:
        functions = self.rule.options.gates(self.rule.cell)
        return all(one == functions[0] for one in functions)

    def memory(self, wide: np.dtype[Any], count: int) -> tuple[Scratch, Scratch]:
        """Return memory of sums, and of the elements of a step."""
        sizes = self.rule.sizes
        return self.scratch(wide, count), self.scratch(self.types["v"], max(sizes.size, sizes.hidden))

    def written(self, d: int) -> tuple[CTensor | None, int]:
        """Return y, if it is an output, and the place of a direction in it."""
        y = self.outputs.get(0)
        return y, 0 if y is None else d * y.strides[2 if self.rule.options.layout else 1]


def largest(word: Word) -> int:
    """Return the largest magnitude of the codes of a word."""
    return max(word.most, -word.least)


def _row_sums(weights: Array, most: int) -> list[list[int]]:
    """Return the largest sum of products of each row of each direction with codes up to a magnitude."""
    return [[int(v) * most for v in rows] for rows in np.abs(weights.astype(np.int64)).sum(axis=2).tolist()]


def _plain_strides(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _reached(table: Any, numbers: Parameters) -> tuple[Array, int]:
    """Return the entries of a table for the codes that an epilogue gives, and the first of these."""
    low, high = numbers["low"], numbers["high"]
    assert isinstance(low, int)
    assert isinstance(high, int)
    return table.entries[low - table.least : high - table.least + 1], low
