"""Command lines that give the numbers of each section, ready to be pasted."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from qengine.data import zoo
from qengine.data.preprocessing import Preprocessing
from qengine.html_report.facts import AccuracyFacts, BlameFacts, CommandFacts, MemoryFacts
from qengine.html_report.gather.subject import Subject, shown_path

FORMATS = "formats.json"


def commands(
    subject: Subject, accuracy: AccuracyFacts | None, blame: BlameFacts | None, memory: MemoryFacts | None
) -> Iterator[CommandFacts]:
    """Yield the command lines of the parts that a report has."""
    words = _Words(subject)
    if subject.dataset is not None:
        yield words.command("report", "report", [*words.data, *words.typed, *words.compared, "-o", "report.html"])
    if subject.origin.startswith("chosen"):  # before all commands that read the formats
        yield words.command("formats", "calibrate", [*words.calibrated, "-o", words.formats_file])
    yield words.command("model", "inspect", words.arithmetic)
    if accuracy is not None and accuracy.fixed is not None:
        yield words.command("accuracy", "sweep", [*words.data, *words.swept, "-o", "results"])
    if accuracy is not None and accuracy.targets:
        names = ",".join(run.label for run in accuracy.targets)
        yield words.command("accuracy", "sweep", [*words.data, "--targets", names, "-o", "results"])
    if accuracy is not None and accuracy.curve:
        widths = ",".join(str(run.bits) for run in accuracy.curve)
        yield words.command("curve", "sweep", [*words.data, "--bits", widths, "-o", "results"])
    if blame is not None:
        limit = ["--limit", str(blame.samples)]
        yield words.command("tensors", "inspect", [*words.data_without_limit, *words.arithmetic, *limit])
    if memory is not None:
        yield words.command("memory", "export c", [*words.arithmetic, "-o", "network"])


class _Words:
    """Words of command lines for a subject."""

    def __init__(self, subject: Subject) -> None:
        settings, options = subject.settings, subject.options
        self.model = options.shown or shown_path(subject.path)
        self.formats_file = shown_path(options.formats_name or FORMATS)
        data = ["--data", "DATA" if subject.data is None else shown_path(subject.data)]
        if isinstance(options.labels, str):
            data += ["--labels", shown_path(options.labels)]
        self.data_without_limit = [*data, *_preprocessing(subject), *_number("--batch", options.batch)]
        self.data = [*self.data_without_limit, *_number("--limit", options.limit)]
        batch = subject.dataset.batch if subject.dataset is not None and options.batch is None else 1
        fed = [*self.data, *(_number("--batch", batch) if batch > 1 else [])]  # formats depend on the number of runs
        target = [] if settings.target is None else ["--target", _target(settings.target)]
        self.calibrated = [*fed, *_number("--bits", options.bits), *target]
        rules = [*target, *_text("--rounding", settings.rounding), *_text("--overflow", settings.overflow)]
        rules += _number("--accumulator-bits", settings.accumulator_bits)
        formats = [*_text("--qformat", settings.qformat), *_text("--weight-qformat", settings.weight_qformat)]
        if settings.formats is not None or subject.origin.startswith("chosen"):
            formats = ["--formats", self.formats_file, *formats]
        if settings.per_channel:
            formats.append("--per-channel")
        is_fixed = subject.fixed is not None
        self.arithmetic = [*formats, *rules] if is_fixed else []
        self.typed = [*(formats if not subject.origin.startswith("chosen") else []), *rules]
        self.swept = [*(formats or ["--formats", self.formats_file]), *rules] if is_fixed else []
        named = subject.options.targets
        self.compared = [] if named is None else ["--targets", ",".join(map(_target, named)) or "none"]
        if subject.options.curve is not None:
            self.compared += ["--curve", ",".join(map(str, subject.options.curve)) or "none"]
        self.compared += ["--quick"] if subject.options.quick else []
        self.compared += _number("--bits", subject.options.bits) + _text("--metric", subject.options.metric)

    def command(self, section: str, name: str, words: Sequence[str]) -> CommandFacts:
        """Return a command line for a section."""
        return CommandFacts(section, shlex.join(["qengine", *name.split(), self.model, *words]))


def _target(target: Any) -> str:
    return str(getattr(target, "name", shown_path(str(target))))


def _number(option: str, value: int | None) -> list[str]:
    return [] if value is None else [option, str(value)]


def _text(option: str, value: object) -> list[str]:
    return [] if value is None else [option, str(value)]


def _spelled(value: object) -> str:
    """Return a value as people type it: a whole fraction such as 1/255, or all digits."""
    if isinstance(value, float) and value and 1.0 / value == round(1.0 / value) and abs(value) < 1.0:
        return f"1/{round(1.0 / value)}"
    return f"{value:g}" if isinstance(value, float) and value == round(value) else str(value)


def _preprocessing(subject: Subject) -> list[str]:
    """Return the options of preprocessing that was given and is not that of a bundled set or model."""
    entry = zoo.ENTRIES.get(subject.data or "") or zoo.ENTRIES.get(subject.path)
    usual, own = entry.preprocessing if entry else Preprocessing(), subject.preprocessing
    words: list[str] = []
    for name in ("scale", "mean", "resize", "crop", "convert"):
        value = getattr(own, name)
        if value != getattr(usual, name) and value:
            words += [f"--{name}", ",".join(map(_spelled, value))]
    if own.bgr and not usual.bgr:
        words.append("--bgr")
    return words + (["--layout", own.layout] if own.layout and own.layout != usual.layout else [])
