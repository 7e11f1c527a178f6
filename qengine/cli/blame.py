"""`qengine inspect --data`: the noise that each tensor's format causes in a model in fixed point."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from qengine.analysis.blame import Blame, blame
from qengine.analysis.blame.overview import draw_overview
from qengine.analysis.blame.plot import draw_histogram
from qengine.analysis.figures import check_file, write
from qengine.atomic_files import check_writable
from qengine.cli import options
from qengine.cli.output.blame import as_json, as_tables
from qengine.cli.output.progress import progress, status
from qengine.cli.pixels import with_scale_notes
from qengine.cli.session import open_session
from qengine.data import zoo
from qengine.data.datasets import Dataset, provenance_of
from qengine.data.provenance import Provenance
from qengine.errors import OptionError, did_you_mean
from qengine.model.formats.files import format_to_json, write_formats
from qengine.results import csv_text, write_text

ALL, OVERVIEW = "all", "overview"
"""Values of --plot that stand for every tensor, and for one figure of all."""

PANEL = "Noise of each tensor"
"""Title of the panel of these options in `--help`."""


@dataclass(frozen=True, kw_only=True)
class BlameOptions:
    """Groups that `qengine inspect --data` measures as one, and the files that it writes: the table, and plots."""

    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="auto|REGEX",
            help="Blame tensors as one: auto for blocks and chains, or those whose names match. Repeatable.",
            rich_help_panel=PANEL,
        ),
    ] = None
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Save the table of --data.", rich_help_panel=PANEL),
    ] = None
    suggested: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Save all formats, with the better ones that are suggested in place, as a formats file.",
            rich_help_panel=PANEL,
        ),
    ] = None
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="TENSOR",
            help="Draw the values of a tensor with its format, or overview: all tensors in one figure, to -o FILE; all "
            "draws both, to -o FOLDER.",
            rich_help_panel=PANEL,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="With --plot: a .png, .svg or .pdf file, or a folder.",
            rich_help_panel=PANEL,
        ),
    ] = None

    def check(self) -> None:
        """Raise OptionError, before a run, for a file that could not be written after it."""
        for path in (self.csv, self.suggested):
            if path is not None:
                check_writable(path)
        if (self.plot is None) != (self.out is None):
            raise OptionError("--plot needs -o: TENSOR and overview a FILE.png, and all a FOLDER; -o needs --plot")
        if self.out is None:
            return
        if self.plot != ALL:
            check_file(self.out)
            check_writable(self.out)
        else:
            check_file(f"{ALL}.png")
            if self.out.exists() and not self.out.is_dir():
                raise OptionError(f"--plot all needs a folder, and {self.out} is a file")

    def write(self, result: Blame, provenance: Provenance | None) -> tuple[str, ...]:
        """Write the requested files, formats with the data that they come from, and return their paths."""
        written = []
        if self.csv is not None:
            write_text(self.csv, csv_text(result.records()))
            written.append(str(self.csv))
        if self.suggested is not None:
            formats = {name: format_to_json(fmt) for name, fmt in result.better_formats().items()}
            write_formats(self.suggested, formats, None if provenance is None else provenance.record())
            written.append(str(self.suggested))
        if self.plot is not None and self.out is not None:
            written += self._plots(result, self.plot, self.out)
        return tuple(written)

    def check_tensor(self, names: Sequence[str]) -> None:
        """Raise OptionError if --plot names no tensor in fixed point."""
        if self.plot is not None and self.plot not in (ALL, OVERVIEW, *names):
            near = did_you_mean(self.plot, [*names, OVERVIEW])
            raise OptionError(f"no tensor in fixed point is named '{self.plot}'{near}")

    def _plots(self, result: Blame, plot: str, out: Path) -> Iterator[str]:
        try:
            if plot == ALL:
                out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cannot make the folder {out}: {error.strerror or error}") from None
        if plot in (ALL, OVERVIEW) and not (plot == OVERVIEW and OVERVIEW in result.histograms):
            path = out if plot == OVERVIEW else out / f"000_{OVERVIEW}.png"
            write(draw_overview(result), path)
            yield str(path)
        for i, one in enumerate(result.tensors, 1):
            if plot not in (ALL, one.name):
                continue
            path = out if plot != ALL else out / f"{i:03}_{_file_name(one.name)}.png"
            better = one.suggestion.format if one.suggestion else None
            draw_histogram(path, one.name, result.histograms[one.name], one.format, better)
            yield str(path)


def _file_name(name: str) -> str:
    """Return a file name for a tensor, whose name may hold any character."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)[:80]


def run_blame(
    model: str,
    fixed: options.FixedPointOptions,
    limits: options.LimitOptions,
    data: options.DataOptions,
    blamed: BlameOptions,
    fetch: Sequence[str] | None,
    *,
    json: bool,
    quiet: bool,
) -> str:
    """Run a model on data in fixed point and in float32, and return the noise of each tensor as text.

    Parameters
    ----------
    model
        The model as it was typed.
    fixed, limits, data, blamed
        Options of the command.
    fetch
        Tensors at which noise is measured; None for the model's outputs.
    json
        Whether the text is a JSON object instead of tables.
    quiet
        Whether no progress is shown.
    """
    blamed.check()
    assert data.data is not None
    with np.errstate(all="ignore"):
        with status(f"reading {model}", quiet=quiet):
            settings = fixed.session_options(limits)
            session = open_session(zoo.path_of(model), settings)
            if not session.in_fixed_point:
                raise OptionError("--data measures the noise of fixed point: give a --qformat or --formats with it")
            blamed.check_tensor(list(session.formats))
            base = data.base(model, session.graph, fixed.formats)
            dataset = data.open(data.data, base, session.graph, limits.max_elements, several=True)
            pixels = data.applied(base, session.graph, dataset)
            pixels = with_scale_notes(pixels, base, session, dataset, fixed.formats)
        with progress(f"measuring {model}|samples", len(dataset), quiet=quiet) as advance:
            feeds, advance_part = _fed_in_parts(dataset, advance)
            result = blame(session, feeds, outputs=fetch, groups=blamed.group, advance=advance_part)
    written = blamed.write(result, provenance_of(model, dataset))
    return (as_json if json else as_tables)(model, fixed, dataset, pixels, result, written)


def _fed_in_parts(
    dataset: Dataset, advance: Callable[[float], None]
) -> tuple[Iterator[Mapping[str, Any]], Callable[[float], None]]:
    """Return the feeds of every run, and a function to call with the part of a run that is done."""
    count = 0

    def feeds() -> Iterator[Mapping[str, Any]]:
        nonlocal count
        for batch in dataset.batches():
            count = batch.count
            yield batch.feeds

    return feeds(), lambda part: advance(part * count)
