"""The files of a sweep in its folder: the database, tables, and plots where matplotlib is installed."""

from __future__ import annotations

from dataclasses import replace

from qengine.analysis.sweep.csv_file import write_csv, write_differences
from qengine.analysis.sweep.plots import write_plots
from qengine.analysis.sweep.result import Sweep
from qengine.analysis.sweep.target_plots import write_target_plots
from qengine.errors import MissingPackageError
from qengine.metrics.tasks import Task

RESULTS = "results.sqlite"


def write_files(sweep: Sweep, *, cost: str, metric: str | None, plots: bool) -> Sweep:
    """Write the tables and the plots of a sweep into its folder, and return it with the files and notes.

    Parameters
    ----------
    sweep
        Result of a sweep, whose rows are in the database.
    cost, metric
        See `SweepOptions`.
    plots
        Whether plots are drawn.

    Raises
    ------
    OptionError
        If there is no such cost or metric, or a file cannot be written.
    """
    folder, notes = sweep.folder, list(sweep.notes)
    table = folder / "results.csv"
    write_csv(table, sweep.rows)
    written = [folder / RESULTS, table]
    if sweep.differences:
        write_differences(compared := folder / "targets.csv", sweep.differences)
        written.append(compared)
    if sweep.task is Task.OTHER and not sweep.rows[0].outcome.measures.sqnr_by_output:
        notes.append("the outputs are neither real numbers nor classes: rows have digests of codes, and no figures")
    if plots:
        try:
            written += write_plots(sweep, cost, metric)
            written += write_target_plots(sweep, metric)
        except MissingPackageError as error:  # the rows are kept without plots
            notes.append(str(error))
    return replace(sweep, written=tuple(written), notes=tuple(notes))
