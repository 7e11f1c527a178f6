"""A search from beginning to end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qengine.analysis.search.cost import Cost, cost_model
from qengine.analysis.search.descent import Choices, descent
from qengine.analysis.search.evaluate import Evaluator, Goal, Judge, SpentError, goal_of
from qengine.analysis.search.metric import Drop, Metric, metric_of
from qengine.analysis.search.refine import along, refine
from qengine.analysis.search.result import Candidate, Found, HeldOut, UnitInfo, cheapest, front_of
from qengine.analysis.search.sensitivity import measure_harm
from qengine.analysis.search.split import split
from qengine.analysis.search.units import Unit, assigned, units_of
from qengine.analysis.sweep.measure import check_labels, task_of
from qengine.analysis.sweep.observed import Float32Outputs, ensure_float32
from qengine.analysis.sweep.progress import Progress, silent
from qengine.data.datasets import Dataset
from qengine.data.datasets.runs import Runs, feeds_of
from qengine.data.images import PixelScale
from qengine.errors import OptionError, UnsupportedError
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.model.ops.operator import NeedsRun
from qengine.quantization.calibration import CalibrationOptions, observe
from qengine.runtime.plan.plan import MAX_ELEMENTS
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

BITS = (2, 3, 4, 5, 6, 7, 8, 16)
_ON_THE_FRONT = 8  # assignments along the descent that are measured for the front


def search(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    dataset: Dataset,
    *,
    metric: str | None = None,
    max_drop: float | str | None = None,
    least: float | None = None,
    cost: str = "weights",
    bits: Sequence[int] = BITS,
    weight_bits: Sequence[int] | None = None,
    activation_bits: Sequence[int] | None = None,
    options: CalibrationOptions | None = None,
    pixel_scale: PixelScale | None = None,
    hold_out: float | None = None,
    sensitivity_samples: int = 128,
    max_runs: int = 500,
    seconds: float | None = None,
    rounding: str = "half_even",
    overflow: str = "saturate",
    accumulator_bits: int | None = None,
    strict: bool = False,
    isa: str | None = None,
    threads: int | None = None,
    max_elements: int = MAX_ELEMENTS,
    progress: Progress | None = None,
) -> Found:
    """Return formats of the fewest bits in which a model is still good enough on data.

    Every tensor may have a word length of its own; those that share a format move together. What each does to the
    output at each word length is measured alone. From the longest words the search goes down along the assignments
    that save most for the noise they add, measures the model itself, and then tries single tensors shorter and longer.
    The same call gives the same answer, unless `seconds` end it.

    Parameters
    ----------
    model
        As for `InferenceSession`.
    dataset
        The data, which `qengine.data.datasets.open_dataset` gives.
    metric
        A `Metric`; None for top1 where there are labels, else agreement of classes, psnr of images, or sqnr.
    max_drop
        How much worse than float32 it may be: a number of percentage points or dB, or text such as "1%" or "0.5dB".
        Of what is infinite in float32, such as sqnr, than the longest words. None, and no `least`, is 1 percentage
        point or 1 dB.
    least
        The figure itself that is good enough, a share or dB, in place of `max_drop`.
    cost
        A `Cost`. What costs nothing has its longest word.
    bits
        Word lengths to choose from, 2 to 16.
    weight_bits, activation_bits
        Those of constants, and of inputs and activations, if others; one for a kind that is to stay as it is.
    options
        How the formats of a word length are chosen; their word lengths are not looked at.
    pixel_scale
        How pixels and numbers go together; None for 0..255.
    hold_out
        This share of the samples, spread evenly, is not used for anything but to measure in the end what was found:
        `Found.held_out`. None to search on all.
    sensitivity_samples
        So many of the samples are used to measure tensors alone; all of them to measure the model.
    max_runs
        So many assignments are measured at most.
    seconds
        After so much time no other is measured; None for no limit.
    rounding, overflow, accumulator_bits, strict, isa, threads, max_elements
        As for `InferenceSession`.
    progress
        Told how it goes on.

    Raises
    ------
    OptionError
        If an option has no meaning, or even the longest words are not good enough.
    QEngineError
        If the model, or a run of it, fails.

    Examples
    --------
    >>> import qengine
    >>> from qengine import datasets, zoo
    >>> from qengine.model.loader import load
    >>> from qengine.analysis.search import search
    >>> graph = load(zoo.find("digits").path)
    >>> data = datasets.open_dataset("digits", graph, limit=100, batch=50)
    >>> found = search(graph, data, metric="agreement", max_drop=2, activation_bits=[8])
    >>> found.best.value >= 0.98, found.best.cost < found.uniform[5].cost
    (True, True)
    >>> session = qengine.InferenceSession(graph, formats=found.formats)
    """
    progress = progress or silent
    if max_drop is not None and least is not None:
        raise OptionError("max_drop and least both say what is good enough: give one of them")
    if cost not in list(Cost):
        raise OptionError(f"no cost is named '{cost}'; there are {', '.join(Cost)}")
    graph = model if isinstance(model, Graph) else load(model)
    limits: dict[str, Any] = {"threads": threads, "max_elements": max_elements}
    arithmetic: dict[str, Any] = {
        "rounding": rounding,
        "overflow": overflow,
        "accumulator_bits": accumulator_bits,
        "strict": strict,
    }
    reference = InferenceSession(graph, isa=isa, **limits).in_float32()
    scale = pixel_scale or PixelScale()
    runs, held = (Runs(dataset.batches, len(dataset)), None) if hold_out is None else split(dataset, graph, hold_out)
    with tempfile.TemporaryDirectory(prefix="qengine-") as folder:

        def in_float32(name: str, runs: Runs) -> Float32Outputs:
            with progress(name, runs.samples) as advance, np.errstate(all="ignore"):
                return ensure_float32(Path(folder), name, reference, runs, advance)

        exact = in_float32("float32", runs)
        has_labels = dataset.labels is not None
        task, judged = task_of(next(iter(exact)), has_labels=has_labels, targets=runs.first.targets, pixel_scale=scale)
        if next(iter(exact))[judged].dtype.kind != "f":
            raise UnsupportedError(
                f"output '{judged}' holds no real numbers, in which the noise of a tensor could be measured: give the "
                "model without the operators that make whole numbers of them, or choose among formats by qengine sweep"
            )
        check_labels(task, judged, next(iter(exact)), dataset.labels)
        wanted = metric_of(metric, task, has_labels=has_labels)
        drop = None if max_drop is None else Drop.parse(max_drop, wanted)
        with progress("calibrating", runs.samples) as advance, np.errstate(all="ignore"):
            observation = observe(graph, feeds_of(runs, advance), **limits)
        units = units_of(
            observation,
            options or CalibrationOptions(),
            list(bits if weight_bits is None else weight_bits),
            list(bits if activation_bits is None else activation_bits),
            **arithmetic,
        )
        unit_of = {name: u for u, unit in enumerate(units) for name in unit.tensors}
        longest = assigned(units, [unit.widths[-1] for unit in units])
        session = InferenceSession(graph, formats=longest, isa="reference", **arithmetic, **limits)
        samples = min(sensitivity_samples, runs.samples)
        try:
            model_cost = cost_model(Cost(cost), session, unit_of, runs.first.feeds, runs.first.count)
            with progress("measuring tensors", samples) as advance:
                harm = measure_harm(session, judged, units, model_cost.units, runs, samples, advance)
        except NeedsRun as reason:
            raise UnsupportedError(
                f"the data decides how this model runs ({reason}), so that no tensor can be rounded alone; "
                "choose word lengths for all at once instead (qengine sweep)"
            ) from None
        choices = Choices([unit.widths for unit in units], harm, model_cost)

        def goal_on(runs: Runs, exact: Float32Outputs) -> Goal:
            judge = Judge(graph, runs, exact, task, judged, scale, wanted, isa=isa, **arithmetic, **limits)
            return goal_of(judge, longest, wanted, drop or Drop(1.0), least)

        goal = goal_on(runs, exact)
        goal_held = None if held is None else goal_on(held, in_float32("held out", held))
        with progress("searching", max_runs) as advance:
            evaluate = Evaluator(goal.judge, units, model_cost, max_runs, seconds, advance)
            start = evaluate(choices.longest)
            if not start.is_good(goal.least):
                raise OptionError(_too_much(wanted, start, goal.least))
            best, is_complete = _found(choices, evaluate, goal.least)
        checked = None
        if held is not None and goal_held is not None:
            value = goal_held.judge.of(assigned(units, best.widths))
            checked = HeldOut(held.samples, goal_held.reference, goal_held.least, value)
    return _told(units, harm, choices, evaluate, best, is_complete, wanted, Cost(cost), goal, checked, judged)


def _found(choices: Choices, evaluate: Evaluator, least: float) -> tuple[Candidate, bool]:
    """Return the cheapest good assignment, and whether the search for it ended by itself."""

    def best() -> Candidate:
        found = cheapest(list(evaluate.measured.values()), least)
        assert found is not None  # the longest words are good
        return found

    try:
        for bits in sorted({width for widths in choices.widths for width in widths}, reverse=True):
            if (assignment := choices.uniform(bits)) is not None:
                evaluate(assignment)
        path = list(descent(choices))
        along(path, evaluate, least)
        refine(choices, best(), evaluate, least)
        found = best()
        for place in np.linspace(0, len(path) - 1, _ON_THE_FRONT).round().astype(int):
            evaluate(path[place])
        # What the front shows by the way may be better still.
        while (other := best()) is not found:
            found = other
            refine(choices, found, evaluate, least)
    except SpentError:
        return best(), False
    return found, True


def _too_much(metric: Metric, start: Candidate, least: float) -> str:
    reached = "no number" if start.value is None else f"{start.value:.4g}"
    return f"even with the longest words {metric} is {reached}, and {least:.4g} is asked for: allow a larger drop"


def _told(
    units: Sequence[Unit],
    harm: Sequence[dict[int, float]],
    choices: Choices,
    evaluate: Evaluator,
    best: Candidate,
    is_complete: bool,
    metric: Metric,
    cost: Cost,
    goal: Goal,
    checked: HeldOut | None,
    judged: str,
) -> Found:
    widths = {width for each in choices.widths for width in each}
    uniform = {
        bits: evaluate.measured[a] for bits in sorted(widths) if (a := choices.uniform(bits)) in evaluate.measured
    }
    idle = [unit.name for u, unit in enumerate(units) if u not in choices.cost.units and len(unit.widths) > 1]
    notes = []
    if idle:
        tensors, have = ("1 tensor costs", "has") if len(idle) == 1 else (f"{len(idle)} tensors cost", "have")
        notes.append(f"{tensors} nothing in {cost}, and {have} the longest word")
    if not is_complete:
        notes.append("runs or time were spent before the search ended: there may be better formats")
    if checked is not None and not checked.is_good:
        notes.append("not good enough on the samples that were held out: allow a smaller drop, or search on more data")
    infos = tuple(
        UnitInfo(unit.name, unit.kind, unit.tensors, width, str(unit.formats.get(width, "")), dict(each))
        for unit, width, each in zip(units, best.widths, harm, strict=True)
    )
    return Found(
        assigned(units, best.widths),
        best,
        infos,
        metric,
        cost,
        goal.reference,
        goal.reference_of,
        goal.least,
        uniform,
        front_of(evaluate.measured.values()),
        len(evaluate.measured),
        is_complete,
        judged,
        checked,
        tuple(notes),
    )
