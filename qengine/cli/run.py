"""`qengine run`: a model on an input, and what fixed point costs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.advice import Advice, advise
from qengine.analysis.report import Comparison, compare
from qengine.cli import options, parsing
from qengine.cli.operators import run_files
from qengine.cli.output.console import as_tables, status
from qengine.cli.output.result import RunResult
from qengine.cli.output.run import as_json
from qengine.data import zoo
from qengine.data.images import PixelScale, planes_of
from qengine.data.read import is_image, read_value
from qengine.data.write import check_out, write_outputs
from qengine.errors import OptionError
from qengine.metrics.quality import Truth, class_quality, image_quality, is_scores, read_truth
from qengine.model.graph import Value
from qengine.qformat import QFormat
from qengine.runtime.plan.plan import MAX_ELEMENTS
from qengine.runtime.session import InferenceSession

Arrays = Mapping[str, NDArray[Any]]


def run(
    model: options.Model,
    inputs: options.Inputs = None,
    out: options.Out = None,
    fetch: options.Fetch = None,
    raw: options.Raw = False,
    target: options.Target = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    bgr: options.Bgr = False,
    qformat: options.QFormat = None,
    weight_qformat: options.WeightQFormat = None,
    formats: options.Formats = None,
    rounding: options.RoundingMode = None,
    overflow: options.OverflowMode = None,
    accumulator_bits: options.AccumulatorBits = None,
    per_channel: options.PerChannel = False,
    strict: options.Strict = False,
    isa: options.Isa = None,
    threads: options.Threads = None,
    max_elements: options.MaxElements = MAX_ELEMENTS,
    operators: options.Operators = None,
    json: options.Json = False,
) -> str:
    """Run a model on an input. With a format: in fixed point, and what that costs against float32.

    qengine run srcnn --qformat Q4.3 -o out.png

    qengine run model.onnx -i x=photo.png --scale 1/255 --qformat Q1.6
    """
    fixed = parsing.FixedPoint(
        qformat, weight_qformat, formats, rounding, overflow, accumulator_bits, per_channel, strict
    )
    entry = zoo.find(model)
    path = zoo.path_of(model)
    pixel_scale = parsing.pixel_scale(entry.pixel_scale if entry else PixelScale(), scale, mean, bgr)
    common: dict[str, Any] = {"isa": isa, "threads": threads, "max_elements": max_elements}

    run_files(operators or [])
    with status(f"running {model}", quiet=json), np.errstate(all="ignore"):
        session = fixed.session(path, **common)
        _check_out(out, raw, session)
        reference = session.in_float32()
        names = list(dict.fromkeys(fetch or (value.name for value in session.get_outputs())))
        given = parsing.inputs(inputs or [], session.graph, pixel_scale, max_elements)
        sample = entry.sample(pixel_scale) if entry else None
        feeds = {**(sample.feeds if sample else {}), **given}
        comparison = compare(session, reference, feeds, names) if session.in_fixed_point else None
        outputs = comparison.outputs if comparison else dict(zip(names, session.run(names, feeds), strict=True))
        _check_tensors(outputs)

        shows_images = bool(entry or scale or target or any(is_image(text) for text in inputs or []))
        judged = _judged(outputs, shows_images)
        if target is not None:
            declared = Value(judged, None, outputs[judged].shape)
            truth = read_truth(read_value(target, declared, pixel_scale, max_elements, "--target"), outputs[judged])
        elif sample and sample.data_input not in given and not fetch:
            truth = _sample_truth(sample, outputs[judged], reference, feeds)
        else:  # what is known of the sample says nothing of another input, or of another tensor
            truth = Truth()
        exact = comparison.float_outputs[judged] if comparison else None
        image = image_quality(outputs[judged], exact, pixel_scale, truth) if shows_images else None
        classes = class_quality(outputs[judged], exact, truth)
        advice = _advice(comparison, path, fixed, common, feeds) if comparison else None
        notes = comparison.notes if comparison else session.notes
        if out and (left := write_outputs(out, comparison.codes if comparison and raw else outputs, pixel_scale)):
            listed = ", ".join(f"'{name}'" for name in left)
            notes = (*notes, f"{out} holds one image, and not {listed}; .npz holds all")

    written = (str(out),) if out else ()
    result = RunResult(model, fixed, session, feeds, outputs, comparison, image, classes, advice, notes, written)
    return as_json(result) if json else as_tables(result)


def _check_out(out: Path | None, raw: bool, session: InferenceSession) -> None:
    """Refuse before a run what cannot be saved after it."""
    if raw and not session.in_fixed_point:
        raise OptionError("--raw saves the codes of a run in fixed point: give a --qformat or --formats with it")
    if raw and out is None:
        raise OptionError("--raw saves codes: say where, with -o OUT")
    if out is not None:
        check_out(out, codes=raw)


def _check_tensors(outputs: Mapping[str, Any]) -> None:
    """Refuse what cannot be shown or saved."""
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray):
            kind = "an empty optional" if value is None else f"a sequence of {len(value)}"
            raise OptionError(f"'{name}' is {kind}, and only tensors are shown: ask for others with --fetch")


def _judged(outputs: Arrays, shows_images: bool) -> str:
    """Return the output whose quality is told: the first that is an image or scores of classes, or the first."""
    fitting = (
        name for name, array in outputs.items() if is_scores(array) or (shows_images and planes_of(array) is not None)
    )
    return next(fitting, next(iter(outputs)))


def _sample_truth(sample: zoo.Sample, output: NDArray[Any], reference: InferenceSession, feeds: Arrays) -> Truth:
    """Return what is known of a bundled model's sample, as far as it goes with this output."""
    image = sample.target if sample.target is not None and sample.target.shape == output.shape else None
    baseline = None
    if image is not None and sample.baseline is not None:
        (baseline,) = reference.run([sample.baseline], feeds)
    return Truth(image, baseline, sample.labels)


def _advice(
    comparison: Comparison, path: Path, fixed: parsing.FixedPoint, common: Mapping[str, Any], feeds: Arrays
) -> Advice | None:
    """Return a better format for the whole model; where tensors have formats of their own, nobody can tell."""
    if fixed.qformat is None or fixed.formats is not None:
        return None

    def with_format(candidate: QFormat) -> dict[str, NDArray[Any]]:
        session = InferenceSession(path, **{**fixed.keywords(), "qformat": candidate}, **common)
        names = list(comparison.outputs)
        return dict(zip(names, session.run(names, feeds), strict=True))

    return advise(comparison, QFormat.parse(fixed.qformat), with_format)
