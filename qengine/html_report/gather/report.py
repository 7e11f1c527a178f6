"""All facts of a report: each part is computed by itself, and one that fails leaves its reason and no more."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TypeVar

import qengine
from qengine.analysis.evaluation import Evaluation
from qengine.errors import OptionError, QEngineError
from qengine.html_report.facts import AccuracyFacts, BlameFacts, Report, TensorFacts
from qengine.html_report.gather.accuracy import accuracy_facts, evaluated
from qengine.html_report.gather.commands import commands, export_command, with_model
from qengine.html_report.gather.memory import memory_facts
from qengine.html_report.gather.model import model_facts
from qengine.html_report.gather.subject import Subject
from qengine.html_report.gather.summary import next_step, summary
from qengine.html_report.gather.tensors import measured_tensors, plain_tensors, with_evaluation, with_roles
from qengine.html_report.gather.worst import read_samples

T = TypeVar("T")

_NO_DATA = "there is no data to run the model on: give --data"
_NO_FORMATS = "the model runs in float32: give formats, or data to choose them from"


@dataclass
class _Gathering:
    """Parts so far: reasons for those that are missing, notes, and the seconds that each took.

    Attributes
    ----------
    asked : parts for which an option was given, so that it is an error where they do not have it.
    """

    asked: frozenset[str] = frozenset()
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def part(self, name: str, compute: Callable[[], T]) -> T | None:
        """Return a part; None, with its reason in `missing`, where it cannot be computed."""
        begun = time.perf_counter()
        try:
            return compute()
        except QEngineError as error:
            if isinstance(error, OptionError) and name in self.asked:
                raise
            self.missing[name] = str(error)
            return None
        finally:
            self.seconds[name] = time.perf_counter() - begun


def gather(subject: Subject) -> tuple[Report, Evaluation | None, dict[str, float]]:
    """Return the facts of a report, the evaluation that they come from, and the seconds that each part took."""
    parts = _Gathering(frozenset({"accuracy"} if subject.options.metric else ()))
    evaluation = _evaluation(subject, parts)
    accuracy = _accuracy(subject, evaluation, parts)
    blame, found = _tensors(subject, evaluation, parts)
    tensors = with_roles(subject, found)
    memory = parts.part("memory", lambda: memory_facts(subject))
    read = parts.part("data", lambda: read_samples(subject, evaluation)) if subject.dataset is not None else None
    if subject.dataset is None:
        parts.missing["data"] = _NO_DATA
    data, worst = read or (None, None)
    if worst is None:
        parts.missing["worst"] = parts.missing.get("data", _NO_FORMATS)
    places = {one.name: i for i, one in enumerate(tensors)}
    begun = time.perf_counter()
    model = model_facts(subject, places)
    parts.seconds["model"] = time.perf_counter() - begun
    notes = (
        *subject.options.notes,
        *(subject.dataset.notes if subject.dataset else ()),
        *parts.notes,
        *subject.inspection.warnings,
        *(memory.notes if memory else ()),
    )
    report = Report(
        summary=summary(accuracy, blame, tensors, subject.origin, parts.missing.get("accuracy", "")),
        next_step=with_model(subject, next_step(accuracy, blame, export_command(subject))),
        model=model,
        formats=subject.origin,
        tensors=tensors,
        accuracy=accuracy,
        blame=blame,
        memory=memory,
        data=data,
        worst=worst,
        missing=parts.missing,
        notes=tuple(dict.fromkeys(notes)),
        commands=tuple(commands(subject, accuracy, blame, memory)),
        versions=_versions(),
    )
    return report, evaluation, parts.seconds


def _evaluation(subject: Subject, parts: _Gathering) -> Evaluation | None:
    if subject.dataset is None:
        parts.missing["accuracy"] = _NO_DATA
        return None
    found = parts.part("accuracy", lambda: evaluated(subject))
    if found is not None:
        parts.notes += found.notes
    return found


def _accuracy(subject: Subject, evaluation: Evaluation | None, parts: _Gathering) -> AccuracyFacts | None:
    if evaluation is None:
        return None
    found = parts.part("curve", lambda: accuracy_facts(subject, evaluation))
    if found is None:
        parts.missing["accuracy"] = parts.missing["curve"]
        return None
    facts, notes = found
    parts.notes += notes
    return facts


def _tensors(
    subject: Subject, evaluation: Evaluation | None, parts: _Gathering
) -> tuple[BlameFacts | None, tuple[TensorFacts, ...]]:
    if subject.fixed is None:
        parts.missing["tensors"] = parts.missing["blame"] = _NO_FORMATS
        return None, ()
    if subject.dataset is None:
        parts.missing["blame"] = _NO_DATA
        return None, plain_tensors(subject)
    found = parts.part("blame", lambda: measured_tensors(subject))
    if found is None:
        return None, with_evaluation(plain_tensors(subject), evaluation)
    blame, tensors, notes = found
    parts.notes += notes
    return blame, with_evaluation(tensors, evaluation)


def _versions() -> dict[str, str]:
    others = {name: version(name) for name in ("numpy", "numba", "onnx")}
    return {"qengine": qengine.__version__, **others, "Python": platform.python_version()}
