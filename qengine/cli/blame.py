"""`qengine inspect --data`: which tensor broke a model in fixed point."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qengine.analysis.blame import Blame, blame
from qengine.analysis.blame.plot import check_plot, draw_histogram
from qengine.atomic_files import check_writable
from qengine.cli.data import DataOptions, fed_in_parts
from qengine.cli.output.blame import as_json, as_tables, write_csv
from qengine.cli.output.console import progress, status
from qengine.cli.parsing import FixedPoint
from qengine.data import zoo
from qengine.errors import OptionError, did_you_mean

ALL = "all"
"""What --plot takes for every tensor."""


@dataclass(frozen=True)
class Files:
    """What is to be written: a table as CSV; a picture of a tensor, or of all into a folder."""

    csv: Path | None = None
    plot: str | None = None
    out: Path | None = None

    def check(self) -> None:
        """Refuse before a run what cannot be written after it."""
        if self.csv is not None:
            check_writable(self.csv)
        if (self.plot is None) != (self.out is None):
            raise OptionError("--plot TENSOR needs -o FILE.png, and --plot all a folder; -o is of --plot")
        if self.out is None:
            return
        if self.plot != ALL:
            check_plot(self.out)
            check_writable(self.out)
        else:
            check_plot(f"{ALL}.png")
            if self.out.exists() and not self.out.is_dir():
                raise OptionError(f"--plot all needs a folder, and {self.out} is a file")

    def write(self, found: Blame) -> tuple[str, ...]:
        """Write what is asked for, and return the files."""
        written = []
        if self.csv is not None:
            write_csv(self.csv, found)
            written.append(str(self.csv))
        if self.plot is not None and self.out is not None:
            written += self._plots(found, self.plot, self.out)
        return tuple(written)

    def check_tensor(self, names: Sequence[str]) -> None:
        """Refuse a name that no tensor in fixed point has."""
        if self.plot is not None and self.plot not in (ALL, *names):
            raise OptionError(f"no tensor in fixed point is named '{self.plot}'{did_you_mean(self.plot, names)}")

    def _plots(self, found: Blame, plot: str, out: Path) -> Iterator[str]:
        try:
            if plot == ALL:
                out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cannot make the folder {out}: {error.strerror or error}") from None
        for i, one in enumerate(found.tensors, 1):
            if plot not in (ALL, one.name):
                continue
            path = out if plot != ALL else out / f"{i:03}_{_as_file(one.name)}.png"
            better = one.suggestion.format if one.suggestion else None
            draw_histogram(path, one.name, found.histograms[one.name], one.format, better)
            yield str(path)


def _as_file(name: str) -> str:
    """Return a name of a tensor as one of a file; they may hold anything."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)[:80]


def run_blame(
    model: str,
    entry: zoo.Entry | None,
    fixed: FixedPoint,
    chosen: DataOptions,
    files: Files,
    *,
    fetch: Sequence[str] | None,
    json: bool,
    **common: Any,
) -> str:
    """Run a model on data in fixed point and in float32, and tell what each tensor costs.

    Parameters
    ----------
    model, entry
        As it was typed, and the bundled model of that name.
    fixed, chosen, files, json
        What was asked for.
    fetch
        Where noise is measured.
    common
        `threads` and `max_elements`, as for `InferenceSession`.
    """
    files.check()
    assert chosen.data is not None
    with np.errstate(all="ignore"):
        with status(f"reading {model}", quiet=json):
            session = fixed.session(zoo.path_of(model), isa="reference", **common)
            if not session.in_fixed_point:
                raise OptionError("--data tells what fixed point costs: give a --qformat or --formats with it")
            files.check_tensor(list(session.formats))
            dataset = chosen.open(chosen.data, entry, session.graph, common["max_elements"], several=True)
        with progress(f"measuring {model}", len(dataset), quiet=json) as advance:
            feeds, advance_part = fed_in_parts(dataset, advance)
            found = blame(session, feeds, outputs=fetch, advance=advance_part)
    written = files.write(found)
    return (as_json if json else as_tables)(model, fixed, dataset, found, written)
