"""Attributes and sizes of recurrent operators, read and checked in the same way for arrays and for a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.kernels.recurrent import Cell
from qengine.model.eager.elements import Reals, check_shape, checked_shape
from qengine.model.eager.evaluator import OutputType
from qengine.model.eager.gates import Gate, gates
from qengine.model.steps import Tensor

LENGTH_MESSAGE = "sequence_lens has the length {}, X has steps for 0 to {}"
"""Message for a length that is not allowed, and the number of steps."""

Function = Callable[[Reals], Reals]


_FUNCTIONS: dict[Cell, tuple[str, ...]] = {
    "lstm": ("Sigmoid", "Tanh", "Tanh"),
    "gru": ("Sigmoid", "Tanh"),
    "rnn": ("Tanh",),
}
"""The functions of a cell where a node names none."""


@dataclass(frozen=True)
class RecurrentOptions:
    """The attributes that LSTM, GRU and RNN share; `output_sequence` existed before opset 7."""

    activation_alpha: tuple[float, ...] = ()
    activation_beta: tuple[float, ...] = ()
    activations: tuple[str, ...] | None = None
    clip: float | None = None
    direction: str = "forward"
    hidden_size: int | None = None
    layout: int = 0
    output_sequence: int = 0

    @property
    def directions(self) -> int:
        """The number of directions."""
        return 2 if self.direction == "bidirectional" else 1

    def is_reverse(self, direction: int) -> bool:
        """Whether a direction runs from the end of each sequence to its begin."""
        return direction == 1 or self.direction == "reverse"

    def gates(self, cell: Cell) -> list[list[Gate]]:
        """Return the functions of each direction."""
        defaults = _FUNCTIONS[cell]
        names = self.activations or defaults * self.directions
        if len(names) != len(defaults) * self.directions:
            raise ModelError(
                f"activations has {len(names)} names, direction '{self.direction}' needs "
                f"{len(defaults) * self.directions}"
            )
        functions = gates(names, self.activation_alpha, self.activation_beta)
        return [functions[d * len(defaults) : (d + 1) * len(defaults)] for d in range(self.directions)]

    @property
    def bound(self) -> float | None:
        """The number `clip`, checked."""
        if self.clip is not None and not self.clip > 0:
            raise ModelError(f"clip is {self.clip}, a positive number is needed")
        return self.clip

    def within(self, x: Reals) -> Reals:
        """Return arguments of gates in the bounds of `clip`."""
        return x if self.bound is None else np.clip(x, -self.bound, self.bound)

    def clipped(self, gate: Gate) -> Function:
        """Return a function of a gate that gets its argument in the bounds of `clip`."""
        return gate if self.bound is None else lambda x: gate(self.within(x))


@dataclass(frozen=True)
class RecurrentSizes:
    """Sizes of a node: directions, steps of time, sequences, elements of an input and of a state, and gates."""

    directions: int
    time: int
    batch: int
    size: int
    hidden: int
    gates: int

    @classmethod
    def of(
        cls,
        count: int,
        options: RecurrentOptions,
        data: Sequence[NDArray[Any] | Tensor],
        b: NDArray[Any] | Tensor | None,
        states: Sequence[tuple[str, NDArray[Any] | Tensor | None]],
    ) -> RecurrentSizes:
        """Return the sizes of an operator with `count` gates; raise ModelError where its inputs do not fit.

        Parameters
        ----------
        count
            Number of gates.
        options
            Attributes.
        data
            X, W and R.
        b
            Biases; None where they are left out.
        states
            First states, each with its name.
        """
        x, w, r = data
        if options.direction not in ("forward", "reverse", "bidirectional"):
            raise ModelError(f"direction '{options.direction}' is not forward, reverse or bidirectional")
        if options.layout not in (0, 1):
            raise ModelError(f"layout is {options.layout}, 0 or 1 is needed")
        check_shape(x, (None, None, None), "X")
        check_shape(r, (None, None, None), "R")
        n, hidden = options.directions, r.shape[2]
        if options.hidden_size is not None and options.hidden_size != hidden:
            raise ModelError(f"hidden_size is {options.hidden_size}, the weights R {list(r.shape)} are for {hidden}")
        (time, batch), size = x.shape[:2], x.shape[2]
        if options.layout:
            time, batch = batch, time
        check_shape(r, (n, count * hidden, hidden), "R")
        check_shape(w, (n, count * hidden, size), "W")
        checked_shape((time, batch, max(n * count * hidden, 1)))
        if b is not None:
            check_shape(b, (n, 2 * count * hidden), "B")
        for name, state in states:
            if state is not None:
                check_shape(state, (batch, n, hidden) if options.layout else (n, batch, hidden), name)
        return cls(n, time, batch, size, hidden, count)

    def outputs(self, states: int, options: RecurrentOptions, dtype: np.dtype[Any]) -> tuple[OutputType, ...]:
        """Return the shape and dtype of Y, of some last states, of the gates and, with two states, of the cells."""
        y: tuple[int, ...] = (self.time, self.directions, self.batch, self.hidden)
        last: tuple[int, ...] = (self.directions, self.batch, self.hidden)
        if options.layout:
            y, last = (self.batch, self.time, self.directions, self.hidden), (self.batch, self.directions, self.hidden)
        every = self.time, self.directions, self.batch
        hidden = [((*every, self.gates * self.hidden), dtype), ((*every, self.hidden), dtype)]
        return (y, dtype), *[(last, dtype)] * states, *hidden[:states]


def sequence_lengths(given: NDArray[Any] | None, batch: int, time: int) -> NDArray[np.int64]:
    """Return the length of each sequence, by default that of the longest; raise ModelError for one out of range."""
    if given is None:
        return np.full(batch, time, np.int64)
    check_shape(given, (batch,), "sequence_lens")
    wrong = given[(given < 0) | (given > time)]
    if wrong.size:
        raise ModelError(LENGTH_MESSAGE.format(wrong[0], time))
    return given.astype(np.int64)
