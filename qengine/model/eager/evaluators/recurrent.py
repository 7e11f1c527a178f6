"""LSTM, GRU and RNN, computed for all sequences of a batch at once, one step of time after the other.

The bound `clip` holds for the gates of a step, and not for the cell that LSTM hands to its last activation, as in ONNX
Runtime. A sequence of length 0 has a last state of zeros, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.eager.elements import Reals, check_shape, reals
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.eager.gates import Gate
from qengine.model.eager.recurrent_rule import RecurrentRule
from qengine.model.eager.recurrent_sizes import Function, RecurrentOptions, RecurrentSizes, sequence_lengths
from qengine.model.steps import Tensor

_States = tuple[Reals, ...]
_Cell = Callable[[Reals, _States], _States]


@dataclass(frozen=True)
class _Layer:
    """The checked inputs of a node, in float64 and with the axes of layout 0.

    Attributes
    ----------
    x : sequences [time, batch, size].
    w, r : weights [direction, gates * hidden, size] and [direction, gates * hidden, hidden].
    b : biases of both [direction, 2, gates * hidden].
    lengths : length of each sequence.
    states : first states, each [direction, batch, hidden].
    options : attributes.
    dtype : element type of the outputs.
    """

    x: Reals
    w: Reals
    r: Reals
    b: Reals
    lengths: NDArray[np.int64]
    states: _States
    options: RecurrentOptions
    dtype: np.dtype[Any]

    @property
    def hidden(self) -> int:
        """The number of elements of a state."""
        return int(self.r.shape[2])

    def run(self, inputs: Sequence[Reals], cells: Sequence[_Cell]) -> tuple[NDArray[Any], ...]:
        """Return Y, the last states, the gates and, of an LSTM, the cells.

        Parameters
        ----------
        inputs
            Part of the gates that comes from x, by direction: [time, batch, gates * hidden].
        cells
            Function of a step by direction: the states after it and the gates, from its inputs and the states before.
        """
        time, batch, hidden = *self.x.shape[:2], self.hidden
        widths = (*(hidden for _ in self.states), self.r.shape[1])
        traces = [np.zeros((time, len(cells), batch, width), self.dtype) for width in widths]
        last = []
        for d, cell in enumerate(cells):
            first = tuple(state[d] for state in self.states)
            inside = [trace[:, d] for trace in traces]
            last.append(self._scan(inputs[d], first, cell, inside, reverse=self.options.is_reverse(d)))
        states = [np.stack(one).astype(self.dtype) for one in zip(*last, strict=True)]
        y, *kept, gates = traces
        if self.options.layout:
            return y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in states), gates, *kept
        return y, *states, gates, *kept

    def _scan(
        self, inputs: Reals, states: _States, cell: _Cell, traces: Sequence[NDArray[Any]], *, reverse: bool
    ) -> _States:
        """Return the last states of a direction, and write the states and the gates of every step to `traces`."""
        shortest, longest = (self.lengths.min(), self.lengths.max()) if self.lengths.size and self.hidden else (0, 0)
        for t in range(longest - 1, -1, -1) if reverse else range(longest):
            *after, gates = cell(inputs[t], states)
            runs = (t < self.lengths)[:, None] if t >= shortest else None
            for trace, found in zip(traces, (*after, gates), strict=True):
                trace[t] = found if runs is None else np.where(runs, found, 0.0)
            if runs is not None:
                after = [np.where(runs, new, old) for new, old in zip(after, states, strict=True)]
            states = tuple(after)
        return tuple(np.where((self.lengths > 0)[:, None], state, 0.0) for state in states)


def _layer(
    count: int,
    options: RecurrentOptions,
    data: tuple[NDArray[Any], ...],
    b: NDArray[Any] | None,
    sequence_lens: NDArray[Any] | None,
    states: Sequence[tuple[str, NDArray[Any] | None]],
) -> _Layer:
    """Return the inputs of an operator with `count` gates; raise ModelError where they do not fit each other."""
    sizes = RecurrentSizes.of(count, options, data, b, states)
    n, hidden = sizes.directions, sizes.hidden
    (x, w, r), first = data, []
    for _, state in states:
        if state is not None:
            state = state.swapaxes(0, 1) if options.layout else state
        first.append(np.zeros((n, sizes.batch, hidden)) if state is None else reals(state))
    return _Layer(
        x=reals(x.swapaxes(0, 1) if options.layout else x),
        w=reals(w),
        r=reals(r),
        b=np.zeros((n, 2, count * hidden)) if b is None else reals(b).reshape(n, 2, count * hidden),
        lengths=sequence_lengths(sequence_lens, sizes.batch, sizes.time),
        states=tuple(first),
        options=options,
        dtype=x.dtype,
    )


def _merged(layer: _Layer, biases: Reals) -> list[Reals]:
    """Return x W^T + bias of each direction, in one product for all steps."""
    time, batch, size = layer.x.shape
    rows = layer.x.reshape(time * batch, size)
    return [(rows @ w.T + bias).reshape(time, batch, len(bias)) for w, bias in zip(layer.w, biases, strict=True)]


def _rnn_types(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    options: RecurrentOptions,
) -> tuple[OutputType, ...]:
    sizes = RecurrentSizes.of(1, options, (x, w, r), b, [("initial_h", initial_h)])
    _check_lengths(sequence_lens, sizes)
    options.gates("rnn")
    return sizes.outputs(1, options, x.dtype)


def _gru_types(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    linear_before_reset: int = 0,  # noqa: ARG001
    options: RecurrentOptions,
) -> tuple[OutputType, ...]:
    sizes = RecurrentSizes.of(3, options, (x, w, r), b, [("initial_h", initial_h)])
    _check_lengths(sequence_lens, sizes)
    options.gates("gru")
    return sizes.outputs(1, options, x.dtype)


def _lstm_types(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    input_forget: int = 0,  # noqa: ARG001
    options: RecurrentOptions,
) -> tuple[OutputType, ...]:
    sizes = RecurrentSizes.of(4, options, (x, w, r), b, [("initial_h", initial_h), ("initial_c", initial_c)])
    _check_lengths(sequence_lens, sizes)
    if p is not None:
        check_shape(p, (sizes.directions, 3 * sizes.hidden), "P")
    options.gates("lstm")
    return sizes.outputs(2, options, x.dtype)


def _check_lengths(sequence_lens: Tensor | None, sizes: RecurrentSizes) -> None:
    if sequence_lens is not None:
        check_shape(sequence_lens, (sizes.batch,), "sequence_lens")


@evaluator("RNN", outputs=_rnn_types, rule=RecurrentRule.of)
def rnn(
    x: NDArray[Any],
    w: NDArray[Any],
    r: NDArray[Any],
    b: NDArray[Any] | None = None,
    sequence_lens: NDArray[Any] | None = None,
    initial_h: NDArray[Any] | None = None,
    *,
    options: RecurrentOptions,
) -> tuple[NDArray[Any], ...]:
    """H = f(x W^T + H R^T + Wb + Rb)."""
    layer = _layer(1, options, (x, w, r), b, sequence_lens, [("initial_h", initial_h)])

    def cell(f: Function, r: Reals) -> _Cell:
        def step(inputs: Reals, states: _States) -> _States:
            gate = options.within(inputs + states[0] @ r.T)
            return f(gate), gate

        return step

    cells = [cell(f, r) for (f,), r in zip(options.gates("rnn"), layer.r, strict=True)]
    return layer.run(_merged(layer, layer.b.sum(1)), cells)


@evaluator("GRU", outputs=_gru_types, rule=RecurrentRule.of)
def gru(
    x: NDArray[Any],
    w: NDArray[Any],
    r: NDArray[Any],
    b: NDArray[Any] | None = None,
    sequence_lens: NDArray[Any] | None = None,
    initial_h: NDArray[Any] | None = None,
    *,
    linear_before_reset: int = 0,
    options: RecurrentOptions,
) -> tuple[NDArray[Any], ...]:
    """H = (1 - z) h + z H with the gates z and r and the hidden gate h."""
    layer = _layer(3, options, (x, w, r), b, sequence_lens, [("initial_h", initial_h)])
    n = layer.hidden
    biases = layer.b.sum(1)
    if linear_before_reset:  # the bias Rb of the hidden gate is inside the product with r
        biases[:, 2 * n :] = layer.b[:, 0, 2 * n :]

    def cell(functions: list[Gate], r: Reals, hidden_bias: Reals) -> _Cell:
        f, g = functions
        both, own = r[: 2 * n].T, r[2 * n :].T

        def step(inputs: Reals, states: _States) -> _States:
            (h,) = states
            gate = options.within(inputs[:, : 2 * n] + h @ both)
            z, reset = f(gate[:, :n]), f(gate[:, n:])
            recurrent = reset * (h @ own + hidden_bias) if linear_before_reset else (reset * h) @ own
            last = options.within(inputs[:, 2 * n :] + recurrent)
            return (1.0 - z) * g(last) + z * h, np.concatenate([gate, last], axis=1)

        return step

    functions = options.gates("gru")
    cells = [cell(*one) for one in zip(functions, layer.r, layer.b[:, 1, 2 * n :], strict=True)]
    return layer.run(_merged(layer, biases), cells)


@evaluator("LSTM", outputs=_lstm_types, rule=RecurrentRule.of)
def lstm(
    x: NDArray[Any],
    w: NDArray[Any],
    r: NDArray[Any],
    b: NDArray[Any] | None = None,
    sequence_lens: NDArray[Any] | None = None,
    initial_h: NDArray[Any] | None = None,
    initial_c: NDArray[Any] | None = None,
    p: NDArray[Any] | None = None,
    *,
    input_forget: int = 0,
    options: RecurrentOptions,
) -> tuple[NDArray[Any], ...]:
    """C = f C + i c and H = o h(C), with the gates i, o, f and c; `p` are weights from the cell to three of them."""
    first = [("initial_h", initial_h), ("initial_c", initial_c)]
    layer = _layer(4, options, (x, w, r), b, sequence_lens, first)
    n = layer.hidden
    if p is not None:
        check_shape(p, (options.directions, 3 * n), "P")
    peepholes = np.zeros((options.directions, 3 * n)) if p is None else reals(p)

    def cell(functions: list[Gate], r: Reals, peephole: Reals) -> _Cell:
        f, g, h = functions
        to_input, to_output, to_forget = peephole[:n], peephole[n : 2 * n], peephole[2 * n :]

        def step(inputs: Reals, states: _States) -> _States:
            gate = inputs + states[0] @ r.T
            c = states[1]
            gate[:, :n] += to_input * c
            gate[:, 2 * n : 3 * n] += to_forget * c
            out = gate[:, n : 2 * n]
            gate = options.within(gate)
            enter = f(gate[:, :n])
            keep = 1.0 - enter if input_forget else f(gate[:, 2 * n : 3 * n])
            c = keep * c + enter * g(gate[:, 3 * n :])
            gate[:, n : 2 * n] = options.within(out + to_output * c)
            return f(gate[:, n : 2 * n]) * h(c), c, gate

        return step

    functions = options.gates("lstm")
    cells = [cell(*one) for one in zip(functions, layer.r, peepholes, strict=True)]
    return layer.run(_merged(layer, layer.b.sum(1)), cells)
