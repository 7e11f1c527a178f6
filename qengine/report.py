"""What fixed point costs: a fixed-point run beside the float32 run of the same input, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.reference.requantize import FLUSHED, LARGEST, SATURATED, TOTAL, Tally
from qengine.plan import BoundStep, answer, constant_losses
from qengine.qformat import QFormat
from qengine.session import InferenceSession
from qengine.steps import Tensor

# Of a large tensor so many elements, evenly spread, are enough to tell which format would serve it.
_SAMPLE = 1 << 16
# Below this improvement another format is not worth a word.
_CLEARLY_DB = 6.0


@dataclass(frozen=True)
class TensorReport:
    """One tensor of a fixed-point run.

    Attributes
    ----------
    name : the model's own.
    operator : what computed it; "input" for an input.
    kind : the kind of step; "island" means float32.
    format : its format.
    saturated : codes that saturated, or would have where overflow wraps.
    flushed : values that became 0 without being 0.
    largest : the largest |code|.
    elements : number of codes.
    unused_bits : top bits of the word that no code needs.
    sqnr_db : against the float32 run; see `sqnr`.
    """

    name: str
    operator: str
    kind: str
    format: str
    saturated: int
    flushed: int
    largest: int
    elements: int
    unused_bits: int
    sqnr_db: float | None


@dataclass(frozen=True)
class Comparison:
    """A fixed-point run beside float32.

    Attributes
    ----------
    tensors : in the order in which they were computed.
    outputs, float_outputs : real numbers by name, of the tensors that were asked for.
    codes : the outputs as a run with raw=True gives them.
    islands : nodes that computed in float32.
    notes : constants that saturate, and what was asked for without effect.
    statistics : of each float32 activation, for `advise`.
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
    """One tensor that was asked for: codes, the real numbers they stand for, and what float32 gives."""

    codes: NDArray[Any]
    real: NDArray[Any]
    exact: NDArray[Any]


@dataclass(frozen=True)
class Advice:
    """A format to try in place of the one that was asked for.

    Attributes
    ----------
    format : the format.
    reason : what is wrong with the other.
    sqnr_db_before, sqnr_db : of the outputs, with the other and with this one, both measured.
    """

    format: QFormat
    reason: str
    sqnr_db_before: float
    sqnr_db: float


def sqnr(signal: NDArray[Any], approximation: NDArray[Any]) -> float | None:
    """Return 10 log10(sum(f^2) / sum((f - q)^2)) in dB.

    Infinite where nothing differs; None where f is all 0 or not finite, and q is something else.
    """
    exact = signal.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        power = float(np.sum(exact * exact))
        noise = float(np.sum((exact - approximation) ** 2))
    if noise == 0.0:
        return float("inf")
    return float(10.0 * np.log10(power / noise)) if power and np.isfinite([power, noise]).all() else None


def compare(
    fixed: InferenceSession,
    float32: InferenceSession,
    feeds: Mapping[str, Any],
    names: list[str] | None = None,
) -> Comparison:
    """Run a model in both arithmetics, tensor by tensor in step, and tell the difference.

    Parameters
    ----------
    fixed, float32
        Two sessions of one model.
    feeds
        As for `InferenceSession.run`.
    names
        Tensors to return; None for the model's outputs.

    Raises
    ------
    QEngineError
        As `InferenceSession.run`.
    """
    arrays = fixed.check_feeds(feeds)
    plan, reference = fixed.plan(arrays, names), float32.plan(arrays, names)
    steps = {bound.output.name: bound for bound in plan.steps}
    tallies: dict[str, Tally] = {}
    tensors, statistics = [], {}
    found = {
        name: _Output(t.elements, answer(t, t.elements, raw=False), reference.outputs[name].elements)
        for name, t in plan.outputs.items()
        if t.value is not None
    }
    pairs = zip(plan.trace(arrays, tallies), reference.trace(arrays), strict=True)
    with fixed.limited():
        for (tensor, array), (twin, exact) in pairs:
            assert tensor.name == twin.name
            real = answer(tensor, array, raw=False)
            if tensor.name in plan.outputs:
                found[tensor.name] = _Output(np.array(array), np.array(real), np.array(exact))
            if tensor.format is not None:
                statistics[tensor.name] = _sample(exact)
                tensors.append(_report(tensor, steps.get(tensor.name), tallies[tensor.name], sqnr(exact, real)))
    notes = (*fixed.notes, *constant_losses(plan, fixed.graph))
    islands = tuple(str(bound.node) for bound in plan.steps if bound.is_island)
    return Comparison(
        tuple(tensors),
        {name: found[name].real for name in plan.outputs},
        {name: found[name].exact for name in plan.outputs},
        {name: found[name].codes for name in plan.outputs},
        islands,
        notes,
        statistics,
    )


def _report(tensor: Tensor, bound: BoundStep | None, tally: Tally, decibels: float | None) -> TensorReport:
    form = tensor.one_format
    largest = int(tally[LARGEST])
    return TensorReport(
        name=tensor.name,
        operator=_operator(bound),
        kind=bound.step.kind if bound else "quantize",
        format=str(form),
        saturated=int(tally[SATURATED]),
        flushed=int(tally[FLUSHED]),
        largest=largest,
        elements=int(tally[TOTAL]),
        unused_bits=max(form.bits - form.signed - largest.bit_length(), 0),
        sqnr_db=decibels,
    )


def _operator(bound: BoundStep | None) -> str:
    if bound is None:
        return "input"
    name = bound.node.operator
    if bound.node.activation is None:
        return name
    plain_relu = bound.node.activation.low == 0.0 and bound.node.activation.high is None
    return f"{name}+{'Relu' if plain_relu else 'Clip'}"


def _sample(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the finite values; of many, _SAMPLE evenly spread ones and the extremes."""
    flat = values.ravel()
    flat = flat[np.isfinite(flat)]
    if flat.size > _SAMPLE:
        flat = np.concatenate([flat[:: -(-flat.size // _SAMPLE)], [flat.min(), flat.max()]])
    return flat.astype(np.float64)


def advise(
    comparison: Comparison, qformat: QFormat, run: Callable[[QFormat], Mapping[str, NDArray[Any]]]
) -> Advice | None:
    """Return a format of the same word length that serves the whole model clearly better, if there is one.

    The candidates are judged by the noise that each adds to every activation, relative to the activation;
    the best is then run, and named only where the outputs are better by 6 dB or more. An unsigned format is
    a candidate only where one was asked for.

    Parameters
    ----------
    comparison
        What `compare` found with `qformat` for every activation.
    qformat
        The format that was asked for.
    run
        Runs the model on the same feeds with another format and returns the outputs by name.
    """
    candidate = best_uniform_format(comparison.statistics, qformat.bits, unsigned=not qformat.signed)
    before = total_sqnr(comparison.float_outputs, comparison.outputs)
    if candidate is None or candidate == qformat or before is None:
        return None
    try:
        after = total_sqnr(comparison.float_outputs, run(candidate))
    except FormatError:  # a constant that has no format of the candidate's kind
        return None
    if after is None or before == float("inf") or after < before + _CLEARLY_DB:
        return None
    return Advice(candidate, _reason(comparison, qformat, candidate), before, after)


def _reason(comparison: Comparison, qformat: QFormat, candidate: QFormat) -> str:
    """Return what is wrong with `qformat`, in words that the numbers bear out."""
    spare = qformat.integer_bits - candidate.integer_bits
    if candidate.signed and not qformat.signed:
        below = {name: np.count_nonzero(v < 0) / max(v.size, 1) for name, v in comparison.statistics.items()}
        name = max(below, key=lambda name: below[name])
        return f"{qformat} holds no negative values, and {below[name]:.2%} of '{name}' are negative"
    if spare > 0:
        top = f"{spare} of its {qformat.integer_bits} integer bits"
        if spare > qformat.integer_bits:
            top = f"the top {spare} bits of its word"
        values = np.concatenate([*comparison.statistics.values()])
        beyond = percent(int(np.count_nonzero((values > candidate.max) | (values < candidate.min))), values.size)
        return f"{qformat} leaves {top} unused" + (f" by all but {beyond} of the values" if beyond != "0%" else "")
    worst = max(comparison.tensors, key=lambda t: t.saturated / max(t.elements, 1))
    if spare < 0 and worst.saturated:
        lacks = f"{-spare} integer bit" + ("s" if spare < -1 else "")
        return f"{qformat} lacks {lacks}, and {percent(worst.saturated, worst.elements)} of '{worst.name}' saturates"
    return f"{candidate} serves these values better than {qformat}"


def percent(count: int, total: int) -> str:
    """Return a share for people: never rounded to nothing, nor to everything."""
    if not count or count == total:
        return "100%" if count else "0%"
    share = 100 * count / total
    return "<0.01%" if share < 0.01 else f"{min(share, 99.99):.2f}%"


def total_sqnr(signal: Mapping[str, NDArray[Any]], approximation: Mapping[str, NDArray[Any]]) -> float | None:
    """Return the mean SQNR in dB of the floating-point outputs that have one; None where none has."""
    each = [sqnr(signal[name], approximation[name]) for name in signal if signal[name].dtype.kind == "f"]
    found = [decibels for decibels in each if decibels is not None]
    return sum(found) / len(found) if found else None


def best_uniform_format(
    statistics: Mapping[str, NDArray[np.float64]], bits: int, unsigned: bool = False
) -> QFormat | None:
    """Return the format of `bits` bits that adds the least noise, relative to the signal, over all tensors.

    Parameters
    ----------
    statistics
        Values of each tensor.
    bits
        Word length.
    unsigned
        Whether unsigned formats are looked at beside the signed ones.
    """
    peak = max((float(np.max(np.abs(values), initial=0.0)) for values in statistics.values()), default=0.0)
    if not peak:
        return None
    top = int(np.frexp(peak)[1])  # |values| < 2^top
    candidates = []
    for signed in (False, True) if unsigned else (True,):
        for integer_bits in range(top + 1, top - bits, -1):
            with suppress(FormatError):
                candidates.append(QFormat(integer_bits, bits - signed - integer_bits, signed))
    return min(candidates, key=lambda form: _noise(statistics, form), default=None)


def _noise(statistics: Mapping[str, NDArray[np.float64]], form: QFormat) -> float:
    """Sum over tensors of noise power to signal power in one format, rounding and saturation together."""
    word, total = form.word(), 0.0
    for values in statistics.values():
        codes = np.clip(np.rint(np.ldexp(values, form.fraction_bits)), word.least, word.most)
        error = values - np.ldexp(codes, -form.fraction_bits)
        power = float(np.sum(values * values))
        if power:
            total += float(np.sum(error * error)) / power
    return total
