"""`qengine run`: run a model on an input, and compare fixed point with float32."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from qengine.analysis.advice import Advice, advise
from qengine.analysis.report import Comparison, compare
from qengine.cli import options
from qengine.cli.operators import run_files
from qengine.cli.options.fail_under import answer
from qengine.cli.output.progress import status
from qengine.cli.output.result import RunResult
from qengine.cli.output.run import as_json, as_tables
from qengine.cli.panels import INPUTS
from qengine.cli.pixels import with_scale_notes
from qengine.cli.raw_outputs import check_raw, write_formats
from qengine.cli.session import open_session
from qengine.data import zoo
from qengine.data.applied import Applied
from qengine.data.images import planes_of
from qengine.data.preprocessing import Preprocessing
from qengine.data.read import is_image, read_value
from qengine.data.write import check_out, write_outputs
from qengine.errors import OptionError
from qengine.metrics.quality import Quality, Truth, qualities, read_truth
from qengine.metrics.tasks import is_scores
from qengine.metrics.thresholds import shortfalls
from qengine.model.graph import Value
from qengine.qformat import QFormat
from qengine.runtime.session import InferenceSession

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Tensors that `qengine run` shows, compares and saves."""

    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="Save the outputs: .png (one image), .npy, .npz.",
            rich_help_panel=INPUTS,
        ),
    ] = None
    fetch: options.Fetch = None
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            metavar="",
            help="Save integer codes, and their formats in a file that ends in .formats.json.",
            rich_help_panel=INPUTS,
        ),
    ] = False
    expected: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE",
            help="The expected output: an image, or a label for each item.",
            rich_help_panel=INPUTS,
        ),
    ] = None


def run(
    *,
    model: options.Model,
    source: options.DataOptions,
    output: OutputOptions,
    fixed: options.FixedPointOptions,
    kernels: options.KernelOptions,
    failing: options.ThresholdOptions,
    command: options.CommandOptions,
) -> str:
    """Run a model on an input, or on data; with a format, compared with float32.

    qengine run srcnn --qformat Q4.3 -o out.png

    qengine run model.onnx -i input=photo.png --scale 1/255 --qformat Q1.6

    qengine run model.onnx --data val --formats formats.json --fail-under top1=-0.5%

    Exit status: 0, 1 where a figure of --fail-under is not reached, 2 for an error.
    """
    settings = fixed.session_options(kernels)
    thresholds = failing.thresholds()
    path = zoo.path_of(model)
    run_files(command.operators or [])
    if source.data is not None:
        if output.expected is not None:
            raise OptionError("--expected belongs to the input of a single run: data has labels or targets of its own")
        from qengine.cli.evaluation import SavedOutputs, evaluate_data  # not for a single run, which it would slow down

        return evaluate_data(
            model,
            open_session(path, settings),
            source,
            SavedOutputs(output.out, output.raw),
            fixed,
            failing,
            fetch=output.fetch,
            max_elements=kernels.max_elements,
            json=command.json,
            quiet=command.quiet,
        )
    source.check_without_data()
    with status(f"running {model}", quiet=command.quiet), np.errstate(all="ignore"):
        session = open_session(path, settings)
        _check_out(output.out, output.raw, session)
        fed = _fed(model, source, session, fixed.formats, kernels.max_elements)
        result = _result(model, output, fixed, session, fed, kernels.max_elements)
    figures = {str(one.metric): _figure(one) for one in result.quality}
    in_float32 = {str(one.metric): one.float32_against_target for one in result.quality}
    return answer((as_json if command.json else as_tables)(result), shortfalls(thresholds, figures, in_float32))


@dataclass(frozen=True)
class _Fed:
    """Inputs of a run.

    Attributes
    ----------
    feeds : all arrays by name.
    typed : names of those that were typed.
    sample : sample of a bundled model, which gives the others.
    preprocessing : conversion of pixels to numbers.
    pixels : inputs that are made of pixels, and remarks on them.
    shows_images : whether outputs may be images, because inputs are.
    """

    feeds: Arrays
    typed: frozenset[str]
    sample: zoo.Sample | None
    preprocessing: Preprocessing
    pixels: Applied
    shows_images: bool


def _fed(
    model: str, source: options.DataOptions, session: InferenceSession, formats: Path | None, max_elements: int
) -> _Fed:
    """Return the inputs that were typed, and those of the sample of a bundled model."""
    entry, graph = zoo.find(model), session.graph
    base = source.base(model, graph, formats)
    preprocessing = source.preprocessing(base)
    given = source.arrays(graph, preprocessing, max_elements)
    sample = entry.sample(preprocessing) if entry else None
    feeds = {**(sample.feeds if sample else {}), **given}
    pixels = source.applied(base, graph, others=sample.pixels_beside(given) if sample else ())
    pixels = with_scale_notes(pixels, base, session, feeds, formats)
    shows_images = bool(entry or source.scale or any(is_image(text) for text in source.inputs or ()))
    return _Fed(feeds, frozenset(given), sample, preprocessing, pixels, shows_images)


def _result(
    model: str,
    output: OutputOptions,
    fixed: options.FixedPointOptions,
    session: InferenceSession,
    fed: _Fed,
    max_elements: int,
) -> RunResult:
    """Run the model, save what was asked for, and return the result."""
    reference, feeds = session.in_float32(), fed.feeds
    names = list(dict.fromkeys(output.fetch or (value.name for value in session.get_outputs())))
    containers = [name for name in names if _is_container(session, name)]
    tensors = [name for name in names if name not in containers]
    comparison = compare(session, reference, feeds, tensors) if session.in_fixed_point and tensors else None
    rest = containers if comparison else names
    found = dict(comparison.outputs) if comparison else {}
    found |= dict(zip(rest, session.run(rest, feeds), strict=True)) if rest else {}
    outputs = {name: found[name] for name in names if isinstance(found[name], np.ndarray)}
    others = {name: found[name] for name in names if name not in outputs}
    _check_tensors(outputs, others, output.out)

    shows_images = fed.shows_images or output.expected is not None
    evaluated = _evaluated_output(outputs, shows_images, fed.preprocessing.layout)
    array = outputs[evaluated]
    exact = comparison.float_outputs[evaluated] if comparison else None
    truth = _truth(output, evaluated, array, fed, reference, max_elements)
    quality = qualities(array, exact, fed.preprocessing, truth, is_image=shows_images)
    advice = _advice(comparison, session, feeds) if comparison and fixed.formats is None else None
    notes, written = _save(output, outputs, comparison, session, fed.preprocessing)
    notes = (*(comparison.notes if comparison else session.notes), *notes)
    return RunResult(
        *(model, fixed, session, feeds, outputs, others, comparison, evaluated, quality, advice, notes, fed.pixels),
        written,
    )


def _truth(
    output: OutputOptions,
    evaluated: str,
    array: NDArray[Any],
    fed: _Fed,
    reference: InferenceSession,
    max_elements: int,
) -> Truth:
    """Return what an output should be: what was typed or, of a sample that is fed whole, the sample's."""
    if output.expected is not None:
        declared = Value(evaluated, None, array.shape)
        target = read_value(output.expected, declared, fed.preprocessing, max_elements, "--expected")
        return read_truth(target, array, fed.preprocessing.layout)
    if fed.sample and fed.sample.data_input not in fed.typed and not output.fetch:
        return _sample_truth(fed.sample, array, reference, fed.feeds)
    return Truth()  # the target of the sample does not belong to another input, or to another tensor


def _save(
    output: OutputOptions,
    outputs: Arrays,
    comparison: Comparison | None,
    session: InferenceSession,
    preprocessing: Preprocessing,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write the outputs, if a file is named; return notes, and the paths of what was written."""
    if output.out is None:
        return (), ()
    if not (comparison and output.raw):
        return _write(output.out, outputs, preprocessing), (str(output.out),)
    notes = _write(output.out, comparison.codes, preprocessing)
    return notes, (str(output.out), str(write_formats(output.out, comparison.codes, session)))


def _figure(one: Quality) -> float | None:
    """Return the figure of a run against the true output or, where there is none, against float32."""
    return one.against_float32 if one.against_target is None else one.against_target


def _check_out(out: Path | None, raw: bool, session: InferenceSession) -> None:
    """Raise OptionError, before a run, for outputs that could not be saved after it."""
    if raw:
        check_raw(out, session)
    if out is not None:
        check_out(out, codes=raw)


def _write(out: Path, arrays: Arrays, preprocessing: Preprocessing) -> tuple[str, ...]:
    """Write the outputs; return a note about those that the file does not hold, if any."""
    missing = write_outputs(out, arrays, preprocessing)
    listed = ", ".join(f"'{name}'" for name in missing)
    return (f"{out} holds one image, and not {listed}; an .npz file holds all",) if missing else ()


def _is_container(session: InferenceSession, name: str) -> bool:
    """Whether the model declares that a value is a sequence, a map or an optional."""
    value = session.graph.values.get(name)
    return value is not None and value.container is not None


def _check_tensors(outputs: Arrays, others: Mapping[str, Any], out: Path | None) -> None:
    """Raise OptionError where no output is a tensor, or where a file cannot hold the others."""
    if not others or (outputs and out is None):
        return
    name, value = next(iter(others.items()))
    kinds = {list: "a sequence", dict: "a map"}
    kind = next((f"{text} of {len(value)}" for kind, text in kinds.items() if isinstance(value, kind)), None)
    verb = "saved" if outputs else "shown"
    raise OptionError(
        f"'{name}' is {kind or 'an empty optional'}, and only tensors can be {verb}: name others with --fetch"
    )


def _evaluated_output(outputs: Arrays, shows_images: bool, layout: str | None) -> str:
    """Return the output whose quality is computed: the first that is an image or scores of classes, else the first."""
    candidates = (
        name
        for name, array in outputs.items()
        if is_scores(array) or (shows_images and planes_of(array, layout) is not None)
    )
    return next(candidates, next(iter(outputs)))


def _sample_truth(sample: zoo.Sample, output: NDArray[Any], reference: InferenceSession, feeds: Arrays) -> Truth:
    """Return the target and the labels of a bundled model's sample, as far as they fit this output."""
    image = sample.target if sample.target is not None and sample.target.shape == output.shape else None
    baseline = None
    if image is not None and sample.baseline is not None:
        (baseline,) = reference.run([sample.baseline], feeds)
    return Truth(image, baseline, sample.labels)


def _advice(comparison: Comparison, session: InferenceSession, feeds: Arrays) -> Advice | None:
    """Return a better format for the whole model; None where no format was given for all activations."""
    settings = session.options
    if settings.qformat is None:
        return None

    def run_in(candidate: QFormat) -> dict[str, NDArray[Any]]:
        names = list(comparison.outputs)
        other = session.with_options(replace(settings, qformat=candidate))
        return dict(zip(names, other.run(names, feeds), strict=True))

    return advise(comparison, QFormat.of(settings.qformat), run_in)
