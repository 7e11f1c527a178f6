"""DynamicQuantizeLSTM of ONNX Runtime: LSTM with quantized weights, which quantizes its inputs as it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import Reals, check_shape, checked_shape, reals
from qengine.model.eager.evaluator import evaluator
from qengine.model.eager.evaluators.recurrent import sequence_lengths
from qengine.model.eager.recurrent_sizes import Function, RecurrentOptions

_Product = Callable[[Reals], Reals]


def _product(stored: NDArray[Any], scale: NDArray[Any], zero_point: NDArray[Any]) -> _Product:
    """Return the function that multiplies by stored weights: x is rounded to the 256 codes of its own range first."""
    weights = stored.astype(np.float64) - zero_point.astype(np.float64)

    def product(x: Reals) -> Reals:
        low, high = (np.float32(bound(x, initial=0.0)) for bound in (np.min, np.max))
        step = (high - low) / np.float32(255.0) or np.float32(1.0)
        offset = np.rint(-low / step)
        codes = np.clip(np.rint(x.astype(np.float32) / step) + offset, 0.0, 255.0)
        return np.asarray((codes.astype(np.float64) - offset) @ weights * (step * scale))

    return product


@evaluator("DynamicQuantizeLSTM", domain="com.microsoft")
def dynamic_quantize_lstm(
    x: NDArray[Any],
    w: NDArray[Any],
    r: NDArray[Any],
    *rest: NDArray[Any] | None,
    input_forget: int = 0,
    options: RecurrentOptions,
) -> tuple[NDArray[Any], ...]:
    """LSTM whose products are of integers: x is quantized as a whole, the states of a batch at each step.

    As in ONNX Runtime, steps after the end of the longest sequence do not count in the range of x, a sequence that has
    ended counts in the range of the states as zeros, and a reverse direction begins with the last element of every
    sequence.
    """
    if len(rest) != 9:
        raise ModelError(f"has {3 + len(rest)} inputs; it has 12, some of which may be empty")
    b, sequence_lens, initial_h, initial_c, p, w_scale, w_zero_point, r_scale, r_zero_point = rest
    if x.dtype != np.float32 or any(one.dtype not in (np.int8, np.uint8) for one in (w, r)):
        raise ModelError(f"X is {x.dtype}, W and R are {w.dtype} and {r.dtype}; float32 and int8 or uint8 are needed")
    check_shape(x, (None, None, None), "X")
    check_shape(r, (None, None, None), "R")
    (time, batch, size), n, hidden = x.shape, options.directions, r.shape[1]
    if options.hidden_size not in (None, hidden):
        raise ModelError(f"hidden_size is {options.hidden_size}, the weights R {list(r.shape)} are for {hidden}")
    checked_shape((time, batch, max(n * 4 * hidden, 1)))
    check_shape(w, (n, size, 4 * hidden), "W")
    check_shape(r, (n, hidden, 4 * hidden), "R")
    biases = _checked(b, (n, 8 * hidden), "B").reshape(n, 2, 4 * hidden).sum(1)
    peepholes = _checked(p, (n, 3 * hidden), "P")
    shape = (n, batch, hidden)
    first_h, first_c = _checked(initial_h, shape, "initial_h"), _checked(initial_c, shape, "initial_c")
    of_x = _products(w, w_scale, w_zero_point, "W")
    of_h = _products(r, r_scale, r_zero_point, "R")
    lengths = sequence_lengths(sequence_lens, batch, time)
    y = np.zeros((time, n, batch, hidden), np.float32)
    last: list[tuple[Reals, Reals]] = []
    for d, functions in enumerate(options.gates(("Sigmoid", "Tanh", "Tanh"))):
        f, g, last_function = *map(options.clipped, functions[:2]), functions[2]
        inputs = of_x[d](reals(x[: lengths.max(initial=0)])) + biases[d]
        cell = _Cell(of_h[d], (f, g, last_function), peepholes[d], bool(input_forget))
        last.append(_scan(inputs, (first_h[d], first_c[d]), cell, lengths, y[:, d], options.is_reverse(d)))
    states = (np.stack(one).astype(np.float32) for one in zip(*last, strict=True))
    return y, *states


def _checked(x: NDArray[Any] | None, shape: tuple[int, ...], what: str) -> Reals:
    """Return an optional input of a shape in float64, zeros where it is left out."""
    if x is None:
        return np.zeros(shape)
    check_shape(x, shape, what)
    return reals(x)


def _products(
    stored: NDArray[Any], scale: NDArray[Any] | None, zero_point: NDArray[Any] | None, what: str
) -> list[_Product]:
    """Return the product with the weights of each direction, which have one scale or one for each column."""
    n, _, columns = stored.shape
    if scale is None or zero_point is None:
        raise ModelError(f"{what}_scale or {what}_zero_point is missing")
    for name, one in (("scale", scale), ("zero_point", zero_point)):
        if one.shape not in ((n,), (n, 1), (n, columns)):
            raise ModelError(f"the shape of {what}_{name} is {list(one.shape)}, [{n}] or [{n}, {columns}] is needed")
    return [_product(*one) for one in zip(stored, scale, zero_point, strict=True)]


class _Cell:
    """A step of time of one direction."""

    def __init__(self, of_h: _Product, functions: tuple[Function, ...], peephole: Reals, coupled: bool) -> None:
        self._of_h, self._functions, self._coupled = of_h, functions, coupled
        self._peepholes = np.split(peephole, 3)

    def step(self, inputs: Reals, h: Reals, c: Reals) -> tuple[Reals, Reals]:
        """Return the states after a step."""
        f, g, last = self._functions
        to_input, to_output, to_forget = self._peepholes
        i, o, forget, new = np.split(inputs + self._of_h(h), 4, axis=-1)
        enter = f(i + to_input * c)
        keep = 1.0 - enter if self._coupled else f(forget + to_forget * c)
        c = keep * c + enter * g(new)
        return f(o + to_output * c) * last(c), c


def _scan(
    inputs: Reals,
    states: tuple[Reals, Reals],
    cell: _Cell,
    lengths: NDArray[np.int64],
    y: NDArray[Any],
    is_reverse: bool,
) -> tuple[Reals, Reals]:
    """Return the last states of a direction, and write the states of every step to `y`."""
    h, c = states
    last = np.zeros_like(h)
    batch = np.arange(lengths.size)
    for step in range(int(lengths.max(initial=0))):
        runs = step < lengths
        place = np.where(runs, lengths - 1 - step if is_reverse else step, 0)
        new_h, new_c = cell.step(inputs[place, batch], h, c)
        y[place[runs], batch[runs]] = new_h[runs]
        running = runs[:, None]
        h, c, last = np.where(running, new_h, 0.0), np.where(running, new_c, c), np.where(running, new_h, last)
    return last, np.where((lengths > 0)[:, None], c, 0.0)
