"""`qengine calibrate`: formats for every tensor of a model, from data."""

import numpy as np

from qengine.atomic_files import check_writable
from qengine.cli import options, parsing
from qengine.cli.data import DataOptions
from qengine.cli.operators import run_files
from qengine.cli.output.calibrate import as_json, as_tables
from qengine.cli.output.console import progress, status
from qengine.data import zoo
from qengine.data.datasets.runs import feeds_of
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.quantization.calibration import choose_formats, observe
from qengine.runtime.plan.plan import MAX_ELEMENTS


def calibrate(
    model: options.Model,
    data: options.Data = None,
    inputs: options.Inputs = None,
    batch: options.Batch = None,
    limit: options.Limit = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    bgr: options.Bgr = False,
    out: options.FormatsOut = None,
    bits: options.Bits = 8,
    weight_bits: options.WeightBits = None,
    activation_bits: options.ActivationBits = None,
    method: options.CalibrationMethod = "mse",
    percentile: options.Percentile = None,
    headroom: options.Headroom = 1.0,
    per_channel: options.ChannelWeights = False,
    unsigned: options.Unsigned = False,
    tie_joins: options.TieJoins = False,
    threads: options.Threads = None,
    max_elements: options.MaxElements = MAX_ELEMENTS,
    operators: options.Operators = None,
    json: options.Json = False,
) -> str:
    """Choose a format for every tensor from what it holds on data.

    qengine calibrate digits --bits 8 -o formats.json && qengine run digits --formats formats.json

    qengine calibrate model.onnx --data photos --scale 1/255 --unsigned --per-channel -o formats.json

    The model runs in float32 on all samples, in the memory of one run. -i gives an input that is the same in all.
    """
    wanted = parsing.calibration(
        percentile,
        method,
        bits=bits,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        headroom=headroom,
        per_channel=per_channel,
        unsigned=unsigned,
        tie_joins=tie_joins,
    )
    run_files(operators or [])
    if out is not None:
        check_writable(out)
    entry = zoo.find(model)
    if data is None and entry is None:
        raise OptionError("--data is needed: what the model is to be calibrated on")
    name = data or model
    with np.errstate(all="ignore"):
        with status(f"reading {model}", quiet=json):
            graph = load(zoo.path_of(model))
            chosen = DataOptions(data, inputs or (), batch, limit, scale, mean, bgr)
            dataset = chosen.open(name, entry, graph, max_elements)
        with progress(f"calibrating {model}", len(dataset), quiet=json) as advance:
            observation = observe(
                graph, feeds_of(dataset.batches(), advance), threads=threads, max_elements=max_elements
            )
        found = choose_formats(observation, wanted)
    if out is not None:
        found.save(out)
    return as_json(model, dataset, found, out) if json else as_tables(model, dataset, found, out)
