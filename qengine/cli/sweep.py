"""`qengine sweep`: how good a model is in many arithmetics."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qengine import zoo
from qengine.cli import options, parsing
from qengine.cli.show import progress
from qengine.cli.swept import as_json, as_tables
from qengine.errors import OptionError, SweepError
from qengine.images import PixelScale
from qengine.loader import load
from qengine.plan import MAX_ELEMENTS
from qengine.sweep import Grid, Sweep, run
from qengine.sweep.plots import Cost, write_plots
from qengine.sweep.table import write_csv

_CHANNELS = {"off": (False,), "on": (True,), "both": (False, True)}


def sweep(
    model: options.Model,
    out: options.SweepFolder,
    data: options.Data = None,
    inputs: options.Inputs = None,
    batch: options.Batch = None,
    limit: options.Limit = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    bgr: options.Bgr = False,
    bits: options.SweepBits = None,
    weight_bits: options.SweepWeightBits = None,
    activation_bits: options.SweepActivationBits = None,
    method: options.SweepMethods = "mse",
    percentile: options.Percentile = None,
    per_channel: options.SweepPerChannel = "off",
    unsigned: options.Unsigned = False,
    tie_joins: options.TieJoins = False,
    qformat: options.SweepQFormats = None,
    formats: options.SweepFormats = None,
    rounding: options.SweepRoundings = "half_even",
    overflow: options.SweepOverflows = "saturate",
    accumulator_bits: options.SweepAccumulatorBits = None,
    strict: options.Strict = False,
    no_ssim: options.NoSsim = False,
    cost: options.SweepCost = Cost.WEIGHT_MEMORY.value,
    retry_failed: options.RetryFailed = False,
    jobs: options.Jobs = None,
    scheduler: options.Scheduler = None,
    isa: options.Isa = None,
    threads: options.Threads = None,
    max_elements: options.MaxElements = MAX_ELEMENTS,
    json: options.Json = False,
) -> str:
    """Run a model on data in many arithmetics, and keep in DIR how good each is.

    qengine sweep digits --bits 2-16 -o results

    qengine sweep model.onnx --data set.npz --bits 4-8 --per-channel both --rounding half_even,floor -o results --jobs 4

    A sweep that is stopped goes on where it was when the same command is given again.
    """
    if per_channel not in _CHANNELS:
        raise OptionError(f"--per-channel is one of {', '.join(_CHANNELS)}, not '{per_channel}'")
    if cost not in list(Cost):
        raise OptionError(f"--cost is one of {', '.join(Cost)}, not '{cost}'")
    grid = Grid(
        _widths("--bits", bits),
        _widths("--weight-bits", weight_bits),
        _widths("--activation-bits", activation_bits),
        parsing.words("--method", method),
        percentile,
        _CHANNELS[per_channel],
        unsigned,
        tie_joins,
        parsing.words("--qformat", qformat) if qformat is not None else (),
        formats or (),
        parsing.words("--rounding", rounding),
        parsing.words("--overflow", overflow),
        _accumulators(accumulator_bits),
    )
    entry = zoo.find(model)
    known = zoo.ENTRIES.get(data or model) or entry
    pixel_scale = parsing.pixel_scale(known.pixel_scale if known else PixelScale(), scale, mean, bgr)
    fixed = None
    if inputs:
        fixed = parsing.inputs(inputs, load(entry.path if entry else Path(model)), pixel_scale, max_elements)

    @contextmanager
    def shown(what: str, total: int) -> Iterator[Callable[[int], None]]:
        with progress(f"{model}: {what}", total, quiet=json) as advance:
            yield advance

    try:
        found = run(
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
            progress=shown,
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
    try:
        return written + write_plots(found, cost), []
    except SweepError as error:  # rows are what counts
        return written, [str(error)]


def _widths(option: str, text: str | None) -> list[int] | None:
    return None if text is None else parsing.widths(option, text)


def _accumulators(text: str | None) -> list[int | None]:
    found: list[int | None] = []
    for part in parsing.words("--accumulator-bits", text or "all"):
        found += [None] if part == "all" else parsing.widths("--accumulator-bits", part)
    return found
