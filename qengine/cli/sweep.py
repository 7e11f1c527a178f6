"""`qengine sweep`: how good a model is in many arithmetics."""

import sys
from pathlib import Path

from qengine.analysis.sweep import Grid, Sweep, Task
from qengine.analysis.sweep import sweep as run_sweep
from qengine.analysis.sweep.plots import Cost, write_plots
from qengine.analysis.sweep.table import write_csv
from qengine.cli import options, parsing
from qengine.cli import sweep_options as grids
from qengine.cli.data import DataOptions
from qengine.cli.output.console import progress
from qengine.cli.output.sweep import as_json, as_tables
from qengine.data import zoo
from qengine.errors import OptionError, SweepError
from qengine.model.loader import load
from qengine.runtime.plan.plan import MAX_ELEMENTS

_CHANNELS = {"off": (False,), "on": (True,), "both": (False, True)}


def sweep(
    model: options.Model,
    out: grids.Folder,
    data: options.Data = None,
    inputs: options.Inputs = None,
    batch: options.Batch = None,
    limit: options.Limit = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    bgr: options.Bgr = False,
    bits: grids.Bits = None,
    weight_bits: grids.WeightBits = None,
    activation_bits: grids.ActivationBits = None,
    method: grids.Methods = "mse",
    percentile: options.Percentile = None,
    headroom: options.Headroom = 1.0,
    per_channel: grids.PerChannel = "off",
    unsigned: options.Unsigned = False,
    tie_joins: options.TieJoins = False,
    qformat: grids.QFormats = None,
    formats: grids.Formats = None,
    rounding: grids.Roundings = "half_even",
    overflow: grids.Overflows = "saturate",
    accumulator_bits: grids.AccumulatorBits = None,
    recipe: grids.Recipes = "fold",
    strict: options.Strict = False,
    no_ssim: grids.NoSsim = False,
    cost: grids.ParetoCost = Cost.WEIGHT_MEMORY.value,
    retry_failed: grids.RetryFailed = False,
    jobs: grids.Jobs = None,
    scheduler: grids.Scheduler = None,
    isa: options.Isa = None,
    threads: options.Threads = None,
    max_elements: options.MaxElements = MAX_ELEMENTS,
    json: options.Json = False,
) -> str:
    """Run a model on data in many arithmetics, and keep in DIR how good each is.

    qengine sweep digits --bits 2-16 -o results

    qengine sweep model.onnx --data set.npz --bits 4-8 --per-channel both --rounding half_even,floor -o results --jobs 4

    qengine sweep digits --bits 4-8 --recipe fold,fold+bias,best -o results

    A sweep that is stopped goes on where it was when the same command is given again.
    """
    if per_channel not in _CHANNELS:
        raise OptionError(f"--per-channel is one of {', '.join(_CHANNELS)}, not '{per_channel}'")
    if cost not in list(Cost):
        raise OptionError(f"--cost is one of {', '.join(Cost)}, not '{cost}'")
    grid = Grid(
        bits=parsing.some_widths("--bits", bits),
        weight_bits=parsing.some_widths("--weight-bits", weight_bits),
        activation_bits=parsing.some_widths("--activation-bits", activation_bits),
        methods=parsing.words("--method", method),
        percentile=percentile,
        headroom=headroom,
        per_channel=_CHANNELS[per_channel],
        unsigned=unsigned,
        tie_joins=tie_joins,
        qformats=parsing.words("--qformat", qformat) if qformat is not None else (),
        formats=formats or (),
        roundings=parsing.words("--rounding", rounding),
        overflows=parsing.words("--overflow", overflow),
        accumulator_bits=_accumulators(accumulator_bits),
        recipes=parsing.words("--recipe", recipe),
    )
    entry = zoo.find(model)
    pixel_scale = DataOptions(scale=scale, mean=mean, bgr=bgr).pixel_scale(data or model, entry)
    fixed = None
    if inputs:
        fixed = parsing.inputs(inputs, load(zoo.path_of(model)), pixel_scale, max_elements)

    try:
        found = run_sweep(
            model,
            out,
            grid,
            data=data,
            inputs=fixed,
            pixel_scale=pixel_scale,
            batch=batch,
            limit=limit,
            ssim=not no_ssim,
            strict=strict,
            retry_failed=retry_failed,
            jobs=jobs,
            scheduler=scheduler,
            isa=isa,
            threads=threads,
            max_elements=max_elements,
            progress=lambda what, total: progress(f"{model}: {what}", total, quiet=json),
        )
    except KeyboardInterrupt:
        print(f"qengine: interrupted; {out} keeps what is done: give the same command to go on", file=sys.stderr)  # noqa: T201
        raise
    written, notes = _written(found, Cost(cost))
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
