"""The outcome in one sentence that needs no other, and what to do next in another."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qengine.html_report.facts import AccuracyFacts, BlameFacts, MetricFacts, RunFacts, TensorFacts
from qengine.html_report.figures import decibels, kibibytes, metric_text
from qengine.html_report.gather.accuracy import COST
from qengine.html_report.markup import shortened
from qengine.metrics.declaration import Reference, metric_named
from qengine.metrics.drop import Drop, is_enough

_CULPRIT_DB = 3.0
_MEND = "mend '"  # begins a verdict that names a tensor
_GOOD_DB = 30.0  # of an output against float32 itself
_POINTS = 100.0
_NAME = 60


def summary(
    accuracy: AccuracyFacts | None,
    blame: BlameFacts | None,
    tensors: Sequence[TensorFacts],
    formats: str,
    why: str = "",
) -> str:
    """Return what fixed point costs this model, and why, in one sentence; `why` says why it was not measured."""
    if not formats:
        return "The model was not run in fixed point: there are no formats, and no data to choose them from."
    if accuracy is None or accuracy.fixed is None:
        return f"The formats are {formats}; what they cost was not measured: {why}."
    if accuracy.fixed.error is not None:
        return f"The run in fixed point failed: {accuracy.fixed.error}."
    words = words_of(accuracy.fixed)
    cause = _cause(blame, tensors)
    return f"{_sentence(words, accuracy)}{cause}{_memory(accuracy)}."


def words_of(run: RunFacts) -> str:
    """Return the formats of a run in two words."""
    return f"{run.bits} bits" if run.bits else "this mix of formats"


def _sentence(words: str, accuracy: AccuracyFacts) -> str:
    metric, run = accuracy.metric, accuracy.fixed
    assert run is not None
    value, exact = run.figures.get(metric.column), accuracy.float32.figures.get(metric.column)
    samples = f"{accuracy.samples:,} sample{'s' * (accuracy.samples != 1)}"
    label = (
        metric.label
        if metric.label.isupper() or " " not in metric.label
        else metric.label[0].lower() + metric.label[1:]
    )
    if value is None:
        return f"With {words} the output has no {label} on {samples}"
    if math.isinf(value):
        return f"With {words} the output loses nothing on {samples}"
    against_float32 = metric_named(metric.name).reference is Reference.FLOAT32 or accuracy.against == "float32"
    if against_float32 or exact is None or math.isinf(exact):
        if metric.unit == "share":
            return f"{_start(words)} keeps {metric_text(metric, value)} of the answers of float32 on {samples}"
        return f"{_start(words)} gives {_article(label)} {label} of {metric_text(metric, value)} on {samples}"
    loss = drop_of(metric, exact, value)
    both = f"{metric_text(metric, exact)} in float32, {metric_text(metric, value)} in fixed point, {samples}"
    amount = _amount(metric, abs(loss))
    if amount is None:
        return f"{_start(words)} loses no {label} ({both})"
    verb = "loses" if loss > 0 else "gains"
    return f"{_start(words)} {verb} {amount} of {label} ({both})"


def _article(label: str) -> str:
    """Return the article of a label, such as "an SQNR" and "a PSNR"."""
    vowels = "AEFHILMNORSX" if label[:2].isupper() else "aeio"
    return "an" if label[0] in vowels else "a"


def _start(words: str) -> str:
    return words[0].upper() + words[1:]


def drop_of(metric: MetricFacts, exact: float, value: float) -> float:
    """Return how much worse a figure is than that of float32: points of a share, otherwise in the unit."""
    loss = (exact - value) if metric.higher_is_better else (value - exact)
    return loss * _POINTS if metric.unit == "share" else loss


def _amount(metric: MetricFacts, loss: float) -> str | None:
    """Return a loss in words; None where it is too small to be written."""
    if metric.unit == "share":
        text = f"{loss:.1f}" if loss >= 0.05 else f"{loss:.2f}"
        return None if text == "0.00" else f"{text} point{'s' * (text != '1.0')}"
    text = f"{loss:.2f}" if metric.unit == "dB" else f"{loss:.3g}"
    if float(text) == 0.0:
        return None
    return f"{text} dB" if metric.unit == "dB" else text


def _cause(blame: BlameFacts | None, tensors: Sequence[TensorFacts]) -> str:
    if blame is None or blame.rounded_db is None or math.isinf(blame.rounded_db):
        return ""
    worst = max((one for one in tensors if one.gain_db is not None), key=lambda one: one.gain_db or 0.0, default=None)
    if worst is None or worst.gain_db is None or worst.gain_db <= 0.0:
        return ""
    gain, role = worst.gain_db, f" ({shortened(worst.role, _NAME)})" if worst.role else ""
    name = f"'{shortened(worst.name, _NAME)}'{role}"
    if gain >= _CULPRIT_DB:
        without = (
            "nothing would be lost" if math.isinf(gain) else f"without its rounding the output gains {decibels(gain)}"
        )
        return f"; {name} is why ({without})"
    return f"; the noise comes from many tensors ({name} costs most, {decibels(gain)})"


def _memory(accuracy: AccuracyFacts) -> str:
    own, exact = (run.costs.get(COST) if run else None for run in (accuracy.fixed, accuracy.float32))
    if own is None or not exact:
        return ""
    return f"; weights take {kibibytes(own)} instead of {kibibytes(exact)}"


def next_step(accuracy: AccuracyFacts | None, blame: BlameFacts | None, export: str) -> str:
    """Return what to do next, in a sentence, in which a command line of MODEL exports the formats."""
    if accuracy is None:
        return "Give samples that the model runs on (--data), to see what fixed point costs."
    if accuracy.fixed is None:
        return "Give formats (--qformat, --formats), to see what fixed point costs."
    if accuracy.fixed.error is not None:
        return "Mend what the message says, and make the report again."
    verdict = blame.verdict[0] if blame is not None and blame.verdict else ""
    shortest, tolerance = _shortest(accuracy), _tolerance(accuracy)
    own = accuracy.fixed.bits
    if _is_good(accuracy, accuracy.fixed):
        shorter = f" {shortest} bits would do too." if shortest and own and shortest < own else ""
        if verdict.startswith(_MEND):
            return f"The output stays {tolerance}: export these formats ({export}); still, {verdict}."
        return f"The output stays {tolerance}: export these formats ({export}).{shorter}"
    longer = f"{shortest} bits stay {tolerance}; or " if shortest and own and shortest > own else ""
    advice = f"{longer}{verdict}" if verdict else longer.removesuffix("; or ")
    search = "Give longer words, or search for a length of each tensor (qengine search MODEL -o formats.json)."
    return f"{_start(advice)}." if advice else search


def _tolerance(accuracy: AccuracyFacts) -> str:
    """Return the loss that is accepted, in words."""
    metric = accuracy.metric
    exact, drop = accuracy.float32.figures.get(metric.column), metric_named(metric.name).default_drop
    if exact is not None and math.isinf(exact):
        return f"above {_GOOD_DB:g} dB against float32"
    amount = f"{drop:g} point{'s' * (drop != 1)}" if metric.unit == "share" else f"{drop:g} {metric.unit}".rstrip()
    return f"within {amount} of float32"


def _is_good(accuracy: AccuracyFacts, run: RunFacts) -> bool:
    """Whether a run loses no more than a search allows by default; against float32 itself, whether it has 30 dB."""
    metric = accuracy.metric
    value, exact = run.figures.get(metric.column), accuracy.float32.figures.get(metric.column)
    if value is None or exact is None or run.error is not None:
        return False
    if math.isinf(exact):
        return value >= _GOOD_DB
    one = metric_named(metric.name)
    return is_enough(one, value, Drop(one.default_drop).limit(exact, one))


def _shortest(accuracy: AccuracyFacts) -> int | None:
    """Return the shortest word length of the curve that is good, and with which all longer ones are."""
    found = None
    for run in sorted(accuracy.curve, key=lambda run: -(run.bits or 0)):
        if not _is_good(accuracy, run):
            break
        found = run.bits
    return found
