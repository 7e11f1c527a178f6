"""`qengine sweep`: how good a model is in many arithmetics."""

import sys
from pathlib import Path

from qengine.analysis.sweep import Grid, Sweep, Task
from qengine.analysis.sweep import sweep as run_sweep
from qengine.analysis.sweep.plots import Cost, write_plots
from qengine.analysis.sweep.table import write_csv
from qengine.cli import options, parsing
from qengine.cli import sweep_options as grids
from qengine.cli.output.console import progress
from qengine.cli.output.sweep import as_json, as_tables
from qengine.data import zoo
from qengine.errors import OptionError, SweepError
from qengine.model.loader import load

_CHANNELS = {"off": (False,), "on": (True,), "both": (False, True)}


def sweep(
    *,
    model: options.Model,
    out: grids.Folder,
    data: options.DataOptions,
    lists: grids.GridOptions,
    ranges: options.RangeOptions,
    rules: options.TensorRuleOptions,
    strict: options.Strict = False,
    work: grids.WorkOptions,
    kernels: options.KernelOptions,
    json: options.Json = False,
) -> str:
    """Run a model on data in many arithmetics, and keep in DIR how good each is.

    qengine sweep digits --bits 2-16 -o results

    qengine sweep model.onnx --data set.npz --bits 4-8 --per-channel both --rounding half_even,floor -o results --jobs 4

    qengine sweep digits --bits 4-8 --recipe fold,fold+bias,best -o results

    A sweep that is stopped goes on where it was when the same command is given again.
    """
    if lists.per_channel not in _CHANNELS:
        raise OptionError(f"--per-channel is one of {', '.join(_CHANNELS)}, not '{lists.per_channel}'")
    if work.cost not in list(Cost):
        raise OptionError(f"--cost is one of {', '.join(Cost)}, not '{work.cost}'")
    grid = Grid(
        bits=parsing.some_widths("--bits", lists.bits),
        weight_bits=parsing.some_widths("--weight-bits", lists.weight_bits),
        activation_bits=parsing.some_widths("--activation-bits", lists.activation_bits),
        methods=parsing.words("--method", lists.method),
        per_channel=_CHANNELS[lists.per_channel],
        qformats=parsing.words("--qformat", lists.qformat) if lists.qformat is not None else (),
        formats=lists.formats or (),
        roundings=parsing.words("--rounding", lists.rounding),
        overflows=parsing.words("--overflow", lists.overflow),
        accumulator_bits=_accumulators(lists.accumulator_bits),
        recipes=parsing.words("--recipe", lists.recipe),
        **vars(ranges),
        **vars(rules),
    )
    pixel_scale = data.data_scale(data.data or model, zoo.find(model))
    fixed = data.arrays(load(zoo.path_of(model)), pixel_scale, kernels.max_elements) if data.inputs else None

    try:
        found = run_sweep(
            model,
            out,
            grid,
            data=data.data,
            inputs=fixed,
            pixel_scale=pixel_scale,
            batch=data.batch,
            limit=data.limit,
            ssim=not work.no_ssim,
            strict=strict,
            retry_failed=work.retry_failed,
            jobs=work.jobs,
            scheduler=work.scheduler,
            progress=lambda what, total: progress(f"{model}: {what}", total, quiet=json),
            **vars(kernels),
        )
    except KeyboardInterrupt:
        print(f"qengine: interrupted; {out} keeps what is done: give the same command to go on", file=sys.stderr)  # noqa: T201
        raise
    written, notes = _written(found, Cost(work.cost))
    return as_json(found, written, notes) if json else as_tables(found, written, notes)


def _written(found: Sweep, cost: Cost) -> tuple[list[Path], list[str]]:
    """Write what is made of the rows; return the files, and what there is to say."""
    table = found.folder / "results.csv"
    write_csv(table, found.rows)
    written = [found.folder / "results.sqlite", table]
    notes = []
    if found.task is Task.OTHER and not found.rows[0].outcome.measures.sqnr_by_output:
        notes.append(
            "the outputs are neither real numbers nor classes: rows tell codes apart, and not how good they are"
        )
    try:
        return written + write_plots(found, cost), notes
    except SweepError as error:  # rows are what counts
        return written, [*notes, str(error)]


def _accumulators(text: str | None) -> list[int | None]:
    found: list[int | None] = []
    for part in parsing.words("--accumulator-bits", text or "all"):
        found += [None] if part == "all" else parsing.widths("--accumulator-bits", part)
    return found
