"""`qengine search`: the fewest bits in which a model is still good enough."""

import numpy as np

from qengine.analysis.search import search as find_formats
from qengine.atomic_files import check_writable
from qengine.cli import options, parsing, search_options
from qengine.cli.operators import run_files
from qengine.cli.output.console import progress, status
from qengine.cli.output.search import as_json, as_tables
from qengine.data import zoo
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions


def search(
    *,
    model: options.Model,
    data: options.DataOptions,
    out: options.FormatsOut = None,
    goal: search_options.GoalOptions,
    method: options.MethodOptions,
    rules: options.TensorRuleOptions,
    arithmetic: options.ArithmeticOptions,
    kernels: options.KernelOptions,
    command: options.CommandOptions,
) -> str:
    """Find the fewest bits, tensor by tensor, in which a model is still good enough on data.

    qengine search digits --max-drop 1% --cost macs -o formats.json && qengine run digits --formats formats.json

    qengine search model.onnx --data set.npz --metric sqnr --min 30 --activation-bits 8 -o formats.json

    qengine search digits --hold-out 0.3 --max-drop 1% -o formats.json

    What each tensor does to the output at each word length is measured; then the model itself, in ever fewer bits.
    """
    widths = parsing.widths("--bits", goal.bits)
    of_weights = parsing.some_widths("--weight-bits", goal.weight_bits)
    of_activations = parsing.some_widths("--activation-bits", goal.activation_bits)
    chosen_by = CalibrationOptions(**vars(method), **vars(rules))
    if goal.max_drop is not None and goal.least is not None:
        raise OptionError("--max-drop and --min both say what is good enough: give one of them")
    if out is not None:
        check_writable(out)
    entry = zoo.find(model)
    if data.data is None and entry is None:
        raise OptionError("--data is needed: what the model is to be judged on")
    name = data.data or model
    run_files(command.operators or [])
    with status(f"reading {model}", quiet=command.json), np.errstate(all="ignore"):
        graph = load(zoo.path_of(model))
        dataset = data.open(name, entry, graph, kernels.max_elements, several=True)

    found = find_formats(
        graph,
        dataset,
        metric=goal.metric,
        max_drop=goal.max_drop,
        least=goal.least,
        hold_out=goal.hold_out,
        cost=goal.cost,
        bits=widths,
        weight_bits=of_weights,
        activation_bits=of_activations,
        options=chosen_by,
        pixel_scale=data.data_scale(name, entry),
        max_runs=goal.runs,
        seconds=goal.budget,
        rounding=arithmetic.rounding or "half_even",
        overflow=arithmetic.overflow or "saturate",
        accumulator_bits=arithmetic.accumulator_bits,
        strict=arithmetic.strict,
        progress=lambda what, total: progress(f"{model}: {what}", total, quiet=command.json),
        **vars(kernels),
    )
    if out is not None:
        found.save(out)
    return (as_json if command.json else as_tables)(model, dataset, found, out)
