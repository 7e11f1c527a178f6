"""`qengine search`: the fewest bits in which a model is still good enough."""

import numpy as np

from qengine.analysis.search import search as find_formats
from qengine.atomic_files import check_writable
from qengine.cli import options, parsing, search_options
from qengine.cli.data import DataOptions
from qengine.cli.operators import run_files
from qengine.cli.output.console import progress, status
from qengine.cli.output.search import as_json, as_tables
from qengine.data import zoo
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions
from qengine.runtime.plan.plan import MAX_ELEMENTS


def search(
    model: options.Model,
    data: options.Data = None,
    inputs: options.Inputs = None,
    batch: options.Batch = None,
    limit: options.Limit = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    bgr: options.Bgr = False,
    out: options.FormatsOut = None,
    metric: search_options.MetricName = None,
    max_drop: search_options.MaxDrop = None,
    least: search_options.Least = None,
    hold_out: search_options.HoldOut = None,
    cost: search_options.BitCost = "weights",
    bits: search_options.SearchBits = "2-8,16",
    weight_bits: search_options.WeightBits = None,
    activation_bits: search_options.ActivationBits = None,
    runs: search_options.MaxRuns = 500,
    budget: search_options.Budget = None,
    method: options.CalibrationMethod = "mse",
    per_channel: options.ChannelWeights = False,
    unsigned: options.Unsigned = False,
    tie_joins: options.TieJoins = False,
    rounding: options.RoundingMode = None,
    overflow: options.OverflowMode = None,
    accumulator_bits: options.AccumulatorBits = None,
    strict: options.Strict = False,
    isa: options.Isa = None,
    threads: options.Threads = None,
    max_elements: options.MaxElements = MAX_ELEMENTS,
    operators: options.Operators = None,
    json: options.Json = False,
) -> str:
    """Find the fewest bits, tensor by tensor, in which a model is still good enough on data.

    qengine search digits --max-drop 1% --cost macs -o formats.json && qengine run digits --formats formats.json

    qengine search model.onnx --data set.npz --metric sqnr --min 30 --activation-bits 8 -o formats.json

    qengine search digits --hold-out 0.3 --max-drop 1% -o formats.json

    What each tensor does to the output at each word length is measured; then the model itself, in ever fewer bits.
    """
    widths = parsing.widths("--bits", bits)
    of_weights = parsing.some_widths("--weight-bits", weight_bits)
    of_activations = parsing.some_widths("--activation-bits", activation_bits)
    chosen_by = CalibrationOptions(method=method, per_channel=per_channel, unsigned=unsigned, tie_joins=tie_joins)
    if max_drop is not None and least is not None:
        raise OptionError("--max-drop and --min both say what is good enough: give one of them")
    if out is not None:
        check_writable(out)
    entry = zoo.find(model)
    if data is None and entry is None:
        raise OptionError("--data is needed: what the model is to be judged on")
    name = data or model
    chosen = DataOptions(data, inputs or (), batch, limit, scale, mean, bgr)
    run_files(operators or [])
    with status(f"reading {model}", quiet=json), np.errstate(all="ignore"):
        graph = load(zoo.path_of(model))
        dataset = chosen.open(name, entry, graph, max_elements, several=True)

    found = find_formats(
        graph,
        dataset,
        metric=metric,
        max_drop=max_drop,
        least=least,
        hold_out=hold_out,
        cost=cost,
        bits=widths,
        weight_bits=of_weights,
        activation_bits=of_activations,
        options=chosen_by,
        pixel_scale=chosen.pixel_scale(name, entry),
        max_runs=runs,
        seconds=budget,
        rounding=rounding or "half_even",
        overflow=overflow or "saturate",
        accumulator_bits=accumulator_bits,
        strict=strict,
        isa=isa,
        threads=threads,
        max_elements=max_elements,
        progress=lambda what, total: progress(f"{model}: {what}", total, quiet=json),
    )
    if out is not None:
        found.save(out)
    return as_json(model, dataset, found, out) if json else as_tables(model, dataset, found, out)
