"""DynamicQuantizeLSTM of ONNX Runtime: LSTM with quantized weights, which quantizes its inputs as it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import Reals, check_shape, checked_shape, reals
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.eager.recurrent_sizes import Function, RecurrentOptions, RecurrentSizes, sequence_lengths
from qengine.model.steps import Tensor

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


def _types(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    *rest: Tensor | None,
    input_forget: int = 0,  # noqa: ARG001
    options: RecurrentOptions,
) -> tuple[OutputType, ...]:
    sizes = _checked_sizes(x, w, r, rest, options)
    return sizes.outputs(2, options, x.dtype)


def _checked_sizes(
    x: NDArray[Any] | Tensor,
    w: NDArray[Any] | Tensor,
    r: NDArray[Any] | Tensor,
    rest: Sequence[NDArray[Any] | Tensor | None],
    options: RecurrentOptions,
) -> RecurrentSizes:
    """Return the sizes of a node; raise ModelError where its inputs do not fit each other."""
    if len(rest) != 9:
        raise ModelError(f"has {3 + len(rest)} inputs; it has 12, some of which may be empty")
    b, lengths, initial_h, initial_c, p, w_scale, w_zero_point, r_scale, r_zero_point = rest
    if x.dtype != np.float32 or any(one.dtype not in (np.int8, np.uint8) for one in (w, r)):
        raise ModelError(f"X is {x.dtype}, W and R are {w.dtype} and {r.dtype}; float32 and int8 or uint8 are needed")
    check_shape(x, (None, None, None), "X")
    check_shape(r, (None, None, None), "R")
    (time, batch), size = x.shape[:2], x.shape[2]
    n, hidden = options.directions, r.shape[1]
    if options.hidden_size not in (None, hidden):
        raise ModelError(f"hidden_size is {options.hidden_size}, the weights R {list(r.shape)} are for {hidden}")
    checked_shape((time, batch, max(n * 4 * hidden, 1)))
    check_shape(w, (n, size, 4 * hidden), "W")
    check_shape(r, (n, hidden, 4 * hidden), "R")
    optional = ((b, (n, 8 * hidden), "B"), (p, (n, 3 * hidden), "P"), (lengths, (batch,), "sequence_lens"))
    states = ((initial_h, (n, batch, hidden), "initial_h"), (initial_c, (n, batch, hidden), "initial_c"))
    for one, shape, what in (*optional, *states):
        if one is not None:
            check_shape(one, shape, what)
    for what, scale, zero_point in (("W", w_scale, w_zero_point), ("R", r_scale, r_zero_point)):
        if scale is None or zero_point is None:
            raise ModelError(f"{what}_scale or {what}_zero_point is missing")
        for name, one in (("scale", scale), ("zero_point", zero_point)):
            if one.shape not in ((n,), (n, 1), (n, 4 * hidden)):
                raise ModelError(
                    f"the shape of {what}_{name} is {list(one.shape)}, [{n}] or [{n}, {4 * hidden}] is needed"
                )
    return RecurrentSizes(n, time, batch, size, hidden, 4)


@evaluator("DynamicQuantizeLSTM", domain="com.microsoft", outputs=_types)
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
    sizes = _checked_sizes(x, w, r, rest, options)
    time, batch, n, hidden = sizes.time, sizes.batch, sizes.directions, sizes.hidden
    b, sequence_lens, initial_h, initial_c, p, w_scale, w_zero_point, r_scale, r_zero_point = rest
    biases = _given(b, (n, 8 * hidden)).reshape(n, 2, 4 * hidden).sum(1)
    peepholes = _given(p, (n, 3 * hidden))
    shape = (n, batch, hidden)
    first_h, first_c = _given(initial_h, shape), _given(initial_c, shape)
    of_x = _products(w, w_scale, w_zero_point)
    of_h = _products(r, r_scale, r_zero_point)
    lengths = sequence_lengths(sequence_lens, batch, time)
    y = np.zeros((time, n, batch, hidden), np.float32)
    last: list[tuple[Reals, Reals]] = []
    for d, functions in enumerate(options.gates("lstm")):
        f, g, last_function = *map(options.clipped, functions[:2]), functions[2]
        inputs = of_x[d](reals(x[: lengths.max(initial=0)])) + biases[d]
        cell = _Cell(of_h[d], (f, g, last_function), peepholes[d], bool(input_forget))
        last.append(_scan(inputs, (first_h[d], first_c[d]), cell, lengths, y[:, d], options.is_reverse(d)))
    states = (np.stack(one).astype(np.float32) for one in zip(*last, strict=True))
    return y, *states


def _given(x: NDArray[Any] | None, shape: tuple[int, ...]) -> Reals:
    """Return an optional input in float64, zeros where it is left out."""
    return np.zeros(shape) if x is None else reals(x)


def _products(stored: NDArray[Any], scale: NDArray[Any] | None, zero_point: NDArray[Any] | None) -> list[_Product]:
    """Return the product with the weights of each direction, which have one scale or one for each column."""
    assert scale is not None
    assert zero_point is not None
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
