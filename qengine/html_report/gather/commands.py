"""Command lines that give the numbers of each section, ready to be pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

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
        self.data_without_limit = [
            *data,
            *_inputs(subject),
            *_preprocessing(subject),
            *_number("--batch", options.batch),
        ]
        self.data = [*self.data_without_limit, *_number("--limit", options.limit)]
        batch = subject.dataset.batch if subject.dataset is not None and options.batch is None else 1
        fed = [*self.data, *(_number("--batch", batch) if batch > 1 else [])]  # formats depend on the number of runs
        self.target = [] if settings.target is None else ["--target", _target(settings.target)]
        self.calibrated = [*fed, *_number("--bits", options.bits), *self.target]
        rules = [*self.target, *_text("--rounding", settings.rounding), *_text("--overflow", settings.overflow)]
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


def export_command(subject: Subject) -> str:
    """Return the command line that writes the formats of a report to where others read them, of MODEL."""
    settings, words = subject.settings, _Words(subject)
    rules = (settings.rounding, settings.overflow, settings.rules, settings.accumulator_bits, settings.islands)
    is_plain = all(one is None for one in rules) and settings.weight_qformat is None and not settings.per_channel
    widths = {fmt.bits for fmt in subject.fixed.formats.values()} if subject.fixed is not None else set[int]()
    end = [*([] if widths <= _STORED else ["--as", "qonnx"]), "-o", "quantized.onnx"]
    if subject.origin.startswith("chosen") and is_plain:
        bits = _number("--bits", subject.options.bits)
        return shlex.join(["qengine", "quantize", "MODEL", *bits, *words.target, *end])
    if settings.requests_fixed_point and is_plain and not words.target:
        return shlex.join(["qengine", "quantize", "MODEL", *words.arithmetic, *end])
    return shlex.join(["qengine", "export", "c", "MODEL", *words.arithmetic, "-o", "network"])


def with_model(subject: Subject, text: str) -> str:
    """Return a text whose suggested commands name the model and the data in place of MODEL."""
    words = _Words(subject)
    data = [] if subject.dataset is None else words.data

    def replaced(match: re.Match[str]) -> str:
        own = [] if match[1].startswith("qengine export") else data
        return f"{match[1]} {shlex.join([words.model, *own])}"

    return _SUGGESTED.sub(replaced, text)


_SUGGESTED = re.compile(r"(qengine (?:export )?\w+) MODEL\b")
_STORED = {8, 16}  # bits that QuantizeLinear has
_MAX_NUMBERS = 16  # of an input that is typed as numbers


def _inputs(subject: Subject) -> list[str]:
    """Return the options of inputs that are the same in every run."""
    shown = list(subject.options.inputs_shown)
    if not shown:
        for name, array in (subject.options.inputs or {}).items():
            numbers = np.asarray(array).ravel()
            is_short = numbers.size <= _MAX_NUMBERS and numbers.dtype.kind in "fiu"
            shown.append(f"{name}={','.join(f'{n:.9g}' for n in numbers.tolist()) if is_short else f'{name}.npy'}")
    return [word for one in shown for word in ("-i", one)]


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
