"""All facts of a report: each part is computed by itself, and one that fails leaves its reason and no more."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import qengine
from qengine.errors import QEngineError
from qengine.html_report.facts import AccuracyFacts, BlameFacts, Report, TensorFacts
from qengine.html_report.gather.accuracy import accuracy_facts
from qengine.html_report.gather.commands import commands
from qengine.html_report.gather.memory import memory_facts
from qengine.html_report.gather.model import model_facts
from qengine.html_report.gather.subject import Subject
from qengine.html_report.gather.summary import next_step, summary
from qengine.html_report.gather.tensors import measured_tensors, plain_tensors
from qengine.html_report.gather.worst import read_samples

T = TypeVar("T")

_NO_DATA = "there is no data to run the model on: give --data"
_NO_FORMATS = "the model runs in float32: give formats, or data to choose them from"


@dataclass
class _Gathering:
    """Parts so far: reasons for those that are missing, notes, and the seconds that each took."""

    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def part(self, name: str, compute: Callable[[], T]) -> T | None:
        """Return a part; None, with its reason in `missing`, where it cannot be computed."""
        begun = time.perf_counter()
        try:
            return compute()
        except QEngineError as error:
            self.missing[name] = str(error)
            return None
        finally:
            self.seconds[name] = time.perf_counter() - begun


def gather(subject: Subject) -> tuple[Report, dict[str, float]]:
    """Return the facts of a report, and the seconds that each part took."""
    parts = _Gathering()
    accuracy = _accuracy(subject, parts)
    blame, tensors = _tensors(subject, parts)
    memory = parts.part("memory", lambda: memory_facts(subject))
    read = parts.part("data", lambda: read_samples(subject)) if subject.dataset is not None else None
    if subject.dataset is None:
        parts.missing["data"] = _NO_DATA
    data, worst = read or (None, None)
    if worst is None:
        parts.missing["worst"] = parts.missing.get("data", _NO_FORMATS)
    places = {one.name: i for i, one in enumerate(tensors)}
    begun = time.perf_counter()
    model = model_facts(subject, places)
    parts.seconds["model"] = time.perf_counter() - begun
    notes = (*parts.notes, *subject.inspection.warnings, *(memory.notes if memory else ()))
    report = Report(
        summary=summary(accuracy, blame, tensors, subject.origin),
        next_step=next_step(accuracy, blame),
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
    return report, parts.seconds


def _accuracy(subject: Subject, parts: _Gathering) -> AccuracyFacts | None:
    if subject.dataset is None:
        parts.missing["accuracy"] = _NO_DATA
        return None

    def compute() -> AccuracyFacts:
        with tempfile.TemporaryDirectory(prefix="qengine-report-") as folder:
            facts, notes = accuracy_facts(subject, Path(folder))
        parts.notes += notes
        return facts

    return parts.part("accuracy", compute)


def _tensors(subject: Subject, parts: _Gathering) -> tuple[BlameFacts | None, tuple[TensorFacts, ...]]:
    if subject.fixed is None:
        parts.missing["tensors"] = parts.missing["blame"] = _NO_FORMATS
        return None, ()
    if subject.dataset is None:
        parts.missing["blame"] = _NO_DATA
        return None, plain_tensors(subject)
    found = parts.part("blame", lambda: measured_tensors(subject))
    if found is None:
        return None, plain_tensors(subject)
    blame, tensors, notes = found
    parts.notes += notes
    return blame, tensors


def _versions() -> dict[str, str]:
    others = {name: version(name) for name in ("numpy", "numba", "onnx")}
    return {"qengine": qengine.__version__, **others, "Python": platform.python_version()}
