"""The rule of LSTM, GRU and RNN in fixed point: from a planned node to the numbers of `recurrent_numbers`.

The formats of the tensors inside of the node, its gates and an LSTM's cells, are those of `Node.hidden`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError, UnsupportedError
from qengine.kernels.recurrent import GATES, Cell
from qengine.kernels.reference.gate_table import gate_table, state_table
from qengine.kernels.reference.recurrent_fixed import recurrent_fixed
from qengine.kernels.reference.recurrent_numbers import Coded, FixedRecurrence, Recorded, Result, Sequences
from qengine.kernels.reference.requantize import ACCUMULATOR_OVERFLOWS, Tally, count, requantize
from qengine.kernels.reference.rounding import shift_left, shift_right
from qengine.kernels.reference.word import Word
from qengine.model.eager.evaluator import find_evaluator
from qengine.model.eager.gates import Gate
from qengine.model.eager.recurrent_sizes import RecurrentOptions, RecurrentSizes, sequence_lengths
from qengine.model.rules import Arithmetic
from qengine.model.steps import Evaluation, Tensor
from qengine.qformat import QFormat, fraction_bits_of

_INPUTS = 8
_BIAS = np.iinfo(np.int32)
_MAX_BOUND = 1 << 20


class RecurrentRule:
    """Rule by which a recurrent node computes codes.

    Parameters
    ----------
    evaluation
        The node; all of its real inputs and outputs have formats.
    arithmetic
        Rounding, overflow and accumulator of the run.

    Attributes
    ----------
    cell : equations of a step.
    options, keywords : attributes, and those of the cell.
    sizes : sizes of its tensors.
    numbers : numbers of the rule.
    inputs : inputs in ONNX's order; None for one that is left out.
    bias_bits : fraction bits of the bias of each row.
    """

    @classmethod
    def of(cls, evaluation: Evaluation, arithmetic: Arithmetic) -> RecurrentRule:
        """Return the rule of a node."""
        return cls(evaluation, arithmetic)

    def __init__(self, evaluation: Evaluation, arithmetic: Arithmetic) -> None:
        self._evaluation = evaluation
        evaluator = find_evaluator(evaluation.node)
        assert evaluator is not None
        self.cell = _cell(evaluation.node.operator)
        self.keywords = evaluator.keywords(evaluation.node)
        self.options: RecurrentOptions = self.keywords.pop("options")
        self.inputs: tuple[Tensor | None, ...] = (
            *evaluation.inputs,
            *[None] * (_INPUTS - len(evaluation.inputs)),
        )
        x, w, r, b, _, _, _, p = self.inputs
        assert x is not None
        assert w is not None
        assert r is not None
        self.sizes = RecurrentSizes.of(GATES[self.cell], self.options, (x, w, r), b, [])
        state, gates, *cells = evaluation.hidden
        resets_after = bool(self.keywords.get("linear_before_reset", 0))
        x_bits = x.fraction_bits + _by_row(w)
        h_bits = state.fraction_bits + _by_row(r)
        p_bits = None if p is None else cells[0].fraction_bits + p.fraction_bits
        self.numbers = FixedRecurrence(
            self.cell,
            tuple(self.options.is_reverse(d) for d in range(self.sizes.directions)),
            x_bits,
            h_bits,
            p_bits,
            _coded(gates, arithmetic),
            _coded(state, arithmetic),
            _coded(cells[0], arithmetic) if cells else None,
            self._bounds(gates),
            tuple(self._tables(one, evaluation.hidden, arithmetic) for one in self.options.gates(self.cell)),
            coupled=bool(self.keywords.get("input_forget", 0)),
            resets_after=resets_after,
            accumulator_bits=None,
        )
        self.bias_bits = self.numbers.sum_bits
        if resets_after:
            own = 2 * self.sizes.hidden
            self.bias_bits = np.concatenate([self.bias_bits[:own], x_bits[own:]])
        self._known_biases = self._biases(b.value.astype(np.float64)) if b is not None and b.value is not None else None
        self._last: tuple[Sequence[NDArray[Any]], Result] | None = None
        self.numbers = replace(self.numbers, accumulator_bits=self._kept_bits(arithmetic))

    def _kept_bits(self, arithmetic: Arithmetic) -> int | None:
        """Return the low bits that sums keep; None for all, also where a register is as wide as any sum may be.

        Raises
        ------
        UnsupportedError
            If a register saturates, cuts products or holds the constant of a rounding, and may do so here.
        """
        rule = arithmetic.accumulator
        if rule.overflow == "wrap" and not rule.rounds_inside and rule.fraction_bits is None:
            return rule.bits
        needed = self._largest_sum().bit_length() + 2
        if rule.fraction_bits is None and (rule.bits is None or needed <= rule.bits):
            return None
        wider = f"give it more (--rule accumulator.bits={needed}, rules=), or "
        raise UnsupportedError(
            "its sums may reach the ends of the accumulator, or are cut, for which recurrent operators have no rule: "
            f"{wider if rule.fraction_bits is None and needed <= 64 else ''}"
            "compute them in float32 (--islands recurrent, islands=)"
        )

    def _largest_sum(self) -> int:
        """Return a bound of all sums: every code and the biases at the ends of their words."""
        x, w, r, _, _, _, _, p = self.inputs
        assert x is not None
        assert w is not None
        assert r is not None
        numbers = self.numbers
        terms: list[tuple[Any, Word, Tensor]] = [
            (numbers.x_bits, x.one_format.word(), w),
            (numbers.h_bits, numbers.state.word, r),
        ]
        if p is not None and numbers.cells is not None:
            terms.append((numbers.p_bits, numbers.cells.word, p))
        most = int(np.max(numbers.sum_bits))
        total = 1 << 31
        for bits, word, t in terms:
            assert t.format is not None
            own = max(-t.format.word().least, t.format.word().most)
            products = max(-word.least, word.most) * own * t.shape[-1]
            total += products << max(most - int(np.min(bits)), 0)
        return total

    def _bounds(self, gates: QFormat) -> tuple[int, int] | None:
        if self.options.bound is None:
            return None
        code = int(np.clip(np.rint(np.ldexp(self.options.bound, gates.fraction_bits)), 0, _MAX_BOUND))
        return -code, code

    def _tables(self, functions: list[Gate], hidden: Sequence[QFormat], arithmetic: Arithmetic) -> tuple[Any, ...]:
        state, gates, *cells = hidden
        word, n = arithmetic.word(gates), gates.fraction_bits
        if self.cell == "rnn":
            return (state_table(functions[0].exactly, word, n, state.fraction_bits, arithmetic.word(state)),)
        tables = [gate_table(one.exactly, word, n) for one in functions[:2]]
        if cells:
            tables.append(gate_table(functions[2].exactly, arithmetic.word(cells[0]), cells[0].fraction_bits))
        return tuple(tables)

    def _biases(self, b: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Return constant biases as int32: those of the sums, and the one inside of the product of a GRU."""
        tensor = self.inputs[3]
        if np.isnan(b).any():
            raise FormatError(f"constant '{tensor.name if tensor else ''}' holds NaN: fixed point has no code for it")
        total, own = self._split(b)
        return _as_int32(np.ldexp(total, self.bias_bits)), self._own(own, lambda v, n: _as_int32(np.ldexp(v, n)))

    def _split(self, b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the biases of the sums, and that inside of the product of a GRU's hidden gate."""
        rows, hidden = GATES[self.cell] * self.sizes.hidden, self.sizes.hidden
        of_x, of_h = b[:, :rows], b[:, rows:]
        total = of_x + of_h
        if self.numbers.resets_after:
            total[:, 2 * hidden :] = of_x[:, 2 * hidden :]
        return total, of_h[:, 2 * hidden :]

    def _own(self, bias: NDArray[Any], encode: Any) -> NDArray[np.int64] | None:
        if not self.numbers.resets_after:
            return None
        return np.asarray(encode(bias, self.numbers.h_bits[2 * self.sizes.hidden :]))

    def biases(self, codes: NDArray[Any] | None) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Return the biases of a run, from the codes of a computed one."""
        if self._known_biases is not None:
            return self._known_biases
        b, sizes = self.inputs[3], self.sizes
        if b is None or codes is None:
            return self._biases(np.zeros((sizes.directions, 2 * GATES[self.cell] * sizes.hidden)))
        n = b.fraction_bits
        total, own = self._split(codes.astype(np.int64))
        return _requantized(total, n - self.bias_bits), self._own(own, lambda v, to: _requantized(v, n - to))

    def saturated_bias(self) -> tuple[int, Tensor] | None:
        """Return the number of elements of the constant bias that saturate in 32 bits; see `FixedRule`."""
        b = self.inputs[3]
        if b is None or b.value is None:
            return None
        total, own = self._split(b.value.astype(np.float64))
        scaled = [np.ldexp(total, self.bias_bits)]
        if self.numbers.resets_after:
            scaled.append(np.ldexp(own, self.numbers.h_bits[2 * self.sizes.hidden :]))
        count = sum(int(np.count_nonzero((one < _BIAS.min - 0.5) | (one > _BIAS.max + 0.5))) for one in scaled)
        return (count, b) if count else None

    def output(self, index: int, arrays: Sequence[NDArray[Any]], tally: Tally | None) -> NDArray[Any]:
        """Return the codes of an output; see `FixedRule`."""
        last = self._last
        named = [i for i, t in enumerate(self._evaluation.outputs) if t.name]
        if last is None or index == named[0] or any(a is not b for a, b in zip(arrays, last[0], strict=True)):
            last = (tuple(arrays), recurrent_fixed(self.numbers, self._sequences(arrays)))
        self._last = None if index == named[-1] else last
        result = last[1]
        if tally is not None and index == named[0]:
            tally[ACCUMULATOR_OVERFLOWS] += result.overflows
        return self._codes(result, index, tally)

    def _codes(self, result: Result, index: int, tally: Tally | None) -> NDArray[Any]:
        states = [result.last_h, result.last_c] if self.cell == "lstm" else [result.last_h]
        recorded: Recorded = [result.y, *states, result.gates, result.cells][index]
        if tally is not None:
            count(tally, recorded.codes, recorded.saturated, recorded.underflowed, 0)
        if self.options.layout and index <= len(states):
            turned = recorded.codes.transpose(2, 0, 1, 3) if index == 0 else recorded.codes.swapaxes(0, 1)
            return np.ascontiguousarray(turned)
        return recorded.codes

    def _sequences(self, arrays: Sequence[NDArray[Any]]) -> Sequences:
        given = iter(arrays)
        x, w, r, b, lengths, h, c, p = (None if t is None else next(given) for t in self.inputs)
        assert x is not None
        assert w is not None
        assert r is not None
        bias, own_bias = self.biases(b if self.inputs[3] is not None and self.inputs[3].value is None else None)
        cells = self.numbers.cells
        return Sequences(
            x.swapaxes(0, 1) if self.options.layout else x,
            w,
            r,
            bias,
            own_bias,
            sequence_lengths(lengths, self.sizes.batch, self.sizes.time),
            self._state(h, self.inputs[5], self.numbers.state),
            None if cells is None else self._state(c, self.inputs[6], cells),
            p,
        )

    def _state(self, codes: NDArray[Any] | None, t: Tensor | None, to: Coded) -> NDArray[Any]:
        """Return a first state as codes of the states."""
        sizes = self.sizes
        if codes is None or t is None:
            return np.zeros((sizes.directions, sizes.batch, sizes.hidden), to.word.dtype)
        turned = codes.swapaxes(0, 1) if self.options.layout else codes
        return requantize(turned, t.fraction_bits - to.fraction_bits, to.word)


def _cell(operator: str) -> Cell:
    return {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}[operator]  # type: ignore[return-value]


def _coded(fmt: QFormat, arithmetic: Arithmetic) -> Coded:
    return Coded(arithmetic.word(fmt), fmt.fraction_bits)


def _by_row(w: Tensor) -> NDArray[np.int64]:
    """Return the fraction bits of each row of weights."""
    assert w.format is not None
    bits = np.asarray(fraction_bits_of(w.format, w.ndim), np.int64).ravel()
    return np.array(np.broadcast_to(bits, (w.shape[1],)))


def _as_int32(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.rint(values), _BIAS.min, _BIAS.max).astype(np.int64)


def _requantized(codes: NDArray[np.int64], shift: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return codes with fewer or more fraction bits, rounded half to even, in 32 bits."""
    right = shift_right(codes, np.maximum(shift, 1), "half_even")
    moved = np.where(shift > 0, right, shift_left(codes, np.maximum(-shift, 0)))
    return np.clip(moved, _BIAS.min, _BIAS.max)
