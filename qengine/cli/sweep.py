"""`qengine sweep`: a model in many arithmetics, evaluated on data."""

import sys

from qengine.analysis.sweep import Grid, SweepOptions
from qengine.analysis.sweep import sweep as run_sweep
from qengine.cli import options, parsing
from qengine.cli import sweep_options as grids
from qengine.cli.output.progress import progress
from qengine.cli.output.sweep import as_json, as_tables
from qengine.data import zoo
from qengine.data.applied import applied
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.runtime.options import SessionOptions

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
    quiet: options.Quiet = False,
) -> str:
    """Run a model on data in many formats, and keep the figures of each.

    qengine sweep digits --bits 2-16 -o results

    qengine sweep model.onnx --data set.npz --bits 4-8 --per-channel both --rounding half_even,floor -o results --jobs 4

    qengine sweep digits --bits 4-8 --recipe fold,fold+bias,best -o results

    qengine sweep digits --targets all -o results

    A sweep that was stopped continues when the same command is given again.
    """
    grid = _grid(lists, ranges, rules)
    graph = load(zoo.path_of(model))
    base = data.base(model, graph, lists.formats)
    preprocessing = data.preprocessing(base)
    if base.is_recorded and data.typed_options():
        data.applied(base, graph, data.open(data.data or model, base, graph, kernels.max_elements))
    fixed = data.arrays(graph, preprocessing, kernels.max_elements) if data.inputs else None

    try:
        result = run_sweep(
            model,
            out,
            grid,
            SweepOptions(
                data=data.data,
                labels=data.labels,
                inputs=fixed,
                preprocessing=preprocessing,
                batch=data.batch,
                limit=data.limit,
                ssim=work.ssim,
                metric=work.metric,
                cost=work.cost,
                plots=work.plots,
                retry_failed=work.retry_failed,
                jobs=work.jobs,
                scheduler=work.scheduler,
            ),
            session=SessionOptions(strict=strict, **vars(kernels)),
            progress=lambda name, total: progress(f"{model}: {name}", total, quiet=quiet),
        )
    except KeyboardInterrupt:
        text = f"qengine: interrupted; {out} keeps the finished points: give the same command to continue"
        print(text, file=sys.stderr)  # noqa: T201
        raise
    pixels = applied(base, preprocessing, result.pixels.inputs, typed=data.typed_options())
    pixels = pixels.with_notes(result.pixels.notes)
    return (as_json if json else as_tables)(result, pixels)


def _grid(lists: grids.GridOptions, ranges: options.RangeOptions, rules: options.TensorRuleOptions) -> Grid:
    """Return the points of the sweep; raise OptionError where a list has another form."""
    if lists.per_channel is not None and lists.per_channel not in _CHANNELS:
        raise OptionError(f"--per-channel is one of {', '.join(_CHANNELS)}, not '{lists.per_channel}'")
    return Grid(
        bits=parsing.some_widths("--bits", lists.bits),
        weight_bits=parsing.some_widths("--weight-bits", lists.weight_bits),
        activation_bits=parsing.some_widths("--activation-bits", lists.activation_bits),
        methods=parsing.some_words("--method", lists.method),
        per_channel=None if lists.per_channel is None else _CHANNELS[lists.per_channel],
        qformats=parsing.words("--qformat", lists.qformat) if lists.qformat is not None else (),
        formats=lists.formats or (),
        targets=parsing.some_words("--targets", lists.targets) or (),
        rules=parsing.rules("--rule", lists.rule) if lists.rule else None,
        roundings=parsing.some_words("--rounding", lists.rounding),
        overflows=parsing.some_words("--overflow", lists.overflow),
        accumulator_bits=_accumulators(lists.accumulator_bits),
        recipes=parsing.words("--recipe", lists.recipe),
        **vars(ranges),
        **{**vars(rules), "output_bits": rules.output_word_length},
    )


def _accumulators(text: str | None) -> list[int | None]:
    widths: list[int | None] = []
    for part in parsing.words("--accumulator-bits", text or "all"):
        widths += [None] if part == "all" else parsing.widths("--accumulator-bits", part, 64)
    return widths
