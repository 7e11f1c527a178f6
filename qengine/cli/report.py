"""`qengine report`: a model in fixed point and in float32, as one HTML file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from qengine.cli import options, parsing
from qengine.cli.operators import run_files
from qengine.cli.options.fail_under import answer
from qengine.cli.output.progress import progress
from qengine.cli.output.report import as_json, as_text
from qengine.cli.panels import CHOICE, INPUTS, RUN
from qengine.cli.pixels import with_scale_notes
from qengine.cli.session import check_meaning
from qengine.data import zoo
from qengine.errors import OptionError
from qengine.html_report import ReportOptions
from qengine.html_report import report as write_report
from qengine.model.loader import load

_PANEL = "What the report compares"
_NONE = "none"


@dataclass(frozen=True, kw_only=True)
class ReportChoice:
    """Word lengths and targets of a report, and its file."""

    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help="The file to write.", rich_help_panel=INPUTS),
    ] = Path("report.html")
    bits: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=16,
            metavar="BITS",
            help="Word length that formats are chosen for from the data, where none are given. Default: 8, or the next "
            "that the target has.",
            rich_help_panel=CHOICE,
        ),
    ] = None
    targets: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Devices to compare, such as cmsis-nn-q7,esp32-s3; none for none. Default: some of 8 bits.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    curve: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Word lengths of the curve, such as 4-8,12; none for no curve. Default: 4-8,10,12,16.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Metric of the summary and the curve. Default: the first that the data has.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            metavar="",
            help="Compute less: four word lengths, no targets, fewer samples.",
            rich_help_panel=RUN,
        ),
    ] = False

    def target_names(self) -> tuple[str, ...] | None:
        """Return the devices to compare; None for some."""
        if self.targets is None:
            return None
        return () if self.targets == _NONE else tuple(parsing.words("--targets", self.targets))

    def widths(self) -> tuple[int, ...] | None:
        """Return the word lengths of the curve; None for the usual ones."""
        if self.curve is None:
            return None
        return () if self.curve == _NONE else tuple(parsing.widths("--curve", self.curve))


def report(
    *,
    model: options.Model,
    data: options.DataOptions,
    choice: ReportChoice,
    fixed: options.FixedPointOptions,
    kernels: options.KernelOptions,
    limits: options.ThresholdOptions,
    command: options.CommandOptions,
) -> str:
    """Write a report on a model in fixed point, as one HTML file.

    qengine report digits -o report.html

    qengine report model.onnx --data set.npz --bits 8 --targets cmsis-nn-q7,esp32-s3 -o report.html

    qengine report model.onnx --data photos --formats formats.json --quick -o report.html

    Without formats, they are chosen from the data. A part that cannot be computed says why.

    The file needs nothing else, and no network.

    Exit status: 0, 1 where a figure of --fail-under is not reached, 2 for an error.
    """
    thresholds = limits.thresholds()
    run_files(command.operators or [])
    entry = zoo.find(model)
    if thresholds and data.data is None and entry is None:
        raise OptionError("--fail-under needs figures: give --data to measure them on")
    settings = fixed.session_options(kernels)
    if data.data is None and entry is None:
        data.check_without_data()
        check_meaning(settings, lambda: False)
    graph = load(zoo.path_of(model))
    base, name = data.base(model, graph, fixed.formats), data.data or (model if entry else None)
    preprocessing = data.preprocessing(base)
    dataset = None if name is None else data.open(name, base, graph, kernels.max_elements)
    pixels = data.applied(base, graph, dataset)
    if dataset is not None:
        pixels = with_scale_notes(pixels, base, graph, dataset, fixed.formats)
    given = data.arrays(graph, preprocessing, kernels.max_elements) if data.inputs else None
    wanted = ReportOptions(
        bits=choice.bits,
        targets=choice.target_names(),
        curve=choice.widths(),
        quick=choice.quick,
        metric=choice.metric,
        labels=data.labels,
        inputs=given,
        preprocessing=preprocessing,
        batch=data.batch,
        limit=data.limit,
        notes=pixels.notes,
        inputs_shown=data.inputs or (),
        formats_name=None if fixed.formats is None else str(fixed.formats),
    )

    written = write_report(
        model,
        data.data,
        choice.out,
        wanted,
        session=replace(settings, isa=kernels.isa),
        progress=lambda what, total: progress(f"{model}: {what}", total, quiet=command.quiet),
    )
    text = (as_json if command.json else as_text)(written, pixels)
    if not thresholds:
        return text
    if written.evaluation is None:
        why = written.facts.missing.get("accuracy", "nothing was run")
        raise OptionError(f"--fail-under has no figure to compare: {why}")
    return answer(text, written.evaluation.shortfalls(thresholds))
