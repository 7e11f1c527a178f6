"""LSTM, GRU and RNN on codes: exact sums, tables, and one rounding for each of gates, cell and state.

A step of time has four parts. (1) The sums of the gates: products of codes of x with W, of the state h with R, and of
an LSTM's cell with its peepholes P, each shifted left to the largest number of fraction bits among them, and the bias
with as many. (2) The sums become codes of the *gates*, rounded once. (3) A function of a gate is a table over its codes
with entries of up to 15 fraction bits, so that 1 is 2^15: wider than a code, as no entry is stored between steps.
(4) Products of entries, cell and state are exact, and become codes of the cell and of the state, rounded once each.

Products and sums are at most 2^60 in magnitude, or Python integers where the formats differ so much that they are not.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gate_table import StateTable
from .recurrent_numbers import Coded, FixedRecurrence, Recorded, Result, Sequences, product_bits
from .requantize import requantize_each
from .rounding import integer_dtype
from .word import Codes, Integers, wrap

_INT64_BITS = 62  # of the largest sums in int64


def recurrent_fixed(rule: FixedRecurrence, run: Sequences) -> Result:
    """Return the codes of all outputs: see the description of the file."""
    (time, batch, _), (directions, rows, hidden) = run.x.shape, run.r.shape
    cells_word = rule.cells.word if rule.cells is not None else rule.state.word
    result = Result(
        Recorded.zeros((time, directions, batch, rows), rule.gates.word),
        Recorded.zeros((time, directions, batch, hidden), cells_word),
        Recorded.zeros((time, directions, batch, hidden), rule.state.word),
        Recorded.zeros((directions, batch, hidden), rule.state.word),
        Recorded.zeros((directions, batch, hidden), cells_word),
    )
    for d in range(directions):
        _Direction(rule, run, d, result).scan()
    return result


class _Direction:
    """A direction of a run."""

    def __init__(self, rule: FixedRecurrence, run: Sequences, d: int, result: Result) -> None:
        self.rule, self.run, self.d, self.result = rule, run, d, result
        self.hidden = run.r.shape[2]
        self.sum_bits = rule.sum_bits
        bits = product_bits((run.x.dtype, run.w.dtype), (rule.state.word.dtype, run.r.dtype))
        self.dtype = integer_dtype(rule.most_bits(max(run.x.shape[2], self.hidden), bits))
        self.bias = run.bias[d].astype(self.dtype)
        time, batch, size = run.x.shape
        r, rows = run.r[d], slice(None)
        parts = [slice(2 * self.hidden), slice(2 * self.hidden, None)] if rule.cell == "gru" else [rows]
        self.products = [_Product(r[part], rule.state.word.dtype, self.dtype) for part in parts]
        product = _Product(run.w[d], run.x.dtype, self.dtype)
        products = product(run.x.reshape(time * batch, size)).reshape(time, batch, -1)
        self.x_sums = self._aligned(products, rule.x_bits, self.sum_bits)
        if rule.resets_after:  # the hidden gate's sums have their own fraction bits
            own = slice(2 * self.hidden, None)
            self.x_sums[..., own] = products[..., own]

    def _aligned(self, sums: Integers, bits: Any, to: Any) -> Integers:
        shift = np.asarray(to - bits)
        return np.asarray(sums << (shift.astype(self.dtype) if self.dtype == object else shift))

    def scan(self) -> None:
        """Go through the steps."""
        run, d, result = self.run, self.d, self.result
        h, c = run.h[d], None if run.c is None else run.c[d]
        last_h, last_c = _unflagged(h), None if c is None else _unflagged(c)
        longest = int(run.lengths.max(initial=0)) if self.hidden else 0
        for t in range(longest - 1, -1, -1) if self.rule.reverse[d] else range(longest):
            runs = (t < run.lengths)[:, None]
            step = {"lstm": self._lstm, "gru": self._gru, "rnn": self._rnn}[self.rule.cell]
            after, cell = step(t, h, c, runs)
            result.y.put((t, d), after, runs)
            last_h, h = _merged(after, last_h, runs), np.where(runs, after[0], h)
            if cell is not None and c is not None and last_c is not None:
                result.cells.put((t, d), cell, runs)
                last_c, c = _merged(cell, last_c, runs), np.where(runs, cell[0], c)
        ran = (run.lengths > 0)[:, None]
        result.last_h.put(d, last_h, ran)
        if last_c is not None:
            result.last_c.put(d, last_c, ran)

    def _gates(self, t: int, sums: Integers, rows: slice, runs: Any) -> Codes:
        """Return sums of some rows as codes of the gates."""
        rule = self.rule
        sums = self._wrapped(sums, runs)
        low, high = rule.bounds or (None, None)
        shift = self.sum_bits[rows] - rule.gates.fraction_bits
        found = requantize_each(sums, shift, rule.gates.word, low=low, high=high)
        self.result.gates.put((t, self.d, slice(None), rows), found, runs)
        return found[0]

    def _wrapped(self, sums: Integers, runs: Any) -> Integers:
        """Return what an accumulator keeps of sums."""
        bits = self.rule.accumulator_bits
        if bits is None or (bits > _INT64_BITS and sums.dtype != object):
            return sums
        kept = wrap(sums, bits, signed=True)
        self.result.overflows += int(np.count_nonzero((kept != sums) & runs))
        return kept

    def _sums(self, t: int, h: Codes, rows: slice, part: int = 0) -> Integers:
        products = self._aligned(self.products[part](h), self.rule.h_bits[rows], self.sum_bits[rows])
        return np.asarray(self.x_sums[t][:, rows] + products + self.bias[rows])

    def _part(self, gate: int) -> slice:
        return slice(gate * self.hidden, (gate + 1) * self.hidden)

    def _peeped(self, sums: Integers, c: Codes, gate: int, place: int) -> Integers:
        """Return the sums of a gate plus the products of the cell with its peephole."""
        if self.run.p is None:
            return sums
        p = self.run.p[self.d, place * self.hidden : (place + 1) * self.hidden]
        products = c.astype(self.dtype) * p.astype(self.dtype)
        return np.asarray(sums + self._aligned(products, self.rule.p_bits, self.sum_bits[self._part(gate)]))

    def _lstm(self, t: int, h: Codes, c: Codes | None, runs: Any) -> Any:
        rule = self.rule
        assert rule.cells is not None
        assert c is not None
        f, g, last = rule.tables[self.d]
        sums = self._sums(t, h, slice(None))
        parts = [self._part(k) for k in range(4)]
        enter = f(self._gates(t, self._peeped(sums[:, parts[0]], c, 0, 0), parts[0], runs))
        forget = self._gates(t, self._peeped(sums[:, parts[2]], c, 2, 2), parts[2], runs)
        keep = f.one - enter if rule.coupled else f(forget)
        new = g(self._gates(t, sums[:, parts[3]], parts[3], runs))
        kept, entered = (keep, c, rule.cells.fraction_bits), (enter, new, g.fraction_bits)
        cell = self._rounded(kept, entered, f.fraction_bits, rule.cells)
        out = f(self._gates(t, self._peeped(sums[:, parts[1]], cell[0], 1, 1), parts[1], runs))
        product = out * last(cell[0])
        shift = f.fraction_bits + last.fraction_bits - rule.state.fraction_bits
        return requantize_each(product, shift, rule.state.word), cell

    def _rounded(self, first: Any, second: Any, fraction_bits: int, to: Coded) -> Any:
        """Return the sum of two products of entries as codes: each with an entry of `fraction_bits`."""
        (a, b, n), (c, d, m) = first, second
        most = max(n, m)
        one = a.astype(self.dtype) * b.astype(self.dtype)
        other = c.astype(self.dtype) * d.astype(self.dtype)
        total = self._aligned(one, n, most) + self._aligned(other, m, most)
        return requantize_each(np.asarray(total), fraction_bits + most - to.fraction_bits, to.word)

    def _gru(self, t: int, h: Codes, c: Codes | None, runs: Any) -> Any:
        del c
        rule, hidden = self.rule, self.hidden
        f, g = rule.tables[self.d]
        both, own = slice(0, 2 * hidden), slice(2 * hidden, 3 * hidden)
        gate = self._gates(t, self._sums(t, h, both), both, runs)
        z, reset = f(gate[:, :hidden]), f(gate[:, hidden:])
        if rule.resets_after:
            code = self._reset_after(t, h, reset, f.fraction_bits, runs)
        else:
            state, _, _ = requantize_each(reset * h, f.fraction_bits, rule.state.word)
            code = self._gates(t, self._sums(t, state, own, 1), own, runs)
        first = (f.one - z, g(code), g.fraction_bits)
        return self._rounded(first, (z, h, rule.state.fraction_bits), f.fraction_bits, rule.state), None

    def _reset_after(self, t: int, h: Codes, reset: Any, fraction_bits: int, runs: Any) -> Codes:
        """Return the hidden gate's codes: sums of x, and the reset gate times sums of h, added exactly."""
        rule, run = self.rule, self.run
        assert run.own_bias is not None
        own = self._part(2)
        of_h = self.products[1](h) + run.own_bias[self.d].astype(self.dtype)
        of_x = self.x_sums[t][:, own] + self.bias[own]
        of_h, of_x = self._wrapped(of_h, runs), self._wrapped(of_x, runs)
        n, m = rule.x_bits[own], rule.h_bits[own] + fraction_bits
        most = np.maximum(n, m)
        total = self._aligned(of_x, n, most) + self._aligned(reset.astype(self.dtype) * of_h, m, most)
        low, high = rule.bounds or (None, None)
        found = requantize_each(np.asarray(total), most - rule.gates.fraction_bits, rule.gates.word, low=low, high=high)
        self.result.gates.put((t, self.d, slice(None), own), found, runs)
        return found[0]

    def _rnn(self, t: int, h: Codes, c: Codes | None, runs: Any) -> Any:
        del c
        (table,) = self.rule.tables[self.d]
        assert isinstance(table, StateTable)
        index = self._gates(t, self._sums(t, h, slice(None)), slice(None), runs).astype(np.intp) - table.least
        return (table.entries[index], table.saturates[index], table.underflows[index]), None


class _Product:
    """Exact products of codes with the rows of a matrix of weights.

    Integers below 2^24 (2^53) are exact in float32 (float64) in any order of summation, so BLAS serves.
    """

    def __init__(self, rows: Codes, codes: np.dtype[Any], out: np.dtype[Any]) -> None:
        bound = int(np.abs(rows.astype(np.int64)).sum(axis=1).max(initial=0)) << 8 * codes.itemsize
        exact = np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else integer_dtype(bound.bit_length())
        self._matrix = np.ascontiguousarray(rows.T.astype(exact))
        self._is_float = self._matrix.dtype.kind == "f"
        self._out = out

    def __call__(self, codes: Codes) -> Integers:
        """Return the sums of products of each row of codes."""
        sums = codes.astype(self._matrix.dtype) @ self._matrix
        return np.asarray(sums.astype(np.int64) if self._is_float else sums, self._out)


def _unflagged(codes: Codes) -> tuple[Codes, NDArray[np.bool_], NDArray[np.bool_]]:
    return codes, np.zeros(codes.shape, bool), np.zeros(codes.shape, bool)


def _merged(after: Any, before: Any, runs: Any) -> Any:
    return tuple(np.where(runs, new, old) for new, old in zip(after, before, strict=True))
