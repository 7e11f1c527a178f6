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
from qengine.atomic_files import check_writable
from qengine.cli import options
from qengine.cli.evaluation import SavedOutputs, evaluate_data
from qengine.cli.operators import run_files
from qengine.cli.options.fail_under import answer
from qengine.cli.options.panels import INPUTS
from qengine.cli.output.progress import status
from qengine.cli.output.result import RunResult
from qengine.cli.output.run import as_json, as_tables
from qengine.cli.pixels import with_scale_notes
from qengine.cli.session import open_session
from qengine.data import zoo
from qengine.data.images import planes_of
from qengine.data.preprocessing import Preprocessing
from qengine.data.read import is_image, read_value
from qengine.data.write import check_out, write_outputs
from qengine.errors import OptionError
from qengine.metrics.quality import Quality, Truth, qualities, read_truth
from qengine.metrics.tasks import is_scores
from qengine.metrics.thresholds import shortfalls
from qengine.model.formats.files import format_to_json, write_formats
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
    entry = zoo.find(model)
    path = zoo.path_of(model)
    settings = fixed.session_options(kernels)

    thresholds = failing.thresholds()
    run_files(command.operators or [])
    if source.data is not None:
        if output.expected is not None:
            raise OptionError("--expected belongs to the input of a single run: data has labels or targets of its own")
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
        base = source.base(model, session.graph, fixed.formats)
        preprocessing = source.preprocessing(base)
        reference = session.in_float32()
        names = list(dict.fromkeys(output.fetch or (value.name for value in session.get_outputs())))
        given = source.arrays(session.graph, preprocessing, kernels.max_elements)
        sample = entry.sample(preprocessing) if entry else None
        pixels = source.applied(base, session.graph, others=sample.pixels_beside(given) if sample else ())
        feeds = {**(sample.feeds if sample else {}), **given}
        pixels = with_scale_notes(pixels, base, session, feeds, fixed.formats)
        containers = [name for name in names if _is_container(session, name)]
        tensors = [name for name in names if name not in containers]
        comparison = compare(session, reference, feeds, tensors) if session.in_fixed_point and tensors else None
        rest = containers if comparison else names
        found = dict(comparison.outputs) if comparison else {}
        found |= dict(zip(rest, session.run(rest, feeds), strict=True)) if rest else {}
        outputs = {name: found[name] for name in names}
        others = {name: value for name, value in outputs.items() if not isinstance(value, np.ndarray)}
        outputs = {name: value for name, value in outputs.items() if name not in others}
        _check_tensors(outputs, others, output.out)

        shows_images = bool(
            entry or source.scale or output.expected or any(is_image(text) for text in source.inputs or ())
        )
        evaluated = _evaluated_output(outputs, shows_images, preprocessing.layout)
        array = outputs[evaluated]
        if output.expected is not None:
            declared = Value(evaluated, None, array.shape)
            target = read_value(output.expected, declared, preprocessing, kernels.max_elements, "--expected")
            truth = read_truth(target, array, preprocessing.layout)
        elif sample and sample.data_input not in given and not output.fetch:
            truth = _sample_truth(sample, array, reference, feeds)
        else:  # the target of the sample does not belong to another input, or to another tensor
            truth = Truth()
        exact = comparison.float_outputs[evaluated] if comparison else None
        quality = qualities(array, exact, preprocessing, truth, is_image=shows_images)
        advice = _advice(comparison, session, feeds) if comparison and fixed.formats is None else None
        notes = comparison.notes if comparison else session.notes
        if output.out is not None:
            notes += _write(output.out, comparison.codes if comparison and output.raw else outputs, preprocessing)
            if comparison and output.raw:
                _write_formats(output.out, comparison.codes, session)

    written: tuple[str, ...] = (str(output.out),) if output.out else ()
    if output.out and output.raw:
        written += (str(_formats_beside(output.out)),)
    result = RunResult(
        model, fixed, session, feeds, outputs, others, comparison, evaluated, quality, advice, notes, pixels, written
    )
    figures, in_float32 = ({str(one.metric): value(one) for one in quality} for value in (_figure, _float32_figure))
    return answer((as_json if command.json else as_tables)(result), shortfalls(thresholds, figures, in_float32))


def _figure(one: Quality) -> float | None:
    """Return the figure of a run against the true output or, where there is none, against float32."""
    return one.against_float32 if one.against_target is None else one.against_target


def _float32_figure(one: Quality) -> float | None:
    return one.float32_against_target


def _check_out(out: Path | None, raw: bool, session: InferenceSession) -> None:
    """Raise OptionError, before a run, for outputs that could not be saved after it."""
    if raw and not session.in_fixed_point:
        raise OptionError("--raw saves the codes of a run in fixed point: give a --qformat or --formats with it")
    if raw and out is None:
        raise OptionError("--raw saves codes: give a file with -o OUT")
    if out is not None:
        check_out(out, codes=raw)
        if raw:
            check_writable(_formats_beside(out))


def _write(out: Path, arrays: Arrays, preprocessing: Preprocessing) -> tuple[str, ...]:
    """Write the outputs; return a note about those that the file does not hold, if any."""
    missing = write_outputs(out, arrays, preprocessing)
    listed = ", ".join(f"'{name}'" for name in missing)
    return (f"{out} holds one image, and not {listed}; an .npz file holds all",) if missing else ()


def _formats_beside(out: Path) -> Path:
    """Return the path of the formats of codes in a file."""
    return out.with_suffix(".formats.json")


def _write_formats(out: Path, codes: Arrays, session: InferenceSession) -> None:
    """Write the formats of codes to a formats file in the same folder."""
    formats = {name: format_to_json(session.formats[name]) for name in codes if name in session.formats}
    write_formats(_formats_beside(out), formats)


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
