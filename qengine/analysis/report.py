"""Comparison of a run in fixed point with the float32 run of the same input, tensor by tensor.

Both runs go in step: when a tensor has been computed in fixed point, its real value is compared with the same tensor
in float32, and then released. Native kernels do this in one program (`qengine.runtime.native.counting`). On the
reference, and where the data decides how the run continues, two traced runs do it. Each tensor is reported with its
SQNR (signal power over noise power, in dB), the codes that saturated, the values that underflowed (the code is 0, the
value is not), and the top bits of its word that no code used. Losses that these figures do not show, such as a constant
that does not fit its format, become notes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.lost_parts import lost_in_run
from qengine.errors import UnsupportedError
from qengine.kernels.reference.requantize import (
    ACCUMULATOR_OVERFLOWS,
    LARGEST,
    SATURATED,
    TOTAL,
    UNDERFLOWED,
    Tally,
    new_tally,
    quantize,
)
from qengine.metrics.decibels import decibels
from qengine.model.graph import Node
from qengine.model.rules import Arithmetic
from qengine.model.steps import Evaluated, Linear, Tensor
from qengine.model.steps.accumulator import Accumulation
from qengine.qformat import Format, QFormat, fraction_bits_of
from qengine.runtime.event import Event
from qengine.runtime.native import TensorStatistics, measure
from qengine.runtime.plan.plan import BoundStep, decode_output
from qengine.runtime.session import InferenceSession

# Share of a constant's elements that may underflow without a note.
_UNDERFLOW_SHARE = 0.5
_LISTED_CHANNELS = 8


@dataclass(frozen=True)
class TensorReport:
    """Figures of one tensor in a fixed-point run.

    Attributes
    ----------
    name : name of the tensor in the model.
    operator : operator that computed it; "input" for an input.
    kind : kind of the step that computed it; "island" means float32.
    format : format of the tensor.
    saturated : number of codes that saturated, or would have saturated where overflow wraps.
    underflowed : number of values whose code is 0 and that are not 0.
    largest : largest |code|.
    elements : number of codes.
    unused_bits : number of top bits of the word that no code needs.
    sqnr_db : SQNR against the float32 run; see `sqnr`.
    """

    name: str
    operator: str
    kind: str
    format: str
    saturated: int
    underflowed: int
    largest: int
    elements: int
    unused_bits: int
    sqnr_db: float | None


@dataclass(frozen=True)
class Comparison:
    """Figures and outputs of a fixed-point run and of the float32 run of the same feeds.

    Attributes
    ----------
    tensors : the tensors in fixed point, in the order in which they were computed.
    outputs, float_outputs : real numbers of the requested tensors, by name, in each of the two runs.
    codes : the outputs as a run with raw=True returns them.
    islands : nodes that computed in float32.
    notes : constants that saturate or underflow, sums that wrapped, and formats that have no effect.
    statistics : values of each float32 activation, for `advise`.
    """

    tensors: tuple[TensorReport, ...]
    outputs: Mapping[str, NDArray[Any]]
    float_outputs: Mapping[str, NDArray[Any]]
    codes: Mapping[str, NDArray[Any]]
    islands: tuple[str, ...]
    notes: tuple[str, ...]
    statistics: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class _Output:
    """Codes of one requested tensor, their real values, and its float32 values."""

    codes: NDArray[Any]
    real: NDArray[Any]
    exact: NDArray[Any]


def compare(
    fixed: InferenceSession,
    float32: InferenceSession,
    feeds: Mapping[str, Any],
    names: list[str] | None = None,
) -> Comparison:
    """Run a model in fixed point and in float32, in step, and compare every tensor.

    Parameters
    ----------
    fixed, float32
        Two sessions of one model.
    feeds
        Arrays by input name; see `InferenceSession.run`.
    names
        Tensors to return; None for the model's outputs.

    Raises
    ------
    QEngineError
        If a run fails, or a requested value is not a tensor.
    """
    fixed, float32 = fixed.giving_hidden(), float32.giving_hidden()
    arrays = fixed.check_feeds(feeds)
    wanted = list(dict.fromkeys(names or (value.name for value in fixed.graph.outputs)))
    known, constants = fixed.known_outputs(arrays, wanted), fixed.quantized_constants(arrays, wanted)
    reference = float32.known_outputs(arrays, wanted)
    found = {
        n: _Output(t.elements, decode_output(t, t.elements, raw=False), reference[n].elements) for n, t in known.items()
    }
    with fixed.limited():
        run = _native_run(fixed, float32, arrays, wanted) or _traced_run(fixed, float32, arrays, wanted)
    found |= run.outputs
    if missing := [name for name in wanted if name not in found]:
        raise UnsupportedError(f"'{missing[0]}' is not a tensor and cannot be compared: request other outputs")
    tallies = {one.tensor.name: one.figures.tally for one in run.tensors}
    return Comparison(
        tuple(_report(one) for one in run.tensors),
        {name: found[name].real for name in wanted},
        {name: found[name].exact for name in wanted},
        {name: found[name].codes for name in wanted},
        tuple(dict.fromkeys(run.islands)),
        (
            *fixed.notes,
            *_target_notes(fixed),
            *losses(constants, run.bound_steps, tallies),
            *_lost_parts(fixed, run, found, wanted),
        ),
        {one.tensor.name: one.figures.sample for one in run.tensors},
    )


@dataclass(frozen=True)
class _Compared:
    """A tensor in fixed point, the node and the kind of step that computed it, and its figures."""

    tensor: Tensor
    node: Node | None
    kind: str
    figures: TensorStatistics


@dataclass(frozen=True)
class _Run:
    """Tensors in fixed point of a run, requested tensors by name, steps, and nodes that computed in float32."""

    tensors: Sequence[_Compared]
    outputs: Mapping[str, _Output]
    bound_steps: Sequence[BoundStep]
    islands: Sequence[str]


def _native_run(
    fixed: InferenceSession, float32: InferenceSession, arrays: Mapping[str, Any], wanted: list[str]
) -> _Run | None:
    """Return a run on native kernels that count; None where there is none."""
    counted = fixed.plans.run_counted(float32.plans, arrays, wanted)
    if counted is None:
        return None
    plan, run = counted
    computed: list[tuple[Tensor, BoundStep | None]] = [(t, None) for t in plan.inputs]
    computed += [(bound_step.output, bound_step) for bound_step in plan.steps]
    tensors = [
        _Compared(t, step.node if step else None, step.step.kind if step else "quantize", run.tensors[t.name])
        for t, step in computed
        if t.format is not None
    ]
    outputs = {name: _Output(codes, run.real[name], run.exact[name]) for name, codes in run.codes.items()}
    islands = [str(bound_step.node) for bound_step in plan.steps if bound_step.is_island]
    return _Run(tensors, outputs, plan.steps, islands)


def _traced_run(
    fixed: InferenceSession, float32: InferenceSession, arrays: Mapping[str, Any], wanted: list[str]
) -> _Run:
    """Return two traced runs in step on the reference."""
    tallies: dict[str, Tally] = {}
    outputs: dict[str, _Output] = {}
    tensors: list[_Compared] = []
    bound_steps, islands = [], []

    def computed(name: str) -> NDArray[Any]:
        return float32.run([name], arrays)[0]

    events = fixed.trace(arrays, wanted, tallies), float32.trace(arrays, wanted)
    for event, exact in paired_events(*events, computed):
        tensor = event.tensor
        real = decode_output(tensor, event.array, raw=False)
        if tensor.name in wanted:
            outputs[tensor.name] = _Output(np.array(event.array), np.array(real), np.array(exact))
        if tensor.format is not None:
            figures = measure(real, exact, tallies.get(tensor.name, new_tally()))
            tensors.append(_Compared(tensor, event.node, event.kind, figures))
        if event.bound_step is not None:
            bound_steps.append(event.bound_step)
        if event.is_island:
            islands.append(str(event.node))
    return _Run(tensors, outputs, bound_steps, islands)


def paired_events(
    fixed: Iterator[Event], float32: Iterator[Event], computed: Callable[[str], NDArray[Any]]
) -> Iterator[tuple[Event, NDArray[Any]]]:
    """Yield the events of a run in fixed point, each with the same tensor in float32.

    Where the data decides how a run continues, a tensor may be static in one run and computed in the other. Then the
    float32 run is ahead, and its tensors are kept until the fixed-point run reaches them. `computed` returns a tensor
    that is static in the float32 run alone, which has no event.
    """
    unpaired: dict[str, NDArray[Any]] = {}
    for event in fixed:
        name = event.tensor.name
        while name not in unpaired:
            float_event = next(float32, None)
            if float_event is None:
                unpaired[name] = computed(name)
            else:
                unpaired[float_event.tensor.name] = float_event.array
        yield event, unpaired.pop(name)


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


def _lost_parts(fixed: InferenceSession, run: _Run, found: Mapping[str, _Output], wanted: Sequence[str]) -> list[str]:
    """Return notes on parts of tensors that lost their signal."""
    ranges = {one.tensor.name: float(np.max(np.abs(one.figures.sample), initial=0)) for one in run.tensors}
    zeros = [
        one.tensor.name for one in run.tensors if one.figures.tally[UNDERFLOWED] and not one.figures.tally[LARGEST]
    ]
    formats = {one.tensor.name: one.tensor.format for one in run.tensors}
    outputs = {n: (fmt, found[n].exact) for n in wanted if isinstance(fmt := formats.get(n), QFormat)}
    return lost_in_run(fixed.graph, run.bound_steps, ranges, zeros, outputs)


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


def _report(one: _Compared) -> TensorReport:
    fmt, figures, tally = one.tensor.format, one.figures, one.figures.tally
    assert fmt is not None
    largest = int(tally[LARGEST])
    return TensorReport(
        name=one.tensor.name,
        operator=operator_label(one.node),
        kind=one.kind,
        format=str(fmt),
        saturated=int(tally[SATURATED]),
        underflowed=int(tally[UNDERFLOWED]),
        largest=largest,
        elements=int(tally[TOTAL]),
        unused_bits=unused_bits(fmt, largest),
        sqnr_db=None if figures.noise is None else decibels(figures.signal or 0.0, figures.noise),
    )


def unused_bits(fmt: Format, largest: int) -> int:
    """Return the number of top bits of a word that no code needs, given the largest |code|."""
    return max(fmt.bits - fmt.signed - largest.bit_length(), 0)


def operator_label(node: Node | None) -> str:
    """Return the label of the operator that computes a tensor, with a fused activation; "input" without a node."""
    if node is None:
        return "input"
    name = node.operator
    if node.activation is None:
        return name
    plain_relu = node.activation.low == 0.0 and node.activation.high is None
    return f"{name}+{'Relu' if plain_relu else 'Clip'}"


def percent(count: int, total: int) -> str:
    """Return a share in per cent as text: only an exact 0 or 1 is shown as 0% or 100%."""
    if not count or count == total:
        return "100%" if count else "0%"
    share = 100 * count / total
    return "<0.01%" if share < 0.01 else f"{min(share, 99.99):.2f}%"


def _target_notes(fixed: InferenceSession) -> list[str]:
    """Return the notes of `target_notes`, whose module is imported only where a session has a target."""
    if fixed.options.target is None:
        return []
    from qengine.analysis.target_check import target_notes

    return target_notes(fixed)
