"""The comparison of a dump with a model: matching, checks, and the search for the cause of the first error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.report import operator_label
from qengine.deploy.compare.by_hand import element_of, worked_out
from qengine.deploy.compare.checked import Checked, Checks, check
from qengine.deploy.compare.deciding import deciding_vector
from qengine.deploy.compare.dump import Dump, DumpedTensor
from qengine.deploy.compare.layouts import named_layout
from qengine.deploy.compare.matching import Matches, match, matching_names
from qengine.deploy.compare.result import Cause, Comparison, Fault, TensorResult, differences_of
from qengine.deploy.compare.search import Explanation, Suspect, search
from qengine.deploy.compare.subject import Subject, compute
from qengine.deploy.hypotheses import Hypothesis, Operation, Variant
from qengine.deploy.hypotheses.hypothesis import codes_of_variant
from qengine.model.graph import Node
from qengine.model.steps import Linear, Rounded, Tensor
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]

_OTHERS = 8
"""Number of further operators with errors on which explanations that are equally good are tried."""
_MOST_SPAN = 12
_CLEARLY_OTHER = 0.5


@dataclass(frozen=True, eq=False)
class CheckedSample:
    """A sample of the dump: the sample of the subject that it is of, its tensors, and the checks."""

    index: int
    matches: Matches
    checks: Checks


def compare_dump(subject: Subject, dump: Dump, layout: str = "auto", *, pairs: bool = True) -> Comparison:
    """Compare a dump with a model; see `qengine.deploy.compare.compare`."""
    notes: list[str] = []
    samples = checked_samples(subject, dump, layout, notes)
    faulty = next((one for one in samples if one.checks.own), None)
    shown = faulty or next((one for one in samples if one.checks.share < 1.0), samples[0])
    checks = shown.checks
    problems = {name: text for one in samples for name, text in one.checks.problems.items()}
    result = Comparison(
        equal=all(one.checks.share == 1.0 and not one.checks.own for one in samples) and not problems,
        tensors=tuple(map(_result, checks.tensors.values())),
        sample=subject.labels[shown.index] if subject.labels else "",
        samples=len(samples),
        missing=tuple(name for name in checks.reference.tensors if name not in checks.tensors and name not in problems),
        unread=tuple(problems),
        unmatched=shown.matches.unmatched,
        notes=tuple(dict.fromkeys((*notes, *problems.values(), *_reading_notes(checks)))),
        maps={one.tensor.name: _differences(one) for one in checks.tensors.values() if one.own or one.differing},
    )
    return result if faulty is None else _with_cause(result, subject, faulty, samples, pairs=pairs)


def checked_samples(subject: Subject, dump: Dump, layout: str, notes: list[str] | None = None) -> list[CheckedSample]:
    """Return every sample of a dump with the sample of the subject that it is of, and its checks.

    Parameters
    ----------
    subject, dump, layout
        See `compare_dump`.
    notes
        List that remarks are added to.
    """
    layout = named_layout(layout)
    places = [_place(subject, dump, i) for i in range(len(dump.samples))]
    found: list[str] = [] if notes is None else notes
    return [
        _checked_sample(subject, place, dumped, layout, found)
        for place, dumped in zip(places, dump.samples, strict=True)
    ]


def _place(subject: Subject, dump: Dump, index: int) -> int:
    """Return the sample of the subject that a sample of the dump is of by its name, or else by its place."""
    if dump.labels and dump.labels[index] in subject.labels:
        return list(subject.labels).index(dump.labels[index])
    return min(index, len(subject.samples) - 1)


def _checked_sample(
    subject: Subject, place: int, dumped: Sequence[DumpedTensor], layout: str, notes: list[str]
) -> CheckedSample:
    """Check a sample of the dump as that sample of the subject whose codes it has the most of."""
    own = place
    best = _checked_as(subject, own, dumped, layout)
    others = [i for i in range(len(subject.samples)) if i != own]
    if _is_other(best.checks) and others:
        for index in others:
            other = _checked_as(subject, index, dumped, layout)
            if _alike(other.checks) > _alike(best.checks):
                best = other
            if _alike(best.checks) == 1.0:
                break
        if best.index != own:
            notes.append(f"the dump is that of sample {subject.labels[best.index]}, not of {subject.labels[own]}")
    return best


def _checked_as(subject: Subject, index: int, dumped: Sequence[DumpedTensor], layout: str) -> CheckedSample:
    reference = subject.reference(index)
    removed = subject.removed(reference)
    fused = matching_names([one.name for one in dumped], removed, subject.aliases)
    if fused:
        reference = subject.reference(index, fused)
    matches = match(dumped, reference.tensors, subject.aliases, reference.arrays)
    names = {name for name in matches.unmatched if not matching_names([name], subject.names, subject.aliases)}
    matches = replace(matches, unmatched=tuple(name for name in matches.unmatched if name in names))
    return CheckedSample(index, matches, check(reference, matches, layout))


def _alike(checks: Checks) -> float:
    """Return the share of equal codes, of the inputs where the dump has them."""
    inputs = [one for one in checks.tensors.values() if one.step is None and one.found.size]
    if not inputs:
        return checks.share
    return sum(one.found.size - one.differing for one in inputs) / sum(one.found.size for one in inputs)


def _is_other(checks: Checks) -> bool:
    """Whether a checks looks like that of the codes of another sample."""
    inputs = [one for one in checks.tensors.values() if one.step is None]
    return _alike(checks) < 1.0 if inputs else checks.share < _CLEARLY_OTHER


def _label(one: Checked) -> str:
    return "input" if one.step is None else operator_label(one.step.node)


def _result(one: Checked) -> TensorResult:
    largest, differences = differences_of(one.found, one.recomputed if one.own else one.expected)
    fmt = "" if one.tensor.format is None else str(one.tensor.format)
    counts = one.found.size, one.differing, one.own
    return TensorResult(one.tensor.name, _label(one), fmt, *counts, largest, differences, one.decoded.words, one.by)


def _differences(one: Checked) -> Array:
    return one.found.astype(np.int64) - (one.recomputed if one.own else one.expected).astype(np.int64)


def _reading_notes(checks: Checks) -> list[str]:
    """Return how the dump was read, once for all tensors that were read in one way."""
    ways: dict[str, list[str]] = {}
    for name, one in checks.tensors.items():
        if one.decoded.words:
            ways.setdefault(one.decoded.words, []).append(f"'{name}'")
    found = []
    for words, names in ways.items():
        listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        found.append(f"read as {words}: {listed}")
    return found


def _with_cause(
    result: Comparison, subject: Subject, shown: CheckedSample, samples: Sequence[CheckedSample], *, pairs: bool
) -> Comparison:
    """Return a result with the first error and its cause."""
    one = shown.checks.own[0]
    throughout = None
    if len(one.span) > 1:
        throughout = partial(_throughout, subject, shown, one)
    findings = search(_suspects(subject, shown, one), one.found, one.recomputed, throughout, pairs=pairs)
    complete = _agreeing(findings.complete, subject, one, shown, samples)
    best = complete[0] if complete else findings.best
    variant = best.variant if best is not None else None
    at = _example(one, variant)
    fault = Fault(
        one.tensor.name,
        _label(one),
        tuple(int(i) for i in np.unravel_index(at, one.found.shape)),
        int(one.recomputed.reshape(-1)[at]),
        int(one.found.reshape(-1)[at]),
    )
    notes = result.notes
    if one.step is None and not complete:
        notes = (f"input '{one.tensor.name}' of the dump is another one than the given input", *notes)
    if findings.left_out and not complete:
        left = (
            f"{findings.left_out:,} faults of the {len(one.span)} operators before '{one.tensor.name}' were not tried"
        )
        notes = (*notes, f"{left}: dump more of the tensors between")
    if best is None:
        return replace(result, first=fault, tried=findings.tried, notes=notes)
    cause = _cause(best, complete, one, at, shown, subject)
    return replace(result, first=fault, cause=cause, tried=findings.tried, notes=notes)


def _example(one: Checked, variant: Variant | None) -> int:
    """Return the flat index of the element that is shown."""
    base = None if variant is None else Variant.of(variant.operation)
    if base is None or base.operation.output.name != one.tensor.name:
        return int(np.flatnonzero((one.found != one.recomputed).reshape(-1))[0])
    return element_of(one.found, one.recomputed, base)


def _cause(
    best: Explanation, complete: Sequence[Explanation], one: Checked, at: int, shown: CheckedSample, subject: Subject
) -> Cause:
    operation = best.suspect.operation
    base = Variant.of(operation)
    # A target that has the cause among its rules explains nothing else.
    targets = [e for e in complete if e is not best and e.family == "target"]
    others = [e for e in complete if e is not best and e not in targets]
    decided: dict[str, str] = {}
    same: list[str] = []
    for other in [e for e in others if not e.throughout and not best.throughout][:_OTHERS]:
        words = deciding_vector(best, other)
        if words is None:
            same.append(_name_of(other, operation))
        else:
            decided[_name_of(other, operation)] = words
    label = "input" if one.step is None else operator_label(operation.bound_step.node)
    is_own = operation.output.name == one.tensor.name and not best.throughout
    also = _also(best, shown, one, subject) if best in complete else ()
    return Cause(
        name=best.name,
        sentence=best.sentence,
        operator=label,
        tensor=operation.output.name,
        explained=best.explained / one.own,
        broken=best.broken,
        equally_good=tuple(_name_of(e, operation) for e in others),
        decided_by=decided,
        same_always=tuple(same),
        by_hand=worked_out(at, one.found, one.recomputed, base) if is_own else "",
        also=also,
        targets=tuple(dict.fromkeys(e.name.partition(":")[2] for e in targets)),
    )


def _name_of(explanation: Explanation, first: Operation) -> str:
    """Return the name of an explanation, with the operator where it is another one than that of the first."""
    operation = explanation.suspect.operation
    if explanation.throughout:
        return f"{explanation.name} throughout"
    return explanation.name if operation is first else f"{explanation.name} of '{operation.output.name}'"


def _suspects(subject: Subject, shown: CheckedSample, one: Checked) -> list[Suspect]:
    """Return the operators that may have caused the errors of a tensor: its own, and those of its span."""
    before = _frame_before(subject, shown)
    if one.step is None:
        return [Suspect(_input_operation(subject, shown, one.tensor))]
    checks = shown.checks
    found = []
    span = one.span[-_MOST_SPAN:]
    for name in reversed(span):
        if name not in checks.steps:
            operation = _input_operation(subject, shown, checks.reference.tensors[name])
        else:
            operation = Operation.of(checks.steps[name], checks.arrays_before(one.tensor.name), before)
        if name == one.tensor.name:
            found.append(Suspect(operation))
        else:
            later = span[span.index(name) :]
            work = sum(_work(checks.steps[other]) for other in later if other in checks.steps)
            found.append(Suspect(operation, partial(_forward, checks, one, name), work))
    return found


def _work(step: BoundStep) -> int:
    """Return the multiplications of a step, or its elements."""
    taps = step.step.taps if isinstance(step.step, Linear) else 1
    return prod(step.output.shape) * max(taps, 1)


def _forward(checks: Checks, one: Checked, changed: str, codes: Array) -> Array:
    """Return the codes of a dumped tensor where one tensor of its span has other codes."""
    arrays = {**checks.arrays_before(one.tensor.name), changed: codes}
    touched = {changed}
    for name in one.span:
        step = checks.steps.get(name)
        if step is not None and name != changed and touched.intersection(step.reads):
            arrays[name] = compute(step, arrays)
            touched.add(name)
    return arrays[one.tensor.name]


def _throughout(
    subject: Subject, shown: CheckedSample, one: Checked, hypothesis: Hypothesis, with_inputs: bool
) -> Array | None:
    """Return the codes of a dumped tensor where every operator of its span has a fault; None where none can have it."""
    checks, before = shown.checks, _frame_before(subject, shown)
    if with_inputs and all(name in checks.steps for name in one.span):
        return None
    arrays, changed = checks.arrays_before(one.tensor.name), False
    for name in one.span:
        step = checks.steps.get(name)
        if step is None and not with_inputs:
            continue
        if step is None:
            codes = hypothesis.codes(_input_operation(subject, shown, checks.reference.tensors[name]))
        else:
            codes = hypothesis.codes(Operation.of(step, arrays, before))
        if codes is None and (step is None or not changed):
            continue
        if codes is None and step is not None:
            codes = compute(step, arrays)
        assert codes is not None
        arrays[name] = np.ascontiguousarray(codes).astype(arrays[name].dtype)
        changed = True
    return arrays[one.tensor.name] if changed else None


def _frame_before(subject: Subject, shown: CheckedSample) -> Mapping[str, Array] | None:
    """Return the codes of the frame before; of the item before, where a sample is a batch."""
    if len(subject.samples) > 1:
        return subject.reference((shown.index - 1) % len(subject.samples)).arrays
    arrays = shown.checks.arrays
    if all(array.ndim and array.shape[0] > 1 for array in arrays.values()):
        return {name: np.roll(array, 1, axis=0) for name, array in arrays.items()}
    return None


def _input_operation(subject: Subject, shown: CheckedSample, tensor: Tensor) -> Operation:
    """Return the quantization of an input as an operator."""
    plan = shown.checks.reference.plan
    real = replace(tensor, format=None)
    fed = np.asarray(subject.samples[shown.index][tensor.name])
    step = Rounded(real)
    assert plan.fixed is not None
    arithmetic = plan.fixed.rules.of("inputs", tensor.name)
    node = Node("QuantizeLinear", (tensor.name,), (tensor.name,))
    return Operation(BoundStep(node, step, tensor, step.fixed(tensor, arithmetic), arithmetic=arithmetic), (fed,))


def _agreeing(
    complete: Sequence[Explanation],
    subject: Subject,
    one: Checked,
    shown: CheckedSample,
    samples: Sequence[CheckedSample],
) -> list[Explanation]:
    """Return the explanations that hold in the other samples too, those first that explain further errors."""
    found = list(complete)
    for sample in samples:
        other = sample.checks.tensors.get(one.tensor.name)
        if sample is not shown and other is not None and len(found) > 1:
            found = [e for e in found if _holds(e, subject, sample, other)] or found
    if len(found) > 1:
        counts = {id(e): len(_also(e, shown, one, subject)) for e in found[: 2 * _OTHERS]}
        most = max(counts.values())
        found = [e for e in found if counts.get(id(e), 0) == most]  # the others fail where these do not
    return found


def _holds(explanation: Explanation, subject: Subject, sample: CheckedSample, other: Checked) -> bool:
    """Whether an explanation gives all codes of a tensor in another sample."""
    if explanation.throughout:
        codes = _throughout(subject, sample, other, explanation.hypotheses[0], explanation.throughout == "inputs")
        return codes is not None and bool(np.array_equal(codes, other.found))
    name = explanation.suspect.operation.output.name
    for suspect in _suspects(subject, sample, other):
        if suspect.operation.output.name == name:
            codes = _codes(explanation, suspect.operation)
            if codes is None:
                return not other.own
            whole = codes if suspect.forward is None else suspect.forward(codes)
            return bool(np.array_equal(whole, other.found))
    return True


def _codes(explanation: Explanation, operation: Operation) -> Array | None:
    variant: Variant | None = Variant.of(operation)
    for hypothesis in explanation.hypotheses:
        variant = None if variant is None else hypothesis.variant(variant)
    return None if variant is None else codes_of_variant(variant)


def _also(explanation: Explanation, shown: CheckedSample, one: Checked, subject: Subject) -> tuple[str, ...]:
    """Return the other tensors whose own errors a cause explains completely."""
    names = []
    for other in [j for j in shown.checks.own if j is not one][:_OTHERS]:
        if other.step is None:
            continue
        suspect = _suspects(subject, shown, other)[0]
        codes = _codes(explanation, suspect.operation)
        if codes is not None and np.array_equal(codes, other.found):
            names.append(other.tensor.name)
    return tuple(names)
