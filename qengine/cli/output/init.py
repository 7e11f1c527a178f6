"""Output of `qengine init`: what was found, how the model does with each preprocessing, and the next command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qengine.cli.output.console import Line, Part, counted_samples, decibels, rendered
from qengine.cli.output.tables import NEVER, Table
from qengine.cli.output.text import Paste
from qengine.cli.project.find import NAME
from qengine.cli.project.first_look.look import Look
from qengine.cli.project.first_look.trials import Trial
from qengine.data.channels import channel_axis
from qengine.errors import FeedError
from qengine.metrics.tasks import Task
from qengine.model.graph import Value
from qengine.results import json_text

_TASKS = {Task.CLASSES: "classes", Task.IMAGES: "image to image", Task.OTHER: "other numbers"}
_SHOWN = 5


@dataclass(frozen=True)
class Initialized:
    """Result of `qengine init`.

    Attributes
    ----------
    model, data : model and data as typed; None without data.
    path : project file that was written.
    look : model and data as they were found.
    has_own_data : whether the model is a bundled one, which comes with data.
    """

    model: str
    data: str | None
    path: Path
    look: Look
    has_own_data: bool

    @property
    def next_command(self) -> str:
        """The command to type next."""
        option = [] if self.path == Path(NAME) else ["--project", str(self.path)]
        is_runnable = self.data is not None and not self.look.problem
        return shlex.join(["qengine", "calibrate" if is_runnable else "inspect", *option])

    def remarks(self) -> list[str]:
        """Return lines for the beginning of the file."""
        verdict = self.look.verdict
        lines = [f"{what}: {found}" for what, found in facts(self.look, self.data)]
        if verdict is None or self.look.trials is None:
            return lines
        chosen = self.look.trials.trials[verdict.chosen]
        if len(self.look.trials.trials) > 1:
            lines.append(f"preprocessing: {chosen.candidate.name}{_because(chosen, is_measured=verdict.is_measured)}")
        return [*lines, *verdict.notes]


def _because(trial: Trial, *, is_measured: bool) -> str:
    if not is_measured:
        return ""
    if trial.accuracy is not None:
        return f", {trial.accuracy:.1%} of {trial.samples} samples are right in float32"
    return "" if trial.psnr is None else f", PSNR {decibels(trial.psnr)} dB in float32"


def facts(look: Look, data: str | None) -> list[tuple[str, str]]:
    """Return what was found: pairs of a word and what there is to say."""
    rows = [("input", _described(value, look)) for value in look.inputs[:_SHOWN]]
    if more := len(look.inputs) - _SHOWN:
        rows += [("", f"and {more} more inputs")] if more > 0 else []
    rows += [("output", _described_output(look))]
    if data is None or look.dataset is None:
        return [*rows, ("data", "none: the file names no samples")]
    count = len(look.dataset)
    samples = look.pictures.described(count) if look.pictures else counted_samples(count)
    rows.append(("data", f"{data}: {samples}"))
    rows.append(("labels", _labels(look)))
    if look.trials is not None and not look.dataset.reads_pixels:
        for name, (low, high) in list(look.trials.ranges.items())[:_SHOWN]:
            rows.append(("numbers", f"'{name}' from {low:.4g} to {high:.4g}, fed unchanged"))
    sizing = [f"--{key} {look.options[key]}" for key in ("resize", "crop", "layout", "convert") if key in look.options]
    return rows + ([("pictures", f"read with {', '.join(sizing)}")] if sizing else [])


def _described(value: Value, look: Look) -> str:
    shape = "?" if value.shape is None else ", ".join("?" if n is None else str(n) for n in value.shape)
    words = f"'{value.name}' {value.dtype or '?'} [{shape}]"
    if value.shape is None or len(value.shape) not in (3, 4):
        return words
    try:
        axis = channel_axis(value.shape, look.options.get("layout"))
    except FeedError:
        return f"{words}: channels first or last, give --layout"
    kinds = {1: "grey", 3: "colour"}
    channels = value.shape[axis]
    kind = kinds.get(channels) if isinstance(channels, int) else None
    return f"{words}: {kind} pictures, {'nhwc' if axis == -1 else 'nchw'}" if kind else words


def _described_output(look: Look) -> str:
    more = f", of {len(look.outputs)} outputs" if len(look.outputs) > 1 else ""
    if look.task is None:
        return ", ".join(f"'{value.name}'" for value in look.outputs[:_SHOWN])
    kind = f"{look.classes:,} classes" if look.task is Task.CLASSES and look.classes else _TASKS[look.task]
    return f"'{look.output}': {kind}{more}"


def _labels(look: Look) -> str:
    labels = None if look.dataset is None else look.dataset.labels
    if labels is not None and len(labels):
        return f"{len(set(labels.tolist())):,} classes, numbers {int(labels.min())} to {int(labels.max())}"
    if look.trials is not None and look.trials.has_targets:
        return "none, but true outputs"
    return "none"


def as_tables(result: Initialized) -> str:
    """Return the result as tables for a terminal."""
    look = result.look
    found = Table(has_heading=False)
    found.words("", importance=NEVER)
    found.text("", importance=NEVER)
    for what, words in facts(look, result.data):
        found.row(what, words)
    parts: list[Part] = [found]
    if look.trials is not None and len(look.trials.trials) > 1:
        parts += ["", _trials(look)]
    notes = (*(look.dataset.notes if look.dataset else ()), *(look.verdict.notes if look.verdict else ()))
    lines: list[Line] = list(notes)
    if look.problem:
        lines.append(f"the model did not run on the data: {look.problem}")
    if result.data is None:
        lines.append(f"give the samples with --data, or write them into {result.path}")
    lines += [Paste(f"wrote {result.path}"), Paste(f"next: {result.next_command}")]
    return rendered(result.model, parts, lines)


def _trials(look: Look) -> Table:
    """Return the table of preprocessings."""
    assert look.trials is not None
    assert look.verdict is not None
    trials = look.trials.trials
    table = Table()
    table.names("preprocessing")
    columns = _columns(look)
    for i, heading in enumerate(columns):
        table.numbers(heading, importance=9 - i)
    table.text("", importance=8)
    for i, (trial, word) in enumerate(zip(trials, look.verdict.words, strict=True)):
        style = "bold" if i == look.verdict.chosen else ""
        figures = [columns[heading](trial) for heading in columns]
        table.row(trial.candidate.name, *figures, word, style=style)
    return table


def _columns(look: Look) -> dict[str, Any]:
    """Return a function for each column of figures that the trials have."""
    assert look.trials is not None
    first = look.trials.trials[0]
    columns: dict[str, Any] = {}
    if first.accuracy is not None:
        columns["top-1"] = lambda trial: f"{trial.accuracy:.1%}"
    if first.confidence is not None:
        columns["confidence"] = lambda trial: "-" if trial.confidence is None else f"{trial.confidence:.0%}"
    if look.trials.task is Task.CLASSES:
        columns["classes"] = lambda trial: str(len(trial.found))
    if first.psnr is not None:
        columns["PSNR dB" if look.trials.has_targets else "dB to input"] = lambda trial: decibels(trial.psnr)
    columns["outputs"] = lambda trial: f"{trial.low:.3g} to {trial.high:.3g}" if trial.low <= trial.high else "-"
    return columns


def as_json(result: Initialized) -> str:
    """Return the result as a JSON object."""
    look, verdict = result.look, result.look.verdict
    trials = look.trials.trials if look.trials else ()
    words = verdict.words if verdict else ()
    return json_text(
        {
            "model": result.model,
            "data": result.data,
            "project": str(result.path),
            "inputs": [_record(value) for value in look.inputs],
            "outputs": [_record(value) for value in look.outputs],
            "task": None if look.task is None else str(look.task),
            "output": look.output,
            "classes": look.classes,
            "samples": None if look.dataset is None else len(look.dataset),
            "labels": look.dataset is not None and look.dataset.labels is not None,
            "picture_sizes": None if look.pictures is None else [list(size) for size in look.pictures.sizes],
            "preprocessing": dict(look.options),
            "is_measured": verdict is not None and verdict.is_measured,
            "tried": [_trial_record(trial, word) for trial, word in zip(trials, words, strict=True)],
            "problem": look.problem or None,
            "notes": [*(look.dataset.notes if look.dataset else ()), *(verdict.notes if verdict else ())],
            "next": result.next_command,
        }
    )


def _record(value: Value) -> dict[str, Any]:
    shape = None if value.shape is None else list(value.shape)
    return {"name": value.name, "dtype": None if value.dtype is None else str(value.dtype), "shape": shape}


def _trial_record(trial: Trial, word: str) -> dict[str, Any]:
    return {
        "name": trial.candidate.name,
        "options": dict(trial.candidate.options),
        "samples": trial.samples,
        "top1": trial.accuracy,
        "confidence": trial.confidence,
        "classes": len(trial.found) or None,
        "psnr": trial.psnr,
        "range": [trial.low, trial.high] if trial.low <= trial.high else None,
        "verdict": word or None,
    }
