"""Notes on losses that no figure of a tensor shows: constants that do not fit, and accumulators that are too narrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod

import numpy as np

from qengine.kernels.reference.requantize import (
    ACCUMULATOR_OVERFLOWS,
    SATURATED,
    TOTAL,
    UNDERFLOWED,
    Tally,
    new_tally,
    quantize,
)
from qengine.model.rules import Arithmetic
from qengine.model.steps import Evaluated, Linear, Tensor
from qengine.model.steps.accumulator import Accumulation
from qengine.qformat import fraction_bits_of
from qengine.runtime.plan.plan import BoundStep

# Share of a constant's elements that may underflow without a note.
_UNDERFLOW_SHARE = 0.5
_LISTED_CHANNELS = 8


def losses(
    constants: Iterable[Tensor], bound_steps: Iterable[BoundStep], tallies: Mapping[str, Tally]
) -> Iterator[str]:
    """Yield a note for every constant that does not fit its format, and for every accumulator that was too narrow.

    Parameters
    ----------
    constants
        Constants with formats, as real numbers.
    bound_steps
        Steps of a plan: their biases may not fit into 32 bits.
    tallies
        Counts of a run, by tensor name; empty before a run.
    """
    for tensor in constants:
        tally = new_tally()
        assert tensor.value is not None
        assert tensor.format is not None
        word = tensor.encoding.word(tensor.format)
        quantize(tensor.value, fraction_bits_of(tensor.format, tensor.ndim), word, tally=tally)
        what = f"elements of constant '{tensor.name}'"
        if tally[SATURATED]:
            yield f"{tally[SATURATED]:,} of {tally[TOTAL]:,} {what} saturate in {tensor.format}"
        if tally[UNDERFLOWED] > _UNDERFLOW_SHARE * tally[TOTAL]:
            yield f"{tally[UNDERFLOWED]:,} of {tally[TOTAL]:,} {what} underflow in {tensor.format}"
    for bound_step in bound_steps:
        if bound_step.output.format is not None and (bias := _saturated_bias(bound_step)) is not None:
            n, b = bias
            yield (
                f"{n:,} of {prod(b.shape):,} elements of bias '{b.name}' saturate in {_bias_word(bound_step, b)}: "
                "give the weights or the input fewer fraction bits"
            )
        tally = tallies.get(bound_step.output.name, new_tally())
        if tally[ACCUMULATOR_OVERFLOWS]:
            sums = f"{tally[ACCUMULATOR_OVERFLOWS]:,} of {tally[TOTAL]:,} sums of '{bound_step.output.name}'"
            yield f"{sums} {_overflow_of_sums(bound_step)}"


def _saturated_bias(bound_step: BoundStep) -> tuple[int, Tensor] | None:
    """Return how many elements of a bias saturate in the word of biases, and the bias; None if none do.

    One that has a format of its own is a constant like others.
    """
    step = bound_step.step
    if isinstance(step, Evaluated):
        return step.saturated_bias()
    if (
        isinstance(step, Linear)
        and step.b is not None
        and step.b.format is None
        and (n := step.saturated_bias(bound_step.arithmetic or Arithmetic()))
    ):
        return n, step.b
    return None


def _bias_word(bound_step: BoundStep, b: Tensor) -> str:
    """Return the word of a bias in words."""
    if isinstance(bound_step.step, Linear) and b.format is not None:
        return str(b.format)
    bits = (bound_step.arithmetic or Arithmetic()).bias.bits if isinstance(bound_step.step, Linear) else 32
    return f"{bits} bits, the word of every bias"


def _overflow_of_sums(bound_step: BoundStep) -> str:
    """Return what happened to sums that did not fit into the accumulator, and which channels may have such sums."""
    step, arithmetic = bound_step.step, bound_step.arithmetic or Arithmetic()
    rule = arithmetic.accumulator
    if rule.overflow == "wrap":
        return "did not fit into the accumulator and wrapped"
    which = ""
    if isinstance(step, Linear):
        channels = Accumulation(step, bound_step.output, arithmetic).may_overflow
        if channels.size > 1:
            listed = np.flatnonzero(channels).tolist()
            more = f" and {len(listed) - _LISTED_CHANNELS} more" if len(listed) > _LISTED_CHANNELS else ""
            which = f"; only channels {', '.join(map(str, listed[:_LISTED_CHANNELS]))}{more} of {channels.size} may"
            which = "" if len(listed) == channels.size else which
    return f"reached the {rule.bits}-bit rail and stopped there{which}"
